"""Loops over the rows of a tensor in which every round does the same and
adds to a sum: their order does not matter.

A recording shows the rounds one after another. What depends on one row alone is that row's round;
rounds meet only where one is added to what the others added to. If the rounds are the same
operations on the same tensors, but for the row, then the sum over the rows is all that leaves the
loop, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from symnet.tracing.recording import SCALAR_READS, Operation, Recording, Value

# The first tensor plus something; a sum does not depend on the order in which its terms are added.
_ADDS = {"index_add", "add", "scatter_add"}


@dataclass(slots=True)
class Sum:
    """What rounds were added to: where it began, and which rounds are in it."""

    start: int
    rounds: frozenset[int]


@dataclass(slots=True)
class Rounds:
    """The operations of every round, and who owns which value."""

    owners: dict[int, int]
    count: int
    bodies: dict[int, list[Operation]] = field(default_factory=dict)
    sums: dict[int, Sum] = field(default_factory=dict)

    def take(self, operation: Operation) -> bool:
        """Notes an operation; whether every round still stands for itself."""
        inputs = operation.inputs()
        rounds = {self.owners[v.number] for v in inputs if v.number in self.owners}
        unfinished = [v for v in inputs if v.number in self.sums]
        if not rounds and not unfinished:
            return True
        if len(rounds) != 1 or any(value is not inputs[0] for value in unfinished):
            return False
        number = rounds.pop()
        self.bodies.setdefault(number, []).append(operation)
        outputs = [o for o in operation.outputs if o is not None]
        if not self.adds(operation, inputs, number):
            self.owners |= {o.number: number for o in outputs}
            return not unfinished
        before = self.sums.get(inputs[0].number, Sum(inputs[0].number, frozenset()))
        after = Sum(before.start, before.rounds | {number})
        if number in before.rounds:
            return False
        if len(after.rounds) < self.count:
            self.sums[outputs[0].number] = after
        return True

    def adds(self, operation: Operation, inputs: list[Value], number: int) -> bool:
        """Whether the operation adds something of a round to what is no round's own."""
        if (
            operation.name not in _ADDS
            or inputs[0].number in self.owners
            or len(operation.outputs) != 1
        ):
            return False
        return (
            inputs[0].shape == operation.outputs[0].shape
            if operation.outputs[0] is not None
            else False
        )


def rows_are_treated_alike(
    recording: Recording, source: Value, axis: int, certain: set[int]
) -> bool:
    """Whether the code does the same with every row of a tensor along
    an axis, and sums what comes out.

    Args:
        recording: the operations.
        source: the tensor that is taken apart.
        axis: along which.
        certain: ids of operations that tell the code what it knows anyway.
    """
    taken = [o for o in recording.operations if source in o.inputs()]
    members = [member for operation in taken for member in _members(operation, source, axis)]
    # One row alone does not show that others would be treated like it.
    if len(members) < 2 or sorted(at for at, _ in members) != list(range(source.shape[axis])):
        return False
    rounds = Rounds({value.number: at for at, value in members}, len(members))
    taking = {id(operation) for operation in taken}
    if not all(
        rounds.take(operation) for operation in recording.operations if id(operation) not in taking
    ):
        return False
    leaving = {value.number for _, value in recording.outputs}
    reads = [
        o
        for body in rounds.bodies.values()
        for o in body
        if o.name in SCALAR_READS and id(o) not in certain
    ]
    if reads or leaving & {*rounds.owners, *rounds.sums} or len(rounds.bodies) < len(members):
        return False
    rows = dict(members)
    return all(
        TurnComparison(recording, rounds, rows[0], rows[at]).bodies_are_alike(0, at) for at in rows
    )


def _members(operation: Operation, source: Value, axis: int) -> Iterator[tuple[int, Value]]:
    """The single rows that an operation takes out, with their places."""
    along = (
        operation.arguments[1] if len(operation.arguments) > 1 else operation.keywords.get("dim", 0)
    )
    if operation.name not in ("unbind", "select") or along % len(source.shape) != axis:
        return
    if operation.name == "unbind":
        yield from ((at, o) for at, o in enumerate(operation.outputs) if o is not None)
    elif operation.outputs[0] is not None:
        yield operation.arguments[2] % source.shape[axis], operation.outputs[0]


class TurnComparison:
    """Whether two rounds are the same operations on the same tensors,
    one's own for the other's own.
    """

    def __init__(self, recording: Recording, rounds: Rounds, row: Value, other: Value) -> None:
        self.rounds = rounds
        self.partners = {row.number: other.number}
        self.makers = {
            o.number: operation
            for operation in recording.operations
            for o in operation.outputs
            if o is not None
        }

    def bodies_are_alike(self, first: int, second: int) -> bool:
        bodies = self.rounds.bodies[first], self.rounds.bodies[second]
        return len(bodies[0]) == len(bodies[1]) and all(map(self.operations_are_alike, *bodies))

    def operations_are_alike(self, one: Operation, two: Operation) -> bool:
        same = (
            one.function is two.function
            and one.module == two.module
            and len(one.outputs) == len(two.outputs)
        )
        if not same or self.start_of(one) != self.start_of(two):
            return False
        if not self.arguments_are_alike(
            (one.arguments, one.keywords), (two.arguments, two.keywords)
        ):
            return False
        for a, b in zip(one.outputs, two.outputs, strict=True):
            if a is not None and b is not None:
                self.partners[a.number] = b.number
        return True

    def start_of(self, operation: Operation) -> int | None:
        """Where the sum began that an operation adds to."""
        first = operation.inputs()[0]
        if not self.rounds.adds(operation, [first], 0):
            return None
        return (
            self.rounds.sums[first.number].start
            if first.number in self.rounds.sums
            else first.number
        )

    def arguments_are_alike(self, a: Any, b: Any) -> bool:
        if isinstance(a, Value) and isinstance(b, Value):
            return self.values_are_alike(a, b)
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(map(self.arguments_are_alike, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(
                self.arguments_are_alike(a[key], b[key]) for key in a
            )
        return bool(type(a) is type(b) and a == b)

    def values_are_alike(self, a: Value, b: Value) -> bool:
        """The same value, partners, sums (whose starts are compared
        elsewhere), or what is computed alike.
        """
        owners, sums = self.rounds.owners, self.rounds.sums
        if a.number in owners or b.number in owners:
            return self.partners.get(a.number) == b.number
        if a.number == b.number or a.number in sums or b.number in sums:
            return True
        if a.kept is not None and b.kept is not None:
            return (
                not (a.varies or b.varies)
                and a.shape == b.shape
                and bool(torch.equal(a.kept, b.kept))
            )
        one, two = self.makers.get(a.number), self.makers.get(b.number)
        if (
            one is None
            or two is None
            or one.function is not two.function
            or one.overwritten
            or two.overwritten
        ):
            return False
        places = one.outputs.index(a), two.outputs.index(b)
        seeded = one.function is None or torch.Tag.nondeterministic_seeded in one.function.tags
        same = self.arguments_are_alike(
            (one.arguments, one.keywords), (two.arguments, two.keywords)
        )
        return not seeded and places[0] == places[1] and same
