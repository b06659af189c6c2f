"""Heights and widths of a layered drawing: where its boxes, frames and lines stand, in inches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from symnet.show.layering import Box, Key, Layering, Outline, Way

GAP, SIDE, HEADING = (
    0.14,
    0.16,
    0.26,
)  # between boxes, inside a frame's border, of a frame's heading
BETWEEN = 0.42  # between two columns, in which the lines bend


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Left, top, right, bottom in inches; heights grow downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Rectangle) -> bool:
        """Whether the two share more than a border."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > 1e-6 and down > 1e-6


@dataclass(frozen=True)
class Layout:
    """Where everything stands.

    Attributes:
        boxes, frames: rectangles by key.
        lines: by ``(source, target)`` the points that the line joins; between columns it may bend,
        over a column it is flat.
    """

    boxes: Mapping[Key, Rectangle]
    frames: Mapping[Key, Rectangle]
    lines: Mapping[tuple[Key, Key], tuple[tuple[float, float], ...]]


def lay_out(
    boxes: Mapping[Any, Box],
    edges: Iterable[tuple[Key, Key]],
    outlines: Mapping[Any, Outline] | None = None,
) -> Layout:
    """Positions in inches for boxes that edges join, from left to right.

    Args:
        boxes: by key, in the order in which they are read.
        edges: pairs of keys; one that would close a circle leads back.
        outlines: frames by key; a box or frame names the one around it.

    Example:
        >>> layout = lay_out({"a": Box(1, 1, 0.5), "b": Box(1, 1, 0.5)}, [("a", "b")])
        >>> layout.lines["a", "b"][0][1] == layout.lines["a", "b"][-1][1]
        True
    """
    return _Placement(Layering(boxes, edges, outlines or {})).layout()


class _Placement:
    """Positions for what a layering has put in order."""

    def __init__(self, layering: Layering) -> None:
        self.layering = layering

    def layout(self) -> Layout:
        """Positions of all boxes and frames, and the ways of all lines."""
        ways = self.layering.ways
        columns = self.layering.order()
        tops = _Heights(self.layering, columns).solve()
        across = self._across(columns)
        boxes = {}
        for key, box in self.layering.boxes.items():
            left, right = self._sides(key, across)
            boxes[key] = Rectangle(left, tops[key], right, tops[key] + box.height)
        lines = {}
        for edge in self.layering.edges:
            points: list[tuple[float, float]] = []
            for place in ways[edge]:
                y = tops[place] + self.layering.size(place).port
                left, right = self._sides(place, across)
                wide_left, wide_right = across[self.layering.column_of(place)]
                points += [(wide_left, y), (left, y), (right, y), (wide_right, y)]
            lines[edge] = tuple(points[2:-2])
        frames = {name: self._frame(name, across, tops) for name in self.layering.framed}
        return Layout(boxes, frames, lines)

    # ---- positions ------------------------------------------------------------------------------
    # ----------------
    def _across(self, columns: list[list[Key]]) -> list[tuple[float, float]]:
        """Left and right side of every column; wide headings make theirs wider."""
        widths = [
            max((self.layering.size(place).width for place in column), default=0.0)
            for column in columns
        ]
        spans = {name: self.layering.span(name) for name in self.layering.framed}
        gaps = [BETWEEN + SIDE * self._borders(k, spans) for k in range(len(columns) + 1)]
        for name, (first, last) in reversed(spans.items()):
            room = sum(widths[first : last + 1]) + sum(gaps[first + 1 : last + 1])
            widths[last] += max(0.0, self.layering.outlines[name].heading - room)
        sides, x = [], 0.0
        for k, width in enumerate(widths):
            x += gaps[k] if k else SIDE * (1 + self._borders(0, spans))
            sides.append((x, x + width))
            x += width
        return sides

    def _borders(self, gap: int, spans: Mapping[Key, tuple[int, int]]) -> int:
        """How many borders, one within the other, stand before column ``gap``."""
        starts = [self._depth(name) for name, (first, _) in spans.items() if first == gap]
        stops = [self._depth(name) for name, (_, last) in spans.items() if last == gap - 1]
        return max(starts, default=0) + max(stops, default=0)

    def _depth(self, name: Key) -> int:
        """How many borders there are from this frame to the innermost in it."""
        inside = [
            self._depth(one)
            for one, outline in self.layering.outlines.items()
            if outline.frame == name
        ]
        return 1 + max(inside, default=0)

    def _sides(self, place: Key, across: list[tuple[float, float]]) -> tuple[float, float]:
        left, right = across[self.layering.column_of(place)]
        half = self.layering.size(place).width / 2
        if isinstance(place, Way):
            return left, right
        return (left + right) / 2 - half, (left + right) / 2 + half

    def _frame(
        self, name: Key, across: list[tuple[float, float]], tops: Mapping[Key, float]
    ) -> Rectangle:
        first, last = self.layering.span(name)
        side = SIDE * self._depth(name)
        return Rectangle(
            across[first][0] - side, tops["top", name], across[last][1] + side, tops["bottom", name]
        )


