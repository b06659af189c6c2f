"""What each tensor counts in a match: its own spread is its unit, so that
large numbers decide no more than small ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, TensorSpace
from symnet.groups import is_charged
from symnet.matching.problem_reading import PART, State, as_array

Measure = Literal["correlation", "distance"]
# a spread below this share of the values is rounding: the tensor tells its neurons not apart
_NO_SPREAD = 1e-7


@dataclass(frozen=True)
class Likeness:
    """What is measured once of two tensors, before anything is moved."""

    size: int
    # what every inner product has in common: the product of the means, times the number of entries
    common: float
    # Euclidean norms around the means; around 0 where elements do more than reorder
    spreads: tuple[float, float]
    product: float  # inner product


def measure_tensors(graph: NeuronGraph, a: State, b: State) -> dict[str, Likeness]:
    """Of every tensor of two networks, in one pass.

    Raises:
        ShapeError: a network has weights that are not finite.
    """
    likenesses: dict[str, Likeness] = {}
    broken: dict[str, list[str]] = {"first": [], "second": []}
    for name, space in graph.weights.items():
        likenesses[name] = likeness = _compare(
            a[name], b[name], centred=not _changes_sums(graph, space)
        )
        for which, spread in zip(broken, likeness.spreads, strict=True):
            if not math.isfinite(spread):
                broken[which].append(name)
    for which, names in broken.items():
        if names:
            raise ShapeError(
                f"The {which} network has weights that are not finite, in {', '.join(names)}; "
                "none can be matched."
            )
    return likenesses


def distance_between(x: Any, y: Any) -> float:
    """Euclidean distance of two tensors, added up in float64."""
    return math.sqrt(
        sum(float(np.square(u - v).sum()) for u, v in zip(_runs(x), _runs(y), strict=True))
    )


def _compare(x: Any, y: Any, centred: bool) -> Likeness:
    size, pivots, sums, squares, product = 0, None, np.zeros(2), np.zeros(2), 0.0
    for u, v in zip(_runs(x), _runs(y), strict=True):
        # subtracted, so that tensors of large mean and small spread lose no digits
        if pivots is None:
            pivots = (0.0, 0.0) if not centred or not u.size else (float(u[0]), float(v[0]))
        size += u.size
        product += float(u @ v)
        for number, values in enumerate((u - pivots[0], v - pivots[1])):
            sums[number] += values.sum()
            squares[number] += values @ values
    shifts = pivots or (0.0, 0.0)
    means = np.zeros(2) if not centred or not size else sums / size + shifts
    spreads = []
    for number, shift in enumerate(shifts):
        around = squares[number] - (0.0 if not centred or not size else sums[number] ** 2 / size)
        whole = squares[number] + 2 * shift * sums[number] + size * shift**2  # the norm around 0
        spreads.append(math.sqrt(around) if not around <= _NO_SPREAD**2 * whole else 0.0)
    return Likeness(size, size * float(means.prod()), (spreads[0], spreads[1]), product)


def _changes_sums(graph: NeuronGraph, space: TensorSpace) -> bool:
    """Whether elements do more to a tensor than reorder its entries, so that
    its mean is none of a network's own.
    """
    return any(
        i.symbol is not None and is_charged(graph.neurons[i.symbol].group, i.degree)
        for block in space.blocks
        for i in block.instances
    )


def _runs(values: Any) -> Iterator[np.ndarray]:
    """The entries in order, in float64, some at a time."""
    flat = values.reshape(-1)
    for start in range(0, max(1, flat.shape[0]), PART):
        yield as_array(flat[start : start + PART], np.float64)


def tensor_factors(
    likenesses: Mapping[str, Likeness], measure: Measure, importance: Mapping[str, float]
) -> dict[str, float]:
    """What each tensor's inner product is multiplied by.

    With ``"correlation"``, by ``size / (spread of a * spread of b)``: its share is then its
    correlation times its number of entries, and a tensor without spread is left out. With
    ``"distance"``, by 1.
    """
    factors = {}
    for name, likeness in likenesses.items():
        factor = 1.0
        if measure == "correlation":
            spread = likeness.spreads[0] * likeness.spreads[1]
            factor = likeness.size / spread if spread > 0 and math.isfinite(1 / spread) else 0.0
        factors[name] = factor * importance.get(name, 1.0)
    return factors
