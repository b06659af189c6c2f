"""The state of reading a recording: a label for every axis of every
value, blocks, and what is pinned.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from symnet.tracing.axes import merge, pin
from symnet.tracing.axis_labels import Label, concatenate, flat, fresh
from symnet.tracing.positions import Positions
from symnet.tracing.recording import SCALAR_READS, Operation, Recording, Value

Labels = tuple[Label, ...]
Rule = Callable[["Reading", Operation], None]

RULES: dict[str, Rule] = {}
SLICES = {
    "slice",
    "select",
    "unbind",
    "split",
    "split_with_sizes",
    "unsafe_split",
    "unsafe_split_with_sizes",
    "chunk",
    "narrow",
}
# A constant with fewer runs of equal entries than this tells the runs apart; others tell every
# position apart.
_FEW = 8
_PICKS = {
    "index",
    "index_select",
    "gather",
    "embedding",
    "masked_select",
    "nonzero",
    "_unsafe_index",
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers a function as the rule of operations with these names (without their namespace).

    A rule gives every output its labels, and says which axes of the inputs are permuted together or
    pinned. The last one that was registered counts. Whether it is right is checked on every traced
    network: each operation is run alone before and after a random group element
    (``sn.verify.operations``).

    Args:
        names: of operations: ``"my_norm"`` for ``torch.ops.shop.my_norm``.

    Example:
        >>> @rule("my_scaled_tanh")
        ... def elementwise(reading: Reading, operation: Operation) -> None:
        ...     for output in operation.outputs:
        ...         reading.set(output, reading.broadcast(operation.inputs(), output.shape))
    """

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


class Reading:
    """Labels of values while the operations of a recording are read one after another.

    Args:
        recording: what to read.
        fixed: whether the axes of inputs and outputs are pinned.
    """

    def __init__(self, recording: Recording, fixed: bool) -> None:
        self.recording = recording
        self.labels: dict[int, Labels] = {}
        # blocks that are no value: products before a sum, statistics of a norm
        self.virtual: list[Labels] = []
        self.used: set[int] = {v.number for _, v in recording.outputs}
        self.attention: list[Label] = []  # axes beside a softmax: attention heads are among them
        # axes over which two computed tensors were contracted
        self.summed: list[tuple[Label, str]] = []
        self.hidden: list[
            tuple[Label, str]
        ] = []  # axes over which one was contracted with a constant, and a reason to pin
        self.contracted: dict[int, list[Label]] = {}  # id of an operation -> axes that it sums over
        self.positions = Positions()
        self.certain: set[int] = set()  # ids of operations that tell the code what is always so
        # numbers of values that are the same whatever the weights and inputs are
        self.always: set[int] = set()
        self.operation: Operation | None = None
        for operation in recording.operations:
            self.used.update(value.number for value in operation.inputs())
        for number, value in enumerate(recording.state.values()):
            origins = frozenset({-1 - number})
            self.labels[value.number] = tuple(fresh(size, origins=origins) for size in value.shape)
        # path, axis, size: the same in every recording
        state_labels: dict[tuple[str, int, int], Label] = {}
        for path, value in recording.inputs:
            for axis, size in enumerate(value.shape):
                if (path, axis, size) not in state_labels:
                    state_labels[path, axis, size] = fresh(
                        size, f"axis {axis} of the input {path} (io='fixed')" if fixed else None
                    )
            self.labels[value.number] = tuple(
                state_labels[path, axis, size] for axis, size in enumerate(value.shape)
            )

    # ---- labels ----------------------------------------------------------------------------------
    def label(self, value: Value) -> Labels:
        """The labels of a value's axes; a constant is wild where it is
        uniform and pinned elsewhere.
        """
        if value.number in self.labels:
            return self.labels[value.number]
        assert value.constant, f"{value} has no label"
        if value.kept is None:
            self.labels[value.number] = tuple(
                self.pinned(size, "a constant without known entries has it") for size in value.shape
            )
            return self.labels[value.number]
        written = value.number in self.recording.mutated
        if not written and not value.varies and is_like_identity(value.kept):
            both = fresh(value.shape[0])
            return both, both
        labels = tuple(
            self._constant_axis(value.kept, axis, written, value)
            for axis in range(len(value.shape))
        )
        if written:
            self.labels[value.number] = labels
        return labels

    def _constant_axis(self, tensor: Tensor, axis: int, written: bool, value: Value) -> Label:
        size = tensor.shape[axis]
        if size <= 1:
            return ()
        varies = value.varies
        if bool(torch.eq(tensor, tensor.narrow(axis, 0, 1)).all()) and not varies:
            return fresh(size, wildcard=not written, origins=frozenset({-1_000_000 - value.number}))
        if (
            not varies
            and not written
            and (runs := _equal_runs(tensor.movedim(axis, 0).reshape(size, -1))) is not None
        ):
            return concatenate([(length, fresh(length, wildcard=True)) for length in runs])
        reason = (
            "a whole-number or mask buffer, or numbers that the code read, have it"
            if varies
            else "a constant differs along it"
        )
        return fresh(size, self.why(reason))

    def set(self, value: Value | None, labels: Sequence[Label]) -> None:
        """Gives a value its labels; merged with those it has, if it was written in place."""
        if value is None:
            return
        assert len(labels) == len(value.shape), (str(self.operation), value.shape, len(labels))
        self.labels[value.number] = tuple(flat(label) for label in labels)

    def pinned(self, size: int, reason: str) -> Label:
        """A new pinned label."""
        return fresh(size, self.why(reason))

    # ---- constraints -----------------------------------------------------------------------------
    def why(self, reason: str) -> str:
        """The reason with the operation and the module it happened in."""
        return f"{reason} ({self.operation})" if self.operation is not None else reason

    def pin(self, label: Label, reason: str) -> Label:
        pin(label, self.why(reason))
        return label

    def merge(self, left: Label, right: Label) -> Label:
        return merge(left, right, self.why("its factorisations do not align"))

    def block(self, *labels: Label) -> None:
        """A virtual block: these axes come together without the others."""
        self.virtual.append(tuple(labels))

    def broadcast(self, operands: Sequence[Value], shape: Sequence[int]) -> Labels:
        """The labels of an elementwise result of this shape; the operands'
        axes are merged from the right.
        """
        result: list[Label] = [()] * len(shape)
        is_labelled = [False] * len(shape)
        for value in operands:
            offset = len(shape) - len(value.shape)
            for axis, (label, size) in enumerate(zip(self.label(value), value.shape, strict=True)):
                place = axis + offset
                if size != shape[place] or size <= 1:
                    continue
                result[place] = self.merge(result[place], label) if is_labelled[place] else label
                is_labelled[place] = True
        return tuple(
            label if is_labelled[k] or shape[k] <= 1 else fresh(shape[k], wildcard=True)
            for k, label in enumerate(result)
        )

    # ---- running ---------------------------------------------------------------------------------
    def run(self, fallback: Rule) -> None:
        """Reads every operation."""
        for operation in self.recording.operations:
            are_constant = [
                o is None or (o.constant and o.number not in self.recording.mutated)
                for o in operation.outputs
            ]
            if are_constant and all(are_constant) and operation.name not in SCALAR_READS:
                continue
            self.operation = operation
            self.read(operation, fallback)
        self.operation = None

    def read(self, operation: Operation, fallback: Rule) -> None:
        outputs = [output for output in operation.outputs if output is not None]
        if any(0 in value.shape for value in operation.inputs()) or (
            outputs and all(0 in value.shape for value in outputs)
        ):
            return self.read_empty(operation)
        RULES.get(operation.name, fallback)(self, operation)
        self.join_overwritten(operation)
        for label in self.positions.follow(operation, self.labels):
            self.pin(label, "positions along it become numbers")
        for output in operation.outputs:
            assert output is None or output.number in self.labels, (
                f"{operation} left {output} without labels"
            )

    def join_overwritten(self, operation: Operation) -> None:
        """What was written in place has the axes of what it replaced: earlier views see both."""
        for old, new in zip(operation.overwritten, operation.outputs, strict=False):
            if new is not None and old.number in self.labels and old.shape == new.shape:
                self.set(
                    new,
                    [
                        self.merge(a, b)
                        for a, b in zip(self.labels[new.number], self.label(old), strict=True)
                    ],
                )

    def read_empty(self, operation: Operation) -> None:
        """Without entries nothing is seen: weights that met an empty tensor only are pinned."""
        full = [v for v in operation.inputs() if 0 not in v.shape and not v.constant]
        outputs = [output for output in operation.outputs if output is not None]
        picking = operation.name in SLICES or operation.name in _PICKS
        for output in outputs:
            same = next((v for v in full if v.shape == output.shape), None)
            if same is not None:  # nothing was written into it, nothing was joined to it
                self.set(output, self.label(same))
            elif 0 in output.shape:
                self.set(
                    output,
                    [() if size <= 1 else fresh(size, wildcard=True) for size in output.shape],
                )
            else:
                self.set(
                    output,
                    [self.pinned(size, "made from an empty tensor") for size in output.shape],
                )
            if (
                same is None
                and not (picking and 0 in output.shape)
                and id(operation) not in self.recording.excused
            ):
                for label in (label for value in full for label in self.label(value)):
                    self.pin(label, "it met an empty tensor, so the example hides what it does")


