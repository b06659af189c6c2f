"""Whole networks in one call: invariant or equivariant on every kind of architecture, in every precision and mode."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import symnet as sn
from tests.cases import GRAPHS, mlp
from tests.effort import pairs
from tests.tolerances import assert_close


class ResidualCNN(nn.Module):
    """Two convolutions with BatchNorm around a skip, flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3 * 4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.head((x + torch.relu(self.norm(self.conv(x)))).flatten(1))


RESIDUAL = sn.trace(ResidualCNN().eval(), torch.randn(2, 1, 2, 2))
ARCHITECTURES = {
    "mlp": mlp(2, 3, 4, 2, io="fixed"),
    "cnn, flattened": GRAPHS["cnn, flattened"],
    "residual cnn, traced": RESIDUAL,
    "attention": GRAPHS["attention"],
    "fused and concatenated": GRAPHS["fused and concatenated"],
}
OPTIONS = {
    "HNP": {"encode": "none"},
    "NP": {"encode": "fixed", "position_kind": "sinusoidal", "dropout": 0.1, "value_waves": 2},
    "adjacent": {"encode": "none", "interactions": "adjacent", "norm": False},
    "attention": {
        "encode": "fixed",
        "mixing": "attention",
        "heads": 2,
        "value_waves": 2,
        "value_kind": "sinusoidal",
    },
}


