"""Coefficients in two better bases of diagrams, written in the diagrams that layers use.

*Centred* diagrams: a statistic minus its own averages. The total mean of a tensor is part of its
row means, and these of the tensor; centred, they are uncorrelated.

*Disjoint* diagrams: a pattern without the diagonals inside it. The identity of a square tensor
also copies the diagonal, and a row written into it also reaches the diagonal. Left in, with five
neurons either adds a fifth to the variance of every layer. Both sides leave out the entries where
two of their parts hold one neuron, and so do the axes that they share:

    [all distinct] = sum over the ways to merge parts  mu(merging) [equal where merged],

with the Moebius function of the lattice of partitions, counted once for the axes and once for what
each side drops. Where a group mixes neurons the same weights take the trace out of the identity
(two strands merge into a pair); for three strands and more they are exact only to leading order in
1/n.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from symnet.plan import LayerPlan
from symnet.plan.steps import Slot, Table, TableRow
from symnet.sharing.dims import BlockDims
from symnet.sharing.patterns import Pattern, patterns

RowKey = tuple[str, int, Pattern, tuple[int, ...]]
SlotKey = tuple[str, int, Pattern, frozenset[int]]
# Rows, or slots, and the smaller ones to which a share of their coefficients goes.
RowPairs = list[tuple[TableRow, TableRow]]
SlotPairs = list[tuple[Slot, Slot]]
# The axes of a table that fall together when parts are merged.
AxisGroups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the rows and slots of a plan are."""

    rows: dict[tuple[int, RowKey], TableRow]
    slots: dict[SlotKey, tuple[int, Slot]]

    @classmethod
    def of(cls, plan: LayerPlan) -> _Places:
        return cls(
            {
                (number, _row_key(plan, row, _parts(plan, row))): row
                for number, table in enumerate(plan.tables)
                for row in table.rows
            },
            {
                (slot.tensor, slot.block, slot.pattern, frozenset(slot.order)): (number, slot)
                for number, table in enumerate(plan.tables)
                for slot in table.slots
            },
        )


def from_centred(plan: LayerPlan, drawn: list[Tensor]) -> list[Tensor]:
    """Coefficients of the diagrams whose centred ones have the given coefficients.

    Subtract each from the diagrams that average one more part, and so on with alternating signs.
    """
    places = _Places.of(plan)
    result = [values.clone() for values in drawn]
    for t, table in enumerate(plan.tables):
        for removed in _removable(table):
            left = [axis for axis in range(len(table.sizes)) if axis not in removed]
            # Slots whose smaller term lies in one table with its axes in one order ask for the same
            # smaller rows.
            groups: dict[tuple[int, tuple[int, ...]], SlotPairs] = {}
            for slot in table.slots:
                kept = [slot.order[axis] for axis in left]
                key = slot.tensor, slot.block, slot.pattern, frozenset(kept)
                if key in places.slots:
                    target, smaller_slot = places.slots[key]
                    axes = tuple(left[kept.index(part)] for part in smaller_slot.order)
                    groups.setdefault((target, axes), []).append((slot, smaller_slot))
            sign = -1.0 if len(removed) % 2 else 1.0
            for (target, axes), slot_pairs in groups.items():
                row_pairs = []
                for row in table.rows:
                    parts = _parts(plan, row)
                    row_key = _row_key(plan, row, tuple(parts[axis] for axis in axes))
                    if (target, row_key) in places.rows:
                        row_pairs.append((row, places.rows[target, row_key]))
                _accumulate(
                    plan, (t, drawn[t]), (target, result[target]), row_pairs, slot_pairs, sign
                )
    return result


