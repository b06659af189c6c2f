"""restricted_to: the layer for a smaller group computes the same, and has every freedom that the smaller group leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import symnet as sn
from tests.cases import GRAPHS
from tests.random_graphs import random_graph


def smaller(graph: sn.NeuronGraph, seed: int) -> sn.NeuronGraph:
    """The graph with each set's group replaced by one of its subgroups, drawn."""
    rng = np.random.default_rng(seed)
    groups = {}
    for name, neuron_set in graph.neurons.items():
        n = neuron_set.size
        choices = [
            sn.Fixed(n),
            sn.Cyclic(n),
            sn.Symmetric(n),
            sn.Generated(n, [[1, 0, *range(2, n)]] if n > 1 else []),
        ]
        if isinstance(neuron_set.group, sn.SignedSymmetric):
            groups[name] = [*choices, sn.SignedSymmetric(n)][rng.integers(5)]
        elif isinstance(neuron_set.group, sn.Symmetric):
            groups[name] = choices[rng.integers(4)]
        elif rng.integers(2):
            groups[name] = sn.Fixed(n)
    return graph.with_groups(groups)


def random_layer(graph: sn.NeuronGraph, seed: int) -> sn.nn.Linear:
    torch.manual_seed(seed)
    layer = sn.nn.Linear(graph, 2, 3, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def assert_same(
    first: torch.nn.Module, second: torch.nn.Module, graph: sn.NeuronGraph, channels: int
) -> None:
    x = {
        name: torch.randn(2, *s, channels, dtype=torch.float64) for name, s in graph.shapes.items()
    }
    with torch.no_grad():
        before, after = first(x), second(x)
    for name, tensor in before.items():
        assert float((tensor - after[name]).abs().max()) <= 1e-12 * (1 + float(tensor.abs().max()))


@pytest.mark.parametrize("name", [*GRAPHS, *(f"random {seed}" for seed in range(6))])
def test_the_function_stays(name: str) -> None:
    """Outputs are equal to 1e-12 for any subgroup, and the restricted layer has the smaller group's dimension."""
    graph = random_graph(int(name.split()[1])) if name.startswith("random") else GRAPHS[name]
    if any(
        isinstance(s.group, sn.Scaled | sn.Orthogonal | sn.GeneralLinear)
        for s in graph.neurons.values()
    ):
        pytest.skip("refused: the group mixes or scales neurons")
    layer = random_layer(graph, 0)
    for seed in range(2):
        less = smaller(graph, seed)
        restricted = layer.restricted_to(less)
        assert_same(layer, restricted, graph, 2)
        assert restricted.dimension == sn.derive(less).dimension >= layer.dimension
        assert restricted.graph == less


@pytest.mark.parametrize("name", GRAPHS)
def test_representatives_have_the_labels_in_order(name: str) -> None:
    """Looked up in the label matrix, the pairs are those of orbits 0, 1, 2, ..."""
    maps = sn.derive(GRAPHS[name])
    for output, source in maps.pairs():
        pattern = maps.between(output, source)
        rows, columns = pattern.representatives()
        assert pattern.labels()[rows, columns].tolist() == list(range(pattern.dimension))


def test_a_set_may_be_split() -> None:
    """Six neurons of which three and three may be exchanged among themselves: other names and axes, the same tensors."""
    whole = sn.NeuronGraph({"h": sn.Symmetric(6)}, {"w": "h 2", "b": "h", "v": "2 h"})
    parts = sn.NeuronGraph(
        {"p": sn.Symmetric(3), "q": sn.Symmetric(3)},
        {"w": "(p + q) 2", "b": "(p + q)", "v": "2 (p + q)"},
    )
    layer = random_layer(whole, 1)
    assert_same(layer, layer.restricted_to(parts), whole, 2)
    with pytest.raises(sn.GraphError, match="not contained"):
        random_layer(parts, 1).restricted_to(whole)


def test_training_can_go_on() -> None:
    """A target that the larger group cannot reach: the restricted layer starts from the same loss, and gets below it."""
    graph = sn.catalogue.mlp([2, 4, 1])
    layer = random_layer(graph, 2)
    less = graph.with_groups({"h1": sn.Fixed(4)})
    restricted = layer.restricted_to(less)
    x = {name: torch.randn(16, *s, 2, dtype=torch.float64) for name, s in graph.shapes.items()}
    target = random_layer(less, 3)(x)["0.bias"].detach()

    def loss(net: torch.nn.Module) -> torch.Tensor:
        return (net(x)["0.bias"] - target).square().mean()

    before = loss(layer).item()
    assert loss(restricted).item() == pytest.approx(before, rel=1e-12)
    optimizer = torch.optim.Adam(restricted.parameters(), lr=0.05)
    for _ in range(30):
        optimizer.zero_grad()
        loss(restricted).backward()
        optimizer.step()
    assert loss(restricted).item() < 0.7 * before


def test_what_is_no_subgroup_is_refused() -> None:
    graph = sn.NeuronGraph({"h": sn.Cyclic(5)}, {"w": "h h", "b": "h"})
    layer = random_layer(graph, 0)
    with pytest.raises(sn.GraphError, match="not contained in the layer's"):
        layer.restricted_to(graph.with_groups({"h": sn.Symmetric(5)}))
    with pytest.raises(
        sn.GraphError, match=r"has sizes \(5, 5\) in the layer and \(4, 4\) in the graph"
    ):
        layer.restricted_to(sn.NeuronGraph({"h": sn.Cyclic(4)}, {"w": "h h", "b": "h"}))
    with pytest.raises(sn.GraphError, match="permutations and signs"):
        layer.restricted_to(graph.with_groups({"h": sn.Orthogonal(5)}))
