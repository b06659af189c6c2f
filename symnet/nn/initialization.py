"""Initial coefficients that keep the variance of features through depth, from the orbits' sizes.

Diagrams overlap: the total mean of a tensor is part of its row means, and these are part of the
tensor. So draws that are independent diagram by diagram would let means grow with every layer,
faster the wider the network. We draw independently for *centred* diagrams instead: a statistic
minus its own averages (the components of an analysis of variance), which are uncorrelated. Every
component lambda of an output then has a variance of its own,

    v_out(lambda) = sum over rows of the same axes  a * c_in * v_in(row),

and coefficients of variance ``a = v*_out(lambda) / (c_in * sum_rows v*_in)`` make ``v*`` a fixed
point of the layer. The shares ``v*`` of a tensor are proportional to the square roots of those that
independent weights have (1 for its own entries, 1/n for a mean over n), and sum to 1. Finally the
centred diagrams are written in the diagrams that layers use: subtract each drawn coefficient from
the diagrams that average one more part, and so on with alternating signs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from symnet.nn.table_matrices import stored_shape
from symnet.plan import LayerPlan
from symnet.plan.steps import Slot, Table, TableRow
from symnet.sharing.dims import BlockDims
from symnet.sharing.patterns import Pattern, terms


def draw_matrices(
    plan: LayerPlan, in_channels: int, out_channels: int, gain: float = 1.0
) -> list[Tensor]:
    """Parameters for every table: ``(height, c_in, width, c_out)``, or
    ``(parameters, c_in, c_out)`` where entries are tied.

    Drawn with torch's default generator, in float32 on the CPU, whatever the default device is.
    """
    with torch.device("cpu"):
        return _from_centred(plan, _draw_centred(plan, in_channels, out_channels, gain))


def _draw_centred(
    plan: LayerPlan, in_channels: int, out_channels: int, gain: float
) -> list[Tensor]:
    """Coefficients of the centred diagrams."""
    columns, rows = _column_shares(plan), _row_shares(plan)
    drawn = []
    for number, table in enumerate(plan.tables):
        valid = (
            np.ones((table.height, table.width))
            if table.index is None
            else (table.index >= 0).astype(float)
        )
        weight = rows[number] @ valid  # of every column, the input variance that reaches it
        deviation = gain * np.sqrt(columns[number] / (in_channels * np.maximum(weight, 1e-30)))
        noise = torch.randn(*stored_shape(table, in_channels, out_channels))
        if table.index is None:
            drawn.append(noise * torch.from_numpy(deviation).float()[:, None])
            continue
        per_parameter = np.zeros(table.parameters)
        _, places = np.nonzero(table.index >= 0)
        np.maximum.at(per_parameter, table.index[table.index >= 0], deviation[places])
        drawn.append(noise * torch.from_numpy(per_parameter).float()[:, None, None])
    return drawn


# ---- shares of variance --------------------------------------------------------------------------
def _share(pattern: Pattern, kept: tuple[int, ...]) -> float:
    """Variance of the centred component that keeps these parts, for
    independent entries of variance 1.

    A part that a kept child hangs on is not centred: the child's mean already is the parent's
    component. Nor is a part that no map drops (signs, scales, rotations) or that has one neuron
    (which is its own mean).
    """
    inner = {parent for number in kept for _, parent in pattern.parts[number].parents}
    share = 1.0
    for number, part in enumerate(pattern.parts):
        if number not in kept:
            share /= part.size
        elif number not in inner and part.may_be_dropped and part.size > 1:
            share *= 1 - 1 / part.size
    return share


def _coverage(pattern: Pattern) -> float:
    """Fraction of a block's entries that lie on the diagonal of a pattern."""
    return math.prod(part.size ** (1 - len(part.dims)) for part in pattern.parts)


Shares = dict[tuple[Pattern, frozenset[int]], float]


def _normalized(keys: Iterable[tuple[Pattern, tuple[int, ...]]]) -> Shares:
    """Shares of the variance of a block, 1 in the mean over its entries."""
    roots = {(pattern, frozenset(kept)): math.sqrt(_share(pattern, kept)) for pattern, kept in keys}
    total = sum(root * _coverage(pattern) for (pattern, _), root in roots.items())
    return {key: root / total for key, root in roots.items()}


