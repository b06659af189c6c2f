"""Signs, scales, rotations and invertible maps: the derived maps are what commutes with random elements, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import symnet as sn
from symnet import testing
from symnet.graph import Space
from symnet.sharing.matchings import count_matchings, mean_of_traces
from tests.null_spaces import commuting_matrices

GROUPS = {
    "S": sn.Symmetric,
    "H": sn.SignedSymmetric,
    "M": sn.Scaled,
    "O": sn.Orthogonal,
    "B": lambda n: sn.Orthogonal(n, fixes_mean=True),
    "GL": sn.GeneralLinear,
}
COLUMNS = [
    "S2",
    "S3",
    "S4",
    "H2",
    "H4",
    "M2",
    "M4",
    "O2",
    "O3",
    "O4",
    "B2",
    "B3",
    "B4",
    "GL2",
    "GL3",
    "GL4",
]
TABLE = {
    ("x", "x"): [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1],
    ("", "x x"): [2, 2, 2, 1, 1, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0],
    ("", "x x*"): [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1],
    ("x x*", "x x*"): [8, 14, 15, 4, 4, 3, 3, 3, 3, 3, 8, 10, 10, 2, 2, 2],
    ("x x x* x*", ""): [8, 14, 15, 4, 4, 3, 3, 3, 3, 3, 8, 10, 10, 2, 2, 2],
    ("x", "x x"): [4, 5, 5, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 0, 0, 0],
    ("x x x", "x x x"): [32, 122, 187, 16, 31, 10, 16, 10, 15, 15, 32, 71, 76, 5, 6, 6],
}


def maps_between(group, source: str, target: str):
    graph = sn.NeuronGraph({"x": group}, {})
    return sn.derive(graph, inputs={"i": source}, outputs={"o": target})


def matrices_of(pattern) -> np.ndarray:
    """The diagrams as matrices, flattened: ``(maps, output size * input size)``."""
    maps = [pattern.entries(d) == d.offset + k for d in pattern.diagrams for k in range(d.count)]
    return np.array(maps, dtype=float).reshape(len(maps), pattern.output.size * pattern.input.size)


def gram_rank(pattern) -> int:
    """Rank of the diagrams' inner products, each n to the number of blocks of the join."""
    flat = matrices_of(pattern)
    return int(np.linalg.matrix_rank(flat @ flat.T)) if len(flat) else 0


@pytest.mark.parametrize(("source", "target"), TABLE)
def test_the_table_of_dimensions(source, target) -> None:
    """Closed form, means over the group, listed diagrams, and their rank all agree with the published numbers."""
    for column, expected in zip(COLUMNS, TABLE[source, target], strict=True):
        n = int(column[-1])
        maps = maps_between(GROUPS[column[:-1]](n), source, target)
        pattern = maps.between("o", "i")
        counts = maps.dimension, maps.dimension_by_burnside, sum(d.count for d in pattern.diagrams)
        assert counts == (expected,) * 3, column
        if n ** len((source + target).replace("*", "").replace(" ", "")) <= 729:
            assert gram_rank(pattern) == expected, column


@pytest.mark.parametrize(("make", "expected"), [("GL", (1, 14, 23, 24)), ("O", (1, 35, 91, 105))])
def test_eight_strands(make, expected) -> None:
    for n, count in enumerate(expected, start=1):
        maps = maps_between(GROUPS[make](n), "x x x x", "x x x x")
        assert (
            maps.dimension
            == maps.dimension_by_burnside
            == len(maps.between("o", "i").diagrams)
            == count
        )
        if n == 2:
            assert gram_rank(maps.between("o", "i")) == count


@pytest.mark.parametrize("group", [*(g(n) for g in GROUPS.values() for n in (1, 2, 3))], ids=repr)
@pytest.mark.parametrize(
    ("source", "target"), [("x", "x"), ("x x*", "x"), ("x x*", "x x*"), ("x x", ""), ("x", "x*")]
)
def test_derived_maps_span_what_commutes_with_random_elements(group, source, target) -> None:
    maps = maps_between(group, source, target)
    pattern = maps.between("o", "i")
    commuting = commuting_matrices(
        sn.NeuronGraph({"x": group}, {}), maps.outputs, "o", maps.inputs, "i"
    )
    assert len(commuting) == pattern.dimension
    check_span(pattern, commuting)


def check_span(pattern, commuting: np.ndarray) -> None:
    """Every diagram lies in the space of the commuting matrices, and they are independent."""
    derived = matrices_of(pattern)
    flat = commuting.reshape(len(commuting), derived.shape[1])
    if len(derived):
        assert np.abs(derived - derived @ flat.T @ flat).max() < 1e-6
        assert np.linalg.matrix_rank(derived) == len(derived)


@settings(max_examples=40)
@given(
    testing.graphs(kinds=testing.EVERY_GROUP, max_sets=3, max_size=3, max_tensors=2, max_entries=18)
)
def test_random_mixtures_are_derived_exactly(graph) -> None:
    """Copies over parents, mixtures of groups, n = 1, every degree: the dimension is that of the null space."""
    check_exact(graph, limit=350)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    testing.graphs(kinds=testing.EVERY_GROUP, max_sets=4, max_size=4, max_tensors=2, max_entries=48)
)
def test_many_random_mixtures_are_derived_exactly(graph) -> None:
    check_exact(graph, limit=1200)


