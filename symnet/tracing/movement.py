"""What an error is relative to: how much an output moves when the state does, not how large it is.

An output may hardly move beside its size: behind a saturated head, beside a large constant. Then
even a wrong action changes it by little, and an error relative to its size would pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_EPSILON = torch.finfo(torch.float64).eps
# Movement relative to the size of an output below which nothing is shown: errors would drown in
# rounding.
NOTICEABLE = 1e6 * _EPSILON
# Roundings that the last operations may add, and the movement below which they matter beside a
# tolerance.
_ROUNDINGS, _SMALL_MOVEMENT = 32, 1e-5


@dataclass(frozen=True, slots=True)
class Movement:
    """How far an output moves over random states, and how large it is."""

    distance: float
    size: float

    @property
    def is_constant(self) -> bool:
        """Whether the output is the same at every state."""
        return self.distance == 0

    @property
    def shows_nothing(self) -> bool:
        """Whether the output moves, but by so little that a wrong action
        could not be told from rounding.
        """
        return 0 < self.distance < NOTICEABLE * self.size

    def error(self, expected: Tensor, actual: Tensor) -> float:
        """The largest difference relative to the movement; infinite for other
        shapes, kinds, NaN or infinities.
        """
        difference = distance(expected, actual)
        if self.distance < _SMALL_MOVEMENT * self.size:
            difference = max(difference - _ROUNDINGS * _EPSILON * self.size, 0.0)
        return difference and difference / max(self.distance, 1e-300)


def movements(outputs: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> dict[str, Movement]:
    """The movement of every output between two random states, at the same inputs.

    An output whose shape depends on the state counts as moving by its size.
    """
    by_path = {}
    for path, tensor in outputs.items():
        size = largest(tensor)
        moved = distance(tensor, others[path]) if path in others else math.inf
        by_path[path] = Movement(moved if math.isfinite(moved) else max(size, 1.0), size)
    return by_path


def distance(left: Tensor, right: Tensor) -> float:
    """The largest difference of two entries; infinite where shapes, NaN,
    infinities, or whole numbers differ.
    """
    if left.shape != right.shape:
        return math.inf
    if not left.numel():
        return 0.0
    if not (left.is_floating_point() or left.is_complex()):
        return 0.0 if torch.equal(left, right) else math.inf
    left, right = as_double(left), as_double(right)
    same = (left == right) | (left.isnan() & right.isnan())
    difference = torch.where(same, 0.0, (left - right).abs())
    return float(difference.max()) if bool(difference.isfinite().all()) else math.inf


def largest(tensor: Tensor) -> float:
    """Largest finite absolute entry."""
    values = as_double(tensor).abs()
    values = values[values.isfinite()]
    return float(values.max()) if values.numel() else 0.0


def as_double(tensor: Tensor) -> Tensor:
    """Detached, in float64; a complex tensor as pairs of real numbers in a last dim."""
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(torch.float64)
