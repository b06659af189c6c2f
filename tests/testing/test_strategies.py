"""The strategies draw what they promise, shrink to the smallest example, and hold the library against its oracles."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import symnet as sn
from symnet import testing
from symnet.testing.strategies import GROUPS
from tests.brute_force import orbits_of_pairs
from tests.tolerances import assert_close

FINDING = settings(
    max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
SMALL = settings(max_examples=25)


def has_axis(graph: sn.NeuronGraph, wanted: Callable[[str], bool]) -> bool:
    return any(wanted(axes) for axes in graph.tensors.values())


def repeats(graph: sn.NeuronGraph, name: str) -> bool:
    return any(
        sum(i.symbol == name for i in block.instances) > 1
        for t in graph.weights.values()
        for block in t.blocks
    )


# ---- what occurs ------------------------------------------------------------------------------------------------------
INTERESTING: dict[str, Callable[[sn.NeuronGraph], bool]] = {
    "one neuron": lambda g: any(one.size == 1 for one in g.neurons.values()),
    "a parent": lambda g: any(one.over for one in g.neurons.values()),
    "two parents": lambda g: any(len(one.over) == 2 for one in g.neurons.values()),
    "a grandparent": lambda g: any(
        g.neurons[p].over for one in g.neurons.values() for p in one.over
    ),
    "a fixed parent": lambda g: any(
        isinstance(g.neurons[p].group, sn.Fixed) for one in g.neurons.values() for p in one.over
    ),
    "a repeated axis": lambda g: any(repeats(g, name) for name in g.neurons),
    "a child that is used": lambda g: any(
        g.neurons[s].over for t in g.weights.values() for s in t.symbols
    ),
    "a composite axis": lambda g: has_axis(g, lambda axes: "(" in axes and "+" not in axes),
    "a concatenation": lambda g: has_axis(g, lambda axes: "+" in axes),
    "a bare number": lambda g: has_axis(
        g, lambda axes: any(word.isdigit() for word in axes.split())
    ),
    "a scalar": lambda g: has_axis(g, lambda axes: not axes),
    "three axes": lambda g: any(len(t.axes) == 3 for t in g.weights.values()),
    "four sets": lambda g: len(g.neurons) == 4,
    "a child read from its parent's axis": lambda g: any(
        len(t.axes) > 1 and any(g.neurons[s].over for s in t.symbols) and "(" not in g.tensors[n]
        for n, t in g.weights.items()
    ),
} | {
    f"a {kind} group": lambda g, kind=kind: any(
        type(one.group).__name__ == kind for one in g.neurons.values()
    )
    for kind in GROUPS
}


@functools.cache
def drawn() -> tuple[sn.NeuronGraph, ...]:
    """What 300 draws give."""
    found: list[sn.NeuronGraph] = []

    @settings(FINDING, max_examples=300, phases=[Phase.generate])
    @given(testing.graphs())
    def collect(graph: sn.NeuronGraph) -> None:
        found.append(graph)

    collect()
    return tuple(found)


@pytest.mark.parametrize("case", INTERESTING)
def test_every_interesting_case_occurs(case) -> None:
    """More than once, so that a property test of some hundred examples meets it."""
    assert sum(map(INTERESTING[case], drawn())) > 1


# ---- what a failure shrinks to --------------------------------------------------------------------------------------------
def minimal(condition: Callable[[sn.NeuronGraph], bool]) -> str:
    return " | ".join(
        line.strip()
        for line in str(find(testing.graphs(), condition, settings=FINDING)).splitlines()
    )


def test_graphs_shrink_to_the_smallest_one() -> None:
    assert minimal(lambda g: True) == "neurons | a: Symmetric(1) | tensors | t0:"
    assert minimal(lambda g: g.order >= 6) == "neurons | a: Symmetric(3) | tensors | t0:"
    assert minimal(lambda g: repeats(g, "a")) == "neurons | a: Symmetric(1) | tensors | t0: a a"
    assert minimal(lambda g: any(one.over for one in g.neurons.values())) == (
        "neurons | a: Symmetric(1) | b: Symmetric(1) over a | tensors | t0:"
    )
    assert minimal(lambda g: sn.derive(g).dimension >= 2 and len(g.tensors) == 1) == (
        "neurons | a: Symmetric(2) | tensors | t0: a"
    )


def test_elements_and_features_shrink_to_the_identity_and_zeros() -> None:
    graph = sn.catalogue.mlp([2, 3, 3, 1])
    assert find(testing.group_elements(graph), lambda g: True, settings=FINDING) == graph.identity()
    x = find(testing.features(graph, channels=st.integers(1, 3)), lambda x: True, settings=FINDING)
    assert all(v.shape[-1] == 1 and not v.any() and v.dtype == torch.float64 for v in x.values())


# ---- laws of the library, by its own strategies -----------------------------------------------------------------------------
@SMALL
@given(st.data())
def test_the_group_acts(data) -> None:
    """(g h) x = g (h x), and the inverse undoes; for all elements and features."""
    graph = data.draw(testing.graphs())
    g, h = data.draw(testing.group_elements(graph)), data.draw(testing.group_elements(graph))
    x = data.draw(testing.features(graph, channels=2, batch=st.integers(0, 2)))
    assert_close(graph.act(g @ h, x, 1), graph.act(g, graph.act(h, x, 1), 1))
    assert_close(graph.act(g.inverse(), graph.act(g, x, 1), 1), x)
    assert (g @ g.inverse()) == graph.identity()


@SMALL
@given(st.data())
def test_derived_orbits_are_those_of_the_generators_between_any_spaces(data) -> None:
    graph = data.draw(testing.graphs(max_entries=16))
    inputs = graph.space(data.draw(testing.spaces(graph, 1, 16)))
    outputs = graph.space(data.draw(testing.spaces(graph, 1, 16)))
    (source,), (target,) = inputs, outputs
    maps = sn.derive(graph, inputs=inputs, outputs=outputs)
    ours = maps.between(target, source).labels().reshape(-1)
    theirs = orbits_of_pairs(graph, outputs, target, inputs, source).reshape(-1)
    assert (
        len({*zip(ours.tolist(), theirs.tolist(), strict=True)})
        == len({*ours.tolist()})
        == len({*theirs.tolist()})
    )
    assert ((ours < 0) == (theirs < 0)).all()
    assert maps.dimension == maps.dimension_by_burnside == len({*ours[ours >= 0].tolist()})


@SMALL
@given(st.data())
def test_layers_are_equivariant_and_equal_their_dense_twins(data) -> None:
    graph = data.draw(testing.graphs(max_entries=24))
    layer = sn.nn.Linear(graph, 2, 1, dtype=torch.float64)
    x, g = data.draw(testing.features(graph, channels=2)), data.draw(testing.group_elements(graph))
    scale = {name: value / (1 + value.abs().max()) for name, value in x.items()}
    assert_close(layer(graph.act(g, scale, 1)), graph.act(g, layer(scale), 1))
    assert_close(layer(scale), sn.nn.DenseLinear.from_layer(layer)(scale))


@settings(
    max_examples=10, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
@given(st.data())
def test_wrong_layers_are_rejected_where_they_are_wrong_and_right_ones_are_not(data) -> None:
    graph = data.draw(
        testing.graphs(max_entries=16, max_sets=2).filter(lambda graph: graph.order > 1)
    )
    layer = data.draw(testing.wrong_layers(graph))
    report = sn.verify.equivariance(layer, graph, seed=0)
    assert not report.passed and layer.where in repr(layer)
    assert {failure.tensor for failure in report.failures} == {repr(layer.tensor)}
    sn.verify.equivariance(layer.right, graph, seed=0).raise_if_failed()


def test_unknown_groups_are_named() -> None:
    with pytest.raises(sn.GraphError, match="'Symetric'"):
        find(testing.groups(kinds=["Symetric"]), lambda _: True)