def from_disjoint(plan: LayerPlan, drawn: list[Tensor]) -> list[Tensor]:
    """Coefficients of the diagrams whose disjoint ones have the given coefficients."""
    places = _Places.of(plan)
    result = [values.clone() for values in drawn]
    for t, table in enumerate(plan.tables):
        slot_merges = _slot_merges(table, places)
        row_merges = _row_merges(plan, table)
        for (groups, target, axes, slot_weight, is_same), slot_pairs in slot_merges.items():
            by_weight: dict[float, RowPairs] = {}
            for row, merged in row_merges.get(groups, ()):
                if is_same and merged.is_same:
                    continue  # nothing is merged: it is in the result as it stands
                parts = tuple(merged.parts[group] for group in axes)
                statistic = plan.statistics[row.statistic]
                key = target, (statistic.tensor, statistic.block, merged.pattern, parts)
                if key in places.rows:
                    by_weight.setdefault(merged.weight, []).append((row, places.rows[key]))
            weight = slot_weight * math.prod(_moebius(len(group)) for group in groups)
            for row_weight, row_pairs in by_weight.items():
                _accumulate(
                    plan,
                    (t, drawn[t]),
                    (target, result[target]),
                    row_pairs,
                    slot_pairs,
                    weight * row_weight,
                )
    return result


def _removable(table: Table) -> Iterator[tuple[int, ...]]:
    """Non-empty sets of axes on which no other hangs: a centred diagram
    takes the means over these away.
    """
    slot = table.slots[0]
    inner = {parent for part in slot.order for _, parent in slot.pattern.parts[part].parents}
    leaves = [axis for axis, part in enumerate(slot.order) if part not in inner]
    for size in range(1, len(leaves) + 1):
        yield from itertools.combinations(leaves, size)


# ---- merging parts -------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Merged:
    """A term with some of its parts demanded equal; ``is_same`` if none are.

    ``parts`` has the part of every group of axes, -1 if it cannot be kept; ``weight`` is the
    Moebius function of what is merged, without that of the axes among themselves.
    """

    pattern: Pattern
    parts: tuple[int, ...]
    weight: float
    is_same: bool


# Of slots that merge alike: the groups of axes, the table that the merged ones are in, the group of
# each of its axes, the weight, and whether nothing is merged.
_SlotKind = tuple[AxisGroups, int, tuple[int, ...], float, bool]


def _slot_merges(table: Table, places: _Places) -> dict[_SlotKind, SlotPairs]:
    """The slots of a table and those that they merge into."""
    result: dict[_SlotKind, SlotPairs] = {}
    for slot in table.slots:
        for groups, merged in _mergings(slot.dims, slot.pattern, slot.order, False):
            kept = frozenset(part for part in merged.parts if part >= 0)
            key = slot.tensor, slot.block, merged.pattern, kept
            if key in places.slots:
                target, merged_slot = places.slots[key]
                axes = tuple(merged.parts.index(part) for part in merged_slot.order)
                kind = groups, target, axes, merged.weight, merged.is_same
                result.setdefault(kind, []).append((slot, merged_slot))
    return result


def _row_merges(plan: LayerPlan, table: Table) -> dict[AxisGroups, list[tuple[TableRow, _Merged]]]:
    result: dict[AxisGroups, list[tuple[TableRow, _Merged]]] = {}
    for row in table.rows:
        statistic = plan.statistics[row.statistic]
        for groups, merged in _mergings(statistic.dims, statistic.pattern, _parts(plan, row), True):
            result.setdefault(groups, []).append((row, merged))
    return result


@lru_cache(maxsize=4096)
def _mergings(
    dims: BlockDims, pattern: Pattern, order: tuple[int, ...], averaged: bool
) -> tuple[tuple[AxisGroups, _Merged], ...]:
    """All ways to merge parts of a pattern, none merged included.

    Args:
        order: the part that each axis of the table is.
        averaged: whether dropped parts are averaged over (a statistic): a merged one is an entry
            of so many.
    """
    parts = [frozenset(part.dims) for part in pattern.parts]
    axis_of = {part: axis for axis, part in enumerate(order)}
    result = []
    for coarser in patterns(dims):
        larger = [frozenset(part.dims) for part in coarser.parts]
        if not all(any(part <= other for other in larger) for part in parts):
            continue
        members_of = [[k for k, part in enumerate(parts) if part <= other] for other in larger]
        if any(len({pattern.parts[k].parents for k in members}) > 1 for members in members_of):
            continue  # neurons of different copies differ as it is
        weight, groups = 1.0, []
        for number, (part, members) in enumerate(zip(coarser.parts, members_of, strict=True)):
            axes = tuple(sorted(axis_of[k] for k in members if k in axis_of))
            dropped = len(members) - len(axes)
            weight *= _moebius_beside(len(axes), dropped)
            if axes:
                groups.append((axes, number if part.may_be_kept else -1))
            if averaged:
                weight *= float(part.size) ** -(len(members) - max(len(axes), 1))
        groups.sort()
        kept = tuple(number for _, number in groups)
        merged = _Merged(coarser, kept, weight, coarser == pattern)
        result.append((tuple(axes for axes, _ in groups), merged))
    return tuple(result)


