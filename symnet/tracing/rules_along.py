"""Rules for operations along the positions of an axis: running sums, transforms, shuffles."""

from __future__ import annotations

from symnet.tracing.reading_state import Reading, arguments, axes_argument, rule
from symnet.tracing.recording import Operation
from symnet.tracing.reshapes import repartition


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def fourier(reading: Reading, operation: Operation) -> None:
    """Frequencies are told apart; the other axes stay."""
    source, output = operation.inputs()[0], operation.outputs[0]
    assert output is not None
    along = axes_argument(arguments(operation)["dim"], len(source.shape))
    labels = list(reading.label(source))
    reading.block(*(label for axis, label in enumerate(labels) if axis not in along))
    for axis in along:
        reading.pin(labels[axis], "a Fourier transform runs along it")
        labels[axis] = reading.pinned(output.shape[axis], "frequencies")
    reading.set(output, labels)


@rule("pixel_shuffle")
def pixel_shuffle(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    factor = arguments(operation)["upscale_factor"]
    *batch, channels, height, width = reading.label(source)
    size = source.shape[-3] // factor**2
    kept, row, column = repartition([channels], [size, factor, factor])
    reading.set(output, [*batch, kept, (*height, *row), (*width, *column)])


@rule("pixel_unshuffle")
def pixel_unshuffle(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    factor = arguments(operation)["downscale_factor"]
    *batch, channels, height, width = reading.label(source)
    high, row = repartition([height], [source.shape[-2] // factor, factor])
    wide, column = repartition([width], [source.shape[-1] // factor, factor])
    reading.set(output, [*batch, (*channels, *row, *column), high, wide])


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(reading: Reading, operation: Operation) -> None:
    source, output = operation.inputs()[0], operation.outputs[0]
    groups = arguments(operation)["groups"]
    labels = list(reading.label(source))
    group, member = repartition([labels[1]], [groups, source.shape[1] // groups])
    labels[1] = (*member, *group)
    reading.set(output, labels)


@rule("cumsum")
def running_sum(reading: Reading, operation: Operation) -> None:
    """Of how often every position occurs among sorted ones, it is
    where each position's run ends.
    """
    source, output = operation.inputs()[0], operation.outputs[0]
    points = reading.positions.counts.get(source.number)
    if points is None or output is None:
        return pin_along(reading, operation)
    reading.set(output, reading.label(source))
    reading.positions.run_ends[output.number] = points


@rule("flip", "cumprod", "logcumsumexp", "cummax", "cummin", "tril", "triu", "diff")
def pin_along(reading: Reading, operation: Operation) -> None:
    """The operation tells positions along its axes apart; the other axes stay."""
    source = operation.inputs()[0]
    by_name = arguments(operation)
    named = by_name.get("dims", by_name.get("dim"))
    count = len(source.shape)
    along = (
        [count - 2, count - 1]
        if operation.name in ("tril", "triu")
        else axes_argument(named, count)
    )
    labels = list(reading.label(source))
    for output in operation.outputs:
        assert output is not None
        result = list(labels)
        for axis in along:
            reading.pin(labels[axis], "positions along it are told apart")
            result[axis] = reading.pinned(output.shape[axis], "positions along it are told apart")
        reading.block(*(label for k, label in enumerate(labels) if k not in along))
        reading.set(output, result)


@rule("view_as_complex", "view_as_real")
def complex_view(reading: Reading, operation: Operation) -> None:
    labels = list(reading.label(operation.inputs()[0]))
    if operation.name == "view_as_complex":
        reading.pin(labels.pop(), "real and imaginary parts")
    else:
        labels.append(reading.pinned(2, "real and imaginary parts"))
    reading.set(operation.outputs[0], labels)
