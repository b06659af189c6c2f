"""A plan made ready for tensors: every permutation, axis number and
order of additions worked out once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from symnet.graph.blocks import Block
from symnet.graph.space import TensorSpace
from symnet.plan import LayerPlan
from symnet.plan.adjoint import adjoint, dropped_sizes
from symnet.plan.block_arrays import sym_positions
from symnet.plan.steps import Slot, Statistic, TableRow
from symnet.sharing.dims import BlockDims, dims_of
from symnet.sharing.patterns import Pattern

# Arrays are (batch, *axes, features); axes of a statistic lie in the order of their first dim in
# the block.


@dataclass(frozen=True, eq=False)
class CompiledStatistic:
    tensor: int
    block: Block
    dims: BlockDims
    source: int | None
    # pairs of axes merged one after another, the result in the first's place
    diagonals: tuple[tuple[int, int], ...]
    averaged: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class CompiledRow:
    statistic: int
    permutation: tuple[int, ...] | None  # to the table's axes
    start: int


@dataclass(frozen=True, eq=False)
class CompiledTable:
    sizes: tuple[int, ...]
    rows: tuple[CompiledRow, ...]
    height: int
    width: int
    folded_sizes: tuple[int, ...]  # of its slots, side by side
    # its slots are whole outputs with two axes or more: multiplied straight into them
    is_direct: bool
    bias_start: int  # of a table without axes: its first column in the bias vector

    @property
    def positions(self) -> int:
        return math.prod(self.sizes)


@dataclass(frozen=True, eq=False)
class CompiledSlot:
    table: int
    number: int  # among the table's slots
    start: int
    folded_size: int
    permutation: tuple[int, ...] | None  # from the table's axes to the block's
    missing: tuple[int, ...]  # where axes of size 1 are put in, in this order
    diagonals: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class CompiledBlock:
    """How an output block is summed.

    small: terms that tables hold, from small to large.
    into: for each of them, a larger one that it is added to first, or None.
    direct: terms multiplied straight into the block.
    """

    dims: BlockDims
    sizes: tuple[int, ...]
    small: tuple[CompiledSlot, ...]
    into: tuple[int | None, ...]
    direct: tuple[CompiledSlot, ...]


@dataclass(frozen=True, eq=False)
class CompiledTensor:
    space: TensorSpace
    blocks: tuple[CompiledBlock, ...]


class CompiledPlan:
    """A ``LayerPlan`` with everything that an executor needs looked up beforehand."""

    def __init__(self, plan: LayerPlan) -> None:
        self.plan = plan
        # the executor's, see its _scale
        self.scales_on_device: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        names = {name: number for number, name in enumerate(plan.inputs)}
        self.statistics = tuple(_statistic(plan, statistic, names) for statistic in plan.statistics)
        self.full_reads = tuple(self._full_reads(tensor) for tensor in range(len(names)))
        self.tables = tuple(
            CompiledTable(
                table.sizes,
                tuple(_row(plan.statistics[row.statistic], row) for row in table.rows),
                table.height,
                table.width,
                tuple(slot.dims.folded_size for slot in table.slots),
                len(table.sizes) > 1 and all(slot.is_whole for slot in table.slots),
                start,
            )
            for table, start in zip(plan.tables, plan.bias_starts, strict=True)
        )
        self.numbers = {
            (t, slot.start): n
            for t, table in enumerate(plan.tables)
            for n, slot in enumerate(table.slots)
        }
        self.outputs = tuple(
            CompiledTensor(
                tensor,
                tuple(
                    self._block(
                        plan.slots[tensor.name, number], dims_of(block, plan.outputs.neurons)
                    )
                    for number, block in enumerate(tensor.blocks)
                ),
            )
            for tensor in plan.outputs.values()
        )

    def _full_reads(self, tensor: int) -> tuple[int, ...]:
        """The statistics that are means over the whole of an input."""
        averaged = [
            (number, step)
            for number, step in enumerate(self.statistics)
            if step.tensor == tensor and step.averaged
        ]
        return tuple(
            number
            for number, step in averaged
            if step.source is None or not self.statistics[step.source].averaged
        )

    def view_of(self, number: int) -> int:
        """The statistic that shows the entries which a mean over a whole input is taken of."""
        source = self.statistics[number].source
        return number if source is None else source

    @cached_property
    def direct_statistics(self) -> frozenset[int]:
        """Statistics that direct tables need, with those they are computed from."""
        direct = {row.statistic for table in self.tables if table.is_direct for row in table.rows}
        for number in range(len(self.statistics) - 1, -1, -1):
            source = self.statistics[number].source
            if number in direct and source is not None:
                direct.add(source)
        return frozenset(direct)

    @cached_property
    def adjoint(self) -> CompiledPlan:
        """The transposed layer."""
        return CompiledPlan(adjoint(self.plan))

    @cached_property
    def scales(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """For every table, how many entries each row averages and each column is broadcast to."""
        return tuple(dropped_sizes(self.plan, table) for table in self.plan.tables)

    def _block(self, slots: Sequence[tuple[int, Slot]], dims: BlockDims) -> CompiledBlock:
        direct = [(table, slot) for table, slot in slots if self.tables[table].is_direct]
        small = [(table, slot) for table, slot in slots if not self.tables[table].is_direct]
        small.sort(
            key=lambda entry: (
                not entry[1].pattern.is_finest,
                _extent(entry[1]),
                len(entry[1].order),
            )
        )
        # A coarser pattern is written on a diagonal: only terms on the same diagonal can be added
        # beforehand.
        into: list[int | None] = []
        for number, (_, slot) in enumerate(small):
            larger = [
                other
                for other in range(number + 1, len(small))
                if small[other][1].pattern == slot.pattern
                and set(small[other][1].order) > set(slot.order)
            ]
            into.append(larger[0] if larger else None)
        return CompiledBlock(
            dims,
            tuple(dims.dims[k].size for k in dims.sym),
            tuple(self._slot(table, slot) for table, slot in small),
            tuple(into),
            tuple(self._slot(table, slot) for table, slot in direct),
        )

    def _slot(self, table: int, slot: Slot) -> CompiledSlot:
        natural = _natural(slot.pattern)
        kept = [k for k in natural if k in slot.order]
        full = (0, *(slot.order.index(k) + 1 for k in kept), len(kept) + 1)
        return CompiledSlot(
            table,
            self.numbers[table, slot.start],
            slot.start,
            slot.dims.folded_size,
            None if full == tuple(range(len(full))) else full,
            tuple(position + 1 for position, k in enumerate(natural) if k not in slot.order),
            diagonal_steps(slot.dims, slot.pattern),
        )


def _extent(slot: Slot) -> int:
    size = 1
    for part in slot.order:
        size *= slot.pattern.parts[part].size
    return size


def _natural(pattern: Pattern) -> list[int]:
    """The parts in the order of their first dim."""
    return sorted(range(len(pattern.parts)), key=lambda k: pattern.parts[k].dims)


def _statistic(plan: LayerPlan, statistic: Statistic, names: dict[str, int]) -> CompiledStatistic:
    block = plan.inputs[statistic.tensor].blocks[statistic.block]
    natural = _natural(statistic.pattern)
    if statistic.source is None:
        diagonals, present = diagonal_steps(statistic.dims, statistic.pattern), natural
    else:
        diagonals, present = (), [k for k in natural if k in plan.statistics[statistic.source].kept]
    averaged = tuple(
        position + 1 for position, part in enumerate(present) if part not in statistic.kept
    )
    return CompiledStatistic(
        names[statistic.tensor], block, statistic.dims, statistic.source, diagonals, averaged
    )


def diagonal_steps(dims: BlockDims, pattern: Pattern) -> tuple[tuple[int, int], ...]:
    """Pairs of axes of ``(batch, *sym dims, features)`` to merge, so that
    the parts in natural order are left.
    """
    axes: list[set[int]] = [{position} for position in range(len(dims.sym))]
    steps = []
    for positions in sym_positions(dims, pattern):
        first = min(positions)
        for position in sorted(positions)[1:]:
            a = next(n for n, axis in enumerate(axes) if first in axis)
            b = next(n for n, axis in enumerate(axes) if position in axis)
            axes[a] |= axes.pop(b)
            steps.append((a + 1, b + 1))
    return tuple(steps)


def _row(statistic: Statistic, row: TableRow) -> CompiledRow:
    natural = [k for k in _natural(statistic.pattern) if k in statistic.kept]
    permutation = tuple(natural.index(statistic.kept[axis]) + 1 for axis in row.order)
    full = (0, *permutation, len(permutation) + 1)
    return CompiledRow(row.statistic, None if full == tuple(range(len(full))) else full, row.start)