def check_exact(graph: sn.NeuronGraph, limit: int) -> None:
    maps = sn.derive(graph)
    total = 0
    for s, t in maps.pairs():
        pattern = maps.between(s, t)
        total += pattern.dimension
        assert (
            pattern.dimension
            == pattern.dimension_by_burnside
            == sum(d.count for d in pattern.diagrams)
        )
        if pattern.output.size * pattern.input.size <= limit:
            commuting = commuting_matrices(graph, maps.outputs, s, maps.inputs, t)
            assert len(commuting) == pattern.dimension, (s, t)
            check_span(pattern, commuting)
    assert total == maps.dimension == maps.dimension_by_burnside


WHOLE = {
    "LoRA": (
        {"in": sn.Fixed(3), "r": sn.GeneralLinear(4), "out": sn.Fixed(2)},
        {"A": "r in", "B": "out r*"},
        13,
    ),
    "state space": (
        {"s": sn.GeneralLinear(4), "in": sn.Fixed(2), "out": sn.Fixed(2)},
        {"A": "s s*", "B": "s in", "C": "out s*"},
        10,
    ),
    "GL(2) tensors": ({"s": sn.GeneralLinear(2)}, {"A": "s s*", "B": "s s s* s*"}, 26),
    "O(2) tensors": ({"s": sn.Orthogonal(2)}, {"A": "s s", "B": "s s s s"}, 58),
    "attention": (
        {
            "head": sn.Symmetric(3),
            "qk": sn.NeuronSet(sn.GeneralLinear(2), over="head"),
            "vo": sn.NeuronSet(sn.GeneralLinear(2), over="head"),
            "m": sn.Orthogonal(5),
        },
        {
            "q": "(head qk) m",
            "k": "(head qk*) m",
            "v": "(head vo) m",
            "o": "m (head vo*)",
            "s": "head",
            "mm": "m m",
        },
        11,
    ),
    "SwiGLU": (
        {"m": sn.Orthogonal(4), "f": sn.Scaled(5)},
        {"gate": "f. m", "up": "f m", "down": "m f*", "s": "f.", "mm": "m m"},
        11,
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_layers(name) -> None:
    neurons, tensors, expected = WHOLE[name]
    maps = sn.derive(sn.NeuronGraph(neurons, tensors))
    assert maps.dimension == maps.dimension_by_burnside == expected


@pytest.mark.parametrize(("group", "expected"), [(sn.Symmetric, 114), (sn.Scaled, 19)])
def test_an_mlp_whose_neurons_scale(group, expected) -> None:
    graph = sn.NeuronGraph(
        {"x": sn.Fixed(2), "h1": group(5), "h2": group(4), "y": sn.Fixed(2)},
        {"w1": "h1 x", "b1": "h1", "w2": "h2 h1*", "b2": "h2", "w3": "y h2*", "b3": "y"},
    )
    maps = sn.derive(graph)
    assert maps.dimension == maps.dimension_by_burnside == expected


def test_signed_sets_are_a_row_of_the_table() -> None:
    """Their strands of degree 0 do not change sign: all maps of permutations; dual strands are like others."""
    graph = sn.NeuronGraph({"h": sn.SignedSymmetric(3)}, {"s": "h.", "w": "h h*"})
    assert sn.derive(graph).between("s", "s").dimension == 2
    assert sn.derive(graph).between("w", "w").dimension == 4
    assert sn.derive(graph).between("s", "w").dimension == 2  # the diagonal, and its mean


def test_sets_that_mix_neurons_have_no_orbits() -> None:
    maps = sn.derive(
        sn.NeuronGraph({"m": sn.Orthogonal(3), "h": sn.Scaled(2)}, {"w": "m h", "b": "h"})
    )
    with pytest.raises(sn.GraphError, match=r"Orthogonal\(3\) mixes the neurons of 'm'"):
        maps.between("w", "w").labels()
    with pytest.raises(sn.GraphError, match="fall into no orbits"):
        maps.between("w", "w").describe(0, 0)
    assert maps.between("b", "b").labels().tolist() == [[0, -1], [-1, 0]]


def test_both_counts_of_matchings_agree_and_grow_to_the_free_number() -> None:
    for n in range(1, 7):
        for k in range(9):
            for group in (sn.Orthogonal(n), sn.Orthogonal(n, fixes_mean=True)):
                assert count_matchings(group, (1,) * k) == mean_of_traces(group, (1,) * k)
            degrees = (1,) * (k // 2) + (-1,) * (k - k // 2)
            assert count_matchings(sn.GeneralLinear(n), degrees) == mean_of_traces(
                sn.GeneralLinear(n), degrees
            )
    assert (
        count_matchings(sn.Orthogonal(4096), (1,) * 12)
        == mean_of_traces(sn.Orthogonal(4096), (1,) * 12)
        == 10395
    )
    assert count_matchings(sn.GeneralLinear(4096), (1, -1) * 6) == 720


def test_spaces_are_drawn_with_marks() -> None:
    from hypothesis import find

    graph = sn.NeuronGraph({"a": sn.Scaled(2)}, {})
    assert find(testing.spaces(graph), lambda space: "." in space["s0"]) == {"s0": "a."}
    assert isinstance(Space(graph.neurons, {"t": "a* a."}), Space)
