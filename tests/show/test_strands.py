"""Pictures of diagrams: every block is drawn, and the picture of the theory page is the one that is drawn today."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import symnet as sn

PICTURE = Path(__file__).parents[2] / "docs" / "theory" / "strand-diagrams.svg"
ROWS = {
    "Symmetric: all partitions": sn.Symmetric(4),
    "SignedSymmetric: even blocks": sn.SignedSymmetric(4),
    "Scaled: balanced blocks": sn.Scaled(4),
    "Orthogonal: perfect matchings": sn.Orthogonal(4),
    "Orthogonal(fixes_mean=True): pairs and single strands": sn.Orthogonal(4, fixes_mean=True),
    "GeneralLinear: primal with dual": sn.GeneralLinear(4),
}


def patterns():
    maps = {
        title: sn.derive(sn.NeuronGraph({"h": group}, {"x": "h h*"}))
        for title, group in ROWS.items()
    }
    return {title: one.between("x", "x") for title, one in maps.items()}


def test_the_picture_of_the_theory_page_is_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == sn.show.draw_strands(patterns(), most=15)


def test_every_diagram_strand_and_mark_is_drawn() -> None:
    root = ElementTree.fromstring(sn.show.draw_strands(patterns(), most=15))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}g")) == 15 + 4 + 3 + 3 + 10 + 2
    assert all(len(group.findall(f"{name}circle")) == 4 for group in root.findall(f"{name}g"))
    marks = [
        text.text
        for group in root.findall(f"{name}g")[-2:]
        for text in group.findall(f"{name}text")
    ]
    assert sorted(marks) == ["h"] * 4 + ["h*"] * 4


@pytest.mark.parametrize("most", [1, 3])
def test_what_is_not_drawn_is_counted(most) -> None:
    text = sn.show.draw_strands({"all": patterns()["Symmetric: all partitions"]}, most=most)
    assert text.count("<g") == most and f"{15 - most} more not drawn" in text