def _moebius(count: int) -> float:
    """Of the merging of ``count`` parts into one, in the lattice of partitions."""
    return (-1.0) ** (count - 1) * math.factorial(count - 1)


def _moebius_beside(axes: int, dropped: int) -> float:
    """Of the merging of dropped parts into one that holds so many axes, which are merged already.

    Each of the dropped parts may have met any of the axes: the sum over these ways.
    """
    if axes == 0:
        return _moebius(dropped)
    return (-1.0) ** dropped * math.perm(axes + dropped - 1, dropped)


# ---- rows and slots as places in tables ----------------------------------------------------------
def _parts(plan: LayerPlan, row: TableRow) -> tuple[int, ...]:
    """The part of the statistic's pattern that each axis of the table is."""
    return tuple(plan.statistics[row.statistic].kept[axis] for axis in row.order)


def _row_key(plan: LayerPlan, row: TableRow, parts: tuple[int, ...]) -> RowKey:
    statistic = plan.statistics[row.statistic]
    return statistic.tensor, statistic.block, statistic.pattern, parts


def _accumulate(
    plan: LayerPlan,
    source: tuple[int, Tensor],
    target: tuple[int, Tensor],
    row_pairs: RowPairs,
    slot_pairs: SlotPairs,
    sign: float,
) -> None:
    """Add the source table's drawn coefficients to those of the
    target's smaller diagrams, with a sign.
    """
    from_rows, to_rows = _ranges(
        [(a.start, b.start, plan.statistics[a.statistic].folded_size) for a, b in row_pairs]
    )
    from_columns, to_columns = _ranges(
        [(a.start, b.start, a.dims.folded_size) for a, b in slot_pairs]
    )
    from_table, to_table = plan.tables[source[0]], plan.tables[target[0]]
    if from_table.index is None and to_table.index is None:
        values = source[1][torch.from_numpy(from_rows)][
            :, :, torch.from_numpy(from_columns)
        ].permute(0, 2, 1, 3)
        places = torch.from_numpy(to_rows)[:, None], torch.from_numpy(to_columns)[None, :]
        target[1].permute(0, 2, 1, 3).index_put_(places, sign * values, accumulate=True)
        return
    from_parameters = _numbers(from_table)[from_rows[:, None], from_columns[None, :]]
    to_parameters = _numbers(to_table)[to_rows[:, None], to_columns[None, :]]
    # In numpy: fake tensors, which tools put in place of real ones, have no entries to choose by.
    pairs = np.unique(
        np.stack([from_parameters, to_parameters], axis=-1)[
            (from_parameters >= 0) & (to_parameters >= 0)
        ],
        axis=0,
    )
    from_numbers, to_numbers = (torch.from_numpy(numbers.copy()) for numbers in pairs.T)
    _flat(to_table, target[1]).index_add_(
        0, to_numbers, sign * _flat(from_table, source[1]).index_select(0, from_numbers)
    )


def _ranges(starts: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    first = [np.arange(a, a + size) for a, _, size in starts]
    second = [np.arange(b, b + size) for _, b, size in starts]
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([*first, empty]), np.concatenate([*second, empty])


def _numbers(table: Table) -> np.ndarray:
    """Parameter of every entry of a table's matrix, -1 for none."""
    if table.index is not None:
        return table.index
    return np.arange(table.height * table.width).reshape(table.height, table.width)


def _flat(table: Table, values: Tensor) -> Tensor:
    """Parameters one after another, ``(parameters, c_in, c_out)``: a
    view wherever they are stored so.
    """
    if table.index is not None:
        return values
    return values.permute(0, 2, 1, 3).reshape(-1, values.shape[1], values.shape[3])
