"""Pages are complete in themselves, and narrowed architectures keep their pattern."""

from __future__ import annotations

import html
import re

import pytest

import symnet as sn
from symnet.show import (
    Section,
    explore,
    explorer_page,
    make_page,
    narrowed,
    write_architecture_page,
)

GRAPH = sn.NeuronGraph(
    neurons={"in": sn.Fixed(2), "h": sn.Symmetric(64), "out": sn.Fixed(2)},
    tensors={"0.weight": "h in", "0.bias": "h", "2.weight": "out h", "2.bias": "out"},
)


def test_a_page_asks_for_nothing_from_outside(tmp_path) -> None:
    text = write_architecture_page(tmp_path / "page.html", GRAPH, title="mlp", most=3).read_text(
        encoding="utf-8"
    )
    assert len(re.findall(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"', text)) == 2
    assert not re.findall(r"(src|href)=\"(?!data:)", text)
    outside = set(
        re.findall(r"https?://[^\s\"'<\\]+", text)
    )  # names of vocabularies, which nothing fetches
    assert (
        outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"}
        and "url(" not in text
    )
    assert "74 free parameters" in text and "Burnside&#x27;s lemma counts 74" in text


def test_texts_are_escaped() -> None:
    assert "<script>" not in make_page(
        "<script>", [Section("<script>", "<script>", text="<script>")]
    )


def test_the_same_page_has_the_same_text() -> None:
    from symnet.show import graph_picture

    pages = {make_page("mlp", [Section("graph", picture=graph_picture(GRAPH))]) for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.parametrize("most", [2, 3, 5])
def test_a_narrowed_architecture_has_the_same_number_of_orbits(most: int) -> None:
    """With I/O as it is, the MLP's orbits are as many for every hidden width from 2 on."""
    small = narrowed(GRAPH, most)
    assert small.shapes["2.weight"] == (2, most)
    assert sn.derive(small).dimension == sn.derive(GRAPH).dimension == 74


def test_generated_groups_and_written_sizes_are_not_narrowed() -> None:
    graph = sn.NeuronGraph(
        {"h": sn.Generated(4, [[1, 2, 3, 0]]), "c": sn.Cyclic(8)}, {"weight": "h c 9"}
    )
    assert narrowed(graph, 2).shapes["weight"] == (4, 2, 9)


def test_narrowing_to_nothing_is_refused() -> None:
    with pytest.raises(sn.GraphError, match="narrowed to 0 neurons"):
        narrowed(GRAPH, 0)


def test_a_page_is_never_refused_because_a_picture_is_too_large(tmp_path) -> None:
    """Of 200 different sets neither matrix, graph nor plan can be drawn: the page says so, each time with what to do."""
    sets = {f"{chr(97 + k % 26)}{k}": sn.Symmetric(k + 2) for k in range(200)}
    graph = sn.NeuronGraph(sets, {f"{name}.w": f"{name} 9" for name in sets})
    text = write_architecture_page(tmp_path / "page.html", graph, title="large").read_text(
        encoding="utf-8"
    )
    assert text.count("It is too large to be shown: ") == 2
    assert "too many to explore one by one" in text and "Show a network of the same kind" in text
    assert "data:image/png" not in text


def test_a_wide_network_is_explored_narrow(tmp_path) -> None:
    """Without being told to: 64 hidden neurons are drawn as four, and the page says it."""
    text = write_architecture_page(tmp_path / "page.html", GRAPH, title="mlp").read_text(
        encoding="utf-8"
    )
    assert "each set is drawn with at most 64 neurons" not in text
    wide = sn.catalogue.mlp([2, 512, 2])
    text = write_architecture_page(tmp_path / "page.html", wide, title="mlp").read_text(
        encoding="utf-8"
    )
    assert "each set is drawn with at most 4 neurons" in text and text.count("data:image/png") == 2


def test_a_notebook_shows_the_explorable_page_inline() -> None:
    """The frame holds the whole page as text; what is too wide is narrowed, and the heading says so."""
    cell = explore(sn.catalogue.mlp([2, 3, 2]), title='"><script>')._repr_html_()
    frame = re.fullmatch(
        r'<iframe title="symnet" style="[^"<>]*" srcdoc="([^"<>]*)"></iframe>', cell
    )
    assert frame and html.unescape(frame[1]) == explorer_page(
        '"><script>', sn.catalogue.mlp([2, 3, 2])
    )
    wide = explore(sn.catalogue.mlp([2, 512, 2]))
    assert (
        "<h1>symnet (sets of at most 4 neurons)</h1>" in wide.html
        and repr(wide) == "InlinePage(height=720)"
    )
    with pytest.raises(sn.TooLargeError):
        explore(sn.NeuronGraph({"h": sn.Symmetric(2)}, {f"w{k}": "h h" for k in range(400)}))
