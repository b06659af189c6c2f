"""Rules of operations that move entries about: views, slices, joins, padding, shuffles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from symnet.tracing.axes import member_of, members_at, take
from symnet.tracing.axis_labels import Label, concatenate, flat, fresh, root, size_of
from symnet.tracing.reading_state import Labels, Reading, arguments, rule
from symnet.tracing.recording import Operation, Value
from symnet.tracing.reshapes import repartition

# An index of more runs of consecutive positions than this pins its axis.
_RUNS = 64


@rule(
    "clone", "detach", "_to_copy", "alias", "contiguous", "lift_fresh", "lift_fresh_copy",
    "dropout", "positive", "alias_update", "native_dropout", "alias_copy", "detach_copy", "_conj",
    "resolve_conj", "resolve_neg", "feature_dropout",
)  # fmt: skip
def keep_axes(reading: Reading, operation: Operation) -> None:
    labels = reading.label(operation.inputs()[0])
    for output in operation.outputs:
        reading.set(output, labels)


@rule(
    "view",
    "_unsafe_view",
    "reshape",
    "_reshape_alias",
    "flatten",
    "unflatten",
    "view_copy",
    "reshape_copy",
)
def view(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    if math.prod(source.shape) != math.prod(output.shape):  # view(dtype)
        pin_everything(reading, operation, "entries are read as another number type")
        return
    reading.set(output, repartition(reading.label(source), output.shape))


@rule(
    "permute",
    "transpose",
    "t",
    "numpy_T",
    "swapaxes",
    "swapdims",
    "permute_copy",
    "t_copy",
    "transpose_copy",
)
def permute(reading: Reading, operation: Operation) -> None:
    source = operation.inputs()[0]
    count = len(source.shape)
    order = list(range(count))
    by_name = arguments(operation)
    if "dims" in by_name:
        order = [axis % count for axis in by_name["dims"]]
    elif "dim0" in by_name and count:
        first, second = by_name["dim0"] % count, by_name["dim1"] % count
        order[first], order[second] = order[second], order[first]
    else:
        order.reverse()
    labels = reading.label(source)
    reading.set(operation.outputs[0], [labels[axis] for axis in order])


@rule("unsqueeze", "squeeze", "unsqueeze_copy", "squeeze_copy")
def squeeze(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    # Axes of size 1 have the empty label, so only the others need to be placed.
    rest = iter(
        [
            label
            for label, size in zip(reading.label(source), source.shape, strict=True)
            if size != 1
        ]
    )
    reading.set(output, [next(rest) if size != 1 else () for size in output.shape])


@rule("expand", "expand_copy", "broadcast_to")
def expand(reading: Reading, operation: Operation) -> None:
    output = operation.outputs[0]
    assert output is not None
    reading.set(output, reading.broadcast([operation.inputs()[0]], output.shape))


@rule("repeat", "tile")
def repeat(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    labels = list(reading.label(source))
    labels = [()] * (len(output.shape) - len(labels)) + labels
    reading.set(
        output,
        [
            (*fresh(size // size_of(label), wildcard=True), *label)
            for label, size in zip(labels, output.shape, strict=True)
        ],
    )


def slice_axis(reading: Reading, labels: Labels, axis: int, start: int, stop: int) -> list[Label]:
    """The labels of positions ``start .. stop`` along an axis of a value."""
    result = list(labels)
    nodes = flat(labels[axis])
    if (start, stop) == (0, size_of(nodes)):
        return result
    if (
        len(nodes) == 1
        and nodes[0].parts is None
        and (nodes[0].pin is not None or nodes[0].wildcard)
    ):
        head = nodes[0]
        others = [n for k, label in enumerate(labels) if k != axis for n in flat(label)]
        if head.wildcard or not any(
            n.origins & head.origins and n.pin is None and not n.wildcard for n in others
        ):
            result[axis] = fresh(stop - start, head.pin, wildcard=head.wildcard)
            return result
    result[axis] = take(nodes, start, stop)
    if len(nodes) == 1 and root(nodes[0]).factors is None:
        for k, label in enumerate(labels):
            if k != axis:
                result[k] = members_at(label, nodes[0], start, stop)
    return result


@rule("slice", "slice_copy", "narrow")
def slice_(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    by_name = arguments(operation)
    axis = (by_name.get("dim") or 0) % len(source.shape)
    size = source.shape[axis]
    start = min(max((s + size if (s := by_name.get("start") or 0) < 0 else s), 0), size)
    step = by_name.get("step") or 1
    if step == 1:
        reading.set(
            output,
            slice_axis(reading, reading.label(source), axis, start, start + output.shape[axis]),
        )
        return
    reading.set(
        output, strided(reading, reading.label(source), axis, start, step, output.shape[axis], size)
    )


def strided(
    reading: Reading, labels: Labels, axis: int, start: int, step: int, count: int, size: int
) -> list[Label]:
    """The labels of every ``step``-th position: position ``start`` of
    a trailing factor of that size.
    """
    result = list(labels)
    if size % step == 0 and count == size // step and start < step:
        rows, column = repartition([labels[axis]], [size // step, step])
        picked = slice_axis(reading, (rows, column), 1, start, start + 1)
        result[axis] = picked[0]
    else:
        reading.pin(labels[axis], "a strided slice picks single positions")
        result[axis] = reading.pinned(count, "a strided slice picks single positions")
    return result


def without(labels: Labels, axis: int) -> Labels:
    return labels[:axis] + labels[axis + 1 :]


@rule("select", "select_copy")
def select(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    by_name = arguments(operation)
    axis = by_name["dim"] % len(source.shape)
    at = by_name["index"] % source.shape[axis]
    if reading.positions.goes_through(source, axis, reading.label(source)[axis]):
        return reading.set(output, without(reading.label(source), axis))
    labels = slice_axis(reading, reading.label(source), axis, at, at + 1)
    reading.set(output, labels[:axis] + labels[axis + 1 :])


@rule("unbind", "unbind_copy")
def unbind(reading: Reading, operation: Operation) -> None:
    source = operation.inputs()[0]
    axis = (arguments(operation).get("dim") or 0) % len(source.shape)
    if reading.positions.goes_through(source, axis, reading.label(source)[axis]):
        for output in operation.outputs:
            reading.set(output, without(reading.label(source), axis))
        return
    for at, output in enumerate(operation.outputs):
        labels = slice_axis(reading, reading.label(source), axis, at, at + 1)
        reading.set(output, labels[:axis] + labels[axis + 1 :])


@rule("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk",
      "unsafe_chunk", "tensor_split", "split_copy", "split_with_sizes_copy")  # fmt: skip
def split(reading: Reading, operation: Operation) -> None:
    source = operation.inputs()[0]
    axis = (arguments(operation).get("dim") or 0) % len(source.shape)
    start = 0
    for output in operation.outputs:
        assert output is not None
        stop = start + output.shape[axis]
        reading.set(output, slice_axis(reading, reading.label(source), axis, start, stop))
        start = stop


@rule("cat", "concat")
def cat(reading: Reading, operation: Operation) -> None:
    output = operation.outputs[0]
    assert output is not None
    values = [value for value in operation.inputs() if math.prod(value.shape)]
    axis = (arguments(operation).get("dim") or 0) % len(output.shape)
    labels = list(reading.label(values[0]))
    for value in values[1:]:
        for k, label in enumerate(reading.label(value)):
            if k != axis:
                labels[k] = reading.merge(labels[k], label)
    labels[axis] = concatenate(
        [(value.shape[axis], reading.label(value)[axis]) for value in values]
    )
    reading.set(output, labels)


@rule("stack")
def stack(reading: Reading, operation: Operation) -> None:
    output, values = operation.outputs[0], operation.inputs()
    assert output is not None
    axis = (arguments(operation).get("dim") or 0) % len(output.shape)
    places = concatenate([(1, ())] * len(values))
    value_labels = [reading.label(value) for value in values]
    labels = [
        stacked(reading, places, [each[k] for each in value_labels])
        for k in range(len(value_labels[0]))
    ]
    if not any(
        node.family is not None and node.family.axis in places for label in labels for node in label
    ):
        places = reading.pinned(len(values), "different tensors are stacked along it")
    labels.insert(axis, places)
    reading.set(output, labels)


def stacked(reading: Reading, places: Label, labels: Sequence[Label]) -> Label:
    """The label of an axis of stacked tensors: what it stands for
    may differ from one to the next.
    """
    alone = all(
        len(label) == 1 and label[0].parts is None and label[0].family is None
        for label in map(flat, labels)
    )
    several = {root(label[0]) for label in map(flat, labels)} if alone else set()
    if places and len(several) > 1 and not any(n.wildcard or n.pin for n in several):
        return member_of(places[0], [flat(label)[0] for label in labels])
    merged = labels[0]
    for label in labels[1:]:
        merged = reading.merge(merged, label)
    return merged


@rule("constant_pad_nd")
def pad(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    labels = list(reading.label(source))
    amounts = list(arguments(operation)["pad"])
    for k in range(len(amounts) // 2):
        axis, (before, after) = len(labels) - 1 - k, amounts[2 * k : 2 * k + 2]
        size, label = source.shape[axis], labels[axis]
        if before < 0 or after < 0:
            start, stop = max(-before, 0), size - max(-after, 0)
            label = slice_axis(reading, (label,), 0, start, stop)[0]
            size = stop - start
        pieces = [
            (max(before, 0), fresh(before, wildcard=True)) if before > 0 else (0, ()),
            (size, label),
        ]
        if after > 0:
            pieces.append((after, fresh(after, wildcard=True)))
        labels[axis] = concatenate(pieces)
    reading.set(output, labels)


def taken_by_index(reading: Reading, label: Label, index: Value) -> Label:
    """The label of an axis read at given positions; repeats and ranges
    are understood, anything else pins.
    """
    size, count = size_of(label), math.prod(index.shape)
    if index.constant and index.kept is not None and len(index.shape) == 1 and not index.varies:
        kept = (
            index.kept.nonzero()[:, 0]
            if index.kept.dtype in (torch.bool, torch.uint8)
            else index.kept
        )
        positions: Sequence[int] = [k % size for k in kept.tolist()]
        count = len(positions)
        if count % size == 0 and list(positions) == [
            k for k in range(size) for _ in range(count // size)
        ]:
            return (*label, *fresh(count // size, wildcard=True))
        if count % size == 0 and list(positions) == list(range(size)) * (count // size):
            return (*fresh(count // size, wildcard=True), *label)
        runs = _runs(positions)
        if len(runs) == 1 or len(runs) < min(count, _RUNS):
            return concatenate(
                [(b - a, slice_axis(reading, (label,), 0, a, b)[0]) for a, b in runs]
            )
    reading.pin(label, "single positions are picked by index")
    return reading.pinned(count, "single positions are picked by index")


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Positions as runs ``start .. stop`` of consecutive ones."""
    runs: list[tuple[int, int]] = []
    for at in positions:
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + 1)
        else:
            runs.append((at, at + 1))
    return runs


@rule("roll")
def roll(reading: Reading, operation: Operation) -> None:
    """Two slices of the axis that change places."""
    source, output = operation.inputs()[0], operation.outputs[0]
    by_name = arguments(operation)
    if not by_name["dims"]:
        return pin_everything(reading, operation, "positions along all axes are shifted")
    labels = list(reading.label(source))
    for shift, dim in zip(by_name["shifts"], by_name["dims"], strict=True):
        axis = dim % len(labels)
        size = source.shape[axis]
        cut = -shift % size if size else 0
        if cut:
            back = slice_axis(reading, (labels[axis],), 0, cut, size)[0]
            front = slice_axis(reading, (labels[axis],), 0, 0, cut)[0]
            labels[axis] = concatenate([(size - cut, back), (cut, front)])
    reading.set(output, labels)


def pin_everything(reading: Reading, operation: Operation, reason: str) -> None:
    """Pins every axis that an operation touches."""
    for value in operation.inputs():
        for label in reading.label(value):
            reading.pin(label, reason)
    for output in operation.outputs:
        if output is not None:
            reading.set(output, [reading.pinned(size, reason) for size in output.shape])
