"""Laws of keep, drop and reorder: the right entries, on every notation, and refusals before anything changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import symnet as sn
from symnet.graph import GroupElement
from symnet.graph.elements import image_shapes
from tests.cases import GRAPHS
from tests.random_graphs import random_graph
from tests.surgery.brute_force import take
from tests.surgery.choices import (
    divisible,
    half_of,
    numbered,
    refused_where_sizes_must_agree,
    some_neurons,
)


def random_choices(graph: sn.NeuronGraph, seed: int) -> dict[str, np.ndarray]:
    """For some of the sets some neurons of every copy."""
    rng = np.random.default_rng(seed)
    names = [name for name in divisible(graph) if rng.random() < 0.7]
    return {
        n: some_neurons(graph, n, int(rng.integers(1, graph.neurons[n].size + 1)), rng)
        for n in names
    }


def check_against_brute_force(graph: sn.NeuronGraph, seed: int) -> None:
    choices = random_choices(graph, seed)
    if not choices:
        return
    weights = numbered(graph)
    try:
        small, new = sn.surgery.keep(weights, graph, choices)
    except (
        sn.GraphError
    ) as error:  # parts that are interleaved stay of one size, or are not cut at all
        assert "one size" in str(error)
        assert any(sign in axes for axes in graph.tensors.values() for sign in "&|")
        return
    for name, array in weights.items():
        np.testing.assert_array_equal(small[name], take(graph, new, choices, name, array))
        assert small[name].shape == new.shapes[name]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_entry_is_the_one_that_the_notation_says(name: str) -> None:
    """Against a look-up entry by entry, on products, joins, copies over parents and repeated sets."""
    for seed in range(4):
        check_against_brute_force(GRAPHS[name], seed)


def test_interleaved_sets_are_cut_together() -> None:
    graph = GRAPHS["shuffled channels"]
    weights = numbered(graph)
    small, new = sn.surgery.keep(weights, graph, {"kept": [2, 0], "changed": [0, 1]})
    np.testing.assert_array_equal(small["last"], weights["last"][:, [4, 1, 0, 3]])
    assert new.tensors == graph.tensors
    with pytest.raises(sn.GraphError, match="parts of 2, 3 positions"):
        sn.surgery.keep(weights, graph, {"kept": [2, 0]})


@settings(max_examples=60)
@given(st.integers(0, 10_000))
def test_random_declarations_are_cut_as_the_notation_says(seed: int) -> None:
    check_against_brute_force(random_graph(seed), seed)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_drop_is_keep_of_the_others(seed: int) -> None:
    graph = random_graph(seed)
    rng, weights = np.random.default_rng(seed), numbered(graph)
    for name in divisible(graph, least=2):
        with refused_where_sizes_must_agree(graph, name):
            gone = some_neurons(graph, name, int(rng.integers(1, graph.neurons[name].size)), rng)
            rows = gone.reshape(-1, gone.shape[-1])
            others = np.array(
                [[n for n in range(graph.neurons[name].size) if n not in row] for row in rows]
            )
            stays = others.reshape(*gone.shape[:-1], -1)
            dropped, kept = (
                sn.surgery.drop(weights, graph, {name: gone}),
                sn.surgery.keep(weights, graph, {name: stays}),
            )
            assert dropped.graph == kept.graph
            assert all(np.array_equal(dropped.weights[n], kept.weights[n]) for n in weights)


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_reordering_is_the_action_of_the_group(seed: int) -> None:
    """Neuron ``order[j]`` stands at place j: the element that sends ``order[j]`` to j."""
    graph = random_graph(seed)
    rng, weights = np.random.default_rng(seed), numbered(graph)
    for name in divisible(graph):
        orders = some_neurons(graph, name, graph.neurons[name].size, rng)
        images = {
            n: np.broadcast_to(np.arange(s[-1]), s) for n, s in image_shapes(graph.neurons).items()
        }
        element = GroupElement(graph.neurons, images | {name: np.argsort(orders, axis=-1)})
        expected = graph.act(element, weights)
        result = sn.surgery.reorder(weights, graph, {name: orders})
        assert result.graph == graph
        assert all(np.array_equal(result.weights[n], expected[n]) for n in weights)


def test_cutting_twice_is_cutting_once() -> None:
    graph, weights = GRAPHS["mlp permuted"], numbered(GRAPHS["mlp permuted"])
    first = sn.surgery.keep(weights, graph, {"h1": [2, 0]})
    second = sn.surgery.keep(first.weights, first.graph, {"h1": [1], "h2": [3, 1]})
    once = sn.surgery.keep(weights, graph, {"h1": [0], "h2": [3, 1]})
    assert second.graph == once.graph
    assert all(np.array_equal(second.weights[n], once.weights[n]) for n in weights)


@pytest.mark.parametrize(
    "name", ["attention", "fused and concatenated", "copies over a fixed set", "recurrent"]
)
def test_torch_tensors_are_cut_as_arrays_are(name: str) -> None:
    graph, rng = GRAPHS[name], np.random.default_rng(0)
    choices = {n: half_of(graph, n, rng) for n in divisible(graph)}
    arrays = numbered(graph)
    expected = sn.surgery.keep(arrays, graph, choices).weights
    tensors = {n: torch.from_numpy(a).to(torch.bfloat16) for n, a in arrays.items()}
    result = sn.surgery.keep(tensors, graph, choices).weights
    for n, tensor in result.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, torch.from_numpy(expected[n]).to(torch.bfloat16))


def test_what_the_sets_do_not_index_is_not_copied() -> None:
    graph, weights = GRAPHS["mlp permuted"], numbered(GRAPHS["mlp permuted"])
    small = sn.surgery.keep(weights, graph, {"h1": [0]}).weights
    assert small["4.weight"] is weights["4.weight"]
    assert small["2.weight"] is not weights["2.weight"]


def test_tied_tensors_stay_tied_and_whole_numbers_stay() -> None:
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(4)},
        {"a.weight": "3 h", "b.weight": "h 2"},
        aliases={"c.weight": "a.weight"},
    )
    table = torch.arange(12.0).view(3, 4)
    weights = {
        "a.weight": table,
        "c.weight": table.detach(),
        "b.weight": torch.zeros(4, 2),
        "steps": torch.tensor(5),
    }
    small = sn.surgery.keep(weights, graph, {"h": [3, 1]}).weights
    assert small["a.weight"] is small["c.weight"]
    assert small["a.weight"].tolist() == [[3, 1], [7, 5], [11, 9]]
    assert small["steps"] is weights["steps"]


def test_the_arguments_are_left_as_they_are() -> None:
    graph, weights = GRAPHS["attention"], numbered(GRAPHS["attention"])
    before = {name: array.copy() for name, array in weights.items()}
    sn.surgery.keep(weights, graph, {"head": [1]})
    sn.surgery.widen(weights, graph, {"model": 5}, outgoing={"model": ["q", "k"]})
    assert all(np.array_equal(weights[name], before[name]) for name in weights)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"in": [0]}, r"'in' is Fixed\(2\).*cannot be cut.*h1"),
        ({"nobody": [0]}, "no neuron set 'nobody' to keep; there are h1, h2"),
        ({"h1": [0, 3]}, "names 0 to 3 of its neurons; they are 0 to 2"),
        ({"h1": [-1]}, "names -1 to -1"),
        ({"h1": []}, "names none of its neurons"),
        ({"h1": [1, 1]}, "names neuron 1 twice"),
        ({"h1": [True, False, True]}, "list the neurons' numbers"),
        ({"h1": 0.5}, "sn.surgery.choose"),
        ({"h1": [[0], [1]]}, "got an array of shape"),
        ({"h1": [[0], [1, 2]]}, "another number of neurons in some copies"),
        ({}, "say of which neuron sets"),
        ([0, 1], "say of which neuron sets"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_reason(sets: object, message: str) -> None:
    graph = GRAPHS["mlp fixed"].with_groups({"h0": sn.Fixed(2)})
    graph = sn.NeuronGraph(
        {"in": sn.Fixed(2), "h1": sn.Symmetric(3), "h2": sn.Symmetric(2)},
        {"w": "h1 in", "v": "h2 h1"},
    )
    with pytest.raises(sn.GraphError, match=message):
        sn.surgery.keep(numbered(graph), graph, sets)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rotations", "reflections", "intransitive"])
def test_a_part_of_a_cycle_is_no_cycle(name: str) -> None:
    graph = GRAPHS[name]
    with pytest.raises(sn.GraphError, match="a part is no such group again"):
        sn.surgery.keep(numbered(graph), graph, {"x": [0, 1]})


def test_a_pinned_axis_is_refused_with_the_tracer_s_note() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    )
    graph = sn.trace(model, torch.randn(2, 1, 4, 4))
    with pytest.raises(
        sn.GraphError, match=r"notes on '3.weight'|no neuron set '3.weight'.*pinned"
    ):
        sn.surgery.keep(model.state_dict(), graph, {"3.weight": [0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), "lack '0.bias'"),
        (lambda w: w.update({"0.bias": np.zeros(7)}), r"'0.bias' has axes 'h1'.*shape \(7,\)"),
        (lambda w: w.update({"extra": np.zeros(3)}), "'extra', which the graph does not"),
        (lambda w: w.update({"0.bias": [0.0, 1.0, 2.0]}), "is a list"),
    ],
)
def test_weights_of_another_network_are_refused(change, message: str) -> None:
    graph = sn.catalogue.mlp([2, 3, 1])
    weights = numbered(graph)
    change(weights)
    with pytest.raises(sn.ShapeError, match=message):
        sn.surgery.keep(weights, graph, {"h1": [0]})
