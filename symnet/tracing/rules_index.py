"""Rules of operations that read or write by index: the indexed axis is pinned, the others stay."""

from __future__ import annotations

from symnet.tracing.axis_labels import Label, flat, size_of
from symnet.tracing.positions import Points
from symnet.tracing.reading_state import Reading, arguments, rule
from symnet.tracing.recording import Operation, Value
from symnet.tracing.reshapes import repartition
from symnet.tracing.rules_compute import contract, pointwise
from symnet.tracing.rules_shape import pin_everything, taken_by_index

BY_INDEX = "its positions are picked by index"


def merge_positions(reading: Reading, label: Label, index: Value, size: int) -> bool:
    """Whether an index holds positions along an axis of this size; then
    the axis it reads is that axis.
    """
    points = reading.positions.of.get(index.number)
    count = size_of(points.along) if points is not None else 0
    if points is None or count > size:
        return False
    if count < size:  # an axis with further entries behind, where no position lies
        joined = flat(label)
        if (
            len(joined) != 1
            or joined[0].parts is None
            or flat(joined[0].parts[0]) != flat(points.along)
        ):
            return False
        label = joined[0].parts[0]
    reading.positions.understood.add(index.number)
    reading.merge(label, points.along)
    return True


def picked(reading: Reading, output: Value | None, index: Value) -> None:
    """Notes that every entry of the output belongs to the element its index names."""
    points = reading.positions.of.get(index.number)
    is_understood = (
        index.number in reading.positions.understood
        and index.number not in reading.positions.permutations
    )
    if points is not None and output is not None and is_understood:
        reading.positions.picked[output.number] = (points,)


def pick_positions(reading: Reading, source: Value, index: Value, output: Value) -> None:
    """Positions picked by positions are positions: of the same axis, in the order of the index."""
    positions = reading.positions
    points, by = positions.of.get(source.number), positions.of.get(index.number)
    if (
        points is None
        or by is None
        or index.number not in positions.understood
        or len(source.shape) != 1
    ):
        return
    positions.understood.add(source.number)
    key = positions.composed.setdefault((points.key, by.key), output.number)
    positions.of[output.number] = Points(points.along, reading.label(index), key)


