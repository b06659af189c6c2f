"""A cell: the heading, tables, notes, picture and formulas that a notebook shows of one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its headings, and rows of as many values; numbers are set to the right."""

    headings: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    left_out: int = 0  # rows that are not shown


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown of a value.

    Attributes:
        heading: one line.
        holds: green if true, red if false, neither if ``None``.
        grids: tables.
        notes: sentences below.
        picture: makes the figure, when it is asked for.
        latex: makes the formulas, when they are asked for.
    """

    heading: str
    holds: bool | None = None
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()
    picture: Callable[[], Figure] | None = None
    latex: Callable[[], str] | None = None


def grid(headings: Sequence[str], rows: Iterable[Sequence[object]], most: int = ROWS_SHOWN) -> Grid:
    """A table of the first rows; how many are left out is counted.

    Example:
        >>> grid(["name", "size"], [("h", 3), ("g", 4)], most=1).left_out
        1
    """
    whole = [tuple(row) for row in rows]
    return Grid(tuple(headings), tuple(whole[:most]), max(0, len(whole) - most))
