"""The explorer's solver knows signs, scales, rotations and invertible maps: its diagrams are bases of the same spaces."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

import symnet as sn
from symnet.testing.strategies import EVERY_GROUP, graphs
from tests.show.test_solver import act_flat, run_solver

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None, reason="no JavaScript engine: node is not installed"
)

GROUPS: dict[str, list[sn.Group]] = {
    "S": [sn.Symmetric(2), sn.Symmetric(3), sn.Symmetric(4)],
    "H": [sn.SignedSymmetric(2), sn.SignedSymmetric(4)],
    "M": [sn.Scaled(2), sn.Scaled(4)],
    "O": [sn.Orthogonal(2), sn.Orthogonal(3), sn.Orthogonal(4)],
    "B": [sn.Orthogonal(n, fixes_mean=True) for n in (2, 3, 4)],
    "GL": [sn.GeneralLinear(2), sn.GeneralLinear(3), sn.GeneralLinear(4)],
}
TENSORS = {"1": "", "x": "x", "xx": "x x", "xx*": "x x*", "xxx": "x x x"}
# Dimensions of the maps between them, worked out by null spaces of random group elements (docs/theory/every-group.md tells the rule).
TABLE = {
    ("x", "x"): [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1],
    ("1", "xx"): [2, 2, 2, 1, 1, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0],
    ("1", "xx*"): [2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1],
    ("xx*", "xx*"): [8, 14, 15, 4, 4, 3, 3, 3, 3, 3, 8, 10, 10, 2, 2, 2],
    ("x", "xx"): [4, 5, 5, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 0, 0, 0],
    ("xxx", "xxx"): [32, 122, 187, 16, 31, 10, 16, 10, 15, 15, 32, 71, 76, 5, 6, 6],
}
LAYERS = {
    "MLP": (114, sn.catalogue.mlp([2, 5, 4, 2])),
    "scaled MLP": (19, sn.NeuronGraph(
        {"x": sn.Fixed(2), "h": sn.Scaled(5), "k": sn.Scaled(4), "y": sn.Fixed(2)},
        {"a": "h x", "b": "h", "c": "k h*", "d": "k", "e": "y k*", "f": "y"},
    )),
    "LoRA": (13, sn.NeuronGraph(
        {"in": sn.Fixed(3), "r": sn.GeneralLinear(4), "out": sn.Fixed(2)}, {"A": "r in", "B": "out r*"}
    )),
    "state space": (10, sn.NeuronGraph(
        {"s": sn.GeneralLinear(4), "in": sn.Fixed(2), "out": sn.Fixed(2)}, {"A": "s s*", "B": "s in", "C": "out s*"}
    )),
    "GL, two and four strands": (26, sn.NeuronGraph({"s": sn.GeneralLinear(2)}, {"a": "s s*", "b": "s s s* s*"})),
    "O, two and four strands": (58, sn.NeuronGraph({"s": sn.Orthogonal(2)}, {"a": "s s", "b": "s s s s"})),
    "attention": (11, sn.NeuronGraph(
        {"m": sn.Orthogonal(5), "head": sn.Symmetric(3), "qk": sn.NeuronSet(sn.GeneralLinear(2), "head"),
         "vo": sn.NeuronSet(sn.GeneralLinear(2), "head")},
        {"q": "(head qk) m", "k": "(head qk*) m", "v": "(head vo) m", "o": "m (head vo*)", "h": "head", "mm": "m m"},
    )),
    "SwiGLU": (11, sn.NeuronGraph(
        {"m": sn.Orthogonal(4), "f": sn.Scaled(5)}, {"gate": "f. m", "up": "f m", "down": "m f*", "s": "f.", "mm": "m m"}
    )),
    "finite": (0, sn.NeuronGraph({"m": sn.Orthogonal(1), "k": sn.Orthogonal(2, fixes_mean=True)}, {})),
}  # fmt: skip


def solved(collection: list[sn.NeuronGraph], folder: Path) -> list[dict[str, Any]]:
    answers = run_solver([{"text": str(graph), "entries": []} for graph in collection], folder)
    for graph, answer in zip(collection, answers, strict=True):
        assert answer.get("text") == str(graph), (answer.get("error"), graph)
    return answers


def test_dimensions_of_one_set(tmp_path: Path) -> None:
    """The table, for every group and size."""
    collection = [
        sn.NeuronGraph({"x": group}, TENSORS) for groups in GROUPS.values() for group in groups
    ]
    answers = solved(collection, tmp_path)
    names = list(TENSORS)
    for (input, output), expected in TABLE.items():
        counts = [one["between"][names.index(output)][names.index(input)] for one in answers]
        assert counts == expected, (input, output)


def test_few_neurons(tmp_path: Path) -> None:
    """Diagrams that depend on one another are not counted twice."""
    one = [sn.NeuronGraph({"r": sn.GeneralLinear(n)}, {"x": "r r r r"}) for n in (1, 2, 3, 4)]
    two = [sn.NeuronGraph({"r": sn.Orthogonal(n)}, {"x": "r r r r"}) for n in (1, 2, 3, 4)]
    dimensions = [answer["dimension"] for answer in solved(one + two, tmp_path)]
    assert dimensions == [1, 14, 23, 24, 1, 35, 91, 105]


def test_whole_layers(tmp_path: Path) -> None:
    """Several sets, parents and marks; orders and Lie dimensions."""
    answers = solved([graph for _, graph in LAYERS.values()], tmp_path)
    for (name, (dimension, graph)), answer in zip(LAYERS.items(), answers, strict=True):
        assert answer["dimension"] == dimension == sn.derive(graph).dimension, name
        assert float(answer["order"]) == graph.order and answer["lie"] == graph.dimension, name


def random_graphs(count: int) -> list[sn.NeuronGraph]:
    drawn: list[sn.NeuronGraph] = []

    @settings(max_examples=count, phases=[Phase.generate], derandomize=True, database=None,
              deadline=None, suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(graphs(max_sets=3, max_size=3, max_entries=24, kinds=EVERY_GROUP))
    def collect(graph: sn.NeuronGraph) -> None:
        if graph.weights.size <= 40:
            drawn.append(graph)

    collect()
    return drawn


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[sn.NeuronGraph, dict[str, Any]]]:
    collection = random_graphs(130)
    texts = "\n".join(map(str, collection))
    assert all(f"{kind}(" in texts for kind in EVERY_GROUP)
    marks = ("*", ".", " & ", " | ", " + ", "fixes_mean=True", " over ")
    assert all(mark in texts for mark in marks), [mark for mark in marks if mark not in texts]
    return list(zip(collection, solved(collection, tmp_path_factory.mktemp("drawn")), strict=True))


def test_random_spaces_have_pythons_dimensions(
    drawn: list[tuple[sn.NeuronGraph, dict[str, Any]]],
) -> None:
    """Between every two tensors, and in all; orders too."""
    for graph, answer in drawn:
        maps = sn.derive(graph)
        expected = [
            [maps.between(output, input).dimension for input in graph.weights]
            for output in graph.weights
        ]
        assert answer["between"] == expected, graph
        assert answer["order"] is None or float(answer["order"]) == graph.order, graph
        assert answer["lie"] == graph.dimension, graph


def test_the_drawn_entries_are_equivariant_maps(
    drawn: list[tuple[sn.NeuronGraph, dict[str, Any]]],
) -> None:
    """A random sum of them commutes with a random element, and none depends on the others: with the right number, a basis."""
    rng = np.random.default_rng(0)
    mixed = 0
    for graph, answer in drawn:
        size = graph.weights.size
        maps = np.stack([np.zeros(size * size), *filled(answer, size)])[1:]
        assert (
            np.linalg.matrix_rank(maps) == answer["dimension"]
            if len(maps)
            else answer["dimension"] == 0
        ), graph
        matrix = np.tensordot(rng.normal(size=len(maps)), maps, 1).reshape(size, size)
        element = graph.random_element(seed=1)
        x = rng.normal(size=size)
        before, after = (act_flat(graph, element, value) for value in (x, matrix @ x))
        np.testing.assert_allclose(matrix @ before, after, atol=1e-9, rtol=1e-9, err_msg=str(graph))
        mixed += answer["diagrams"] is not None
    assert mixed >= 40


def filled(answer: dict[str, Any], size: int) -> list[np.ndarray]:
    """Every map as its entries: 1 or -1 where it fills one."""
    signs, labels = np.array(answer["signs"]), np.array(answer["labels"])
    if answer["diagrams"] is None:
        return [signs * (labels == number) for number in range(answer["dimension"])]
    rows = np.zeros((answer["dimension"], size * size))
    for row, entries in zip(rows, answer["diagrams"], strict=True):
        row[entries] = signs[entries]
    return list(rows)


WRONG = [
    ("neurons\n  m: Orthogonal(3)\ntensors\n  w: 2 m.\n", 4, 8),
    ("neurons\n  r: GeneralLinear(3)\ntensors\n  w: r r* (2 + r.)\n", 4, 16),
    ("neurons\n  m: Orthogonal(3)\n  h: Symmetric(2) over m\ntensors\n", 3, 24),
    ("neurons\n  h: Scaled(3)\ntensors\n  w: h k*\n", 4, 8),
    ("neurons\n  h: Scaled(3)\ntensors\n  w: h**\n", 4, 6),
    ("neurons\n  h: Scaled(3)\ntensors\n  w: h 3*\n", 4, 8),
    ("neurons\n  h*: Scaled(3)\ntensors\n", 2, 3),
    ("neurons\n  h: Scaled(3, fixes_mean=True)\ntensors\n", 2, 6),
    ("neurons\n  h: Orthogonal(3, fixes_mean=2)\ntensors\n", 2, 6),
    ("neurons\n  h: Orthogonal(0)\ntensors\n", 2, 6),
]


def test_what_the_notation_refuses_is_refused_in_its_place(tmp_path: Path) -> None:
    """Both refuse it; the page names line and column."""
    answers = run_solver([{"text": text, "entries": []} for text, _, _ in WRONG], tmp_path)
    for (text, line, column), answer in zip(WRONG, answers, strict=True):
        with pytest.raises(sn.SymnetError):
            sn.parse(text)
        assert (answer.get("line"), answer.get("column")) == (line, column), (text, answer)


def test_too_many_diagrams_are_refused(tmp_path: Path) -> None:
    graph = sn.NeuronGraph({"m": sn.Orthogonal(2)}, {"x": "m m m m m m"})
    (answer,) = run_solver([{"text": str(graph), "entries": []}], tmp_path)
    assert "Orthogonal(2) has more than 800 diagrams of 12 strands" in answer["error"]
