"""Rules of operations that compute: elementwise, sums, contractions, normalisations, windows."""

from __future__ import annotations

import torch

from symnet.tracing.axis_labels import Label, concatenate, flat, size_of
from symnet.tracing.reading_state import Labels, Reading, arguments, axes_argument, rule
from symnet.tracing.recording import Operation, Value
from symnet.tracing.reshapes import repartition
from symnet.tracing.rules_shape import pin_everything, slice_axis

_POINTWISE = {
    "polar", "complex", "atan2", "real", "imag", "angle", "conj", "_conj_physical", "abs",
    "where", "masked_fill", "lerp", "addcmul", "addcdiv", "clamp", "copy", "fill", "zero",
    "_prelu_kernel", "prelu", "isnan", "rrelu_with_noise", "celu", "softshrink", "hardshrink",
    "bernoulli", "uniform", "normal", "maximum", "minimum", "nan_to_num",
}  # fmt: skip


def is_pointwise(operation: Operation) -> bool:
    """Whether every output entry depends on the entries at its own place only."""
    return operation.name in _POINTWISE or torch.Tag.pointwise in operation.function.tags


def pointwise(reading: Reading, operation: Operation) -> None:
    values = operation.inputs()
    for output in operation.outputs:
        if output is not None:
            reading.set(output, reading.broadcast(values, output.shape))


for _name in _POINTWISE:
    rule(_name)(pointwise)


@rule("eq", "ne")
def equal(reading: Reading, operation: Operation) -> None:
    """Positions compared with 0, 1, 2, ... along a new axis: that axis
    is the one they are positions of.
    """
    values, output = operation.inputs(), operation.outputs[0]
    assert output is not None
    if compare_positions(reading, values, operation.arguments[-1]):
        reading.set(output, reading.broadcast(values, output.shape))
        if len(values) == 1:
            reading.always.add(output.number)
        return
    for value, other in zip(values, reversed(values), strict=True):
        axis = _counting_axis(other, output.shape) if len(values) == 2 else None
        if axis is None or (axis < len(output.shape) and _size_at(value, axis, output.shape) != 1):
            continue
        points = reading.positions.of.get(value.number)
        count = size_of(points.along) if points is not None else 0
        if points is not None and count <= output.shape[axis]:
            reading.positions.understood.add(value.number)
            labels = list(reading.broadcast([value], output.shape))
            # no entry is beyond the last position
            beyond = [(1, ())] * (output.shape[axis] - count)
            labels[axis] = concatenate([(count, points.along), *beyond])
            reading.positions.marks[output.number] = points.along
            return reading.set(output, labels)
    return pointwise(reading, operation)


def compare_positions(reading: Reading, values: list[Value], other: object) -> bool:
    """Whether two positions along one axis are compared, or one with a
    number that is no position at all.
    """
    points = [reading.positions.of.get(value.number) for value in values]
    if any(p is None for p in points):
        return False
    along = [flat(p.along) for p in points if p is not None]
    beyond = len(values) == 1 and isinstance(other, int) and not 0 <= other < size_of(along[0])
    if beyond or (len(values) == 2 and along[0] == along[1]):
        reading.positions.understood.update(value.number for value in values)
        return True
    return False


def _counting_axis(value: Value, shape: tuple[int, ...]) -> int | None:
    """The axis along which a constant is 0, 1, 2, ..., if it has no other."""
    if not value.constant or value.kept is None or value.varies:
        return None
    axes = [k for k, size in enumerate(value.shape) if size > 1]
    counts = len(axes) == 1 and value.kept.flatten().tolist() == list(range(value.kept.numel()))
    return axes[0] + len(shape) - len(value.shape) if counts else None


def _size_at(value: Value, axis: int, shape: tuple[int, ...]) -> int:
    place = axis - (len(shape) - len(value.shape))
    return value.shape[place] if place >= 0 else 1


