"""Rules of operations whose windows move along axes: pooling, resampling, folding."""

from __future__ import annotations

import math

from symnet.tracing.reading_state import Reading, arguments, rule
from symnet.tracing.recording import Operation
from symnet.tracing.reshapes import repartition


def _per_axis(value: list[int] | None, count: int, default: int) -> list[int]:
    return (list(value) * count)[:count] if value else [default] * count


def _pooled(size: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> bool:
    return kernel == stride and padding == 0 and dilation == 1 and size == kernel * out


@rule("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d",
      "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
      "max_pool1d_with_indices")  # fmt: skip
def pool(reading: Reading, operation: Operation) -> None:
    """Windows that tile an axis are one factor of it; others pin the axis."""
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    by_name = arguments(operation)
    count = len(by_name["kernel_size"])
    labels = list(reading.label(source))
    kernels, paddings = (
        _per_axis(by_name["kernel_size"], count, 1),
        _per_axis(by_name.get("padding"), count, 0),
    )
    strides, dilations = (
        _per_axis(by_name.get("stride") or kernels, count, 1),
        _per_axis(by_name.get("dilation"), count, 1),
    )
    for k in range(count):
        axis = len(labels) - count + k
        if kernels[k] == strides[k] == 1 and paddings[k] == 0:
            continue
        if _pooled(
            source.shape[axis],
            kernels[k],
            strides[k],
            paddings[k],
            dilations[k],
            output.shape[axis],
        ):
            labels[axis] = repartition([labels[axis]], [output.shape[axis], kernels[k]])[0]
        else:
            reading.pin(labels[axis], "a pooling window moves along it")
            labels[axis] = reading.pinned(output.shape[axis], "positions of a pooling's output")
    reading.block(*labels)
    for number, each in enumerate(operation.outputs):
        if number == 1 and each is not None and each.number in reading.used:
            for label in reading.label(source)[-count:]:
                reading.pin(label, "positions along it become numbers")
        reading.set(each, labels)


@rule(
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "adaptive_max_pool1d", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "upsample_bilinear2d", "upsample_linear1d", "upsample_trilinear3d",
    "upsample_bicubic2d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d",
    "fractional_max_pool2d",
)  # fmt: skip
def spatial(reading: Reading, operation: Operation) -> None:
    """The trailing axes are positions; batch and channels stay."""
    source = operation.inputs()[0]
    kinds = {"1d": 1, "2d": 2, "3d": 3, "2d_aa": 2, "r_2d": 2}
    count = next(n for ending, n in kinds.items() if operation.name.endswith(ending))
    labels = list(reading.label(source))
    for label in labels[-count:]:
        reading.pin(label, "resampling moves along it")
    for other in operation.inputs()[1:]:
        for label in reading.label(other):
            reading.pin(label, "it says where to sample")
    for output in operation.outputs:
        if output is not None:
            places = [
                reading.pinned(n, "positions after resampling") for n in output.shape[-count:]
            ]
            reading.set(output, [*labels[:-count], *places])


@rule("grid_sampler_2d", "grid_sampler_3d")
def sample(reading: Reading, operation: Operation) -> None:
    """Each place of the grid says where to look in its own sample; what is
    folded into the batch goes together.
    """
    source, grid = operation.inputs()[:2]
    batch, channels, *space = reading.label(source)
    grid_batch, *places, coordinates = reading.label(grid)
    for label in (*space, coordinates):
        reading.pin(label, "it is sampled at places between positions")
    reading.set(operation.outputs[0], [reading.merge(batch, grid_batch), channels, *places])


@rule("max_unpool2d", "max_unpool3d")
def unpool(reading: Reading, operation: Operation) -> None:
    """Entries go back to the places that their pooling noted, each in its own channel."""
    source, places = operation.inputs()[:2]
    output = operation.outputs[0]
    assert output is not None
    count = int(operation.name[-2])
    labels = [
        reading.merge(a, b)
        for a, b in zip(reading.label(source), reading.label(places), strict=True)
    ]
    for label in labels[-count:]:
        reading.pin(label, "entries are put back by position")
    spread = [reading.pinned(n, "positions after unpooling") for n in output.shape[-count:]]
    reading.set(output, [*labels[:-count], *spread])


@rule("im2col")
def unfold(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    *batch, channels, height, width = reading.label(source)
    for label in (height, width):
        reading.pin(label, "windows move along it")
    window = reading.pinned(math.prod(arguments(operation)["kernel_size"]), "places of a window")
    reading.set(output, [*batch, (*channels, *window), reading.pinned(output.shape[-1], "windows")])


@rule("col2im")
def fold(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    *batch, packed, windows = reading.label(source)
    reading.pin(windows, "windows move along it")
    channels, places = repartition(
        [packed], [output.shape[-3], source.shape[-2] // output.shape[-3]]
    )
    reading.pin(places, "places of a window")
    spaces = [reading.pinned(n, "positions of folded windows") for n in output.shape[-2:]]
    reading.set(output, [*batch, channels, *spaces])


@rule("unfold", "unfold_copy")
def windows(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    axis = arguments(operation)["dimension"] % len(source.shape)
    labels = list(reading.label(source))
    reading.pin(labels[axis], "windows move along it")
    labels[axis] = reading.pinned(output.shape[axis], "windows move along it")
    reading.set(output, [*labels, reading.pinned(output.shape[-1], "places of a window")])