def is_like_identity(tensor: Tensor) -> bool:
    """Whether a matrix has one number on its diagonal and one beside it:
    permuting rows and columns keeps it.
    """
    if tensor.dim() != 2 or not 1 < tensor.shape[0] == tensor.shape[1]:
        return False
    still = torch.eye(len(tensor), dtype=torch.bool, device=tensor.device)
    diagonal, beside = tensor[still], tensor[~still]
    return all(bool((part == part[0]).all()) for part in (diagonal, beside)) and bool(
        diagonal[0] != beside[0]
    )


def _equal_runs(rows: Tensor) -> list[int] | None:
    """Lengths of the runs of equal rows, if they are few."""
    changes = (rows[1:] != rows[:-1]).any(1).nonzero()[:, 0]
    if len(changes) >= min(_FEW, len(rows) - 1):
        return None
    cuts = [0, *(int(k) + 1 for k in changes), len(rows)]
    return [stop - start for start, stop in itertools.pairwise(cuts)]


def arguments(operation: Operation) -> dict[str, Any]:
    """The operation's arguments by the names in its schema, defaults filled in."""
    by_name = {}
    for k, argument in enumerate(operation.function._schema.arguments):
        if k < len(operation.arguments):
            by_name[argument.name] = operation.arguments[k]
        else:
            by_name[argument.name] = operation.keywords.get(argument.name, argument.default_value)
    return by_name


def axes_argument(value: Any, count: int) -> list[int]:
    """Non-negative axes from an argument that is one axis, several,
    or ``None`` or empty for all.
    """
    if value is None or (isinstance(value, (list, tuple)) and not value):
        return list(range(count))
    axes = [value] if isinstance(value, int) else list(value)
    return sorted(axis % max(count, 1) for axis in axes)
