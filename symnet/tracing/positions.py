"""Whole numbers that are positions along an axis (of the largest entry, of
the k largest), and what is picked by them.

Permuting the axis changes the numbers along with it. Used as an index into another axis of the same
symbol, they cancel: experts picked by a router, or codes by their distance, permute as a whole.
What is picked knows its element: an entry of ``w[chosen]`` with axes (token, rank, inner) belongs
to the expert ``chosen[token, rank]``, so ``inner`` can have an independent copy for every expert
although no axis for the experts is left.

Sorted positions (tokens in the order of their experts) stand in an order that depends on how the
experts are numbered. Such an axis is a symbol of its own, its *order is free*: as long as nothing
pins it, splits it or merges it with another axis, whatever is computed along it does not depend on
the order, and the experts can be renumbered. Where something does, they are pinned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from symnet.tracing.axis_labels import Label, Node, flat, leaves, root
from symnet.tracing.recording import Operation, Value

Labels = tuple[Label, ...]

# Entries stay as they are and keep their axes.
_MOVES = {
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "unsqueeze", "squeeze",
    "expand", "clone", "detach", "alias", "_to_copy", "contiguous", "lift_fresh",
}  # fmt: skip
_PARTS = {"slice", "select", "unbind", "split", "split_with_sizes"}
_CONTRACTIONS = {
    "mm", "bmm", "mv", "addmm", "baddbmm", "linear", "_softmax", "native_layer_norm", "_grouped_mm",
    "grouped_mm_fallback",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Points:
    """What an index tensor says: positions along an axis; its own axes; and which tensor it is."""

    along: Label
    axes: Labels
    key: int

    def counted_once(self, nodes: Iterable[Node]) -> bool:
        """Whether a tensor with these leaves has every axis of the index, and only once."""
        listed = list(nodes)
        return all(listed.count(leaf) == 1 for axis in self.axes for leaf in flat(axis))


@dataclass(frozen=True, slots=True)
class FreeOrder:
    """An axis whose order depends on how the positions along another one are numbered."""

    node: Node
    origins: frozenset[int]  # what the node was when it was made
    along: Label

    def is_used(self, outside: Iterable[Node]) -> bool:
        """Whether anything depends on the order: the axis is pinned,
        cut, or one with another axis.
        """
        node = root(self.node)
        whole = (
            node.factors is None and node.parts is None and node.family is None and node.pin is None
        )
        return not whole or node.origins != self.origins or node in outside


class Positions:
    """Index tensors by value, and what was picked by which of them."""

    def __init__(self) -> None:
        self.of: dict[int, Points] = {}
        self.picked: dict[int, tuple[Points, ...]] = {}
        # index tensors that the operation at hand knows how to use
        self.understood: set[int] = set()
        self.contracted: list[Label] = []  # axes that the operation at hand sums over
        # keys of positions picked by positions, and of parts
        self.composed: dict[tuple[Any, ...], int] = {}
        # index tensors that hold every position of their axis once
        self.permutations: set[int] = set()
        self.free_orders: list[FreeOrder] = []
        # rows of a free order that the code goes through one by one
        self.loops: list[tuple[Value, int, Label]] = []
        # masks without an entry behind the positions along an axis
        self.marks: dict[int, Label] = {}
        # how often every position of an axis occurs among sorted ones
        self.counts: dict[int, Points] = {}
        # where the run of every position of an axis ends among sorted ones
        self.run_ends: dict[int, Points] = {}

    def mark(self, value: Value, along: Label, axes: Labels) -> None:
        """Notes that a value's entries are positions along an axis."""
        self.of[value.number] = Points(along, axes, value.number)

    def sort(self, along: Label, size: int) -> Label:
        """A new axis for positions in ascending order, which depends on how they are numbered."""
        node = Node(size, origins=frozenset({-next(Node.numbers) - 1_000_000_000}))
        self.free_orders.append(FreeOrder(node, node.origins, along))
        return (node,)

    def use(self, value: Value, size: int) -> Points | None:
        """The positions that a value holds, if they are along an axis of
        this size; the caller merges it.
        """
        points = self.of.get(value.number)
        if points is None or _size(points.along) != size:
            return None
        self.understood.add(value.number)
        return points

    def elements_of(self, values: Iterable[Value], labels: Labels) -> Labels:
        """Labels of the elements that every entry of a tensor computed
        from these values belongs to.
        """
        nodes = [leaf for label in labels for leaf in flat(label)]
        points = {
            p.key: p for v in values for p in self.picked.get(v.number, ()) if p.counted_once(nodes)
        }
        alike = [
            [q for q in points.values() if set(leaves(q.along)) & set(leaves(p.along))]
            for p in points.values()
        ]
        # Two different indices into one axis: the entry belongs to two elements, so to none.
        return tuple(
            p.along for p, others in zip(points.values(), alike, strict=True) if len(others) == 1
        )

    def follow(self, operation: Operation, labels: Mapping[int, Labels]) -> list[Label]:
        """Carries what is known to the operation's outputs; returns axes whose
        positions have become plain numbers.
        """
        pinned = []
        outputs = [o for o in operation.outputs if o is not None]
        for value in operation.inputs():
            points = self.of.get(value.number)
            if points is None or value.number in self.understood:
                continue
            if operation.name in _MOVES and value.number in self.permutations:
                self.permutations.update(o.number for o in outputs)
            if operation.name in _MOVES:
                self.of |= {
                    o.number: Points(points.along, labels[o.number], points.key) for o in outputs
                }
            elif operation.name in _PARTS:
                self.of |= {
                    o.number: Points(
                        points.along, labels[o.number], self._key_of_part(points, operation, o)
                    )
                    for o in outputs
                }
            else:
                pinned.append(points.along)
        pinned += self._follow_counts(operation, outputs)
        pointwise = (
            torch.Tag.pointwise in operation.function.tags
            if operation.function is not None
            else False
        )
        if pointwise or operation.name in _MOVES | _PARTS | _CONTRACTIONS:
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

    def goes_through(self, value: Value, axis: int, label: Label) -> bool:
        """Whether single rows along an axis are taken whose order is free;
        then they must all be treated alike.
        """
        points, nodes = self.of.get(value.number), flat(label)
        order = next(
            (o for o in self.free_orders if len(nodes) == 1 and root(o.node) is nodes[0]), None
        )
        if points is None or order is None or nodes[0].parts is not None:
            return False
        self.loops.append((value, axis, order.along))
        return True

    def _key_of_part(self, points: Points, operation: Operation, output: Value) -> int:
        """The same key for the same part of the same positions, so that
        parts taken twice are known to be one.
        """
        how = [
            a
            for a in (*operation.arguments, *operation.keywords.items())
            if not isinstance(a, Value)
        ]
        place = [o.number if o is not None else None for o in operation.outputs].index(
            output.number
        )
        return self.composed.setdefault(
            (points.key, points.axes, operation.name, repr(how), place), output.number
        )

    def _follow_counts(self, operation: Operation, outputs: list[Value]) -> list[Label]:
        """Carries counts and ends of runs along; ends that are used in
        another way have become plain numbers.
        """
        pinned = []
        for value in operation.inputs():
            moved = operation.name in _MOVES
            if value.number in self.counts and moved:
                self.counts |= {o.number: self.counts[value.number] for o in outputs}
            if value.number in self.marks and (moved or _keeps_marks(operation)):
                self.marks |= {o.number: self.marks[value.number] for o in outputs}
            ends = self.run_ends.get(value.number)
            if ends is not None and moved:
                self.run_ends |= {o.number: ends for o in outputs}
            elif ends is not None and value.number not in self.understood:
                pinned.append(ends.along)
        return pinned


def _keeps_marks(operation: Operation) -> bool:
    """Whether entries that are zero stay zero: sums over other axes,
    and what is compared with zero.
    """
    above_zero = operation.name in ("gt", "ne") and operation.arguments[-1] == 0
    return above_zero or operation.name in ("sum", "any", "amax")


def _size(label: Label) -> int:
    size = 1
    for node in label:
        size *= node.size
    return size