@rule("remainder", "fmod", "floor_divide", "div")
def divide(reading: Reading, operation: Operation) -> None:
    """A position of rows by columns, divided by the number of columns, is
    the row; the remainder is the column.

    With one row, the remainder is the position itself (``take_along_dim`` does this).
    """
    value, *others = operation.inputs()
    output, divisor = operation.outputs[0], operation.arguments[1]
    rounds = operation.name != "div" or operation.keywords.get("rounding_mode") in (
        "floor",
        "trunc",
    )
    points = reading.positions.of.get(value.number)
    whole = size_of(points.along) if points is not None else 0
    pointwise(reading, operation)
    if points is None or output is None or others or not rounds or type(divisor) is not int:
        return
    if divisor > 0 and whole % divisor == 0:
        rows, columns = repartition([points.along], [whole // divisor, divisor])
        remains = operation.name in ("remainder", "fmod")
        reading.positions.understood.add(value.number)
        reading.positions.of[output.number] = Points(
            columns if remains else rows,
            reading.label(output),
            points.key if remains and whole == divisor else output.number,
        )


@rule("embedding")
def embedding(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    rows, width = reading.label(by_name["weight"])
    indices = by_name["indices"]
    if not merge_positions(reading, rows, indices, by_name["weight"].shape[0]):
        reading.pin(rows, "rows of a table are looked up by index")
    picked(reading, operation.outputs[0], indices)
    reading.set(operation.outputs[0], [*reading.label(indices), width])


@rule("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(reading: Reading, operation: Operation) -> None:
    weight = arguments(operation)["weight"]
    rows, width = reading.label(weight)
    reading.pin(rows, "rows of a table are looked up by index")
    first, *others = operation.outputs
    assert first is not None
    reading.set(first, [reading.pinned(first.shape[0], "bags"), width])
    for output in others:
        if output is not None:
            reading.set(output, [reading.pinned(size, "bags") for size in output.shape])


@rule("index", "_unsafe_index")
def index(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    source, output = by_name["self"], operation.outputs[0]
    assert output is not None
    labels = reading.label(source)
    where = _indexed_axes(by_name["indices"])
    kept = [label for axis, label in enumerate(labels) if axis not in where]
    single = [i for i in by_name["indices"] if isinstance(i, Value)]
    axes = sorted(where)
    together = axes == list(range(axes[0], axes[0] + len(axes))) if axes else True
    front = axes[0] if together and axes else 0
    if len(single) == 1 and len(axes) == 1 and len(single[0].shape) == 1 and single[0].constant:
        places = [taken_by_index(reading, labels[axes[0]], single[0])]
    elif len(single) == 1 and len(axes) == 1 and not single[0].constant and not _is_mask(single[0]):
        if not merge_positions(reading, labels[axes[0]], single[0], source.shape[axes[0]]):
            reading.pin(labels[axes[0]], BY_INDEX)
        picked(reading, output, single[0])
        pick_positions(reading, source, single[0], output)
        places = list(reading.label(single[0]))
    else:
        for axis in axes:
            reading.pin(labels[axis], BY_INDEX)
        count = len(output.shape) - len(kept)
        places = [reading.pinned(size, BY_INDEX) for size in output.shape[front : front + count]]
        _merge_index_axes(reading, single, places)
    reading.set(output, [*kept[:front], *places, *kept[front:]])


def _is_mask(value: Value) -> bool:
    return str(value.dtype) in ("torch.bool", "torch.uint8")


def _indexed_axes(indices: list[Value | None]) -> set[int]:
    axes, position = set(), 0
    for item in indices:
        span = (
            len(item.shape)
            if item is not None and str(item.dtype) in ("torch.bool", "torch.uint8")
            else 1
        )
        if item is not None:
            axes |= set(range(position, position + span))
        position += span
    return axes


def _merge_index_axes(reading: Reading, indices: list[Value], places: list[Label]) -> None:
    """The axes of the index tensors are the new axes of the result."""
    for item in indices:
        if str(item.dtype) in ("torch.bool", "torch.uint8") or item.constant:
            for label in reading.label(item):
                reading.pin(label, BY_INDEX)
            continue
        for label, size, target in zip(
            reversed(reading.label(item)), reversed(item.shape), reversed(places), strict=False
        ):
            if size > 1:
                reading.merge(label, target)


@rule("index_select")
def index_select(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    source, where, output = by_name["self"], by_name["index"], operation.outputs[0]
    axis = by_name["dim"] % max(len(source.shape), 1)
    labels = list(reading.label(source))
    if not where.constant and merge_positions(reading, labels[axis], where, source.shape[axis]):
        picked(reading, output, where)
        labels[axis] = reading.label(where)[0]
    else:
        labels[axis] = taken_by_index(reading, labels[axis], where)
    reading.set(output, labels)


@rule("index_put", "_index_put_impl", "_unsafe_index_put")
def index_put(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    target, written = by_name["self"], by_name["values"]
    if invert_permutation(reading, operation, by_name["indices"][0], written):
        return
    where = _indexed_axes(by_name["indices"])
    labels = list(reading.label(target))
    for axis in where:
        reading.pin(labels[axis], BY_INDEX)
    for item in by_name["indices"]:
        if isinstance(item, Value):
            for label in reading.label(item):
                reading.pin(label, BY_INDEX)
    kept = [axis for axis in range(len(labels)) if axis not in where]
    trailing = [axis for axis in kept if axis > max(where, default=-1)]
    sources = reading.label(written)
    matched = min(len(trailing), len(sources))
    for axis, label, size in zip(
        trailing[len(trailing) - matched :],
        sources[len(sources) - matched :],
        written.shape[len(sources) - matched :],
        strict=True,
    ):
        if size > 1:
            labels[axis] = reading.merge(labels[axis], label)
    for label in (
        *sources[: len(sources) - matched],
        *(labels[axis] for axis in kept if axis not in trailing),
    ):
        reading.pin(label, BY_INDEX)
    reading.set(operation.outputs[0], labels)


def invert_permutation(
    reading: Reading, operation: Operation, index: Value | None, written: Value
) -> bool:
    """Whether 0, 1, 2, ... is written at the places of a permutation: that makes its inverse."""
    output = operation.outputs[0]
    if index is None or output is None or index.number not in reading.positions.permutations:
        return False
    if not written.constant or written.kept is None or written.varies:
        return False
    if output.shape != index.shape or written.kept.tolist() != list(range(*index.shape)):
        return False
    points = reading.positions.of[index.number]
    reading.positions.understood.add(index.number)
    reading.set(output, [points.along])
    reading.positions.of[output.number] = Points(points.axes[0], (points.along,), output.number)
    reading.positions.permutations.add(output.number)
    return True


@rule("gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim")
def gather(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    source, output = by_name["self"], operation.outputs[0]
    assert output is not None
    axis = by_name["dim"] % max(len(source.shape), 1)
    labels = list(reading.label(source))
    if source.shape and merge_positions(
        reading, labels[axis], by_name["index"], source.shape[axis]
    ):
        return _gather_positions(reading, operation, axis)
    reading.pin(labels[axis], BY_INDEX)
    for value in operation.inputs()[1:]:
        for k, label in enumerate(reading.label(value)):
            if k == axis or value.shape[k] != source.shape[k]:
                reading.pin(label, BY_INDEX)
                if k != axis:
                    reading.pin(labels[k], BY_INDEX)
            else:
                labels[k] = reading.merge(labels[k], label)
    reading.set(
        output,
        [
            label if k != axis and size == source.shape[k] else reading.pinned(size, BY_INDEX)
            for k, (label, size) in enumerate(zip(labels, output.shape, strict=True))
        ],
    )


def _gather_positions(reading: Reading, operation: Operation, axis: int) -> None:
    """Reading or writing at positions of the axis itself: the index and
    what is written share their axes.
    """
    by_name = arguments(operation)
    source, index = by_name["self"], by_name["index"]
    labels, places = list(reading.label(source)), list(reading.label(index))
    along = reading.merge(labels[axis], reading.positions.of[index.number].along)
    written = [v for v in operation.inputs() if v is not source and v is not index]
    for k, (size, wanted) in enumerate(zip(source.shape, index.shape, strict=True)):
        if k != axis and size == wanted:
            labels[k] = places[k] = reading.merge(labels[k], places[k])
        elif k != axis:
            reading.pin(labels[k], BY_INDEX)
            reading.pin(places[k], BY_INDEX)
        for value in written:
            if value.shape == index.shape:
                places[k] = reading.merge(places[k], reading.label(value)[k])
            else:
                for label in reading.label(value):
                    reading.pin(label, BY_INDEX)
    reading.block(*places[:axis], *places[axis + 1 :], along, places[axis])
    gathers = operation.name in ("gather", "take_along_dim")
    reading.set(
        operation.outputs[0], places if gathers else [*labels[:axis], along, *labels[axis + 1 :]]
    )


@rule("index_add", "index_copy", "index_fill", "index_reduce")
def index_add(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    target, source = by_name["self"], by_name.get("source", by_name.get("value"))
    axis = by_name["dim"] % max(len(target.shape), 1)
    labels = list(reading.label(target))
    where = reading.label(by_name["index"])
    merged = operation.name == "index_add" and merge_positions(
        reading, labels[axis], by_name["index"], target.shape[axis]
    )
    for label in () if merged else (labels[axis], *where):
        reading.pin(label, BY_INDEX)
    if isinstance(source, Value) and len(source.shape) == len(labels):
        for k, label in enumerate(reading.label(source)):
            if k != axis:
                labels[k] = reading.merge(labels[k], label)
            elif merged:
                reading.merge(label, where[0])
            else:
                reading.pin(label, BY_INDEX)
    if merged:
        reading.block(*labels[:axis], *where, *labels[axis + 1 :])
    reading.set(operation.outputs[0], labels)


@rule("_grouped_mm", "grouped_mm_fallback")
def grouped_product(reading: Reading, operation: Operation) -> None:
    """Rows in the order of their experts, each times its expert's matrix: what
    ``weight[experts]`` and ``bmm`` compute.
    """
    values, output = operation.inputs(), operation.outputs[0]
    assert output is not None
    ends = reading.positions.run_ends.get(values[2].number) if len(values) == 3 else None
    if ends is None or [len(v.shape) for v in values] != [2, 3, 1]:
        return pin_everything(
            reading, operation, "groups of rows that are not known to be those of an index"
        )
    rows, inner = reading.label(values[0])
    experts, weight_inner, outer = reading.label(values[1])
    if flat(rows) != flat(ends.axes[0]):
        return pin_everything(reading, operation, "rows in another order than their groups")
    reading.positions.understood.add(values[2].number)
    experts = reading.merge(experts, ends.along)
    contract(reading, values[0], values[1], inner, weight_inner, (rows, outer), (experts,))
    reading.positions.picked[output.number] = (ends,)
    reading.set(output, [rows, outer])


@rule("diagonal", "diagonal_copy")
def diagonal(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    by_name = arguments(operation)
    axes = {by_name["dim1"] % len(source.shape), by_name["dim2"] % len(source.shape)}
    labels = reading.label(source)
    kept = [label for axis, label in enumerate(labels) if axis not in axes]
    first, second = sorted(axes)
    if by_name["offset"] == 0 and source.shape[first] == source.shape[second]:
        both = reading.merge(labels[first], labels[second])
        reading.block(*kept, both)
        reading.set(output, [*kept, both])
        return
    for axis in axes:
        reading.pin(labels[axis], "a diagonal is taken")
    reading.set(output, [*kept, reading.pinned(output.shape[-1], "a diagonal is taken")])
