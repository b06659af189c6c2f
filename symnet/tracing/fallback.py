"""Operations without a rule: probe numerically which axes they treat alike, and pin the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from symnet.tracing.labels import Label
from symnet.tracing.reading import Reading
from symnet.tracing.recording import Operation, Value
from symnet.tracing.rules_compute import is_pointwise, pointwise
from symnet.tracing.rules_shape import pin_everything

_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
_TOO_LARGE = 10_000_000
# Axis of an input -> the output axes that move with it, one per output; -1 where an output does not change.
Motions = dict[tuple[int, int], list[int]]


def read_unknown(reading: Reading, operation: Operation) -> None:
    """The rule of every operation that has none of its own."""
    shapes = [o.shape for o in operation.outputs if o is not None]
    if is_pointwise(operation) and all(_broadcasts(operation, shape) for shape in shapes):
        return pointwise(reading, operation)
    motions = probe(operation, reading.used)
    if motions is None:
        return pin_everything(reading, operation, "an operation that could not be analysed")
    values = operation.inputs()
    outputs = [o for o in operation.outputs if o is not None]
    unused = [o for o in outputs if o.number not in reading.used]
    for output in unused:
        reading.set(output, [reading.pinned(n, "nobody reads it") for n in output.shape])
    outputs = [o for o in outputs if o.number in reading.used]
    result: list[list[Label | None]] = [[None] * len(o.shape) for o in outputs]
    for number, value in enumerate(values):
        for axis, label in enumerate(reading.label(value)):
            moved = motions.get((number, axis))
            if moved is None:
                reading.pin(label, "an unknown operation tells its positions apart")
                continue
            # Whether copies are independent is not known: the axis is noted on its own.
            reading.block(label)
            for which, place in enumerate(moved):
                if place >= 0:
                    known = result[which][place]
                    result[which][place] = label if known is None else reading.merge(known, label)
    for output, labels in zip(outputs, result, strict=True):
        reason = "an unknown operation tells its positions apart"
        reading.set(
            output,
            [
                reading.pinned(n, reason) if label is None else label
                for n, label in zip(output.shape, labels, strict=True)
            ],
        )


def _broadcasts(operation: Operation, shape: tuple[int, ...]) -> bool:
    try:
        return tuple(torch.broadcast_shapes(*(v.shape for v in operation.inputs()))) == shape
    except RuntimeError:
        return False


def probe(operation: Operation, used: set[int]) -> Motions | None:
    """How outputs move when one input axis is permuted, found on random entries; ``None`` if it cannot be run.

    An axis is missing where its permutation changes the outputs in another way. Permutations act on one
    input axis at a time, so axes that only move jointly are missing too.
    """
    values = operation.inputs()
    outputs = [o for o in operation.outputs if o is not None]
    if any(o.dtype.is_complex for o in (*outputs, *values)) or sum(_size(v) for v in values) > _TOO_LARGE:
        return None
    if any(not v.dtype.is_floating_point and not v.constant for v in values):
        return None
    generator = torch.Generator().manual_seed(0)
    entries = [
        v.kept if v.constant and v.kept is not None else torch.randn(v.shape, generator=generator, dtype=torch.float64)
        for v in values
    ]
    reference = _call(operation, values, entries, used)
    again = _call(operation, values, entries, used)
    if reference is None or again is None or not all(map(_close, reference, again)):
        return None
    motions: Motions = {}
    for number, value in enumerate(values):
        if value.constant:
            continue
        for axis, size in enumerate(value.shape):
            moved = _motion(operation, values, entries, reference, number, axis, size, used)
            if moved is not None:
                motions[number, axis] = moved
    return motions


def _motion(
    operation: Operation,
    values: list[Value],
    entries: list[Tensor],
    reference: list[Tensor],
    number: int,
    axis: int,
    size: int,
    used: set[int],
) -> list[int] | None:
    if size == 1:
        return [-1] * len(reference)
    orders = [torch.arange(size).roll(1), torch.arange(size).flip(0) if size > 2 else torch.arange(size).roll(1)]
    orders.append(torch.tensor([1, 0, *range(2, size)]))
    possible: list[set[int]] = [{-1, *(k for k, n in enumerate(r.shape) if n == size)} for r in reference]
    for order in orders:
        changed = list(entries)
        changed[number] = entries[number].index_select(axis, order)
        results = _call(operation, values, changed, used)
        if results is None:
            return None
        for output, (before, after) in enumerate(zip(reference, results, strict=True)):
            possible[output] = {
                k for k in possible[output] if _close(after, before if k < 0 else before.index_select(k, order))
            }
    if not all(possible):
        return None
    return [max(options) for options in possible]


def _call(operation: Operation, values: list[Value], entries: list[Tensor], used: set[int]) -> list[Tensor] | None:
    by_number = {value.number: entry for value, entry in zip(values, entries, strict=True)}

    def fill(item: Any) -> Any:
        return by_number[item.number].clone() if isinstance(item, Value) else item

    arguments, keywords = tree_map(fill, (operation.arguments, operation.keywords))
    try:
        with torch.no_grad():
            result = operation.function(*arguments, **keywords)
    except _REFUSALS:
        return None
    found = [r for r in (result if isinstance(result, (tuple, list)) else [result]) if isinstance(r, Tensor)]
    wanted = [o for o in operation.outputs if o is not None]
    if [tuple(r.shape) for r in found] != [o.shape for o in wanted]:
        return None
    return [r for r, output in zip(found, wanted, strict=True) if output.number in used]


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    if not a.dtype.is_floating_point:
        return bool(torch.equal(a, b))
    return bool(torch.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True))


def _size(value: Value) -> int:
    return int(torch.Size(value.shape).numel())
