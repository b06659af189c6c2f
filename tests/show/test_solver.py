"""The explorer's solver in JavaScript finds the same orbits, counts and words as symnet, on many architectures."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symnet as sn
from symnet.show import label_matrix
from symnet.show.architecture_page import read_asset
from tests.cases import GRAPHS
from tests.random_graphs import random_graph

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no JavaScript engine: node is not installed")
MOST = 60  # weights of a graph; the matrix has the square of it
CATALOGUE = {
    "mlp": sn.catalogue.mlp([2, 3, 2]),
    "cnn": sn.catalogue.cnn([1, 2, 2], kernel_size=2, classes=2),
    "rnn": sn.catalogue.rnn(2, 3),
    "attention": sn.catalogue.attention(2, 2, head_size=1),
    "grouped queries": sn.catalogue.grouped_query_attention(2, 2, 1, head_size=1),
    "experts": sn.catalogue.experts(2, 3, 2),
}
RANDOM = {f"random {seed}": random_graph(seed, most=20) for seed in range(110)}
ALL = {
    name: graph
    for name, graph in (GRAPHS | CATALOGUE | RANDOM).items()
    if graph.weights.size <= MOST
}

RUN = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answers = cases.map(({ text, entries }) => {
  try {
    const graph = parseGraph(text);
    const found = solve(graph);
    const order = orderOf(graph);
    return {
      text: printGraph(graph), labels: [...found.labels], signs: [...found.signs], dimension: found.dimension,
      sizes: found.orbits.map((orbit) => orbit.size), order: order === null ? null : String(order),
      burnside: countByBurnside(found),
      words: entries.map(([row, column]) => describeEntry(found, row, column)),
      lie: [...graph.neurons.keys()].reduce((sum, name) => sum + copiesOf(graph, name) * lieDimension(graph.neurons.get(name)), 0),
      diagrams: found.mixed ? found.orbits.map((orbit) => orbit.entries) : null,
      between: found.tensors.map((ours) => found.tensors.map((theirs) => countBetween(found, ours, theirs))),
    };
  } catch (error) {
    if (!(error instanceof NotationError || error instanceof TooLarge)) throw error;
    return { error: error.message, line: error.line, column: error.column };
  }
});
process.stdout.write(JSON.stringify(answers));
"""


