"""Whole numbers that are positions along an axis (of the largest entry, of the k largest), and what is picked by them.

Permuting the axis changes the numbers along with it. Used as an index into another axis of the same symbol, they cancel: experts
picked by a router, or codes by their distance, permute as a whole. What is picked knows its element: an entry of
``w[chosen]`` with axes (token, rank, inner) belongs to the expert ``chosen[token, rank]``, so ``inner`` can have an
independent copy for every expert although no axis for the experts is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from symnet.tracing.labels import Label, Node, flat, leaves
from symnet.tracing.recording import Operation, Value

Labels = tuple[Label, ...]

# Entries stay as they are and keep their axes.
_MOVES = {
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand", "clone", "detach", "alias",
    "_to_copy", "contiguous", "lift_fresh",
}  # fmt: skip
_PARTS = {"slice", "select", "unbind", "split", "split_with_sizes"}
_CONTRACTIONS = {"mm", "bmm", "mv", "addmm", "baddbmm", "linear", "_softmax", "native_layer_norm"}


@dataclass(frozen=True, slots=True)
class Points:
    """What an index tensor says: positions along an axis; its own axes; and which tensor it is."""

    along: Label
    axes: Labels
    key: int

    def counted_once(self, nodes: Iterable[Node]) -> bool:
        """Whether a tensor with these leaves has every axis of the index, and only once."""
        given = list(nodes)
        return all(given.count(leaf) == 1 for axis in self.axes for leaf in flat(axis))


class Positions:
    """Index tensors by value, and what was picked by which of them."""

    def __init__(self) -> None:
        self.of: dict[int, Points] = {}
        self.picked: dict[int, tuple[Points, ...]] = {}
        self.understood: set[int] = set()  # index tensors that the operation at hand knows how to use
        self.contracted: list[Label] = []  # axes that the operation at hand sums over

    def mark(self, value: Value, along: Label, axes: Labels) -> None:
        """Notes that a value's entries are positions along an axis."""
        self.of[value.number] = Points(along, axes, value.number)

    def use(self, value: Value, size: int) -> Points | None:
        """The positions that a value holds, if they are along an axis of this size; the caller merges it."""
        points = self.of.get(value.number)
        if points is None or _size(points.along) != size:
            return None
        self.understood.add(value.number)
        return points

    def elements_of(self, values: Iterable[Value], labels: Labels) -> Labels:
        """Labels of the elements that every entry of a tensor computed from these values belongs to."""
        nodes = [leaf for label in labels for leaf in flat(label)]
        found = {p.key: p for v in values for p in self.picked.get(v.number, ()) if p.counted_once(nodes)}
        alike = [[q for q in found.values() if set(leaves(q.along)) & set(leaves(p.along))] for p in found.values()]
        # Two different indices into one axis: the entry belongs to two elements, so to none.
        return tuple(p.along for p, others in zip(found.values(), alike, strict=True) if len(others) == 1)

    def follow(self, operation: Operation, labels: Mapping[int, Labels]) -> list[Label]:
        """Carries what is known to the operation's outputs; returns axes whose positions have become plain numbers."""
        pinned = []
        outputs = [o for o in operation.outputs if o is not None]
        for value in operation.inputs():
            points = self.of.get(value.number)
            if points is None or value.number in self.understood:
                continue
            if operation.name in _MOVES:
                self.of |= {o.number: Points(points.along, labels[o.number], points.key) for o in outputs}
            elif operation.name in _PARTS:
                self.of |= {o.number: Points(points.along, labels[o.number], o.number) for o in outputs}
            else:
                pinned.append(points.along)
        pointwise = torch.Tag.pointwise in operation.function.tags if operation.function is not None else False
        if pointwise or operation.name in _MOVES | _CONTRACTIONS:
            summed = {leaf for label in self.contracted for leaf in flat(label)}
            carried = {p.key: p for v in operation.inputs() for p in self.picked.get(v.number, ())}
            for output in outputs:
                nodes = [leaf for label in labels[output.number] for leaf in flat(label)]
                kept = [
                    p
                    for p in carried.values()
                    if p.counted_once(nodes) and not summed & {n for a in p.axes for n in flat(a)}
                ]
                self.picked[output.number] = (*self.picked.get(output.number, ()), *kept)
        self.understood.clear()
        self.contracted.clear()
        return pinned


def _size(label: Label) -> int:
    size = 1
    for node in label:
        size *= node.size
    return size
