"""Axis notation and text form: what is printed is read back, and malformed text is refused with its place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symnet as sn
from symnet.graph.notation import (
    Anonymous,
    Symbol,
    alternatives,
    concatenation,
    interleaving,
    parse_axes,
    print_axes,
    product,
)
from tests.cases import GRAPHS
from tests.random_graphs import random_graph

leaves = st.sampled_from(["c", "h1", "layer1.0.conv1", "in"]).map(Symbol) | st.integers(1, 99).map(
    Anonymous
)
axes = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(product)
        | st.lists(inner, min_size=1, max_size=3).map(concatenation)
        | st.lists(inner, min_size=1, max_size=3).map(interleaving)
        | st.lists(inner, min_size=1, max_size=3).map(alternatives)
    ),
    max_leaves=8,
)


@given(st.lists(axes, max_size=4).map(tuple))
def test_parsing_what_was_printed_gives_the_same_axes(value) -> None:
    assert parse_axes(print_axes(value)) == value


@given(st.text(alphabet="ab 1()+&|#:", max_size=12))
def test_any_text_is_read_or_refused_with_a_column(text) -> None:
    try:
        value = parse_axes(text)
    except sn.NotationError as error:
        assert "column" in str(error)
    else:
        assert parse_axes(print_axes(value)) == value


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("(a", 1),
        ("a)", 2),
        ("( + a)", 3),
        ("(a + )", 6),
        ("a 0", 3),
        ("a:b", 2),
        ("(a & b + c)", 8),
        ("(a | )", 6),
        ("& a", 1),
    ],
)
def test_malformed_axes_are_refused_at_their_column(text, column) -> None:
    with pytest.raises(sn.NotationError, match=f"column {column}"):
        parse_axes(text)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_text_form_of_a_graph_is_read_back(name) -> None:
    assert sn.parse(str(GRAPHS[name])) == GRAPHS[name]


@given(st.integers(0, 10_000))
def test_random_graphs_are_read_back(seed) -> None:
    graph = random_graph(seed)
    assert sn.parse(repr(graph)) == graph


def test_files_hold_graphs(tmp_path) -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h"}, aliases={"b": "a"})
    graph.save(tmp_path / "net.symnet")
    assert sn.load(tmp_path / "net.symnet") == graph
    (tmp_path / "bad.symnet").write_text("neurons\n  h: Symmetric(3)\ntensors\n  a: h q)\n")
    with pytest.raises(sn.NotationError, match=r"bad\.symnet, line 4, column 6.*'\)'"):
        sn.load(tmp_path / "bad.symnet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  h: Symmetric(3)", "line 1, column 3: .*before any section"),
        ("neurons\n  h: Sym(3)", "line 2, column 6: .*not a group"),
        ("neurons\n  h: Symmetric(x)", "line 2, column 6"),
        (
            "neurons\n  h: Symmetric(3)\n  h: Symmetric(3)",
            "line 3, column 3: 'h' is declared twice",
        ),
        ("sets\n  h: 3", "line 1, column 1: 'sets' is not a section"),
        ("neurons\n  h", "line 2, column 3: expected 'name: ...'"),
    ],
)
def test_malformed_files_are_refused_with_line_and_column(text, message) -> None:
    with pytest.raises(sn.NotationError, match=message):
        sn.parse(text)


def test_comments_are_ignored() -> None:
    text = "# a network\nneurons  # sets\n  h: Symmetric(3)\ntensors\n  a: h h  # square\n"
    assert sn.parse(text) == sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h h"})


# ---- what the joins mean ------------------------------------------------------------------------------------------
def entries(graph: sn.NeuronGraph, name: str) -> np.ndarray:
    """Every entry of a tensor that holds its own number, moved by an element that swaps the first two of 'a'."""
    swap = graph.identity()
    while not swap.moves("a"):
        swap = graph.random_element(only=["a"])
    numbers = np.arange(math.prod(graph.shapes[name])).reshape(graph.shapes[name])
    return graph.act(swap, {name: numbers})[name]


def test_interleaved_positions_take_turns() -> None:
    graph = sn.NeuronGraph(
        {"a": sn.Symmetric(2), "b": sn.Symmetric(2)}, {"t": "(a & b)", "u": "(a & b & 2)"}
    )
    assert entries(graph, "t").tolist() == [2, 1, 0, 3]
    assert entries(graph, "u").tolist() == [3, 1, 2, 0, 4, 5]


def test_an_alternative_belongs_to_its_part() -> None:
    graph = sn.NeuronGraph(
        {"a": sn.Symmetric(2), "b": sn.Symmetric(2)},
        {"t": "(1 + 2) (a | b)", "u": "(b | a) (1 + 1)"},
    )
    assert entries(graph, "t").tolist() == [[1, 0], [2, 3], [4, 5]]
    assert entries(graph, "u").tolist() == [[0, 3], [2, 1]]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("(a & c)", r"parts of 2, 3 positions.*one size"),
        ("(a + b) (a | c)", r"parts of 2, 3 positions"),
        ("(a | b)", "no other axis is joined of so many parts"),
        ("(a + b + c) (a | b)", "no other axis is joined of so many parts"),
    ],
)
def test_joins_that_do_not_fit_are_refused(axes: str, message: str) -> None:
    with pytest.raises(sn.GraphError, match=message):
        sn.NeuronGraph(
            {"a": sn.Symmetric(2), "b": sn.Symmetric(2), "c": sn.Symmetric(3)}, {"t": axes}
        )