def _column_shares(plan: LayerPlan) -> list[np.ndarray]:
    """For every table and column, the variance that this term shall have in its output."""
    column_shares = [np.zeros(table.width) for table in plan.tables]
    for slots in plan.slots.values():
        shares = _normalized((slot.pattern, slot.order) for _, slot in slots)
        for table, slot in slots:
            share = shares[slot.pattern, frozenset(slot.order)]
            column_shares[table][slot.start : slot.start + slot.dims.folded_size] = share
    return column_shares


def _row_shares(plan: LayerPlan) -> list[np.ndarray]:
    """For every table and row, the variance of the centred statistic,
    of a tensor made by such a layer.
    """
    return [
        np.concatenate(
            [
                np.zeros(0),
                *(
                    np.full(
                        statistic.folded_size,
                        _statistic_shares(statistic.dims)[
                            statistic.pattern, frozenset(statistic.kept)
                        ],
                    )
                    for statistic in (plan.statistics[row.statistic] for row in table.rows)
                ),
            ]
        )
        for table in plan.tables
    ]


@lru_cache(maxsize=1024)
def _statistic_shares(dims: BlockDims) -> Shares:
    """Variances of a block's centred statistics. A diagonal also sees
    what finer patterns wrote onto it.
    """
    shares = _normalized((term.pattern, term.kept) for term in terms(dims))
    shares_so_far: Shares = {}
    for pattern, kept in shares:
        part_of = {dim: number for number, part in enumerate(pattern.parts) for dim in part.dims}
        for (finer, finer_kept), share in shares.items():
            lies = [{part_of[dim] for dim in part.dims} for part in finer.parts]
            if all(len(places) == 1 for places in lies) and kept == {
                min(lies[k]) for k in finer_kept
            }:
                shares_so_far[pattern, kept] = shares_so_far.get((pattern, kept), 0.0) + share
    return shares_so_far


# ---- from centred diagrams to diagrams -----------------------------------------------------------
def _from_centred(plan: LayerPlan, drawn: list[Tensor]) -> list[Tensor]:
    rows = {
        (t, _row_key(plan, row, _parts(plan, row))): row
        for t, table in enumerate(plan.tables)
        for row in table.rows
    }
    slots = {
        (slot.tensor, slot.block, slot.pattern, frozenset(slot.order)): (t, slot)
        for t, table in enumerate(plan.tables)
        for slot in table.slots
    }
    result = [values.clone() for values in drawn]
    for t, table in enumerate(plan.tables):
        for removed in _removable(table):
            left = [axis for axis in range(len(table.sizes)) if axis not in removed]
            # Slots whose smaller term lies in one table with its axes in one order ask for the same
            # smaller rows.
            groups: dict[tuple[int, tuple[int, ...]], list[tuple[Slot, Slot]]] = {}
            for slot in table.slots:
                kept = [slot.order[axis] for axis in left]
                if (
                    slot_of_sum := slots.get(
                        (slot.tensor, slot.block, slot.pattern, frozenset(kept))
                    )
                ) is not None:
                    axes = tuple(left[kept.index(part)] for part in slot_of_sum[1].order)
                    groups.setdefault((slot_of_sum[0], axes), []).append((slot, slot_of_sum[1]))
            for (target, axes), slot_pairs in groups.items():
                row_pairs = []
                for row in table.rows:
                    parts = _parts(plan, row)
                    smaller = rows.get(
                        (target, _row_key(plan, row, tuple(parts[axis] for axis in axes)))
                    )
                    if smaller is not None:
                        row_pairs.append((row, smaller))
                sign = -1.0 if len(removed) % 2 else 1.0
                _accumulate(
                    plan, (t, drawn[t]), (target, result[target]), row_pairs, slot_pairs, sign
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


def _parts(plan: LayerPlan, row: TableRow) -> tuple[int, ...]:
    """The part of the statistic's pattern that each axis of the table is."""
    return tuple(plan.statistics[row.statistic].kept[axis] for axis in row.order)


def _row_key(
    plan: LayerPlan, row: TableRow, parts: tuple[int, ...]
) -> tuple[str, int, Pattern, tuple[int, ...]]:
    statistic = plan.statistics[row.statistic]
    return statistic.tensor, statistic.block, statistic.pattern, parts


def _accumulate(
    plan: LayerPlan,
    source: tuple[int, Tensor],
    target: tuple[int, Tensor],
    row_pairs: list[tuple[TableRow, TableRow]],
    slot_pairs: list[tuple[Slot, Slot]],
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