def random_features(graph: sn.NeuronGraph, batch: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {n: torch.randn(batch, *s, 1, dtype=torch.float64) for n, s in graph.shapes.items()}


@pytest.mark.parametrize(("name", "options"), pairs(ARCHITECTURES, OPTIONS))
def test_networks_in_one_call_are_invariant_or_equivariant(name, options) -> None:
    """In float64, of every architecture and kind."""
    graph, chosen = ARCHITECTURES[name], OPTIONS[options]
    invariant = sn.nn.InvariantNetwork(graph, 4, 3, layers=1, **chosen)
    sn.verify.equivariance(invariant, invariant.symmetry, trials=2).raise_if_failed()
    equivariant = sn.nn.EquivariantNetwork(graph, 4, 2, layers=1, **chosen)
    sn.verify.equivariance(equivariant, equivariant.symmetry, trials=2).raise_if_failed()


@pytest.mark.parametrize("mixing", ["linear", "attention"])
def test_encoded_neurons_are_told_apart_and_others_are_not(mixing) -> None:
    """NP with encodings does not commute with permuted inputs; without them it would."""
    graph = mlp(2, 3, 2, io="fixed")
    net = sn.nn.InvariantNetwork(graph, 4, 3, layers=1, encode=["h0"], mixing=mixing)
    assert net.encoded == ("h0",) and net.symmetry == graph
    sn.verify.equivariance(net, graph, trials=2).raise_if_failed()
    assert not sn.verify.equivariance(net, graph.with_groups({"h0": sn.Symmetric(2)})).passed
    blind = sn.nn.InvariantNetwork(mlp(2, 3, 2), 4, 3, layers=1, mixing=mixing)
    sn.verify.equivariance(blind, mlp(2, 3, 2), trials=2).raise_if_failed()


def test_wide_fixed_sets_are_encoded_by_default_and_the_repr_says_so() -> None:
    graph = mlp(17, 3, 16, io="fixed")
    net = sn.nn.InvariantNetwork(graph, 4, 3)
    assert net.encoded == ("h0",) and "told apart by encodings: h0" in repr(net)
    assert sn.nn.InvariantNetwork(graph, 2, 3, encode="none").encoded == ()
    assert sn.nn.InvariantNetwork(graph, 4, 3, encode="fixed").encoded == ("h0", "h2")


def test_buffers_of_a_traced_network_are_read_only_if_asked_for() -> None:
    """All of a graph's tensors are inputs by default; others make no difference when inputs= leaves them out."""
    chosen = [name for name in RESIDUAL.shapes if "running" not in name]
    assert len(chosen) == len(RESIDUAL.shapes) - 2
    net = sn.nn.InvariantNetwork(RESIDUAL, 4, 2, layers=1, inputs=chosen).double()
    x = random_features(RESIDUAL)
    assert net({name: x[name] for name in chosen}).shape == (3, 2)
    with pytest.raises(sn.ShapeError, match=r"'norm\.running_mean' is not among them"):
        net(x)


def test_outputs_may_be_of_any_space() -> None:
    """A score for every neuron, and a number for the network."""
    graph = mlp(2, 3, 2, io="fixed")
    net = sn.nn.EquivariantNetwork(graph, 4, 2, outputs={"score": "h1", "whole": ""})
    sn.verify.equivariance(
        net, graph, outputs={"score": "h1", "whole": ""}, trials=2
    ).raise_if_failed()


@pytest.mark.parametrize("mixing", ["linear", "attention"])
def test_training_with_one_dropout_mask_commutes_with_permutations(mixing) -> None:
    """In train mode too, for the same random numbers."""
    graph = GRAPHS["attention"]
    net = (
        sn.nn.EquivariantNetwork(graph, 4, 2, layers=1, dropout=0.5, mixing=mixing, heads=2)
        .double()
        .train()
    )
    x, g = random_features(graph), graph.random_element(0)
    results = []
    for given in (x, graph.act(g, x, 1)):
        torch.manual_seed(7)
        results.append(net(given))
    assert_close(results[1], graph.act(g, results[0], 1))
    torch.manual_seed(8)
    assert not torch.equal(net(x)["q"], results[0]["q"])


@pytest.mark.parametrize("mixing", ["linear", "attention"])
def test_networks_run_in_single_and_half_precision_and_compiled(mixing) -> None:
    graph = mlp(2, 3, io="fixed")
    torch.manual_seed(0)
    net = sn.nn.InvariantNetwork(graph, 4, 3, layers=1, mixing=mixing, heads=2).double().eval()
    x = random_features(graph)
    expected = {"y": net(x)}
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert_close({"y": compiled(x)}, expected)
    for dtype in (torch.float32, torch.bfloat16):
        y = net.to(dtype)({name: tensor.to(dtype) for name, tensor in x.items()})
        assert y.dtype == dtype
        assert_close({"y": y}, expected, dtype)


def test_every_parameter_of_a_network_learns() -> None:
    """No part is cut off from the answer, whatever the options."""
    for options in OPTIONS.values():
        for kind in (sn.nn.InvariantNetwork, sn.nn.EquivariantNetwork):
            net = kind(RESIDUAL, 4, 2, layers=1, **options).double()
            y = net(random_features(RESIDUAL))
            sum(
                tensor.square().sum() for tensor in (y.values() if isinstance(y, dict) else [y])
            ).backward()
            dead = [
                name
                for name, p in net.named_parameters()
                if p.grad is None or not p.grad.isfinite().all()
            ]
            assert not dead


def test_configurations_are_json_and_make_the_same_network() -> None:
    for kind in (sn.nn.InvariantNetwork, sn.nn.EquivariantNetwork):
        net = kind(RESIDUAL, 4, 2, layers=1, encode="fixed", inputs=["stem.weight", "head.bias"])
        again = kind(RESIDUAL, **json.loads(json.dumps(net.config)))
        assert again.config == net.config
        assert {n: p.shape for n, p in again.named_parameters()} == {
            n: p.shape for n, p in net.named_parameters()
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "sum"}, "'linear' or 'attention'"),
        ({"encode": "all"}, "'auto', 'none', 'fixed'"),
        ({"encode": ["x"]}, r"names \['x'\]"),
        ({"encode": ["h0"], "position_channels": 0}, "position_channels=0"),
        ({"interactions": "some"}, "'full' or 'adjacent'"),
        ({"layers": -1}, "layers=-1"),
        ({"mixing": "attention", "heads": 3}, "multiple of 3"),
    ],
)
def test_options_that_make_no_sense_are_named(options, message) -> None:
    with pytest.raises(sn.SymnetError, match=message):
        sn.nn.InvariantNetwork(mlp(2, 3, 2, io="fixed"), 4, 2, **options)
    with pytest.raises(
        sn.GraphError, match="softmaxes or cosines"
    ):  # of the weights themselves; see test_every_group
        sn.nn.EquivariantNetwork(GRAPHS["odd activations"], 4, mixing="attention")
