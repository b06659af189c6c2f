"""Axes cut again by a view: the factors of the old ones regrouped, and
refined where they are too coarse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from symnet.tracing.axes import merge_cells, refine
from symnet.tracing.axis_labels import Label, Node, flat, fresh, root, size_of


def repartition(labels: Sequence[Label], sizes: Sequence[int]) -> list[Label]:
    """The labels of a tensor's axes after a view to these sizes.

    Where factors do not align with the new axes, both are pinned, from the last boundary they share
    to the next.
    """
    reason = "a view does not align with its factors"
    factors = [node for label in labels for node in flat(label)]
    result: list[Label] = []
    todo = list(sizes)
    while todo:
        size = todo.pop(0)
        label, whole = _take_factors(factors, size)
        if whole:
            result.append(tuple(label))
            continue
        taken = [size]
        # go on to the next boundary that old and new axes share
        while size_of(label) != math.prod(taken):
            if size_of(label) < math.prod(taken):
                label.append(factors.pop(0))
            else:
                taken.append(todo.pop(0))
        result += _new_axes(tuple(label), taken, reason)
    return result


def _new_axes(label: Label, sizes: Sequence[int], reason: str) -> list[Label]:
    """New axes of these sizes for a label whose factors do not align with them."""
    origins = frozenset({-next(Node.numbers) - 1_000_000_000})
    axes = [fresh(size, origins=origins) for size in sizes]
    merge_cells(flat(label), flat(node for axis in axes for node in axis), reason)
    return axes


def _take_factors(factors: list[Node], size: int) -> tuple[list[Node], bool]:
    """Factors moved from the front of the list until they have ``size``
    positions, and whether that worked out.
    """
    label: list[Node] = []
    left = size
    while left > 1:
        node = root(factors[0])
        if node.factors is not None:
            factors[:1] = flat((node,))
        elif left % node.size == 0:
            label.append(factors.pop(0))
            left //= node.size
        elif node.size % left == 0 and (pieces := refine(node, left)):
            factors[:1] = pieces
        else:
            return label, False
    return label, True
