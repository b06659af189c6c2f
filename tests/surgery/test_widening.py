"""Laws of widen, split and join: shares that add up, inverses of one another, refusals where it is not exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import symnet as sn
from symnet.surgery import Copies, Outlets
from symnet.surgery.outlets import places_of
from tests.cases import GRAPHS
from tests.random_graphs import random_graph
from tests.surgery.choices import divisible, numbered, refused_where_sizes_must_agree


def random_outlets(graph: sn.NeuronGraph, name: str, rng: np.random.Generator) -> Outlets:
    """Any occurrences of a set may be what reads it."""
    places = tuple(place for place in places_of(graph, name) if rng.random() < 0.5)
    return Outlets(places, Copies.any, proved=False)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_joining_the_copies_undoes_widening(seed: int, noise: float) -> None:
    """Shares add up to the whole, and everything else is equal in all copies, whatever reads the set."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in graph.shapes.items()}
    for name in divisible(graph):
        with refused_where_sizes_must_agree(graph, name):
            size, outgoing = graph.neurons[name].size, {name: random_outlets(graph, name, rng)}
            parts = {
                int(n): int(rng.integers(1, 4))
                for n in rng.permutation(size)[: int(rng.integers(1, size + 1))]
            }
            wide = sn.surgery.split(
                weights, graph, {name: parts}, outgoing=outgoing, noise=noise, seed=seed
            )
            counts = [parts.get(n, 1) for n in range(size)]
            starts = np.cumsum([0, *counts])
            groups = [list(range(a, a + c)) for a, c in zip(starts, counts, strict=False)]
            back = sn.surgery.join(wide.weights, wide.graph, {name: groups}, outgoing=outgoing)
            assert back.graph == graph
            for n, array in weights.items():
                np.testing.assert_allclose(back.weights[n], array, atol=1e-12)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_widening_keeps_old_neurons_in_their_places_and_copies_evenly(seed: int) -> None:
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    weights = numbered(graph)
    for name in divisible(graph):
        with refused_where_sizes_must_agree(graph, name):
            size = graph.neurons[name].size
            width = int(rng.integers(size, 3 * size + 1))
            wide = sn.surgery.widen(
                weights, graph, {name: width}, outgoing={name: random_outlets(graph, name, rng)}
            )
            sources = wide.selection.sources[name]
            assert sources.shape[-1] == width
            assert (sources[..., :size] == np.arange(size)).all()
            for row in sources.reshape(-1, width):
                counts = np.bincount(row, minlength=size)
                assert counts.max() - counts.min() <= 1


def test_noise_moves_shares_and_not_their_sum() -> None:
    graph = sn.catalogue.mlp([2, 4, 3])
    weights = {n: np.random.default_rng(0).normal(size=s) for n, s in graph.shapes.items()}
    even = sn.surgery.widen(weights, graph, {"h1": 8}).weights["2.weight"]
    uneven = sn.surgery.widen(weights, graph, {"h1": 8}, noise=0.2, seed=1).weights["2.weight"]
    assert np.abs(even - uneven).max() > 0.01
    assert not np.allclose(uneven[:, :4] / uneven[:, 4:], 1)
    np.testing.assert_allclose(uneven[:, :4] + uneven[:, 4:], weights["2.weight"], atol=1e-12)