class _Heights:
    """The linear programme for the tops: in every column the order holds, frames hold what is
    theirs and nothing else.
    """

    def __init__(self, layering: Layering, columns: list[list[Key]]) -> None:
        self.layering = layering
        ends = [(end, name) for name in layering.framed for end in ("top", "bottom")]
        self.number: dict[Key, int] = {key: k for k, key in enumerate([*layering.places, *ends])}
        self.count = len(self.number)
        self.rows: list[
            tuple[dict[int, float], float]
        ] = []  # sum of coefficient * variable <= bound
        self.cost: dict[int, float] = dict.fromkeys(range(self.count), 1e-4)
        for column in columns:
            self._keep_order(column)
        for name in layering.framed:
            if (outer := layering.outlines[name].frame) is not None:
                self._below(("top", outer), ("top", name), HEADING)
                self._below(("bottom", name), ("bottom", outer), SIDE)
            self._cost(self.number["bottom", name], 0.02)
            self._cost(self.number["top", name], -0.02)
        self._straighten()

    def solve(self) -> dict[Key, float]:
        """The top of every place; of every frame those under ``("top", name)``, ``("bottom",
        name)``.
        """
        entries = [
            (k, column, value)
            for k, (row, _) in enumerate(self.rows)
            for column, value in row.items()
        ]
        if not entries:
            return dict.fromkeys(self.number, 0.0)
        numbers, columns, values = (list(part) for part in zip(*entries, strict=True))
        matrix = csr_array((values, (numbers, columns)), shape=(len(self.rows), self.count))
        cost = np.array([self.cost[k] for k in range(self.count)])
        bounds = [bound for _, bound in self.rows]
        solution = linprog(cost, A_ub=matrix, b_ub=bounds, bounds=(0, None), method="highs-ds")
        assert solution.status == 0, (
            solution.message
        )  # spreading everything far apart meets all conditions
        return {key: float(solution.x[k]) for key, k in self.number.items()}

    def _below(self, upper: Key, lower: Key, distance: float) -> None:
        self.rows.append(({self.number[upper]: 1.0, self.number[lower]: -1.0}, -distance))

    def _cost(self, variable: int, value: float) -> None:
        self.cost[variable] += value

    def _keep_order(self, column: list[Key]) -> None:
        """Neighbours stand apart; a frame holds what is its own, and the rest of the column is
        above or below it.
        """
        layering = self.layering
        for upper, lower in zip(column, column[1:], strict=False):
            self._below(upper, lower, layering.size(upper).height + GAP)
        if not column:
            return
        here = layering.column_of(column[0])
        spans = {name: layering.span(name) for name in layering.framed}
        spanning = [name for name, (first, last) in spans.items() if first <= here <= last]
        inside = {
            name: [k for k, place in enumerate(column) if name in layering.frames_around(place)]
            for name in spanning
        }
        for name in spanning:
            for k, place in enumerate(column):
                if k < inside[name][0]:
                    self._below(place, ("top", name), layering.size(place).height + GAP)
                elif k > inside[name][-1]:
                    self._below(("bottom", name), place, GAP)
                else:
                    self._below(("top", name), place, HEADING)
                    self._below(place, ("bottom", name), layering.size(place).height + SIDE)
        for upper in spanning:
            for lower in spanning:
                if inside[upper][-1] < inside[lower][0]:
                    self._below(("bottom", upper), ("top", lower), GAP)

    def _straighten(self) -> None:
        """Costs: the length of every hop downwards, and of every box its distance from the middle
        of its neighbours.
        """
        sides: dict[tuple[Key, int], list[Key]] = {}
        for left, right in self.layering.hops:
            long = isinstance(left, Way) + isinstance(right, Way)
            self._distance({left: 1.0, right: -1.0}, 0.3 + long)
            sides.setdefault((left, 1), []).append(right)
            sides.setdefault((right, 0), []).append(left)
        for (place, _), near in sides.items():
            self._distance({place: 1.0} | dict.fromkeys(near, -1.0 / len(near)), 1.0)

    def _distance(self, parts: Mapping[Key, float], weight: float) -> None:
        """Adds ``weight * |sum of coefficient * port|`` to what is made small."""
        constant = sum(value * self.layering.size(place).port for place, value in parts.items())
        row = {self.number[place]: value for place, value in parts.items()}
        variable = self.count
        self.count += 1
        self.cost[variable] = weight
        self.rows.append((row | {variable: -1.0}, -constant))
        self.rows.append(({k: -value for k, value in row.items()} | {variable: -1.0}, constant))
