"""Certificates of bilinear layers: what is complete passes, and every way of falling short is named."""

from __future__ import annotations

import pytest
import torch

import symnet as sn
from tests.cases import mlp

SMALL = {
    "mlp": mlp(2, 3, 2),
    "inputs fixed": mlp(2, 3, 1, io="fixed"),
    "recurrent": sn.NeuronGraph({"h": sn.Symmetric(3)}, {"hh": "h h", "b": "h"}),
    "heads": sn.NeuronGraph(
        {
            "head": sn.Symmetric(2),
            "d": sn.NeuronSet(sn.Symmetric(2), over="head"),
            "m": sn.Symmetric(2),
        },
        {"q": "(head d) m"},
    ),
    "odd": sn.NeuronGraph(
        {"h": sn.SignedSymmetric(3), "i": sn.Symmetric(2)}, {"w": "h i", "hh": "h h"}
    ),
    "few neurons": sn.NeuronGraph({"h": sn.Symmetric(2)}, {"w": "h h"}),
    "copies over a fixed set": sn.NeuronGraph(
        {"e": sn.Fixed(2), "f": sn.NeuronSet(sn.Symmetric(2), over="e")},
        {"up": "e f", "down": "e f"},
    ),
    "nothing but zero": sn.NeuronGraph({"h": sn.SignedSymmetric(3)}, {"b": "h"}),
}


@pytest.mark.parametrize(
    ("name", "diagrams"),
    [
        *((name, "connected") for name in SMALL),
        ("mlp", "all"),
        ("odd", "all"),
        ("few neurons", "all"),
    ],
)
def test_a_product_layer_is_equivariant_complete_and_minimal(name, diagrams) -> None:
    graph = SMALL[name]
    certificate = sn.verify.certify(sn.nn.Product(graph, 1, 1, diagrams=diagrams), graph, seed=0)
    assert certificate, certificate
    assert (
        certificate.dimension
        == certificate.dimension_by_orbits
        == certificate.rank
        == certificate.parameters
    )


OTHER_GROUPS = {
    # B A alone is left of an adapter; of a ReLU network the product over its hidden set, and what a bias does to what is read
    "adapter": (
        {"in": sn.Fixed(3), "r": sn.GeneralLinear(3), "out": sn.Fixed(2)},
        {"A": "r in", "B": "out r*"},
        {"": ""},
        6,
    ),
    "relu": (
        {"x": sn.Fixed(2), "h": sn.Scaled(3), "y": sn.Fixed(1)},
        {"w": "h x", "b": "h", "v": "y h*"},
        {"": ""},
        3,
    ),
    "stream": (
        {"m": sn.Orthogonal(3), "f": sn.Scaled(2)},
        {"up": "f m", "down": "m f*"},
        {"": "", "f": "f f*"},
        None,
    ),
    "state space": (
        {"s": sn.GeneralLinear(2), "i": sn.Fixed(2)},
        {"A": "s s*", "B": "s i", "C": "i s*"},
        None,
        None,
    ),
    "layer norm": (
        {"m": sn.Orthogonal(3, fixes_mean=True)},
        {"w": "m m", "b": "m"},
        {"b": "m"},
        None,
    ),
}


@pytest.mark.parametrize("name", OTHER_GROUPS)
def test_products_follow_the_rule_of_every_group(name) -> None:
    neurons, tensors, outputs, dimension = OTHER_GROUPS[name]
    graph = sn.NeuronGraph(neurons, tensors)
    layer = sn.nn.Product(graph, 1, 1, outputs=outputs)
    certificate = sn.verify.certify(layer, graph, seed=0)
    assert certificate and layer.dimension, certificate
    assert dimension in (None, layer.dimension)
    every = sn.sharing.derive_bilinear(graph, outputs=outputs, diagrams="all")
    assert every.dimension == every.dimension_by_burnside >= layer.dimension


def test_numbers_are_per_triple_of_channels() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h", "b": "h"})
    for channels in ("all", "same"):
        layer = sn.nn.Product(graph, 2, 3, channels=channels)
        certificate = sn.verify.certify(layer, graph, seed=0)
        assert certificate, certificate
        assert certificate.rank == layer.dimension


class Wrong(torch.nn.Module):
    """A product of two tensors on one set, with a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, x: dict, y: dict) -> dict:
        a, b, w = x["a"], y["b"], self.weight
        means = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
        result = w[0] * a * b
        if self.fault != "incomplete":
            result = result + w[1] * (a * means[1] if self.fault == "outside" else 0 * a)
        if self.fault == "repeats":
            result = result + w[1] * a * b
        if self.fault == "ordered":
            result = result + w[1] * a * b * torch.arange(3.0, dtype=a.dtype)[:, None]
        if self.fault == "square":
            result = result + w[1] * a * a * b
        return {"c": result}


@pytest.mark.parametrize("fault", ["incomplete", "outside", "repeats", "ordered"])
def test_faults_are_noticed(fault) -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h", "b": "h"})
    pairs = [("a", "b")] if fault != "incomplete" else [("a", "b"), ("a", "a")]
    certificate = sn.verify.certify_bilinear(
        Wrong(fault), graph, outputs={"c": "h"}, pairs=pairs, seed=0
    )
    assert not certificate
    assert certificate.equivariant == (fault != "ordered")
    assert certificate.complete == (fault != "incomplete")
    assert (certificate.outside > 0) == (fault in ("outside", "ordered"))
    if fault == "repeats":
        assert not certificate.minimal
    with pytest.raises(sn.VerificationError, match="NOT"):
        certificate.raise_if_failed()


def test_what_is_not_bilinear_is_refused() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h", "b": "h"})
    with pytest.raises(sn.VerificationError, match="not linear in its left argument"):
        sn.verify.certify_bilinear(Wrong("square"), graph, outputs={"c": "h"}, pairs=[("a", "b")])
    with pytest.raises(sn.TooLargeError, match="narrower"):
        sn.verify.certify(sn.nn.Product(mlp(9, 9, 9), 8, 8), mlp(9, 9, 9))
