"""The equations are read back: every term, parsed from its LaTeX, is the map that the layer computes."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser

import symnet as sn
from symnet.sharing import SharingPattern
from tests.cases import GRAPHS

BODY = re.compile(r"\\begin\{align\*\}\n(.*?)\n\\end\{align\*\}", re.DOTALL)
INDEX = re.compile(r"\\bullet(?:_\{\d+\})?|[a-z](?:_\{\d+\})?'?")
TERM = re.compile(
    r"(?:\\sum_\{(?P<sums>[^}]*)\} )?(?P<letter>[ab])_\{(?P<number>\d+)\}(?:\^\{(?P<upper>(?:\\langle |\\rangle|[^{}])*)\})?"
    r" ?(?P<deltas>(?:\\delta_\{[^}]*\} ?)*)(?P<mean>\\overline\{X\}|X)?(?:\^\{\\text\{(?P<name>(?:\\.|[^{}])*)\}(?:,(?P<block>\d+))?\})?"
    r"(?:_\{(?P<indices>(?:[^{}]|_\{\d+\})*)\})?$"
)


def equations(latex: str) -> list[tuple[str, list[str]]]:
    """Left sides and the terms on the right of the first environment."""
    found = []
    for line in BODY.findall(latex)[0].replace("\\\\\n&\\quad ", "").split(" \\\\\n"):
        left, right = line.split(" &= ")
        found.append((left, right.split(" + ")))
    return found


def unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def matrix_of(
    term: re.Match[str], left: list[str], pattern: SharingPattern
) -> dict[tuple[int, ...], np.ndarray]:
    """For every value of a coefficient's upper indices the matrix that the term's formula says."""
    ours, theirs = pattern.output_dims[0], pattern.input_dims[0]
    given, upper = (
        INDEX.findall(term["indices"] or ""),
        INDEX.findall(re.sub(r"\\[lr]angle", "", term["upper"] or "")),
    )
    deltas = [INDEX.findall(delta) for delta in re.findall(r"\\delta_\{([^}]*)\}", term["deltas"])]
    dots = {
        letter: theirs.dims[k].size
        for k, letter in enumerate(given)
        if letter.startswith("\\bullet_")
    }
    count = np.prod(
        [
            *dots.values(),
            *(theirs.dims[k].size for k, letter in enumerate(given) if letter == "\\bullet"),
        ]
    )
    result: dict[tuple[int, ...], np.ndarray] = {}
    for row, place in enumerate(np.ndindex(ours.shape)):
        values = dict(zip(left, place, strict=True))
        if any(values[a] != values[b] for a, b in deltas):
            continue
        for column, other in enumerate(np.ndindex(theirs.shape)):
            known = dict(values)
            if all(
                letter == "\\bullet" or known.setdefault(letter, v) == v
                for letter, v in zip(given, other, strict=True)
            ):
                key = tuple(known[letter] for letter in upper)
                empty = np.zeros((ours.size, theirs.size))
                result.setdefault(key, empty)[row, column] = 1 / count
    return result


@pytest.mark.parametrize(
    "name", [n for n in GRAPHS if all(len(t.blocks) == 1 for t in GRAPHS[n].weights.values())]
)
def test_every_term_is_the_map_it_says(name: str) -> None:
    """Term number k, read from its LaTeX, is diagram number k divided by what it averages."""
    maps = sn.derive(GRAPHS[name])
    lines = dict(zip(maps.outputs, equations(maps.latex()), strict=True))
    for s, (left, terms) in lines.items():
        indices = INDEX.findall(re.sub(r"^Y\^\{\\text\{(?:\\.|[^{}])*\}\}", "", left))
        written = [TERM.match(term) for term in terms if term != "0"]
        assert all(written), terms
        by_input: dict[str, list[re.Match[str]]] = {}
        for term in written:
            if term["letter"] == "a":
                by_input.setdefault(unescape(term["name"]), []).append(term)
        for t in maps.inputs:
            pattern = maps.between(s, t)
            assert len(by_input.get(t, [])) == len(pattern.diagrams)
            for term, placed in zip(by_input.get(t, []), pattern.diagrams, strict=True):
                assert_is_diagram(matrix_of(term, indices, pattern), placed, pattern)


def assert_is_diagram(matrices, placed, pattern: SharingPattern) -> None:
    """The matrices of a term, added up where an orbit ties them, are those of the diagram's parameters."""
    rows, columns = np.indices((pattern.output.size, pattern.input.size)).reshape(2, -1)
    labels = pattern.evaluate(placed, rows, columns).reshape(
        pattern.output.size, pattern.input.size
    )
    found = sum(matrices.values()) * placed.diagram.input.dropped_size
    np.testing.assert_allclose(found * (labels >= 0), labels >= 0)
    if placed.diagram.is_free:
        np.testing.assert_allclose(found, labels >= 0)
        assert len(matrices) == placed.count


@pytest.mark.parametrize("name", GRAPHS)
def test_biases_are_counted_in_the_equations(name: str) -> None:
    """Every equivariant bias stands in its tensor's equation; where no position is fixed, they are as many as the maps from a scalar."""
    maps = sn.derive(GRAPHS[name])
    found = [
        term for _, terms in equations(maps.latex()) for term in terms if term.startswith("b_")
    ]
    single = [term for term in found if "^" not in term]
    if len(single) == len(found):
        assert len(found) == maps.bias_dimension
    assert bool(found) == bool(maps.bias_dimension)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_latex_can_be_set(name: str) -> None:
    """Every cell of every line is accepted by a typesetter of TeX mathematics, and braces and environments close."""
    latex, parser = sn.derive(GRAPHS[name]).latex(), MathTextParser("path")
    environments = BODY.findall(latex)
    assert latex == "\n".join(
        f"\\begin{{align*}}\n{body}\n\\end{{align*}}" for body in environments
    )
    cells = [cell.strip() for body in environments for cell in re.split(r"\\\\\n|&&|&", body)]
    for text in dict.fromkeys(filter(None, (cell.lstrip(":=").strip() for cell in cells))):
        parser.parse(f"${text}$")


