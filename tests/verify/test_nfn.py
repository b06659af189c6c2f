"""The audits of nfn, where it is installed (``pip install nfn``): figures known from counting orbits by hand."""

from __future__ import annotations

import pytest

import symnet as sn

pytest.importorskip("nfn", reason="nfn is not installed; it is a peer, not a dependency")

from benchmarks.audit_nfn import adapted, architectures, linear_layers, specification


def certify(layer: str, architecture: str) -> sn.verify.Certificate:
    io, make = linear_layers()[layer]
    graph = architectures()[architecture](io)
    return sn.verify.certify(adapted(make(specification(graph)), graph), graph, seed=0)


@pytest.mark.parametrize(
    ("architecture", "maps", "parameters", "rank"),
    [("MLP 2-3-2", 74, 98, 72), ("MLP 3-2-3-2", 142, 173, 140), ("MLP 2-3-2-3-2", 164, 198, 162)],
)
def test_hnp_misses_a_map_for_every_output(
    architecture: str, maps: int, parameters: int, rank: int
) -> None:
    found = certify("HNPLinear", architecture)
    assert found.equivariant and not found.complete and not found.minimal
    assert (found.dimension, found.parameters, found.rank) == (maps, parameters, rank)
    biases = found.bias_parameters - found.bias_rank
    assert (
        biases > 0
        and len(found.missing) == 2
        and len(found.redundant) == parameters - rank + biases
    )
    last, before = 2 * architecture.count("-") - 2, 2 * architecture.count("-") - 4
    assert found.missing == tuple(
        f"'{before}.bias' -> '{last}.weight': per h{last // 2}, to out {k}" for k in range(2)
    )


def test_np_is_complete_and_redundant_at_width_one() -> None:
    found = certify("NPLinear", "MLP 2-3-2-1")
    assert found.equivariant and found.complete
    assert (found.dimension, found.parameters, found.rank) == (57, 62, 57)
    assert (found.bias_parameters, found.bias_rank, len(found.redundant)) == (18, 6, 5 + 12)
    assert found.redundant[0].startswith(
        "layer.layer_2_r.weight[0, 0, 0] repeats layer.layer_2.weight[0, 0, 0, 0]"
    )
    wide = certify(
        "NPLinear", "MLP 2-3-2-3-2"
    )  # of its maps none repeat each other, of its biases many
    assert wide.complete and wide.rank == wide.parameters and wide.bias_rank < wide.bias_parameters


@pytest.mark.parametrize("layer", ["NPPool", "HNPPool"])
def test_pools_see_every_invariant_once(layer: str) -> None:
    assert all(certify(layer, architecture) for architecture in architectures())
