"""Notebooks show every value: a table with all that counts, a picture, equations; names stay text."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from xml.etree import ElementTree

import pytest
import torch

import symnet as sn
from symnet.display import Displayed
from symnet.notebooks.tables import CELLS, cell_of
from symnet.show import graph_picture, orbit_picture

GRAPH = sn.catalogue.mlp([2, 3, 2])
NASTY = "<b>$x$&'\""


def wrong(x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Adds one to one neuron of one tensor: not equivariant."""
    bump = torch.zeros_like(x["0.weight"])
    bump[:, 0] = 1.0
    return {**x, "0.weight": x["0.weight"] + bump}


def values() -> dict[str, object]:
    layer = sn.nn.Linear(GRAPH, 1, 1)
    models = [
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        for _ in "ab"
    ]
    return {
        "graph": GRAPH,
        "maps": sn.derive(GRAPH),
        "plan": layer.plan,
        "layer": layer,
        "report": sn.verify.equivariance(layer, GRAPH, in_channels=1),
        "failed report": sn.verify.equivariance(wrong, GRAPH, in_channels=1),
        "certificate": sn.verify.certify(layer, GRAPH, in_channels=1),
        "alignment": sn.align(*models, GRAPH),
    }


VALUES = values()


class Balanced(HTMLParser):
    """Fails where a tag is not closed, or another one is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def words_of(html: str) -> str:
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(parser.texts)


def test_every_displayed_type_has_a_cell_and_every_cell_a_displayed_type() -> None:
    """The table of cells is complete, and each of its names is a class that exists."""

    for name in CELLS:
        module, _, kind = name.rpartition(".")
        assert issubclass(getattr(import_module(module), kind), Displayed)
    displayed = {f"{one.__module__}.{one.__qualname__}" for one in Displayed.__subclasses__()}
    assert set(CELLS) == {name for name in displayed if name.startswith("symnet.")}


@pytest.mark.parametrize("name", VALUES)
def test_every_value_is_shown_as_whole_html(name: str) -> None:
    value = VALUES[name]
    html = value._repr_html_()
    words = words_of(html)
    assert cell_of(value).heading.split(":")[0] in words
    assert ("data:image/svg+xml;base64," in html) == (name in ("graph", "plan", "layer"))


@pytest.mark.parametrize("name", ["graph", "plan", "layer"])
def test_pictures_are_svg(name: str) -> None:
    assert ElementTree.fromstring(VALUES[name]._repr_svg_()).tag.endswith("svg")


def test_maps_are_shown_with_their_counts_and_equations() -> None:
    """The table's numbers add up to the count that the heading has twice, by two ways."""
    maps = VALUES["maps"]
    (counts,) = cell_of(maps).grids
    assert sum(sum(row[1:]) for row in counts.rows) == maps.dimension == maps.dimension_by_burnside
    assert f"{maps.dimension:,}" in words_of(maps._repr_html_())
    latex = maps._repr_latex_()
    assert latex.startswith("$$\\begin") and latex.count("$$") % 2 == 0
    assert maps._repr_html_().count("<math") == latex.count("$$") // 2
    assert sn.derive(sn.catalogue.mlp([9, 8, 9]))._repr_latex_() is None  # too many to be read


def test_verdicts_are_green_or_red_and_the_worst_comes_first() -> None:
    good, bad = VALUES["report"], VALUES["failed report"]
    assert good.passed and not bad.passed
    assert "1a7f37" in good._repr_html_() and "c0392b" not in good._repr_html_()
    assert "c0392b" in bad._repr_html_()
    rows = cell_of(bad).grids[0].rows
    assert rows[0][0] == bad.worst.tensor and "0.weight" in rows[0][0]
    assert rows[0][-1] is False and rows[-1][-1] is True
    errors = [float(row[2]) for row in rows]
    assert errors == sorted(errors, reverse=True)


def test_names_stay_text() -> None:
    """Markup, quotes and dollar signs in names are shown as they are, and begin neither tags nor formulas."""
    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {NASTY: "h"})
    html = sn.derive(graph)._repr_html_()
    before = html.split("<math")[0]
    assert "<b>" not in before and "&lt;b&gt;" in before
    assert not re.search(r"(?<!<span>)\$", before)
    words_of(graph._repr_html_())


def test_what_is_too_large_to_be_drawn_is_told() -> None:
    sets = {f"{chr(97 + k % 26)}{k}": sn.Symmetric(k + 2) for k in range(151)}
    graph = sn.NeuronGraph(sets, {"bias": "a0"})
    html = graph._repr_html_()
    assert "up to 150 can be read" in html and "and 111 more rows" in html and "<img" not in html
    assert graph._repr_svg_() is None


def test_figures_show_themselves() -> None:
    """Without any magic: the last value of a cell is asked for a PNG."""
    for figure in (graph_picture(GRAPH), orbit_picture(GRAPH, ("0.bias", (0,)), ("0.bias", (1,)))):
        assert figure._repr_png_().startswith(b"\x89PNG")


def test_without_matplotlib_the_table_is_shown_and_the_extra_named() -> None:
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'jinja2', 'latex2mathml'): sys.modules[name] = None\n"
        "import symnet as sn\n"
        "graph = sn.catalogue.mlp([2, 3, 2])\n"
        "print(graph._repr_html_(), sn.derive(graph)._repr_html_(), graph._repr_svg_())"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert (
        "pip install &#x27;symnet[show]&#x27;" in output
        and "<td" in output
        and "<pre>\\begin" in output
    )
    assert output.rstrip().endswith("None")
