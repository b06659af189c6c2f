"""Rules for operations that look at values: sorting, counting, reading numbers."""

from __future__ import annotations

from symnet.tracing.axis_labels import flat, leaves
from symnet.tracing.reading_state import Reading, arguments, rule
from symnet.tracing.recording import Operation, Value


@rule("topk", "sort", "argsort", "msort")
def topk(reading: Reading, operation: Operation) -> None:
    """Entries in order of size: the result has ranks, whatever the order of what is sorted."""
    source = operation.inputs()[0]
    if source.number in reading.positions.of and operation.name in ("sort", "argsort"):
        return sort_positions(reading, operation, source)
    axis = arguments(operation).get("dim", -1 if operation.name != "msort" else 0) % max(
        len(source.shape), 1
    )
    ranks = reading.pinned(
        operation.inputs()[0].shape[axis]
        if operation.name != "topk"
        else arguments(operation)["k"],
        "ranks",
    )
    labels = list(reading.label(source))
    reading.block(*(label for k, label in enumerate(labels) if k != axis))
    for output in operation.outputs:
        assert output is not None
        result = list(labels)
        result[axis] = ranks
        reading.set(output, result)
        if not output.dtype.is_floating_point and (
            operation.name == "argsort" or output is operation.outputs[-1]
        ):
            reading.positions.mark(output, labels[axis], tuple(result))


def sort_positions(reading: Reading, operation: Operation, source: Value) -> None:
    """Positions in ascending order: along an axis whose order must not matter, or, of a
    permutation, in their own order.
    """
    points, outputs = (
        reading.positions.of[source.number],
        [o for o in operation.outputs if o is not None],
    )
    if len(source.shape) != 1 or arguments(operation).get("descending"):
        reading.pin(points.along, "positions along it are sorted")
        for output in outputs:
            reading.set(output, [reading.pinned(n, "positions are sorted") for n in output.shape])
        return
    reading.positions.understood.add(source.number)
    inverse = source.number in reading.positions.permutations
    order = points.along if inverse else reading.positions.sort(points.along, source.shape[0])
    for output in outputs:
        reading.set(output, [order])
        if output is outputs[-1]:
            reading.positions.mark(output, reading.label(source)[0], (order,))
            reading.positions.permutations.add(output.number)
        else:
            reading.positions.mark(output, points.along, (order,))


@rule("bincount", "histc")
def count_positions(reading: Reading, operation: Operation) -> None:
    """How often every position occurs: one number for each of them."""
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    by_name = arguments(operation)
    points, size = reading.positions.of.get(source.number), output.shape[0]
    limits = (by_name["min"], by_name["max"]) if operation.name == "histc" else (0, size - 1)
    counted = points is not None and len(operation.inputs()) == 1 and limits == (0, size - 1)
    if not counted or points is None or reading.positions.use(source, size) is None:
        return data_dependent(reading, operation)
    reading.set(output, [points.along])
    reading.positions.counts[output.number] = points


@rule("_local_scalar_dense", "is_nonzero")
def read_number(reading: Reading, operation: Operation) -> None:
    """A single entry has no axes; if it is a position, what it is a position of
    is pinned by those who follow positions.
    """
    if all(value.number in reading.always for value in operation.inputs()):
        reading.certain.add(id(operation))


@rule("equal", "allclose")
def compare_whole(reading: Reading, operation: Operation) -> None:
    """Whether two tensors are the same, entry by entry."""
    left, right = operation.inputs()
    if left.shape == right.shape:
        for a, b in zip(reading.label(left), reading.label(right), strict=True):
            reading.merge(a, b)


@rule("numpy")
def leave_torch(reading: Reading, operation: Operation) -> None:
    for label in reading.label(operation.inputs()[0]):
        reading.pin(label, "its entries are read as an array or a list")


@rule("nonzero", "_unique2")
def distinct_positions(reading: Reading, operation: Operation) -> None:
    """The positions that occur, in ascending order: along an axis whose order must not matter."""
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    positions = reading.positions
    along = None
    if operation.name == "nonzero" and len(source.shape) == 1:
        label = flat(reading.label(source)[0])
        along = positions.marks.get(
            source.number, label if any(n.pin is None for n in leaves(label)) else None
        )
    elif operation.name == "_unique2" and all(
        o is None or o.number not in reading.used for o in operation.outputs[1:]
    ):
        points = positions.of.get(source.number)
        along = points.along if points is not None else None
    if along is None or output.shape[0] < 2:
        return data_dependent(reading, operation)
    positions.understood.add(source.number)
    order = positions.sort(along, output.shape[0])
    reading.set(output, [order, *[()] * (len(output.shape) - 1)])
    positions.mark(output, along, reading.label(output))
    for other in operation.outputs[1:]:
        if other is not None:
            reading.set(other, [reading.pinned(n, "nobody reads it") for n in other.shape])


@rule("masked_select", "unique_dim")
def data_dependent(reading: Reading, operation: Operation) -> None:
    for value in operation.inputs():
        for label in reading.label(value):
            reading.pin(label, "the result's size depends on the entries")
    for output in operation.outputs:
        if output is not None:
            reading.set(
                output,
                [
                    reading.pinned(n, "the result's size depends on the entries")
                    for n in output.shape
                ],
            )