def test_names_are_escaped() -> None:
    """A name with signs that mean something to TeX is printed as it is."""
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, {r"a_b%cd&e$f{g}^~\h": "h"})
    latex = sn.derive(graph).latex()
    assert (
        r"\text{a\_b\%cd\&e\$f\{g\}\textasciicircum{}\textasciitilde{}\textbackslash{}h}" in latex
    )


@pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="no LaTeX engine; the parser above stands in"
)
def test_a_latex_engine_accepts_it(tmp_path: Path) -> None:
    body = "\n".join(sn.derive(graph).latex() for graph in GRAPHS.values())
    text = f"\\documentclass{{article}}\\usepackage{{amsmath}}\\begin{{document}}\n{body}\n\\end{{document}}"
    (tmp_path / "all.tex").write_text(text)
    subprocess.run(
        ["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True, capture_output=True
    )


def test_means_are_named() -> None:
    """The paper's words: row mean, column mean, total mean; diagonals of a set that occurs twice."""
    latex = sn.derive(GRAPHS["mlp permuted"]).latex()
    assert all(f"\\text{{{kind} mean, over" in latex for kind in ("row", "column", "total"))
    latex = sn.derive(GRAPHS["recurrent"]).latex()
    assert "\\text{mean over h, on the diagonal of h}" in latex and "\\delta_{" in latex


def test_one_definition_for_every_mean() -> None:
    """Each mean that occurs is defined once, with the number that it averages."""
    latex = sn.derive(
        sn.NeuronGraph({"h": sn.Symmetric(5), "k": sn.Symmetric(3)}, {"w": "h k"})
    ).latex()
    definitions = BODY.findall(latex)[1].split("\\\\\n")
    assert sorted(re.findall(r"\\frac\{1\}\{(\d+)\}", BODY.findall(latex)[1])) == ["15", "3", "5"]
    assert len(definitions) == len({line.split(":=")[0] for line in definitions}) == 3


def test_adjacent_maps_have_shorter_equations() -> None:
    """Maps that ``interactions`` leaves out are neither in the table's total nor in the equations."""
    maps = sn.derive(sn.catalogue.mlp([2, 3, 3, 3, 1]), interactions="adjacent")
    assert "." in maps.summary().splitlines()[3].split()
    assert str(maps.dimension) == maps.summary().split()[-1]
    terms = [term for _, terms in equations(maps.latex()) for term in terms]
    assert sum("a_{" in term for term in terms) == sum(
        len(maps.between(*pair).diagrams) for pair in maps.pairs()
    )


def test_too_many_terms_are_refused() -> None:
    with pytest.raises(sn.TooLargeError, match="terms, more than"):
        sn.derive(sn.catalogue.mlp([2] * 40)).latex()


# ---- in words -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GRAPHS)
def test_words_and_orbits_are_one_to_one(name: str) -> None:
    """Two entries are described alike exactly when they lie in one orbit (entries that must vanish aside)."""
    maps = sn.derive(GRAPHS[name])
    rng = np.random.default_rng(0)
    for s, t in itertools.product(maps.outputs, maps.inputs):
        pattern = maps.between(s, t)
        labels = pattern.labels()
        entries = [(i, j) for i, j in np.argwhere(labels >= 0).tolist()]
        chosen = [entries[k] for k in rng.permutation(len(entries))[:150]]
        words = {(labels[i, j], pattern.describe(i, j)) for i, j in chosen}
        assert (
            len(words) == len({label for label, _ in words}) == len({text for _, text in words})
        ), (s, t)


@pytest.mark.parametrize(
    ("graph", "pair", "output", "input", "words"),
    [
        (
            "mlp permuted",
            ("2.weight", "2.weight"),
            (0, 1),
            (0, 2),
            "same row (h2), different column (h1)",
        ),
        (
            "mlp permuted",
            ("2.weight", "0.weight"),
            (0, 1),
            (1, 0),
            "the input's row is the output's column (h1)",
        ),
        ("mlp permuted", ("0.bias", "2.bias"), 0, 0, "no neuron set in common"),
        (
            "mlp fixed",
            ("0.weight", "0.bias"),
            (2, 1),
            2,
            "the input's neuron is the output's row (h1); to h0 1",
        ),
        ("attention", ("q", "k"), (0, 0), (1, 0), "same head, same model, different qk"),
        ("attention", ("q", "k"), (0, 0), (3, 0), "different head, same model"),
        ("rotations", ("v", "v"), (0, 0), (0, 1), "same row (h), x: orbit 2 of 5 under Cyclic(5)"),
        ("rotations over heads", ("w", "w"), 0, 4, "different head"),
    ],
)
def test_orbits_in_words(
    graph: str, pair: tuple[str, str], output: object, input: object, words: str
) -> None:
    """What a teacher would say while pointing at the entry."""
    assert sn.derive(GRAPHS[graph]).between(*pair).describe(output, input) == words


@pytest.mark.parametrize("entry", [(0, 9), (0, 0, 0), 99])
def test_entries_that_do_not_exist_are_refused(entry: object) -> None:
    pattern = sn.derive(GRAPHS["mlp permuted"]).between("2.weight", "2.weight")
    with pytest.raises(sn.GraphError, match=r"'2.weight' of shape \(4, 3\) has no entry"):
        pattern.describe((0, 0), entry)
