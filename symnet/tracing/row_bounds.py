"""Where the factors of two axes meet."""

from __future__ import annotations

import itertools

from symnet.tracing.axis_labels import (
    Label,
    Node,
    root,
    size_of,
)


def row_bounds(label: Label) -> range:
    """Where the rows of the last factor start."""
    return range(0, size_of(label) + 1, root(label[-1]).size)


def leading_factors(nodes: list[Node], size: int) -> int:
    """How many leading factors multiply to ``size``; 0 if none do."""
    for count, total in enumerate(
        itertools.accumulate((n.size for n in nodes), lambda x, y: x * y), start=1
    ):
        if total >= size:
            return count if total == size else 0
    return 0


def misaligned(a: list[Node], b: list[Node]) -> tuple[Label, Label]:
    """The shortest prefixes of both lists that have one size, removed from the lists."""
    taken: tuple[list[Node], list[Node]] = ([a.pop(0)], [b.pop(0)])
    while (left := size_of(taken[0])) != (right := size_of(taken[1])):
        if left < right:
            taken[0].append(a.pop(0))
        else:
            taken[1].append(b.pop(0))
    return tuple(taken[0]), tuple(taken[1])
