"""How many invariants there are of groups that mix neurons, in tensors of any
number of strands: two independent counts.

By diagrams: perfect matchings, or bijections from primal to dual strands, and below the number of
neurons at which these depend on each other the standard Young tableaux that Robinson and
Schensted's correspondence makes of those that are kept. By characters: the mean of a product of
traces over the group, as a number of walks among the highest weights, one step for each strand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import assert_never

from symnet.groups import GeneralLinear, LinearGroup, Orthogonal

Shape = tuple[int, ...]  # a partition of a number: rows of a Young diagram, longest first


@lru_cache(maxsize=4096)
def count_matchings(group: LinearGroup, degrees: tuple[int, ...]) -> int:
    """Number of independent invariants in a tensor with strands of these
    degrees, by diagrams or tableaux.

    Example:
        >>> [count_matchings(Orthogonal(n), (1, 1, 1, 1, 1, 1)) for n in (1, 2, 3)]
        [1, 10, 15]
        >>> [count_matchings(GeneralLinear(n), (1, 1, 1, -1, -1, -1)) for n in (1, 2, 3)]
        [1, 5, 6]
    """
    match group:
        case GeneralLinear(n):
            primal, dual = degrees.count(1), degrees.count(-1)
            if primal != dual:
                return 0
            if n >= primal:
                return math.factorial(primal)
            return sum(tableaux(shape) ** 2 for shape in _shapes(primal, n))
        case Orthogonal(fixes_mean=True):
            k = len(degrees)
            return sum(
                math.comb(k, paired) * _perfect_matchings(paired, group.rotated)
                for paired in range(0, k + 1, 2)
            )
        case Orthogonal():
            return _perfect_matchings(len(degrees), group.rotated)
        case _:
            assert_never(group)


def _perfect_matchings(strands: int, n: int) -> int:
    """Independent invariants of O(n) in ``strands`` strands."""
    if strands % 2:
        return 0
    if 2 * n >= strands:
        return math.prod(range(1, strands, 2))
    return sum(tableaux(tuple(2 * row for row in shape)) for shape in _shapes(strands // 2, n))


def _shapes(boxes: int, rows: int, longest: int | None = None) -> Iterator[Shape]:
    """Partitions of a number into at most ``rows`` rows."""
    if boxes == 0:
        yield ()
        return
    most = boxes if longest is None else min(boxes, longest)
    for first in range(most, 0, -1) if rows else ():
        for rest in _shapes(boxes - first, rows - 1, first):
            yield (first, *rest)


def tableaux(shape: Shape) -> int:
    """Number of standard Young tableaux of a shape: the formula of hook
    lengths (Frame, Robinson, Thrall 1954).

    Example:
        >>> tableaux((2, 1)), tableaux((2, 2))
        (2, 2)
    """
    columns = [sum(row > j for row in shape) for j in range(shape[0] if shape else 0)]
    hooks = (row - j + columns[j] - i - 1 for i, row in enumerate(shape) for j in range(row))
    return math.factorial(sum(shape)) // math.prod(hooks)


@lru_cache(maxsize=4096)
def mean_of_traces(group: LinearGroup, degrees: tuple[int, ...]) -> int:
    """Mean over the group (for GL over its unitary matrices) of the product of the strands' traces.

    Multiplying a representation by the strand's splits it into those with one box more or less in
    their diagram, without multiplicities; so walks from the trivial one back to itself are counted.

    Example:
        >>> [mean_of_traces(Orthogonal(n), (1,) * 8) for n in (1, 2, 3, 4)]
        [1, 35, 91, 105]
    """
    if isinstance(group, GeneralLinear):
        return _closed_walks(
            degrees, lambda weight, degree: _rational_steps(weight, degree, group.degree)
        )
    stays = group.fixes_mean  # the strand's space has the vector of ones besides what is rotated
    return _closed_walks(
        degrees,
        lambda weight, _: [*_orthogonal_steps(weight, group.rotated), *([weight] if stays else [])],
    )


Weight = tuple[Shape, Shape]  # for GL the positive and the negative part; for O the second is empty


def _closed_walks(
    degrees: tuple[int, ...], steps: Callable[[Weight, int], Iterable[Weight]]
) -> int:
    walks: Counter[Weight] = Counter({((), ()): 1})
    for degree in degrees:
        longer: Counter[Weight] = Counter()
        for weight, count in walks.items():
            for further in steps(weight, degree):
                longer[further] += count
        walks = longer
    return walks[(), ()]


def _rational_steps(weight: Weight, degree: int, n: int) -> Iterator[Weight]:
    """A primal strand adds a box to the positive part or takes one from the
    negative part; together they have n rows.
    """
    positive, negative = weight if degree > 0 else weight[::-1]
    for grown, shrunk in (
        *((s, negative) for s in _grown(positive)),
        *((positive, s) for s in _shrunk(negative)),
    ):
        if len(grown) + len(shrunk) <= n:
            yield (grown, shrunk) if degree > 0 else (shrunk, grown)


def _orthogonal_steps(weight: Weight, n: int) -> Iterator[Weight]:
    """A box more or less; the first two columns of a diagram of O(n)
    have n boxes at most (Weyl 1939).
    """
    for shape in (*_grown(weight[0]), *_shrunk(weight[0])):
        if len(shape) + sum(row > 1 for row in shape) <= n:
            yield shape, ()


def _grown(shape: Shape) -> Iterator[Shape]:
    for i in range(len(shape)):
        if i == 0 or shape[i - 1] > shape[i]:
            yield (*shape[:i], shape[i] + 1, *shape[i + 1 :])
    yield (*shape, 1)


def _shrunk(shape: Shape) -> Iterator[Shape]:
    for i, row in enumerate(shape):
        if i + 1 == len(shape) or shape[i + 1] < row:
            yield tuple(size for size in (*shape[:i], row - 1, *shape[i + 1 :]) if size)
