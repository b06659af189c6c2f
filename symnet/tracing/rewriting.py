"""Recordings written so that what commutes shows: halves of one axis
that are added, multiplied or compared.

``u, v = h.chunk(2)`` and ``maximum(u, v)`` do not care which of two neurons is in which half: it is
the maximum over an axis of size 2. Written so, the rules for views and reductions find that every
pair can change places by itself.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from symnet.tracing.recording import Operation, Recording, Value

_aten = torch.ops.aten
_REDUCTIONS = {
    "add": _aten.sum.dim_IntList, "mul": _aten.prod.dim_int,
    "maximum": _aten.amax.default, "minimum": _aten.amin.default,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class AxisPart:
    """Positions ``start, start + step, ...`` of an axis of a value."""

    source: Value
    axis: int
    start: int
    step: int
    count: int


def join_halves(recording: Recording) -> Recording:
    """The recording with every commutative operation on two halves of one
    axis written as a reduction over them.
    """
    uses = Counter(v.number for o in recording.operations for v in o.inputs())
    uses.update(v.number for _, v in recording.outputs)
    parts = {
        number: part
        for o in recording.operations
        for number, part in _parts(o)
        if uses[number] == 1
    }
    number = recording.last_number()
    operations: list[Operation] = []
    for operation in recording.operations:
        halves = _halves(operation, parts)
        if halves is None:
            operations.append(operation)
            continue
        first, interleaved = halves
        replaced = list(_as_reduction(operation, first, interleaved, number))
        number += len(replaced)
        operations += replaced
    return dataclasses.replace(recording, operations=operations)


def _parts(operation: Operation) -> Iterator[tuple[int, AxisPart]]:
    """What the outputs of an operation that cuts an axis are, by number."""
    outputs = [o for o in operation.outputs if o is not None]
    if (
        operation.name not in ("slice", "split", "split_with_sizes", "chunk")
        or len(operation.inputs()) != 1
    ):
        return
    source = operation.inputs()[0]
    by_name = dict(
        zip(
            [a.name for a in operation.function._schema.arguments],
            operation.arguments,
            strict=False,
        )
    )
    by_name |= operation.keywords
    axis = (by_name.get("dim") or 0) % len(source.shape)
    step, start = by_name.get("step") or 1, 0
    if operation.name == "slice":
        start = by_name.get("start") or 0
        start = min(max(start + source.shape[axis] if start < 0 else start, 0), source.shape[axis])
    for output in outputs:
        yield output.number, AxisPart(source, axis, start, step, output.shape[axis])
        start += output.shape[axis] * step


def _halves(operation: Operation, parts: dict[int, AxisPart]) -> tuple[AxisPart, bool] | None:
    """The first of two parts that an operation does not tell apart,
    and whether they are interleaved.
    """
    inputs = operation.inputs()
    plain = operation.name in _REDUCTIONS and len(inputs) == 2 and not operation.overwritten
    scaled = operation.keywords.get("alpha", 1) != 1 or len(operation.arguments) > 2
    if not plain or scaled or any(v.number not in parts for v in inputs):
        return None
    first, second = sorted((parts[v.number] for v in inputs), key=lambda part: part.start)
    if (
        dataclasses.replace(second, start=first.start) != first
        or inputs[0].dtype != inputs[1].dtype
    ):
        return None
    size = first.source.shape[first.axis]
    if first.step == 1 and second.start == first.start + first.count and first.count > 1:
        return first, False
    if first.step == 2 and (first.start, second.start) == (0, 1) and size == 2 * first.count:
        return first, True
    return None


def _as_reduction(
    operation: Operation, first: AxisPart, interleaved: bool, number: int
) -> Iterator[Operation]:
    """Both halves as one axis of size 2, reduced."""
    source, axis, shape = first.source, first.axis, list(first.source.shape)
    if not interleaved and shape[axis] != 2 * first.count:
        shape[axis] = 2 * first.count
        stop = first.start + 2 * first.count
        taken = _value(source, shape, number := number + 1)
        yield Operation(
            "slice",
            _aten.slice.Tensor,
            (source, axis, first.start, stop),
            {},
            [taken],
            operation.module,
        )
        source = taken
    pair = [first.count, 2] if interleaved else [2, first.count]
    shape[axis : axis + 1] = pair
    viewed = _value(source, shape, number + 1)
    yield Operation(
        "reshape", _aten.reshape.default, (source, shape), {}, [viewed], operation.module
    )
    place = axis + 1 if interleaved else axis
    function = _REDUCTIONS[operation.name]
    along: Any = place if function is _aten.prod.dim_int else [place]
    name = function._schema.name.split("::")[-1]
    yield Operation(name, function, (viewed, along), {}, operation.outputs, operation.module)


def _value(like: Value, shape: list[int], number: int) -> Value:
    """A computed value of another shape."""
    made = Value(number, torch.empty(shape, dtype=like.dtype, device="meta"))
    made.varies = like.varies
    return made
