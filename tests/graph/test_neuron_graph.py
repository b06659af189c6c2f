"""Graphs: the group acts, its order is exact, wrong declarations teach."""

from __future__ import annotations

import pickle

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import symnet as sn
from tests.cases import GRAPHS
from tests.random_graphs import random_graph

seeds = st.integers(0, 10_000)


@given(seeds)
def test_the_action_is_a_homomorphism(seed) -> None:
    """(g @ h).x = g.(h.x), with batch and channel dims."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    g, h = graph.random_element(rng), graph.random_element(rng)
    x = {name: rng.normal(size=(2, 3, *shape, 2)) for name, shape in graph.shapes.items()}
    both, one_by_one = graph.act(g @ h, x, 2), graph.act(g, graph.act(h, x, 2), 2)
    assert all(np.array_equal(both[name], one_by_one[name]) for name in x)


@given(seeds)
def test_inverses_undo(seed) -> None:
    graph = random_graph(seed)
    g = graph.random_element(seed)
    assert g @ g.inverse() == graph.identity() == g.inverse() @ g
    assert hash(g.inverse().inverse()) == hash(g)
    x = {name: np.arange(np.prod(shape)).reshape(shape) for name, shape in graph.shapes.items()}
    back = graph.act(g.inverse(), graph.act(g, x))
    assert all(np.array_equal(back[name], x[name]) for name in x)


@given(seeds)
def test_torch_and_numpy_agree_and_inputs_stay(seed) -> None:
    graph = random_graph(seed)
    g = graph.random_element(seed)
    x = {
        name: torch.randn(2, *shape, 3, dtype=torch.float64) for name, shape in graph.shapes.items()
    }
    kept = {name: tensor.clone() for name, tensor in x.items()}
    y = graph.act(g, x, 1)
    z = graph.act(g, {name: tensor.numpy() for name, tensor in x.items()}, 1)
    assert all(np.array_equal(y[name].numpy(), z[name]) for name in x)
    assert all(torch.equal(x[name], kept[name]) for name in x)


@given(seeds)
def test_the_orbits_of_the_generators_have_orders_that_multiply(seed) -> None:
    """On small graphs the closure of the generators has exactly ``graph.order`` elements."""
    graph = random_graph(seed)
    if graph.order > 1_000:
        graph = graph.with_groups(
            {
                name: sn.Fixed(s.size)
                for name, s in graph.neurons.items()
                if s.group.order > 6 or s.over
            }
        )
    if graph.order > 2_000:
        return pytest.skip("too many elements to list")
    seen, frontier = {graph.identity()}, [graph.identity()]
    generators = [g for _, g in graph.generators()]
    while frontier:
        frontier = [p for p in {g @ f for f in frontier for g in generators} if p not in seen]
        seen.update(frontier)
    assert len(seen) == graph.order


def test_signs_flip_rows_and_columns_once_each() -> None:
    """A neuron's sign multiplies its row in one weight and its column in the next, and cancels in ``h h``'s diagonal."""
    graph = sn.NeuronGraph({"h": sn.SignedSymmetric(2)}, {"w": "h 2", "v": "h h"})
    flip = dict(graph.generators())["h, sign of the first neuron"]
    moved = graph.act(flip, {"w": np.ones((2, 2)), "v": np.ones((2, 2))})
    assert moved["w"].tolist() == [[-1, -1], [1, 1]] and moved["v"].tolist() == [[1, -1], [-1, 1]]
    with pytest.raises(sn.GroupError, match="expected 1 and -1"):
        sn.GroupElement(dict(graph.neurons), {"h": np.arange(2)}, {"h": np.array([2, 1])})


def test_only_moves_the_named_sets() -> None:
    graph = GRAPHS["attention"]
    g = graph.random_element(3, only={"qk"})
    assert g.moves("qk") and not g.moves("head") and not g.moves("model")
    with pytest.raises(sn.GraphError, match="'nothing'"):
        graph.random_element(0, only={"nothing"})


def test_wreath_products_have_their_orders() -> None:
    graph = GRAPHS["attention"]
    assert graph.order == 2 * 6**2 * 6
    assert graph.with_groups({"head": sn.Fixed(2)}).order == 6**2 * 6


def test_concatenated_axes_act_block_by_block() -> None:
    graph = sn.NeuronGraph({"a": sn.Symmetric(2), "b": sn.Symmetric(3)}, {"w": "(a + b + 1)"})
    images = {"a": np.array([1, 0]), "b": np.array([1, 2, 0])}
    moved = graph.act(sn.GroupElement(dict(graph.neurons), images), {"w": np.arange(6)})["w"]
    assert moved.tolist() == [1, 0, 4, 2, 3, 5]


def test_pickles_and_networkx() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, {"a": "h h"}, notes=["because"])
    again = pickle.loads(pickle.dumps(graph))
    assert again == graph and again.notes == graph.notes
    exported = GRAPHS["attention"].to_networkx()
    assert isinstance(exported, networkx.MultiDiGraph)
    assert exported.has_edge(("neurons", "qk"), ("neurons", "head"))
    assert exported.nodes["tensor", "q"]["shape"] == (6, 3)


def test_aliases_act_as_what_they_are_tied_to() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h"}, aliases={"b": "a"})
    g = graph.random_element(1)
    moved = graph.act(g, {"b": np.arange(3)})
    assert np.array_equal(moved["b"], graph.act(g, {"a": np.arange(3)})["a"])


@pytest.mark.parametrize(
    ("neurons", "tensors", "message"),
    [
        ({"h": sn.Symmetric(2)}, {"w": "h q"}, "no neuron set 'q'"),
        ({"h": 3}, {}, "pass a permutation group"),
        ({"h h": sn.Symmetric(2)}, {}, "cannot name a neuron set"),
        (
            {
                "a": sn.NeuronSet(sn.Symmetric(2), over="b"),
                "b": sn.NeuronSet(sn.Symmetric(2), over="a"),
            },
            {},
            "circle",
        ),
        ({"a": sn.NeuronSet(sn.Symmetric(2), over="b")}, {}, "'b', which is not declared"),
        (
            {"p": sn.Symmetric(2), "c": sn.NeuronSet(sn.Symmetric(2), over="p")},
            {"w": "c"},
            "does not occur beside it",
        ),
        (
            {"p": sn.Symmetric(2), "c": sn.NeuronSet(sn.Symmetric(2), over="p")},
            {"w": "c p p"},
            "occurs 2 times",
        ),
        ({}, {"": ""}, "cannot name a tensor"),
    ],
)
def test_wrong_declarations_say_what_to_do(neurons, tensors, message) -> None:
    with pytest.raises(sn.GraphError, match=message):
        sn.NeuronGraph(neurons, tensors)


def test_wrong_shapes_name_the_tensor_and_both_sizes() -> None:
    graph = GRAPHS["mlp fixed"]
    with pytest.raises(
        sn.ShapeError, match=r"'0.weight' has axes 'h1 h0' of sizes \(3, 2\).*\(3, 3\)"
    ):
        graph.act(graph.identity(), {"0.weight": np.zeros((3, 3))})
    with pytest.raises(sn.ShapeError, match="no tensor 'x'"):
        graph.act(graph.identity(), {"x": np.zeros(3)})
    with pytest.raises(sn.GraphError, match="has 3 neurons, but"):
        graph.with_groups({"h1": sn.Symmetric(4)})


def test_renamed_sets_are_the_same_graph_under_other_names() -> None:
    """Also where names change places; parents, products and joins follow."""
    graph = sn.NeuronGraph(
        {
            "head": sn.Symmetric(2),
            "dim": sn.NeuronSet(sn.Symmetric(3), over="head"),
            "h": sn.Symmetric(4),
        },
        {"w": "(head dim) h", "b": "((head dim) + h)"},
        aliases={"tied": "w"},
        notes=["a note"],
    )
    renamed = graph.rename({"head": "h", "h": "head"})
    assert renamed.neurons["dim"].over == ("h",)
    assert dict(renamed.tensors) == {"w": "(h dim) head", "b": "((h dim) + head)"}
    assert renamed.notes == graph.notes and renamed.aliases == graph.aliases
    assert renamed.rename({"head": "h", "h": "head"}) == graph
    assert sn.parse(str(renamed)) == renamed


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"x": "y"}, "'x'; the sets are"),
        ({"h": "dim"}, "two neuron sets"),
        ({"h": "a b"}, "cannot name"),
        (["h"], "dict"),
    ],
)
def test_names_that_cannot_be_given_are_refused(names: object, words: str) -> None:
    graph = sn.NeuronGraph({"dim": sn.Symmetric(3), "h": sn.Symmetric(4)}, {"w": "dim h"})
    with pytest.raises(sn.GraphError, match=words):
        graph.rename(names)  # type: ignore[arg-type]
