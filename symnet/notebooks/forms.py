"""The forms of a cell that a notebook asks for: HTML, LaTeX, SVG. All names in them are escaped."""

from __future__ import annotations

import base64
import re
from html import escape
from typing import Literal

from symnet.errors import SymnetError, TooLargeError, printable
from symnet.notebooks.cells import Cell, Grid
from symnet.notebooks.tables import cell_of

Form = Literal["html", "latex", "svg"]
_GREEN, _RED = "#1a7f37", "#c0392b"
_CELL = "padding:0.15em 0.7em;border-bottom:1px solid rgba(128,128,128,.35)"


def form_of(value: object, form: Form) -> str | None:
    """A form of a value, ``None`` where it has none.

    Args:
        value: of a type that is displayed.
        form: "html", "latex" or "svg".

    Example:
        >>> import symnet as sn
        >>> form_of(sn.catalogue.mlp([2, 3, 1]), "latex") is None
        True
    """
    cell = cell_of(value)
    match form:
        case "html":
            return _html(cell)
        case "latex":
            return (
                None
                if (text := _formulas(cell)) is None
                else "\n".join(f"$${one}$$" for one in text)
            )
        case "svg":
            picture, _ = _picture(cell)
            return picture


def _html(cell: Cell) -> str:
    colour = {True: f"color:{_GREEN};", False: f"color:{_RED};", None: ""}[cell.holds]
    parts = [f'<p style="{colour}font-weight:600;margin:0.3em 0">{_text(cell.heading)}</p>']
    picture, excuse = _picture(cell)
    if picture is not None:
        data = base64.b64encode(picture.encode()).decode("ascii")
        source = f"data:image/svg+xml;base64,{data}"
        style = "max-width:100%;background:white"
        parts.append(
            f'<img alt="{escape(printable(cell.heading))}" style="{style}" src="{source}">'
        )
    parts += map(_table, cell.grids)
    notes = [*cell.notes, *excuse]
    parts += [f'<p style="margin:0.2em 0">{_text(note)}</p>' for note in notes]
    parts += [_equation(one) for one in _formulas(cell) or []]
    return f'<div style="overflow-x:auto">{"".join(parts)}</div>'


def _table(grid: Grid) -> str:
    head = "".join(
        f'<th style="{_CELL};text-align:left">{_text(one)}</th>' for one in grid.headings
    )
    rows = "".join(f"<tr>{''.join(map(_entry, row))}</tr>" for row in grid.rows)
    more = f"<caption>and {grid.left_out:,} more rows</caption>" if grid.left_out else ""
    style = "border-collapse:collapse;margin:0.4em 0;caption-side:bottom"
    return (
        f'<table style="{style}">{more}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _entry(value: object) -> str:
    match value:
        case bool():
            colour, word = (_GREEN, "yes") if value else (_RED, "no")
            return f'<td style="{_CELL};color:{colour};font-weight:600">{word}</td>'
        case int():
            return f'<td style="{_CELL};text-align:right">{value:,}</td>'
        case _:
            return f'<td style="{_CELL};text-align:left">{_text(str(value))}</td>'


def _text(text: str) -> str:
    # A dollar sign in a name begins no formula where MathJax reads the page.
    return escape(printable(text)).replace("$", "<span>$</span>")


def _picture(cell: Cell) -> tuple[str | None, list[str]]:
    """The picture as SVG, or why there is none."""
    if cell.picture is None:
        return None, []
    try:
        from symnet.show.figures import draw

        return draw(cell.picture(), "svg").decode(), []
    except ModuleNotFoundError as error:
        missing = f"The picture needs '{error.name}', which is not installed."
        return None, [f"{missing} Run: pip install 'symnet[show]'"]
    except TooLargeError as error:
        return None, [str(error)]


def _formulas(cell: Cell) -> list[str] | None:
    """The formulas one by one; ``None`` where there are none or too many."""
    if cell.latex is None:
        return None
    try:
        return re.split(r"\n(?=\\begin)", cell.latex())
    except SymnetError:
        return None


def _equation(latex: str) -> str:
    """MathML where the extra ``show`` is there, else the text of the formula."""
    try:
        from latex2mathml.converter import convert
    except ModuleNotFoundError:
        return f"<pre>{escape(latex)}</pre>"
    plain = latex.replace(r"\_", "_")  # the converter takes underscores in texts as they are
    return str(convert(plain, display="block"))
