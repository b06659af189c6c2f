"""Coordinate descent from the inside: its start, its end, and units with what is over them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.matching.alignment_problem import AlignmentProblem
from symnet.matching.descent import best_move, propagate
from symnet.matching.exchanges import best_exchange
from symnet.matching.problem_reading import read_problem
from symnet.matching.same_function import same_function
from tests.cases import GRAPHS
from tests.matching.group_elements import all_elements
from tests.matching.test_align import NETWORKS, distance, draw

# Units that no architecture of the catalogue has: signs with something over them, a set over two, a signed neighbour.
UNUSUAL = {
    "signs over which something is": sn.NeuronGraph(
        {"u": sn.SignedSymmetric(3), "x": sn.NeuronSet(sn.Symmetric(2), over="u")},
        {"w": "(u x) 4", "v": "u 2"},
    ),
    "a set over two": sn.NeuronGraph(
        {
            "u": sn.Symmetric(2),
            "w": sn.Symmetric(2),
            "x": sn.NeuronSet(sn.Symmetric(2), over=("u", "w")),
        },
        {"t": "(u w x) 2", "p": "u 3", "q": "w 3"},
    ),
    "neighbours with signs": sn.NeuronGraph(
        {"h": sn.Symmetric(4), "s": sn.SignedSymmetric(3)}, {"w": "h s"}
    ),
}


def problem_between(graph: sn.NeuronGraph, a: dict, b: dict) -> AlignmentProblem:
    arrays_a, arrays_b = (
        {name: tensor.numpy() for name, tensor in weights.items()} for weights in (a, b)
    )
    return read_problem(graph, arrays_a, arrays_b, {})


@pytest.mark.parametrize("name", [*NETWORKS, *UNUSUAL])
def test_the_start_alone_finds_a_planted_element(name: str) -> None:
    """Without noise nothing is left for the descent: what is known spreads from the ends, signs and heads included."""
    graph = (NETWORKS | UNUSUAL)[name]
    a = draw(graph, 4)
    planted = graph.random_element(4)
    found = propagate(problem_between(graph, a, graph.act(planted, a)))
    # Networks with no fixed ends may have no more than one element that serves; its action is what counts.
    assert distance(a, graph.act(found @ planted, a)) < 1e-9


@pytest.mark.parametrize("name", [*NETWORKS, *GRAPHS, *UNUSUAL])
def test_where_the_descent_ends_nothing_gains(name: str) -> None:
    """Between unrelated networks: after align, no unit's best move and no exchange within a set gains any more."""
    graph = (NETWORKS | GRAPHS | UNUSUAL)[name]
    a = draw(graph, 7)
    found = sn.align(a, draw(graph, 8), graph, starts=3, measure="distance")
    problem = problem_between(graph, a, dict(found.aligned))
    assert found.settled
    for unit in problem.units():
        moves = [best_move(problem, unit).element] + (
            [] if problem.is_exact(unit) else [best_exchange(problem, unit)]
        )
        for move in moves:
            assert problem.moved(move).value <= problem.value + 1e-9


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_units_get_their_best_move(name: str) -> None:
    """One unit of a pair of unrelated networks, against every element of its subgroup."""
    graph = UNUSUAL[name]
    problem = problem_between(graph, draw(graph, 1), draw(graph, 2))
    for unit in problem.units():
        assert problem.is_exact(unit)
        best = max(
            problem.moved(element).value for element in all_elements(graph, only=problem.unit(unit))
        )
        assert problem.moved(best_move(problem, unit).element).value == pytest.approx(best)


@pytest.mark.parametrize("name", ["recurrent", "rotations", "reflections", "intransitive"])
def test_exchanges_find_what_assignment_misses(name: str) -> None:
    """Of a planted small change to a set that a tensor has twice, the best exchange finds the way back."""
    graph = GRAPHS[name]
    a = draw(graph, 3)
    unit = "h" if name == "recurrent" else "x"
    for _, generator in graph.generators():
        if generator.moves(unit) and (generator == generator.inverse() or name != "recurrent"):
            problem = problem_between(graph, a, graph.act(generator, a))
            assert problem.moved(best_exchange(problem, unit)).value == pytest.approx(
                sum((t**2).sum() for t in a.values())
            )


def test_importance_decides_between_tensors_that_disagree() -> None:
    """Two tensors ask for opposite orders: the one that counts more gets its way."""
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, {"w": "h", "v": "h"})
    a = {"w": torch.tensor([1.0, 2.0]), "v": torch.tensor([1.0, 2.0])}
    b = {"w": torch.tensor([1.0, 2.0]), "v": torch.tensor([2.0, 1.0])}
    for winner in ("w", "v"):
        found = sn.align(a, b, graph, importance={winner: 3.0})
        assert found.distances[winner][1] == 0.0


def test_outputs_that_are_not_finite_are_never_the_same() -> None:
    graph = sn.catalogue.mlp([2, 3, 1])
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    weights = model.state_dict()
    broken = weights | {"2.bias": torch.tensor([float("nan")])}
    x = (torch.randn(4, 2),)
    assert same_function(model, graph, weights, weights, x, "nothing", 1e-10).passed
    assert not same_function(model, graph, weights, broken, x, "breaking", 1e-10).passed
    assert not same_function(model, graph, broken, broken, x, "breaking", 1e-10).passed
