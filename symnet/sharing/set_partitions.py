"""Set partitions and the numbers that count them."""

from __future__ import annotations

import itertools
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
def neutral_stirling(counts: tuple[tuple[int, int], ...], blocks: int, modulus: int) -> int:
    """Number of partitions into exactly ``blocks`` blocks, in each of which the
    degrees sum to zero modulo ``modulus``.

    Args:
        counts: how many things have which degree, as pairs ``(degree, count)``.
        modulus: 0 for sums in whole numbers; 2 gives blocks with an even number of things of degree
            1.

    Example:
        >>> (
        ...     [neutral_stirling(((1, 4),), b, 2) for b in range(3)],
        ...     neutral_stirling(((1, 2), (-1, 2)), 2, 0),
        ... )
        ([0, 1, 3], 2)
    """
    if modulus == 1:
        return stirling(sum(count for _, count in counts), blocks)
    counts = tuple((degree, count) for degree, count in counts if count)
    if not counts or blocks == 0:
        return int(not counts and blocks == 0)
    # The block of the first thing: how many of each degree share it.
    first = counts[0][0]
    others = [(degree, count - (degree == first)) for degree, count in counts]
    total = 0
    for chosen in itertools.product(*(range(count + 1) for _, count in others)):
        charge = first + sum(degree * c for (degree, _), c in zip(others, chosen, strict=True))
        if charge % modulus if modulus else charge:
            continue
        choices = math.prod(
            math.comb(count, c) for (_, count), c in zip(others, chosen, strict=True)
        )
        left = tuple((degree, count - c) for (degree, count), c in zip(others, chosen, strict=True))
        total += choices * neutral_stirling(left, blocks - 1, modulus)
    return total


def bell(k: int, most: int | None = None) -> int:
    """Number of partitions of ``k`` things into at most ``most`` blocks.

    Example:
        >>> bell(4), [bell(4, most=n) for n in (1, 2, 3)]
        (15, [1, 8, 14])
    """
    return sum(stirling(k, blocks) for blocks in range(min(k, k if most is None else most) + 1))


@lru_cache(maxsize=4096)
def set_partitions(
    things: tuple[int, ...], most: int | None = None, largest: int | None = None
) -> tuple[Partition, ...]:
    """All partitions into at most ``most`` blocks of at most ``largest`` things,
    blocks ordered by their first, finest last.

    Example:
        >>> set_partitions((0, 1))
        (((0, 1),), ((0,), (1,)))
    """
    partitions: list[list[list[int]]] = [[]]
    for thing in things:
        longer = []
        for blocks in partitions:
            for position in range(len(blocks)):
                if largest is None or len(blocks[position]) < largest:
                    longer.append(
                        [[*b, thing] if p == position else b for p, b in enumerate(blocks)]
                    )
            if most is None or len(blocks) < most:
                longer.append([*blocks, [thing]])
        partitions = longer
    return tuple(tuple(map(tuple, blocks)) for blocks in partitions)


def classes(things: Sequence[int], key: Sequence[Hashable]) -> Partition:
    """The things grouped by equal keys, in order of first occurrence."""
    groups: dict[Hashable, list[int]] = {}
    for thing, value in zip(things, key, strict=True):
        groups.setdefault(value, []).append(thing)
    return tuple(map(tuple, groups.values()))


def refinements(
    partition: Partition, most: int | None = None, largest: int | None = None
) -> Iterator[tuple[Partition, ...]]:
    """For every block of a partition one of its partitions, in every combination."""
    if not partition:
        yield ()
        return
    for rest in refinements(partition[1:], most, largest):
        for first in set_partitions(partition[0], most, largest):
            yield (first, *rest)
