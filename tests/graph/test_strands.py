"""Strands: degrees in the axis notation, and what scales, rotations and invertible maps do to arrays and tensors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import symnet as sn
from symnet.graph.notation import Symbol, parse_axes, print_axes

MIXED = sn.NeuronGraph(
    {
        "in": sn.Fixed(2),
        "h": sn.Scaled(3),
        "c": sn.NeuronSet(sn.SignedSymmetric(2), over="h"),
        "r": sn.NeuronSet(sn.GeneralLinear(2), over="h"),
        "m": sn.Orthogonal(3),
        "b": sn.NeuronSet(sn.Orthogonal(3, fixes_mean=True), over="c"),
    },
    {
        "w": "h in",
        "v": "in h*",
        "s": "h.",
        "q": "(h r) m",
        "k": "(h* r*) m",
        "j": "((h. c b) + m) (h* r*)",
        "t": "m m in",
    },
)


def test_marks_are_degrees() -> None:
    assert parse_axes("h h* h. (a* b)")[:3] == (Symbol("h"), Symbol("h", -1), Symbol("h", 0))
    assert print_axes(parse_axes("(h* + (a. b)) c")) == "(h* + (a. b)) c"
    assert sn.parse(str(MIXED)) == MIXED and sn.NeuronGraph(MIXED.neurons, {"v": "in h"}) != MIXED


def test_files_hold_degrees_and_groups(tmp_path) -> None:
    MIXED.save(tmp_path / "mixed.symnet")
    assert sn.load(tmp_path / "mixed.symnet") == MIXED
    assert "b: Orthogonal(3, fixes_mean=True) over c" in (tmp_path / "mixed.symnet").read_text()
    assert MIXED.rename({"h": "hidden"}).tensors["k"] == "(hidden* r*) m"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h**", "column 1: 'h\\*\\*' must be a name and one mark"),
        ("a h.*", "column 3: 'h.\\*' must be a name and one mark"),
        ("*", "column 1: '\\*' must be a name"),
        ("(a 3*)", "column 4: '3\\*' marks a whole number"),
    ],
)
def test_malformed_strands_are_refused_at_their_column(text, message) -> None:
    with pytest.raises(sn.NotationError, match=message):
        parse_axes(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "neurons\n  h: Scaled(3)\ntensors\n  a: h* k*",
            "line 4, column 9: no neuron set 'k' is declared",
        ),
        (
            "neurons\n  h: Orthogonal(3, mean=True)\ntensors",
            "line 2, column 6: the arguments of Orthogonal",
        ),
        ("neurons\n  h: Orthogonal(3)(4)\ntensors", "line 2, column 6"),
        (
            "neurons\n  h: Orthogonal(3, fixes_mean=2)\ntensors",
            "line 2, column 6: .*give True or False",
        ),
    ],
)
def test_malformed_files_say_where(text, message) -> None:
    with pytest.raises(sn.SymnetError, match=message):
        sn.parse(text)


@pytest.mark.parametrize(
    ("neurons", "tensors", "message"),
    [
        ({"h*": sn.Scaled(2)}, {}, "marks the degree of a strand"),
        ({"m": sn.Orthogonal(2)}, {"w": "m."}, "leaves no order of the neurons of 'm'"),
        (
            {"m": sn.GeneralLinear(2), "c": sn.NeuronSet(sn.Symmetric(2), over="m")},
            {},
            r"'c' is over 'm', but GeneralLinear\(2\) mixes",
        ),
    ],
)
def test_declarations_that_make_no_sense_are_refused(neurons, tensors, message) -> None:
    with pytest.raises(sn.GraphError, match=message):
        sn.NeuronGraph(neurons, tensors)


def test_order_and_dimension() -> None:
    assert MIXED.order == math.inf
    assert MIXED.dimension == 3 + 3 * 4 + 3 + 3 * 2 * 1
    assert sn.catalogue.mlp([2, 3, 1]).dimension == 0
    assert sn.NeuronGraph({"o": sn.Orthogonal(1), "h": sn.Symmetric(3)}, {}).order == 12


def random_weights(graph: sn.NeuronGraph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((2, *shape, 3)) for name, shape in graph.shapes.items()}


@pytest.mark.parametrize("seed", range(4))
def test_group_laws_and_action(seed) -> None:
    """(g h).x = g.(h.x), g^-1.(g.x) = x, on numpy arrays and torch tensors alike."""
    g, h = MIXED.random_element(seed), MIXED.random_element(seed + 100)
    x = random_weights(MIXED, seed)
    both, one = MIXED.act(g @ h, x, 1), MIXED.act(g, MIXED.act(h, x, 1), 1)
    back = MIXED.act(g.inverse(), MIXED.act(g, x, 1), 1)
    tensors = MIXED.act(g, {name: torch.from_numpy(array) for name, array in x.items()}, 1)
    for name, array in x.items():
        assert np.abs(both[name] - one[name]).max() < 1e-12
        assert np.abs(back[name] - array).max() < 1e-12
        assert np.abs(tensors[name].numpy() - MIXED.act(g, x, 1)[name]).max() < 1e-12
    assert g @ g.inverse() == MIXED.identity() == g.inverse() @ g and g != h
    assert hash(g @ g.inverse()) == hash(MIXED.identity())
    assert (g @ h).inverse() == h.inverse() @ g.inverse()
    assert all(g.moves(name) for name in ("h", "r", "m", "b")) and not MIXED.identity().moves("m")


def test_the_action_is_what_the_degrees_say() -> None:
    """h is multiplied, h* divided, h. left; m by A, r by A, r* by A^-T; each before its copy moves."""
    graph = sn.NeuronGraph(
        {"h": sn.Scaled(2), "r": sn.NeuronSet(sn.GeneralLinear(2), over="h")},
        {"a": "h", "b": "h*", "c": "h.", "d": "(h. r)", "e": "(h. r*)"},
    )
    swap, scales = np.array([1, 0]), np.array([2.0, 5.0])
    matrices = np.random.default_rng(0).standard_normal((2, 2, 2))
    element = sn.GroupElement(graph.neurons, {"h": swap}, {"h": scales}, {"r": matrices})
    x = {
        name: np.arange(1.0, 1 + n)
        for name, n in (("a", 2), ("b", 2), ("c", 2), ("d", 4), ("e", 4))
    }
    moved = graph.act(element, x)
    assert (
        np.allclose(moved["a"], [10, 2])
        and np.allclose(moved["b"], [0.4, 0.5])
        and np.allclose(moved["c"], [2, 1])
    )
    assert np.allclose(moved["d"], np.r_[matrices[1] @ [3, 4], matrices[0] @ [1, 2]])
    dual = np.linalg.inv(matrices).swapaxes(1, 2)
    assert np.allclose(moved["e"], np.r_[dual[1] @ [3, 4], dual[0] @ [1, 2]])


def test_the_action_can_be_differentiated_twice_and_keeps_dtypes() -> None:
    graph = sn.NeuronGraph({"m": sn.Orthogonal(3), "h": sn.Scaled(2)}, {"w": "h* m"})
    g = graph.random_element(0)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: graph.act(g, {"w": t})["w"] ** 2, (x,))
    assert graph.act(g, {"w": torch.randn(2, 3)})["w"].dtype == torch.float32
    assert graph.act(g, {"w": np.ones((2, 3), dtype=np.float32)})["w"].dtype == np.float32
    assert graph.act(g, {"w": torch.zeros(0, 2, 3)}, 1)["w"].shape == (0, 2, 3)
    for array in (np.ones((2, 3), dtype=np.int64), torch.ones(2, 3, dtype=torch.int64)):
        with pytest.raises(sn.ShapeError, match=r"acts on floating-point numbers, not .*int64"):
            graph.act(g, {"w": array})


@pytest.mark.parametrize(
    ("multipliers", "matrices", "message"),
    [
        ({"h": np.array([1.0, -1.0])}, {}, "expected positive numbers"),
        ({"h": np.ones(3)}, {}, "scales of 'h' have shape"),
        ({}, {"m": np.ones((2, 2))}, "expected elements of Orthogonal"),
        ({}, {"h": np.eye(2)}, "permutes neurons"),
        ({"m": np.ones(2)}, {}, "has none"),
    ],
)
def test_what_is_no_element_is_refused(multipliers, matrices, message) -> None:
    graph = sn.NeuronGraph({"m": sn.Orthogonal(2), "h": sn.Scaled(2)}, {})
    with pytest.raises(sn.GroupError, match=message):
        sn.GroupElement(graph.neurons, {"h": np.arange(2)}, multipliers, matrices)
    with pytest.raises(sn.GroupError, match="none of which moves"):
        sn.GroupElement(graph.neurons, {"h": np.arange(2), "m": np.array([1, 0])})
    with pytest.raises(sn.GroupError, match="no finite set of generators"):
        list(graph.generators())
