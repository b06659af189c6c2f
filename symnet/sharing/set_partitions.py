"""Set partitions and the numbers that count them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from functools import cache, lru_cache

Partition = tuple[tuple[int, ...], ...]


@cache
def stirling(k: int, blocks: int) -> int:
    """Number of partitions of ``k`` things into exactly ``blocks`` blocks (Stirling, second kind).

    Example:
        >>> [stirling(4, b) for b in range(5)]
        [0, 1, 7, 6, 1]
    """
    if k == 0 or blocks == 0:
        return int(k == blocks)
    return blocks * stirling(k - 1, blocks) + stirling(k - 1, blocks - 1)


@cache
def even_stirling(k: int, blocks: int) -> int:
    """Number of partitions of ``k`` things into exactly ``blocks`` blocks of even size.

    Example:
        >>> even_stirling(4, 2), even_stirling(4, 1), even_stirling(3, 1)
        (3, 1, 0)
    """
    if k == 0 or blocks == 0:
        return int(k == blocks)
    return sum(math.comb(k - 1, size - 1) * even_stirling(k - size, blocks - 1) for size in range(2, k + 1, 2))


def bell(k: int, most: int | None = None) -> int:
    """Number of partitions of ``k`` things into at most ``most`` blocks.

    Example:
        >>> bell(4), [bell(4, most=n) for n in (1, 2, 3)]
        (15, [1, 8, 14])
    """
    return sum(stirling(k, blocks) for blocks in range(min(k, k if most is None else most) + 1))


@lru_cache(maxsize=4096)
def set_partitions(things: tuple[int, ...], most: int | None = None) -> tuple[Partition, ...]:
    """All partitions into at most ``most`` blocks, blocks ordered by their first element, finest last.

    Example:
        >>> set_partitions((0, 1))
        (((0, 1),), ((0,), (1,)))
    """
    found: list[list[list[int]]] = [[]]
    for thing in things:
        longer = []
        for blocks in found:
            for position in range(len(blocks)):
                longer.append([[*b, thing] if p == position else b for p, b in enumerate(blocks)])
            if most is None or len(blocks) < most:
                longer.append([*blocks, [thing]])
        found = longer
    return tuple(tuple(map(tuple, blocks)) for blocks in found)


def classes(things: Sequence[int], key: Sequence[Hashable]) -> Partition:
    """The things grouped by equal keys, in order of first occurrence."""
    groups: dict[Hashable, list[int]] = {}
    for thing, value in zip(things, key, strict=True):
        groups.setdefault(value, []).append(thing)
    return tuple(map(tuple, groups.values()))


def refinements(partition: Partition, most: int | None = None) -> Iterator[tuple[Partition, ...]]:
    """For every block of a partition one of its partitions, in every combination."""
    if not partition:
        yield ()
        return
    for rest in refinements(partition[1:], most):
        for first in set_partitions(partition[0], most):
            yield (first, *rest)
