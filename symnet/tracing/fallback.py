"""Operations without a rule: probe numerically which axes they treat alike, and pin the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from symnet.tracing.axis_labels import Label, flat
from symnet.tracing.reading_state import Reading
from symnet.tracing.recording import Operation, Value
from symnet.tracing.rules_compute import is_pointwise, pointwise
from symnet.tracing.rules_shape import pin_everything

_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)
_TOO_LARGE = 10_000_000
ValueAxis = tuple[int, int]  # number of an input, axis
# Axis of an input -> for every output the axes that move with it; none where the output does not
# change.
Moved = list[tuple[int, ...]]
Motions = dict[ValueAxis, Moved]


def read_unknown(reading: Reading, operation: Operation) -> None:
    """The rule of every operation that has none of its own."""
    shapes = [o.shape for o in operation.outputs if o is not None]
    if is_pointwise(operation) and all(_broadcasts(operation, shape) for shape in shapes):
        return pointwise(reading, operation)
    probe = Probe.of(operation, reading.used)
    if probe is None:
        return pin_everything(reading, operation, "an operation that could not be analysed")
    motions = probe.motions()
    for places in _together(reading, operation.inputs(), motions):
        moved = probe.motion(places)
        if moved is not None:
            motions |= dict.fromkeys(places, moved)
            labels = [reading.label(probe.values[number])[axis] for number, axis in places]
            for label in labels[1:]:
                reading.merge(labels[0], label)
    outputs = [o for o in operation.outputs if o is not None]
    for output in (o for o in outputs if o.number not in reading.used):
        reading.set(output, [reading.pinned(n, "nobody reads it") for n in output.shape])
    _label_outputs(reading, probe.values, [o for o in outputs if o.number in reading.used], motions)


def _together(reading: Reading, values: list[Value], motions: Motions) -> list[list[ValueAxis]]:
    """Axes that may move together though not alone: of one label (a matrix of neurons by
    neurons), or above each other.
    """
    groups: dict[tuple[ValueAxis, ...], None] = {}
    missing = [
        (number, axis)
        for number, value in enumerate(values)
        if not value.constant
        for axis in range(len(value.shape))
        if (number, axis) not in motions and value.shape[axis] > 1
    ]
    for number, axis in missing:
        label, size = flat(reading.label(values[number])[axis]), values[number].shape[axis]
        if any(n.pin is not None for n in label):
            continue
        alike = [(n, a) for n, a in missing if flat(reading.label(values[n])[a]) == label]
        end = len(values[number].shape) - axis
        above = [
            (n, a)
            for n, a in missing
            if len(values[n].shape) - a == end and values[n].shape[a] == size
        ]
        groups |= {tuple(places): None for places in (alike, above) if len(places) > 1}
    return [list(places) for places in groups]


def _label_outputs(
    reading: Reading, values: list[Value], outputs: list[Value], motions: Motions
) -> None:
    """Output axes get the labels of the input axes that they move with; the
    others, and axes that do not move, are pinned.
    """
    reason = "an unknown operation tells its positions apart"
    result: list[list[Label | None]] = [[None] * len(o.shape) for o in outputs]
    for number, value in enumerate(values):
        for axis, label in enumerate(reading.label(value)):
            moved = motions.get((number, axis))
            if moved is None:
                reading.pin(label, reason)
                continue
            # Whether copies are independent is not known: the axis is noted on its own.
            reading.block(label)
            for which, places in enumerate(moved):
                for place in places:
                    label_before = result[which][place]
                    result[which][place] = (
                        label if label_before is None else reading.merge(label_before, label)
                    )
    for output, labels in zip(outputs, result, strict=True):
        sized = zip(output.shape, labels, strict=True)
        reading.set(
            output, [reading.pinned(n, reason) if label is None else label for n, label in sized]
        )


def _broadcasts(operation: Operation, shape: tuple[int, ...]) -> bool:
    try:
        return tuple(torch.broadcast_shapes(*(v.shape for v in operation.inputs()))) == shape
    except RuntimeError:
        return False


@dataclass(frozen=True)
class Probe:
    """An operation with random entries, to see how its outputs move
    when input axes are permuted.
    """

    operation: Operation
    values: list[Value]
    entries: list[Tensor]
    reference: list[Tensor]
    used: set[int]

    @classmethod
    def of(cls, operation: Operation, used: set[int]) -> Probe | None:
        """The probe of an operation; ``None`` if it cannot be run, or not twice alike."""
        values = operation.inputs()
        outputs = [o for o in operation.outputs if o is not None]
        if (
            any(o.dtype.is_complex for o in (*outputs, *values))
            or sum(_size(v) for v in values) > _TOO_LARGE
        ):
            return None
        if any(not v.dtype.is_floating_point and not v.constant for v in values):
            return None
        generator = torch.Generator().manual_seed(0)
        entries = [
            v.kept
            if v.constant and v.kept is not None
            else torch.randn(v.shape, generator=generator, dtype=torch.float64)
            for v in values
        ]
        reference = _call(operation, values, entries, used)
        again = _call(operation, values, entries, used)
        if reference is None or again is None or not all(map(_close, reference, again)):
            return None
        return cls(operation, values, entries, reference, used)

    def motions(self) -> Motions:
        """How outputs move when one input axis is permuted; axes that change
        them in another way are missing.
        """
        places = [
            (k, axis)
            for k, v in enumerate(self.values)
            if not v.constant
            for axis in range(len(v.shape))
        ]
        motions = {place: self.motion([place]) for place in places}
        return {place: moved for place, moved in motions.items() if moved is not None}

    def motion(self, places: list[ValueAxis]) -> Moved | None:
        """How outputs move when these axes, of one size, are permuted together."""
        size = self.values[places[0][0]].shape[places[0][1]]
        if size == 1:
            return [()] * len(self.reference)
        orders = [
            torch.arange(size).roll(1),
            torch.arange(size).flip(0),
            torch.tensor([1, 0, *range(2, size)]),
        ]
        possible: list[set[tuple[int, ...]]] = []
        for result in self.reference:
            fitting = [k for k, n in enumerate(result.shape) if n == size]
            possible.append({(), *((k,) for k in fitting), tuple(fitting)})
        for order in orders:
            changed = list(self.entries)
            for number, axis in places:
                changed[number] = changed[number].index_select(axis, order)
            results = _call(self.operation, self.values, changed, self.used)
            if results is None:
                return None
            for output, (before, after) in enumerate(zip(self.reference, results, strict=True)):
                possible[output] = {
                    axes
                    for axes in possible[output]
                    if _close(after, _permuted(before, axes, order))
                }
        return [max(options) for options in possible] if all(possible) else None


def _permuted(tensor: Tensor, axes: tuple[int, ...], order: Tensor) -> Tensor:
    for axis in axes:
        tensor = tensor.index_select(axis, order)
    return tensor


def _call(
    operation: Operation, values: list[Value], entries: list[Tensor], used: set[int]
) -> list[Tensor] | None:
    by_number = {value.number: entry for value, entry in zip(values, entries, strict=True)}

    def fill(item: Any) -> Any:
        return by_number[item.number].clone() if isinstance(item, Value) else item

    arguments, keywords = tree_map(fill, (operation.arguments, operation.keywords))
    try:
        with torch.no_grad():
            result = operation.function(*arguments, **keywords)
    except _REFUSALS:
        return None
    tensors = [
        r
        for r in (result if isinstance(result, (tuple, list)) else [result])
        if isinstance(r, Tensor)
    ]
    wanted = [o for o in operation.outputs if o is not None]
    if [tuple(r.shape) for r in tensors] != [o.shape for o in wanted]:
        return None
    return [r for r, output in zip(tensors, wanted, strict=True) if output.number in used]


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    if not a.dtype.is_floating_point:
        return bool(torch.equal(a, b))
    return bool(torch.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True))


def _size(value: Value) -> int:
    return int(torch.Size(value.shape).numel())