def test_the_layout_of_torch_s_layers_tells_what_reads_a_set() -> None:
    """Linear, convolution, transposed convolution and embedding, by biases and notes; recurrent weights on both sides."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.ConvTranspose2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1)
    )
    graph = sn.trace(model, torch.randn(2, 1, 6, 6))
    for name, reader in zip(graph.neurons, ("2.weight", "4.weight"), strict=True):
        places = sn.surgery.outlets.guess_outlets(graph, name).places
        assert [place.tensor for place in places] == [reader]
    recurrent = GRAPHS["recurrent"]
    named = sn.NeuronGraph(
        dict(recurrent.neurons),
        {"weight_hh": "(gate h) h", "weight_ih": "(gate h) in", "out.weight": "in h"},
    )
    places = sn.surgery.outlets.guess_outlets(named, "h").places
    assert [(place.tensor, place.dim) for place in places] == [("weight_hh", 2), ("out.weight", 1)]


@pytest.mark.parametrize(
    ("graph", "name", "message"),
    [
        ("copies over a fixed set", "f", "cannot be told whether 'up'"),
        ("more dims than neurons", "h", "cannot be told whether"),
        ("odd activations", "h1", "cannot be told whether 'hh'"),
    ],
)
def test_what_the_layout_leaves_open_is_refused(graph: str, name: str, message: str) -> None:
    with pytest.raises(sn.GraphError, match=message):
        sn.surgery.widen(numbered(GRAPHS[graph]), GRAPHS[graph], {name: 6})


def test_a_norm_over_the_set_is_widened_evenly_only() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = torch.randn(5, 2, dtype=torch.float64)
    graph = sn.trace(model, x)
    (name,) = divisible(graph)
    with pytest.raises(sn.GraphError, match=r"only be copied evenly.*norm.*: 8, 12"):
        sn.surgery.widen(model.state_dict(), graph, {name: 6})
    proved = sn.surgery.outgoing(model, graph, x)
    assert proved[name].copies is Copies.alike
    wide = sn.surgery.resize(model, sn.surgery.widen(model.state_dict(), graph, {name: 8}), x)
    torch.testing.assert_close(wide(x), model(x))


def test_a_softmax_over_the_set_is_widened_evenly_without_division() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Softmax(-1), nn.Linear(4, 2)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    graph = sn.trace(model, x)
    (name,) = divisible(graph)
    proved = sn.surgery.outgoing(model, graph, x)
    assert proved[name] == Outlets((), Copies.alike, proved=True)
    wide = sn.surgery.widen(model.state_dict(), graph, {name: 12}, outgoing=proved)
    torch.testing.assert_close(sn.surgery.resize(model, wide, x)(x), model(x))


def test_what_reads_and_makes_a_set_at_once_cannot_be_shared() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.inner(x)) @ self.inner.weight

    model, x = Tied(), torch.randn(3, 4)
    graph = sn.trace(model, x)
    (name,) = divisible(graph)
    proved = sn.surgery.outgoing(model, graph, x)
    assert proved[name].copies is Copies.none
    for width in (7, 10):
        with pytest.raises(sn.GraphError, match="cannot be copied so that the function stays"):
            sn.surgery.widen(model.state_dict(), graph, {name: width}, outgoing=proved)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ({"h1": 3}, {}, "it has 4 neurons; give a whole number of at least as many"),
        ({"h1": 5.5}, {}, "it has 4 neurons"),
        ({"in": 5}, {}, r"'in' is Fixed\(2\).*cannot be widened"),
        ({"h1": 8}, {"noise": -1.0}, "noise=-1.0"),
        ({"h1": 8}, {"outgoing": {"h1": ["3.weight"]}}, "'3.weight' is no tensor over 'h1'"),
    ],
)
def test_what_cannot_be_widened_is_refused(sizes: dict, options: dict, message: str) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    with pytest.raises(sn.GraphError, match=message):
        sn.surgery.widen(numbered(graph), graph, sizes, **options)


def test_whole_numbers_are_not_divided() -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    weights = {name: np.ones(shape, dtype=np.int64) for name, shape in graph.shapes.items()}
    with pytest.raises(sn.GraphError, match="whole numbers, which cannot be divided"):
        sn.surgery.widen(weights, graph, {"h1": 8})


@pytest.mark.parametrize("groups", [[[0, 1], [1, 2]], [[]], [[9, 1]]])
def test_groups_to_join_are_checked(groups: list[list[int]]) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    with pytest.raises(sn.GraphError, match="join 'h1'"):
        sn.surgery.join(numbered(graph), graph, {"h1": groups})