@rule("glu")
def glu(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    axis = arguments(operation)["dim"] % len(source.shape)
    labels = list(reading.label(source))
    halves = _halves(reading, labels[axis], output.shape[axis])
    labels[axis] = reading.merge(*halves)
    reading.set(output, labels)


def _halves(reading: Reading, label: Label, size: int) -> tuple[Label, Label]:
    return slice_axis(reading, (label,), 0, 0, size)[0], slice_axis(
        reading, (label,), 0, size, 2 * size
    )[0]


# ---- reductions ----------------------------------------------------------------------------------
_POSITIONS = {"argmax", "argmin", "max", "min", "median", "nanmedian", "mode", "kthvalue"}


@rule(
    "sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod",
    "any", "all", "logsumexp", "norm", "linalg_vector_norm", "argmax", "argmin", "median",
    "nanmedian", "nansum", "count_nonzero", "aminmax", "mode", "kthvalue",
)  # fmt: skip
def reduce(reading: Reading, operation: Operation) -> None:
    if len(operation.inputs()) > 1:  # max(a, b)
        return pointwise(reading, operation)
    source = operation.inputs()[0]
    by_name = arguments(operation)
    along = axes_argument(by_name.get("dim"), len(source.shape))
    labels = reading.label(source)
    keep = bool(by_name.get("keepdim", False))
    for number, output in enumerate(operation.outputs):
        if output is None:
            continue
        positions = (
            operation.name in _POSITIONS
            and not output.dtype.is_floating_point
            and output.dtype != torch.bool
        )
        if (
            positions
            and not source.dtype.is_floating_point
            and number == 0
            and operation.name not in ("argmax", "argmin")
        ):
            positions = False
        if keep:
            reading.set(output, [() if k in along else label for k, label in enumerate(labels)])
        else:
            reading.set(output, [label for k, label in enumerate(labels) if k not in along])
        if positions:
            whole = flat(node for axis in along for node in labels[axis])
            reading.positions.mark(output, whole, reading.label(output))


@rule("trace")
def trace_of_matrix(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    if source.shape[0] != source.shape[1]:
        return pin_everything(reading, operation, "the trace of a matrix that is not square")
    reading.block(reading.merge(*reading.label(source)))
    reading.set(output, ())


@rule("_cdist_forward", "_euclidean_dist")
def distances(reading: Reading, operation: Operation) -> None:
    """Distances between the rows of two tensors; their columns go together."""
    left, right = operation.inputs()[:2]
    *batch, rows, width = reading.label(left)
    *other_batch, columns, other = reading.label(right)
    lead = [
        reading.merge(a, b) if size_of(a) == size_of(b) else a or b
        for a, b in zip(batch, other_batch, strict=True)
    ]
    contract(reading, left, right, width, other, (*lead, rows, columns))
    reading.set(operation.outputs[0], [*lead, rows, columns])


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax")
def softmax(reading: Reading, operation: Operation) -> None:
    source = operation.inputs()[0]
    labels = reading.label(source)
    axis = arguments(operation)["dim"] % max(len(labels), 1)
    beside = [label for k, label in enumerate(labels) if k != axis]
    reading.block(*beside)
    reading.attention += beside
    reading.set(operation.outputs[0], labels)


# ---- contractions --------------------------------------------------------------------------------
def contract(
    reading: Reading,
    left: Value,
    right: Value,
    a: Label,
    b: Label,
    others: Labels,
    elements: Labels | None = None,
) -> None:
    """Merges the summed axes of both factors and notes the product before the
    sum, with the elements it belongs to.
    """
    are_constant = [v.constant and v.number not in reading.recording.mutated for v in (left, right)]
    merged = reading.merge(a, b)
    reading.positions.contracted.append(merged)
    reading.contracted.setdefault(id(reading.operation), []).append(merged)
    if elements is None:
        elements = reading.positions.elements_of((left, right), (*others, merged))
    reading.block(*others, merged, *elements)
    # Summed against something that only the code knows (an initial state of zeros) hides a
    # recurrence.
    (reading.hidden if any(are_constant) else reading.summed).append(
        (merged, reading.why("it is only summed against a constant"))
    )


@rule("mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv", "linear")
def matmul(reading: Reading, operation: Operation) -> None:
    name, output = operation.name, operation.outputs[0]
    assert output is not None
    values = operation.inputs()
    added = [values.pop(0)] if name in ("addmm", "baddbmm", "addmv") else []
    left, right = values[0], values[1]
    if name == "linear":
        added, (w_out, w_in) = values[2:], reading.label(right)
        *rows, k = reading.label(left)
        contract(reading, left, right, k, w_in, (*rows, w_out))
        result: Labels = (*rows, w_out)
    else:
        result = _product(reading, left, right)
    for value in added:
        merged = reading.broadcast([value], output.shape)
        result = tuple(reading.merge(a, b) for a, b in zip(result, merged, strict=True))
    reading.set(output, result)


def _product(reading: Reading, left: Value, right: Value) -> Labels:
    a, b = reading.label(left), reading.label(right)
    batch: Labels = ()
    if len(a) == 3:
        batch = (reading.merge(a[0], b[0]),)
        a, b = a[1:], b[1:]
    rows, columns = a[:-1], b[1:]
    contract(reading, left, right, a[-1], b[0], (*batch, *rows, *columns))
    return (*batch, *rows, *columns)


@rule("_trilinear")
def trilinear(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    values = [by_name["i1"], by_name["i2"], by_name["i3"]]
    expanded = [set(by_name[f"expand{k}"]) for k in (1, 2, 3)]
    total = len(values[0].shape) + len(expanded[0])
    result: list[Label | None] = [None] * total
    for value, skipped in zip(values, expanded, strict=True):
        for place, label in zip(
            [k for k in range(total) if k not in skipped], reading.label(value), strict=True
        ):
            label_before = result[place]
            result[place] = label if label_before is None else reading.merge(label_before, label)
    labels = [label or () for label in result]
    reading.block(*labels)
    reading.set(
        operation.outputs[0],
        [label for k, label in enumerate(labels) if k not in by_name["sumdim"]],
    )


@rule("convolution", "_convolution", "convolution_overrideable")
def convolution(reading: Reading, operation: Operation) -> None:
    by_name = arguments(operation)
    source, weight, bias, groups = (
        by_name["input"],
        by_name["weight"],
        by_name["bias"],
        by_name["groups"],
    )
    output = operation.outputs[0]
    assert output is not None
    batch, channels, *space = reading.label(source)
    first, second, *kernel = reading.label(weight)
    pointlike = (
        all(k == 1 for k in weight.shape[2:])
        and all(s == 1 for s in by_name["stride"])
        and not any(by_name["padding"])
    )
    if not pointlike:
        for label in space:
            reading.pin(label, "a convolution moves along it")
    for label in kernel:
        reading.pin(label, "kernel offsets of a convolution")
    group, inner, outer, whole = _channel_axes(
        reading, source, output, channels, first, second, groups, by_name["transposed"]
    )
    if bias is not None:
        whole = reading.merge(whole, reading.label(bias)[0])
    reading.block(batch, group, inner, outer, *space, *kernel)
    places = (
        space
        if pointlike
        else [reading.pinned(n, "positions of a convolution's output") for n in output.shape[2:]]
    )
    reading.set(output, [batch, whole, *places])


def _channel_axes(
    reading: Reading,
    source: Value,
    output: Value,
    channels: Label,
    first: Label,
    second: Label,
    groups: int,
    transposed: bool,
) -> tuple[Label, Label, Label, Label]:
    """Labels of the groups, of the input and output channels within a
    group, and of all output channels.
    """
    if groups == 1:
        w_in, w_out = (first, second) if transposed else (second, first)
        return (), reading.merge(channels, w_in), w_out, w_out
    fan_in, fan_out = source.shape[1] // groups, output.shape[1] // groups
    group, inner = repartition([channels], [groups, fan_in])
    if transposed:
        w_group, w_inner = repartition([first], [groups, fan_in])
        outer = second
    else:
        w_group, outer = repartition([first], [groups, fan_out])
        w_inner = second
    group, inner = reading.merge(group, w_group), reading.merge(inner, w_inner)
    return group, inner, outer, (*group, *outer)


# ---- normalisations ------------------------------------------------------------------------------
@rule("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(reading: Reading, operation: Operation) -> None:
    source, *affine = operation.inputs()
    labels = list(reading.label(source))
    count = len(arguments(operation)["normalized_shape"])
    lead = labels[: len(labels) - count]
    for value in affine:
        labels = lead + [
            reading.merge(a, b)
            for a, b in zip(labels[len(lead) :], reading.label(value), strict=True)
        ]
    reading.block(*lead)
    reading.set(operation.outputs[0], labels)
    for output in operation.outputs[1:]:
        reading.set(output, [*lead, *[()] * count])


@rule("native_group_norm", "group_norm")
def group_norm(reading: Reading, operation: Operation) -> None:
    source, *affine = operation.inputs()
    by_name = arguments(operation)
    groups: int = by_name["group"] if "group" in by_name else by_name["num_groups"]
    batch, channels, *space = reading.label(source)
    for value in affine:
        channels = reading.merge(channels, reading.label(value)[0])
    group, inner = repartition([channels], [groups, source.shape[1] // groups])
    channels = (*group, *inner)
    reading.block(batch, group)
    reading.set(operation.outputs[0], [batch, channels, *space])
    for output in operation.outputs[1:]:
        reading.set(output, [batch, group])


@rule("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit",
      "cudnn_batch_norm", "_batch_norm_with_update", "batch_norm",
      "_native_batch_norm_legit_functional", "_batch_norm_no_update")  # fmt: skip
def batch_norm(reading: Reading, operation: Operation) -> None:
    source, *affine = operation.inputs()
    labels = list(reading.label(source))
    for value in affine:
        labels[1] = reading.merge(labels[1], reading.label(value)[0])
    reading.block(labels[1])
    for output in operation.outputs:
        if output is not None and output.shape == source.shape:
            reading.set(output, labels)
        elif output is not None:
            by_channel = len(output.shape) == 1 and output.shape[0] == source.shape[1]
            pinned = [reading.pinned(n, "statistics of a batch norm") for n in output.shape]
            reading.set(output, [labels[1]] if by_channel else pinned)


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(reading: Reading, operation: Operation) -> None:
    direction, scale = operation.inputs()[:2]
    axis = arguments(operation)["dim"]
    labels = list(reading.label(direction))
    labels = [
        reading.merge(a, b) if n > 1 else a
        for a, b, n in zip(labels, reading.label(scale), scale.shape, strict=True)
    ]
    reading.block(labels[axis])
    for output in operation.outputs:
        if output is not None:
            kept = [label if n > 1 else () for label, n in zip(labels, output.shape, strict=True)]
            reading.set(output, labels if output.shape == direction.shape else kept)
