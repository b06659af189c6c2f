"""Figures without a screen or global state, written the same to the last byte every time."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from symnet.errors import SymnetError, printable
from symnet.files import write_file

FORMATS = ("png", "svg", "pdf")
# Widely readable sizes in points: names, entries, titles.
SMALL, NORMAL, LARGE = 7.0, 9.0, 12.0


class Picture(Figure):
    """A figure that notebooks show as the last value of a cell, without any magic."""

    def _repr_png_(self) -> bytes:
        return draw(self)


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of this size in inches, bound to no window."""
    figure = Picture(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def take_names_as_text(figure: Figure) -> None:
    """Dollar signs in names begin no formula, and what cannot be seen in them is shown as an escape."""
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        artist.set_parse_math(False)
        artist.set_text(printable(artist.get_text()))


def draw(figure: Figure, format: str = "png", dpi: int = 150) -> bytes:
    """The figure as the bytes of a file; the same figure gives the same bytes."""
    if format not in FORMATS:
        raise SymnetError(
            f"A picture cannot be written as {format!r}; choose one of {', '.join(FORMATS)}."
        )
    # The date, the program's version and random element names are what would differ.
    metadata: dict[str, None] = {
        "png": {"Software": None},
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
    }[format]
    take_names_as_text(figure)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "symnet", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def save_picture(
    figure: Figure, path: str | Path, dpi: int = 150, *, folders: bool = False
) -> Path:
    """The path, written; the format follows its ending (``.png``, ``.svg``, ``.pdf``).

    Args:
        folders: make missing folders above it.
    """
    data = draw(figure, Path(path).suffix.lstrip(".").lower(), dpi)
    return write_file(path, data, folders=folders)
