"""The local certificate: every recorded operation, checked alone,
commutes with what the graph claims.

By induction over the recording the graph is right if ``f(g.inputs) = g.f(inputs)`` for every
operation. Operations that differ only in names are checked once; those without sizes among their
arguments at a few neurons each.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_map

from symnet.graph import NeuronGraph
from symnet.graph.blocks import axis_size
from symnet.graph.notation import Anonymous, Axes
from symnet.groups import PermutationGroup
from symnet.tracing.axis_labels import Node, flat, root
from symnet.tracing.claims import Claims, MisfitError
from symnet.tracing.layouts import Atom, Layout, change_atoms, comparable
from symnet.tracing.local_action import NoParentError, Picks
from symnet.tracing.local_check import Context, LocalCheck, Operand
from symnet.tracing.progress import Progress
from symnet.tracing.reading_state import Labels, Reading, is_like_identity
from symnet.tracing.recording import SCALAR_READS, Operation, Recording, Value

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Finding:
    """An operation that does not commute, or that could not be checked.

    Args:
        operation: its name and module.
        sets: the neuron sets that move there.
        reason: how much it is off, or why it could not be checked.
        error: relative; infinite where it could not be compared.
    """

    operation: str
    sets: tuple[str, ...]
    reason: str
    error: float

    def __str__(self) -> str:
        moved = f" (neuron sets {', '.join(map(repr, self.sets[:4]))})" if self.sets else ""
        return f"{self.operation}{moved}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the operations of a recording have shown.

    Args:
        operations: how many were looked at.
        distinct: how many differ in more than names, and move something.
        narrow: how many of these were checked at a few neurons per axis.
        worst: largest relative error of an operation that commutes.
        failures: operations that do not commute.
        unsupported: operations that could not be checked.
    """

    operations: int
    distinct: int
    narrow: int
    worst: float
    failures: tuple[Finding, ...]
    unsupported: tuple[Finding, ...]

    @property
    def complete(self) -> bool:
        """Whether every operation commutes."""
        return not self.failures and not self.unsupported

    def __str__(self) -> str:
        if self.failures:
            return (
                f"{len(self.failures)} operations do not commute with the group, first "
                f"{self.failures[0]}"
            )
        done = (
            f"{self.operations} operations ({self.distinct} distinct ones that move) commute "
            "with the group, one by one"
        )
        missing = f"; {len(self.unsupported)} could not be checked: " if self.unsupported else ""
        return done + missing + "; ".join(map(str, self.unsupported[:4]))


