"""A file of a graph that was cut off anywhere is refused: its beginning is never read as another graph."""

from __future__ import annotations

from pathlib import Path

import pytest

import symnet as sn

GRAPHS = {
    "mlp": sn.catalogue.mlp([2, 3, 1]),
    "attention": sn.catalogue.attention(8, 2),
    "aliases": sn.NeuronGraph(
        {"h": sn.Symmetric(12), "h1": sn.Fixed(2)},
        {"a": "h 12", "b": "(h h1)"},
        aliases={"tied": "a"},
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_no_beginning_of_a_file_is_a_graph(tmp_path: Path, name: str, record_property) -> None:
    path = tmp_path / "net.symnet"
    GRAPHS[name].save(path)
    text = path.read_text()
    assert sn.load(path) == GRAPHS[name] and sn.load(path).notes == ()
    for length in range(len(text) - 1):  # the line break at the very end says nothing
        path.write_text(text[:length])
        with pytest.raises(sn.SymnetError, match=r"net\.symnet"):
            sn.load(path)
        with pytest.raises(sn.SymnetError):
            sn.parse(text[:length])
    record_property("cut files", len(text) - 1)


def test_a_file_of_an_earlier_version_or_by_hand_is_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "old.symnet").write_text(f"{GRAPHS['mlp']}\n")
    old = sn.load(tmp_path / "old.symnet")
    assert old == GRAPHS["mlp"] and "does not show whether it is whole" in old.notes[0]
    assert sn.parse(str(GRAPHS["mlp"])).notes == ()


def test_what_stands_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.symnet"
    GRAPHS["mlp"].save(path)
    path.write_text(path.read_text() + "  3.weight: h1 in\n")
    with pytest.raises(sn.NotationError, match="ends without its last line"):
        sn.load(path)
