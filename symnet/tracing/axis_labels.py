"""Axis labels: ordered products of symbols that are refined lazily while a network is read.

A label is a tuple of nodes, the factors of one tensor axis, row-major; an axis of size 1 has the
empty label. A node is a union-find entry that is a leaf, a product of nodes, or a concatenation of
labels. A leaf may also be a *family*: at different positions of another axis (the 3 of a fused
query, key and value viewed as ``(3, head, dim)``) it stands for different members.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence


class Node:
    """A symbol of known size: an entry of a union-find forest, read through ``root``.

    At most one of ``factors``, ``parts`` and ``family`` is set: a root with none of them is a plain
    leaf. Constraints are only ever added, so what tells two positions apart keeps doing so.
    """

    __slots__ = (
        "factors", "family", "merged_into", "number", "origins", "parts", "pin", "size", "wildcard",
    )  # fmt: skip
    numbers = itertools.count()

    def __init__(
        self,
        size: int,
        pin: str | None = None,
        wildcard: bool = False,
        origins: frozenset[int] = frozenset(),
    ) -> None:
        # The number of positions: fixed, since an axis never changes its size.
        self.size = size
        # Why its positions may be told apart: shown in the graph's notes. None: they may move.
        self.pin = pin
        # The tensor is uniform along the axis (expanded, or a constant of equal entries): it fits
        # every symbol, and asks nothing of it.
        self.wildcard = wildcard
        # Numbers of the nodes that this one was cut out of. Slicing an axis picks members only of
        # nodes that were once one with it: others are the same at all its positions.
        self.origins = origins
        # The node that this one was made equal to; of this one nothing else is read then.
        self.merged_into: Node | None = None
        # The product that a view split it into, outermost first.
        self.factors: Label | None = None
        # What was laid one after another along it, or what slices cut it into.
        self.parts: list[Label] | None = None
        # What it stands for at each interval of another axis.
        self.family: MemberFamily | None = None
        # Age: where one of several has to be chosen, the oldest, whatever the hashes are.
        self.number = next(Node.numbers)


Label = tuple[Node, ...]


class MemberFamily:
    """What a leaf stands for at each interval of positions of another axis."""

    __slots__ = ("axis", "bounds", "members", "seen")

    def __init__(self, axis: Node, bounds: list[int], members: list[Node]) -> None:
        self.axis = axis
        self.bounds = bounds  # 0 = b0 < b1 < ... < bk = the axis's size
        self.members = members  # k nodes
        # Whether a slice has already handed the member out. If so, both halves of a later cut are
        # that member: whoever holds it cannot be told that it was split.
        self.seen = [False] * len(members)


def root(node: Node) -> Node:
    """The representative of a node's class."""
    while node.merged_into is not None:
        if node.merged_into.merged_into is not None:
            node.merged_into = node.merged_into.merged_into
        node = node.merged_into
    return node


def flat(label: Iterable[Node]) -> Label:
    """The label with every product written out: roots that are leaves or concatenations."""
    nodes: list[Node] = []
    for node in label:
        node = root(node)
        if node.factors is not None:
            nodes.extend(flat(node.factors))
        else:
            nodes.append(node)
    return tuple(nodes)


def size_of(label: Iterable[Node]) -> int:
    """Number of positions of a label."""
    return math.prod(node.size for node in label)


def bounds_of(node: Node) -> list[int]:
    """Boundaries of a concatenation's parts, from 0 to its size."""
    assert node.parts is not None
    return [0, *itertools.accumulate(size_of(part) for part in node.parts)]


def leaves(label: Iterable[Node]) -> Iterable[Node]:
    """The leaves of a label, through products and concatenations, with repeats."""
    for node in flat(label):
        if node.parts is None:
            yield node
        else:
            for part in node.parts:
                yield from leaves(part)


def fresh(
    size: int,
    pin: str | None = None,
    *,
    wildcard: bool = False,
    origins: frozenset[int] = frozenset(),
) -> Label:
    """A label of one new leaf; the empty label for size 1."""
    return () if size == 1 else (Node(size, pin, wildcard, origins),)


def concatenate(labels: Sequence[tuple[int, Label]]) -> Label:
    """The label of axes laid one after another, given with their sizes."""
    pieces = [(size, label) for size, label in labels if size]
    if len(pieces) == 1:
        return pieces[0][1]
    total = sum(size for size, _ in pieces)
    if total == 1:
        return ()
    node = Node(total)
    node.parts = [label for _, label in pieces]
    return (node,)
