"""How far two tensors differ, and tensors put into others' places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from symnet.tracing.recording import Operation


def double(kind: torch.dtype) -> torch.dtype:
    if kind.is_complex:
        return torch.complex128
    return torch.float64 if kind.is_floating_point else kind


def relative_difference(expected: Tensor, actual: Any) -> float:
    """The largest difference relative to the largest expected entry; infinite
    where shapes or whole numbers differ.
    """
    if not isinstance(actual, Tensor) or expected.shape != actual.shape:
        return math.inf
    if not (expected.dtype.is_floating_point or expected.dtype.is_complex):
        return 0.0 if torch.equal(expected, actual) else math.inf
    if not expected.numel():
        return 0.0
    same = (expected == actual) | (expected.isnan() & actual.isnan())
    difference = torch.where(same, torch.zeros_like(expected), expected - actual).abs()
    finite = expected[torch.isfinite(expected)].abs()
    scale = max(float(finite.max()) if finite.numel() else 1.0, 1e-300)
    worst = float(torch.nan_to_num(difference, nan=math.inf).max())
    return worst / scale


def overwrite(operation: Operation, drawn: Mapping[int, Tensor]) -> Tensor:
    """A tensor after others that share its memory were written."""
    base, news = operation.arguments
    places = operation.keywords["places"]
    least = min(offset for offset, _, _ in places)
    extent = max(
        offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        for offset, shape, stride in places
    )
    memory = torch.zeros(extent - least + 1, dtype=drawn[base.number].dtype)
    (offset, shape, stride), *others = places
    memory.as_strided(shape, stride, offset - least).copy_(drawn[base.number])
    for new, (start, size, steps) in zip(news, others, strict=True):
        memory.as_strided(size, steps, start - least).copy_(drawn[new.number])
    return memory.as_strided(shape, stride, offset - least).clone()