class Certifier:
    """Checks the operations of a recording against a graph.

    Args:
        recording: what was recorded.
        reading: its labels, after they were solved.
        graph: the written graph.
        input_axes: where inputs move, by path; likewise outputs.
    """

    def __init__(
        self,
        recording: Recording,
        reading: Reading,
        graph: NeuronGraph,
        input_axes: Mapping[str, Axes] | None = None,
        output_axes: Mapping[str, Axes] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        self.recording, self.reading, self.graph, self.seed = recording, reading, graph, seed
        self.progress = progress
        names = {value.number: name for name, value in recording.state.items()}
        uses = [
            names[v.number] for o in recording.operations for v in o.inputs() if v.number in names
        ]
        order = dict.fromkeys([*uses, *recording.state])
        self.claims = Claims(
            graph, {name: reading.labels[recording.state[name].number] for name in order}
        )
        positions = reading.positions
        self.free_orders = {
            root(order.node) for order in positions.free_orders if root(order.node).pin is None
        }
        self.counted = {*positions.counts, *positions.run_ends}
        self.unreadable: dict[int, str] = {}
        self.fixed: dict[int, Layout] = {}
        for name, value in recording.state.items():
            if name in graph.weights:
                try:
                    self.fixed[value.number] = self._state_layout(
                        name, reading.labels[value.number]
                    )
                except MisfitError as error:
                    self.unreadable[value.number] = f"'{name}': {error}"
        for path, value in recording.inputs:
            axes = (input_axes or {}).get(path)
            if axes is not None:
                self.fixed[value.number] = self._fitting(axes, value.shape)
            else:
                self.fixed[value.number] = change_atoms(
                    self.claims.layout(reading.labels[value.number]), _still
                )
        self.context = Context(graph, self.claims, reading.used, seed)
        self.output_axes = dict(output_axes or {})
        self.checked: dict[str, tuple[float, str, bool]] = {}
        self.failures: list[Finding] = []
        self.unsupported: list[Finding] = []

    def _state_layout(self, name: str, labels: Labels) -> Layout:
        """The action that the graph writes for a tensor, split as finely as it
        was read where that says the same.
        """
        written = self.claims.written(self.graph.weights[name].axes)
        with contextlib.suppress(MisfitError):
            read = self.claims.layout(labels)
            if comparable(read) == comparable(written):
                return read
        return written

    def _fitting(self, axes: Axes, shape: tuple[int, ...]) -> Layout:
        """The written axes; those of a recording at other sizes stay."""
        sizes = self.claims.sizes
        fitting = [
            axis if axis_size(axis, sizes) == n else Anonymous(n)
            for axis, n in zip(axes, shape, strict=True)
        ]
        return self.claims.written(tuple(fitting))

    # ---- the whole recording ---------------------------------------------------------------------
    def run(self) -> Evidence:
        """What all operations and outputs show."""
        count = 0
        with torch.no_grad():
            for operation in self.recording.operations:
                constant = [
                    o is None or (o.constant and o.number not in self.recording.mutated)
                    for o in operation.outputs
                ]
                if constant and all(constant) and operation.name not in SCALAR_READS:
                    continue
                count += 1
                if self.progress is not None:
                    self.progress.show(f"checking: {count} operations, {operation}")
                self.check(operation)
        self.check_outputs()
        if self.claims.misfits and self.failures:
            names = ", ".join(
                f"'{name}' ({why})" for name, why in list(self.claims.misfits.items())[:3]
            )
            reason = f"the graph's axes of {names} are not those that were read"
            self.unsupported += [
                replace(failure, reason=reason, error=math.inf) for failure in self.failures
            ]
            self.failures.clear()
        narrow = sum(was_narrow for _, _, was_narrow in self.checked.values())
        worst = max(
            (error for error, problem, _ in self.checked.values() if not problem), default=0.0
        )
        return Evidence(
            count,
            len(self.checked),
            narrow,
            worst,
            tuple(_distinct(self.failures)),
            tuple(_distinct(self.unsupported)),
        )

    def check(self, operation: Operation) -> None:
        """Checks one operation, unless one like it was checked."""
        moved: tuple[str, ...] = ()
        try:
            operands = {v.number: self.operand(v) for v in operation.inputs()}
            outputs = [self.operand(o) if o is not None else None for o in operation.outputs]
            everything = [*operands.values(), *(o for o in outputs if o is not None)]
            moved = self.context.moving(everything)
            if not moved:
                return
            if any(
                not isinstance(self.graph.neurons[name].group, PermutationGroup) for name in moved
            ):
                raise MisfitError(
                    "its group is continuous; only permutations and signs are checked alone"
                )
            signature = self.signature(operation, operands, outputs)
            if signature not in self.checked:
                self.checked[signature] = LocalCheck(
                    self.context, operation, operands, outputs
                ).run()
            error, problem, _ = self.checked[signature]
        except (MisfitError, NoParentError) as problem_found:
            self.unsupported.append(Finding(str(operation), moved, str(problem_found), math.inf))
            return
        if problem:
            self.unsupported.append(Finding(str(operation), moved, problem, math.inf))
        elif not error <= TOLERANCE:
            self.failures.append(Finding(str(operation), moved, f"off by {error:.2g}", error))

    def check_outputs(self) -> None:
        """Outputs move as they are said to."""
        for path, value in self.recording.outputs:
            claim = self.operand(value)
            axes = self.output_axes.get(path)
            if axes is not None:
                if comparable(self._fitting(axes, value.shape)) != comparable(claim.layout):
                    self.failures.append(
                        Finding(
                            f"output {path}", (), "moves in another way than is claimed", math.inf
                        )
                    )
            elif moved := self.context.moving([claim]):
                self.failures.append(
                    Finding(f"output {path}", moved, "is not left as it is", math.inf)
                )

    # ---- claims ----------------------------------------------------------------------------------
    def operand(self, value: Value) -> Operand:
        """The claim about a value."""
        if value.number in self.unreadable:
            raise MisfitError(self.unreadable[value.number])
        if value.number in self.counted or any(
            node in self.free_orders
            for label in self.reading.labels.get(value.number, ())
            for node in flat(label)
        ):
            raise MisfitError(
                "its order depends on how experts are numbered; only whole forward passes show it"
            )
        layout = self.fixed.get(value.number)
        if layout is None:
            if (
                value.constant
                and value.number not in self.reading.labels
                and value.kept is not None
                and is_like_identity(value.kept)
            ):
                layout = self.claims.layout(tuple((Node(size),) for size in value.shape))
            else:
                layout = self.claims.layout(self.reading.label(value))
        points = self.reading.positions.of.get(value.number)
        along = (
            tuple(atom for node in flat(points.along) for atom in self.claims.word(node))
            if points
            else ()
        )
        picks = []
        for chosen in self.reading.positions.picked.get(value.number, ()):
            picking = [atom for node in flat(chosen.along) for atom in self.claims.word(node)]
            dims = tuple(
                a for axis in chosen.axes for node in flat(axis) for a in self.claims.word(node)
            )
            if len(picking) == 1 and picking[0].symbol is not None:
                picks.append(Picks(picking[0].symbol, dims, chosen.key))
        return Operand(value, layout, along, tuple(picks), points.key if points else -1)

    # ---- what makes two operations alike ---------------------------------------------------------
    def signature(
        self,
        operation: Operation,
        operands: Mapping[int, Operand],
        outputs: Sequence[Operand | None],
    ) -> str:
        names: dict[str, str] = {}
        keys: dict[int, int] = {}

        def describe(item: Any) -> Any:
            return (
                self._describe(operands[item.number], names, keys)
                if isinstance(item, Value)
                else item
            )

        arguments = tree_map(describe, (operation.arguments, operation.keywords))
        results = [None if o is None else self._describe(o, names, keys) for o in outputs]
        groups = [
            (
                new,
                repr(self.graph.neurons[old].group),
                [names.get(p) for p in self.graph.ancestors(old)],
            )
            for old, new in names.items()
        ]
        return repr((str(operation.function), operation.name, arguments, results, groups))

    def _describe(self, operand: Operand, names: dict[str, str], keys: dict[int, int]) -> str:
        layout = self._rename(operand.layout, names)
        along = tuple(_renamed(atom, names) for atom in operand.along)
        picks = [
            (
                names.setdefault(p.symbol, f"s{len(names)}"),
                tuple(_renamed(a, names) for a in p.dims),
                keys.setdefault(p.key, len(keys)),
            )
            for p in operand.picks
        ]
        entries = ""
        value = operand.value
        if value.constant and value.kept is not None:
            entries = (
                str(hash(value.kept.detach().cpu().double().numpy().tobytes()))
                if not value.kept.dtype.is_complex
                else str(id(value))
            )
        key = keys.setdefault(operand.key, len(keys)) if operand.along else -1
        return repr((str(value.dtype), value.shape, layout, along, picks, entries, key))

    @staticmethod
    def _rename(layout: Layout, names: dict[str, str]) -> Layout:
        return change_atoms(layout, lambda atom: _renamed(atom, names))


def _still(atom: Atom) -> Atom:
    return Atom(atom.size)


def _renamed(atom: Atom, names: dict[str, str]) -> Atom:
    if atom.symbol is None:
        return atom
    at = tuple((names.setdefault(name, f"s{len(names)}"), k) for name, k in atom.at)
    return replace(atom, symbol=names.setdefault(atom.symbol, f"s{len(names)}"), at=at)


def _distinct(findings: Sequence[Finding]) -> list[Finding]:
    """One finding per operation, module and reason."""
    return list({(f.operation, f.reason): f for f in reversed(findings)}.values())[::-1]
