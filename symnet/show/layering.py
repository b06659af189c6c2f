"""Layered drawings: boxes in columns from left to right, frames around some, lines through none.

Sugiyama's three steps (Sugiyama, Tagawa, Toda 1981), each by what the core already brings: columns
by a linear programme that makes the lines short (Gansner et al. 1993, whose vertices are whole
numbers), orders by barycentres, heights by a second linear programme with frames as constraints.
Layout libraries of Python know no frames within layers, or need a program of the system.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import networkx
import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

Key = Hashable
SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Box:
    """Something with a size in inches; lines meet it at ``port`` below its top. ``frame`` is the
    innermost around it.
    """

    width: float
    height: float
    port: float
    frame: Key | None = None


@dataclass(frozen=True, slots=True)
class Outline:
    """A frame to be drawn around boxes: its heading's width in inches, and the frame around it."""

    heading: float
    frame: Key | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A place in a column that a line from ``source`` passes."""

    source: Key
    column: int


@dataclass(frozen=True, slots=True)
class Filler:
    """Stands for a frame in a column that it spans, so that nothing else comes into it there."""

    frame: Key
    column: int


class Layering:
    """Boxes and lines on their way to a layout.

    Args:
        boxes: by key, in the order in which they are read.
        edges: pairs of keys, from left to right where no circle hinders it.
        outlines: frames by key.
    """

    def __init__(
        self,
        boxes: Mapping[Key, Box],
        edges: Iterable[tuple[Key, Key]],
        outlines: Mapping[Key, Outline],
    ) -> None:
        self.boxes = dict(boxes)
        self.edges = list(dict.fromkeys(edges))
        self.outlines = dict(outlines)

    # ---- columns --------------------------------------------------------------------------------
    # ----------------
    @cached_property
    def forward(self) -> list[tuple[Key, Key]]:
        """The edges in their order, without those that would close a circle."""
        flow: networkx.DiGraph = networkx.DiGraph()
        flow.add_nodes_from(self.boxes)
        for source, target in self.edges:
            if source != target and not networkx.has_path(flow, target, source):
                flow.add_edge(source, target)
        return list(flow.edges)

    @cached_property
    def columns(self) -> dict[Key, int]:
        """The column of every box: along every edge at least one to the right, and all edges
        together as short as can be.
        """
        keys = {key: k for k, key in enumerate(self.boxes)}
        if not self.forward:
            return dict.fromkeys(keys, 0)
        sources, targets = (np.array([keys[edge[end]] for edge in self.forward]) for end in (0, 1))
        count = len(self.forward)
        rows = np.tile(np.arange(count), 2)
        steps = csr_array(
            (np.repeat([1.0, -1.0], count), (rows, np.concatenate([sources, targets]))),
            shape=(count, len(keys)),
        )
        # The small cost of all columns keeps what is free at the left.
        cost = -steps.sum(axis=0) + 1e-3
        solution = linprog(
            cost, A_ub=steps, b_ub=-np.ones(count), bounds=(0, None), method="highs-ds"
        ).x
        return {key: round(float(solution[k])) for key, k in keys.items()}

    def column_of(self, place: Key) -> int:
        """Of a box, or of a way between boxes."""
        return place.column if isinstance(place, Way | Filler) else self.columns[place]

    @cached_property
    def ways(self) -> dict[tuple[Key, Key], list[Key]]:
        """For every edge the places that it passes, from left to right; edges of one source share
        theirs.
        """
        result: dict[tuple[Key, Key], list[Key]] = {}
        for source, target in self.edges:
            left, right = sorted((source, target), key=lambda key: self.columns[key])
            between = range(self.columns[left] + 1, self.columns[right])
            result[source, target] = [
                left,
                *(Way(self._bundle(source, target), column) for column in between),
                right,
            ]
        return result

    def _bundle(self, source: Key, target: Key) -> Key:
        """The end that the line shares with most others: long lines from it run together."""
        return max((source, target), key=lambda key: sum(key in edge for edge in self.edges))

    # ---- order within the columns
    # -------------------------------------------------------------------------------
    @cached_property
    def hops(self) -> list[tuple[Key, Key]]:
        """Pairs of places in neighbouring columns that a line joins."""
        return list(
            dict.fromkeys(
                pair for way in self.ways.values() for pair in zip(way, way[1:], strict=False)
            )
        )

    @cached_property
    def places(self) -> list[Key]:
        """Boxes, ways and fillers."""
        fillers = [
            Filler(name, column)
            for name, keys in self.framed.items()
            for column in set(range(self.span(name)[0], self.span(name)[1]))
            - {self.columns[key] for key in keys}
        ]
        return list(
            dict.fromkeys(
                [*self.boxes, *(place for way in self.ways.values() for place in way), *fillers]
            )
        )

    @cached_property
    def framed(self) -> dict[Key, set[Key]]:
        """Frame -> the boxes in it, at any depth; empty frames are left out."""
        inside: dict[Key, set[Key]] = {}
        for key in self.boxes:
            for name in self.frames_around(key):
                inside.setdefault(name, set()).add(key)
        return {name: inside[name] for name in self.outlines if name in inside}

    def frames_around(self, place: Key) -> list[Key]:
        """Of a place, outermost first. A way is in the frames that all ends of its lines are in."""
        if isinstance(place, Way):
            return self._frames_of_ways[place]
        frames: list[Key] = []
        name = place.frame if isinstance(place, Filler) else self.boxes[place].frame
        while name is not None:
            frames.insert(0, name)
            name = self.outlines[name].frame
        return frames

    @cached_property
    def _frames_of_ways(self) -> dict[Way, list[Key]]:
        ends: dict[Way, set[Key]] = {}
        for edge, way in self.ways.items():
            for place in way:
                if isinstance(place, Way):
                    ends.setdefault(place, set()).update(edge)
        result = {}
        for way_place, keys in ends.items():
            common = zip(*map(self.frames_around, keys), strict=False)
            result[way_place] = [names[0] for names in common if len(set(names)) == 1]
        return result

    def order(self) -> list[list[Key]]:
        """The places of every column from top to bottom, with few crossings; what is in one frame
        stands together.
        """
        rank: dict[Key, float] = {place: float(k) for k, place in enumerate(self.places)}
        best = self._sorted(rank)
        fewest = self._crossings(best)
        neighbours: dict[bool, dict[Key, list[Key]]] = {True: {}, False: {}}
        for left, right in self.hops:
            neighbours[True].setdefault(right, []).append(left)
            neighbours[False].setdefault(left, []).append(right)
        columns = best
        for sweep in range(SWEEPS):
            forwards = sweep % 2 == 0
            for column in columns if forwards else reversed(columns):
                spread = {place: k - (len(column) - 1) / 2 for k, place in enumerate(column)}
                for place in column:
                    near = neighbours[forwards].get(place, [])
                    rank[place] = (
                        float(np.mean([rank[one] for one in near])) if near else spread[place]
                    )
                # Places are told by where they stand, so that ranks of different columns compare.
                for k, place in enumerate(self._sorted_column(column, rank)):
                    rank[place] = k - (len(column) - 1) / 2
            columns = self._sorted(rank)
            count = self._crossings(columns)
            if count < fewest:
                best, fewest = columns, count
        return best

    def _sorted(self, rank: Mapping[Key, float]) -> list[list[Key]]:
        columns: list[list[Key]] = [
            [] for _ in range(max(map(self.column_of, self.places), default=0) + 1)
        ]
        for place in self.places:
            columns[self.column_of(place)].append(place)
        return [self._sorted_column(column, rank) for column in columns]

    def _sorted_column(self, column: Sequence[Key], rank: Mapping[Key, float]) -> list[Key]:
        """By rank; a frame counts with the mean over all its boxes, so that two frames stand in
        one order in all columns.
        """
        means = {
            name: float(np.mean([rank[key] for key in keys])) for name, keys in self.framed.items()
        }
        number = {name: k for k, name in enumerate(self.outlines)}

        def path(place: Key) -> list[tuple[float, int]]:
            around = [(means[name], number[name]) for name in self.frames_around(place)]
            return [*around, (rank[place], -1)]

        return sorted(column, key=path)

    def _crossings(self, columns: list[list[Key]]) -> int:
        at = {place: k for column in columns for k, place in enumerate(column)}
        gaps: dict[int, list[tuple[int, int]]] = {}
        for left, right in self.hops:
            gaps.setdefault(self.column_of(left), []).append((at[left], at[right]))
        return sum(
            (a - c) * (b - d) < 0
            for pairs in gaps.values()
            for k, (a, b) in enumerate(pairs)
            for c, d in pairs[:k]
        )

    def size(self, place: Key) -> Box:
        """Of a place; ways and fillers have none."""
        return self.boxes[place] if not isinstance(place, Way | Filler) else Box(0.0, 0.0, 0.0)

    def span(self, name: Key) -> tuple[int, int]:
        """First and last column of a frame."""
        places = [self.columns[key] for key in self.framed[name]]
        return min(places), max(places)