def run_solver(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the page's own files answer, run outside a browser."""
    program = folder / "solver.cjs"
    program.write_text(
        "\n".join([*map(read_asset, ("notation.js", "solver.js", "diagrams.js", "words.js")), RUN]),
        encoding="utf-8",
    )
    result = subprocess.run(
        [str(NODE), str(program)], input=json.dumps(cases), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def in_reading_order(labels: np.ndarray, bands: list[range]) -> np.ndarray:
    """The same orbits, numbered where they are first met: block after block, row after row."""
    numbers: dict[int, int] = {-1: -1}
    for rows in bands:
        for columns in bands:
            for label in (
                labels[rows.start : rows.stop, columns.start : columns.stop].reshape(-1).tolist()
            ):
                numbers.setdefault(label, len(numbers) - 1)
    return np.vectorize(numbers.__getitem__, otypes=[np.int64])(labels)


@cache
def labels_of(name: str) -> np.ndarray:
    pattern = label_matrix(sn.derive(ALL[name]))
    return in_reading_order(pattern.labels, list(pattern.rows.values()))


def one_entry_an_orbit(labels: np.ndarray) -> list[list[int]]:
    """The last entry of every orbit (the first ones are those that both sides number by)."""
    reverse = labels.reshape(-1)[::-1]
    found, at = np.unique(reverse, return_index=True)
    places = np.unravel_index(labels.size - 1 - at[found >= 0], labels.shape)
    return np.stack(places, axis=-1).tolist()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    cases = [
        {"text": str(graph), "entries": one_entry_an_orbit(labels_of(name))}
        for name, graph in ALL.items()
    ]
    return dict(zip(ALL, run_solver(cases, tmp_path_factory.mktemp("solver")), strict=True))


def test_there_are_many_architectures() -> None:
    """Every kind of group, parents, products, concatenations, and sets with several parents."""
    texts = "\n".join(map(str, ALL.values()))
    kinds = (
        "Symmetric(",
        "SignedSymmetric(",
        "Fixed(",
        "Cyclic(",
        "Dihedral(",
        "Generated(",
        " over ",
        " + ",
        ", v",
    )
    assert len(ALL) >= 100 and all(kind in texts for kind in kinds)


def test_orbits_are_pythons(answers: dict[str, dict[str, Any]]) -> None:
    """Union-find over generators and the closed form tie the same weights."""
    for name, graph in ALL.items():
        size = graph.weights.size
        assert "labels" in answers[name], (name, answers[name], graph)
        found = np.array(answers[name]["labels"], dtype=np.int64).reshape(size, size)
        np.testing.assert_array_equal(found, labels_of(name), err_msg=f"{name}\n{graph}")


def test_counts_are_pythons(answers: dict[str, dict[str, Any]]) -> None:
    """Dimension, orbit sizes, the group's order, and Burnside's count where the group is small enough to list."""
    counted = 0
    for name, graph in ALL.items():
        answer, labels = answers[name], labels_of(name)
        assert answer["dimension"] == sn.derive(graph).dimension, name
        assert (
            answer["sizes"]
            == np.bincount(labels[labels >= 0], minlength=answer["dimension"]).tolist()
        ), name
        assert answer["order"] in (None, str(graph.order)), name
        assert answer["burnside"] in (None, answer["dimension"]), name
        counted += answer["burnside"] is not None
    assert counted >= 60


def test_words_are_pythons(answers: dict[str, dict[str, Any]]) -> None:
    """Every orbit of every architecture is told in the sentence that ``describe`` writes."""
    for name, graph in ALL.items():
        maps = sn.derive(graph)
        places = [(tensor, k) for tensor, space in graph.weights.items() for k in range(space.size)]
        entries = one_entry_an_orbit(labels_of(name))
        expected = []
        for row, column in entries:
            (output, i), (input, j) = places[row], places[column]
            expected.append(maps.between(output, input).describe(i, j))
        assert answers[name]["words"] == expected, f"{name}\n{graph}"


def test_texts_are_printed_back(answers: dict[str, dict[str, Any]]) -> None:
    """So that the page finds what symnet solved beforehand."""
    assert [answers[name]["text"] for name in ALL] == [str(graph) for graph in ALL.values()]


def test_signs_leave_the_matrix_invariant(answers: dict[str, dict[str, Any]]) -> None:
    """A random matrix with these labels and signs commutes with random elements of the signed group."""
    rng = np.random.default_rng(0)
    signed = {name: graph for name, graph in ALL.items() if "Signed" in str(graph)}
    assert len(signed) >= 8
    for name, graph in signed.items():
        size = graph.weights.size
        labels = labels_of(name)
        coefficients = np.append(rng.normal(size=answers[name]["dimension"]), 0.0)
        matrix = coefficients[labels] * np.array(answers[name]["signs"]).reshape(size, size)
        element = graph.random_element(seed=1)
        x = rng.normal(size=size)
        before, after = (act_flat(graph, element, value) for value in (x, matrix @ x))
        np.testing.assert_allclose(matrix @ before, after, atol=1e-10, err_msg=name)


def act_flat(graph: sn.NeuronGraph, element: Any, flat: np.ndarray) -> np.ndarray:
    stops = np.cumsum([space.size for space in graph.weights.values()])[:-1]
    parts = np.split(flat, stops)
    tensors = {
        n: part.reshape(graph.shapes[n]) for n, part in zip(graph.weights, parts, strict=True)
    }
    moved = graph.act(element, tensors)
    return np.concatenate([moved[name].reshape(-1) for name in graph.weights])


WRONG = [
    "neurons\n  in Fixed(2)\n",
    "neurons\n  h: Symmetric(0)\n",
    "neurons\n  h: Symmetric(3) over nobody\n",
    "neurons\n  h: Permuted(3)\n",
    "neurons\n  h: Generated(3, [[1, 1, 0]])\n",
    "neurons\n  a: Symmetric(2) over b\n  b: Symmetric(2) over a\n",
    "neurons\n  h: Symmetric(3)\n  h: Symmetric(3)\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: (h\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: h)\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: (h + )\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: h 0\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: k\n",
    "neurons\n  h: Symmetric(3)\n  d: Symmetric(2) over h\ntensors\n  w: d\n",
    "neurons\n  h: Symmetric(3)\n  d: Symmetric(2) over h\ntensors\n  w: d h h\n",
    "neurons\n  h: Symmetric(3)\naliases\n  a: b\n",
    "  h: Symmetric(3)\n",
    "weights\n  h: Symmetric(3)\n",
    "neurons\n  h: Symmetric(x)\n",
    "neurons\n  h: Symmetric(3)\n  d: Symmetric(2) over h, nobody\ntensors\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: h\naliases\n  a: b\n",
    "neurons\n  h: Symmetric(3)\ntensors\n  w: h\naliases\n  w: w\n",
    "tensors\n  w: h (2 + kk)\nneurons\n  h: Symmetric(3)\n",
    "neurons\n  h: Symmetric(3) over h\ntensors\n",
]


def test_wrong_texts_are_refused_by_both(tmp_path: Path) -> None:
    """Nothing is drawn for a text that symnet refuses; where symnet names a line, the page names the same, and for undeclared names the same column."""
    found = run_solver([{"text": text, "entries": []} for text in WRONG], tmp_path)
    for text, answer in zip(WRONG, found, strict=True):
        with pytest.raises(sn.SymnetError) as refused:
            sn.parse(text)
        assert "error" in answer, text
        if str(refused.value).startswith("line"):
            assert str(refused.value).partition(",")[0] == f"line {answer['line']}", (text, answer)
        if "declared" in str(refused.value) and "column" in str(refused.value):
            assert f"column {answer['column']}:" in str(refused.value), (text, answer)


def test_what_is_too_large_to_see_is_refused(tmp_path: Path) -> None:
    (answer,) = run_solver(
        [{"text": str(sn.catalogue.mlp([2, 32, 32, 1])), "entries": []}], tmp_path
    )
    assert "weights; this page shows up to 400" in answer["error"]
