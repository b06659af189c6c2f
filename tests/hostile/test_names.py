"""Names are text: no picture, terminal, page or equation obeys what stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

import symnet as sn
from symnet.cli import main
from symnet.show import graph_picture, plan_picture, tying_matrix
from symnet.show.figures import draw

NAMES = [
    r"$\input{x}$",
    r"$\frac{$",
    "[/red]",
    "[link=file]",
    "h\x1b[31m",
    "\x1b]0;title\x07",
    "\u202eback",
    "a\x00b",
    r"\immediate\write18{x}",
    "<script>",
    "%_^~",
    ";smile;",
    "\x9b31m",
]


def graph_of(name: str) -> sn.NeuronGraph:
    return sn.NeuronGraph(
        {name: sn.Symmetric(3), "in": sn.Fixed(2)}, {f"{name}.weight": f"{name} in", "b": name}
    )


@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_names_as_they_are(name: str, record_property) -> None:
    graph = graph_of(name)
    for figure in (graph_picture(graph), tying_matrix(sn.derive(graph))):
        assert draw(figure, dpi=30).startswith(b"\x89PNG")
    record_property("names as data", 1)


def test_a_plan_with_formulas_for_names_is_drawn() -> None:
    from symnet.plan import make_plan

    assert draw(plan_picture(make_plan(graph_of(NAMES[0]))), dpi=30).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_terminals_show_names_and_obey_none(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property
) -> None:
    graph = graph_of(name)
    graph.save(tmp_path / "net.symnet")
    for arguments in (
        ["--plan", "--latex"],
        ["--fixed", f"{name}x"],
        ["--json"],
        ["--from", f"x={name}"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["derive", str(tmp_path / "net.symnet"), *arguments])
        captured = capsys.readouterr()
        assert stop.value.code == (2 if arguments[0] == "--fixed" else 0), captured.err
        printed = captured.out + captured.err
        assert printed.replace("\n", "").isprintable(), repr(printed)
    record_property("names as data", 1)


def test_names_in_errors_are_shown_and_bounded() -> None:
    for name in (*NAMES, "x" * 700_000):
        with pytest.raises(sn.SymnetError) as caught:
            graph_of("h").with_groups({name: sn.Fixed(3)})
        said = str(caught.value)
        assert len(said) <= 4_000 and said.replace("\n", "").isprintable()


def test_equations_quote_what_tex_would_obey() -> None:
    for name in NAMES:
        latex = sn.derive(graph_of(name)).latex()
        assert (
            r"\input" not in latex
            and r"\immediate" not in latex
            and "$" not in latex.replace(r"\$", "")
        )
