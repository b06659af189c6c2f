"""The adjoint of a layer is a layer: the same tables with rows and slots exchanged.

A row is a mean over N_row entries and a slot is a broadcast over N_slot entries. Transposing turns
the broadcast into a sum, N_slot times a mean, and the mean into a broadcast divided by N_row. So
with the matrix ``M^T[slot, row] * N_slot / N_row`` the exchanged plan computes the transposed
layer, and gradients need no code of their own.
"""

from __future__ import annotations

import numpy as np

from symnet.plan.layer_plan import LayerPlan
from symnet.plan.steps import Slot, Statistic, Table, TableRow
from symnet.sharing.patterns import Pattern


def adjoint(plan: LayerPlan) -> LayerPlan:
    """The plan of the transposed layer, from the outputs to the inputs; table
    by table the transposed matrix, scaled.
    """
    numbers, statistics = _statistics_of_slots(plan)
    tables = []
    for table in plan.tables:
        rows = []
        for slot in table.slots:
            number = numbers[slot.tensor, slot.block, slot.pattern, frozenset(slot.order)]
            order = tuple(statistics[number].kept.index(part) for part in slot.order)
            rows.append(TableRow(number, order, slot.term, slot.start))
        slots = []
        for row in table.rows:
            source = plan.statistics[row.statistic]
            order = tuple(source.kept[axis] for axis in row.order)
            slots.append(Slot(source.tensor, source.block, source.dims, order, row.term, row.start))
        index = None if table.index is None else np.ascontiguousarray(table.index.T)
        tables.append(
            Table(
                table.signature,
                table.sizes,
                tuple(rows),
                tuple(slots),
                table.width,
                table.height,
                index,
            )
        )
    return LayerPlan(plan.outputs, plan.inputs, tuple(statistics), tuple(tables))


Key = tuple[str, int, Pattern, frozenset[int]]


def _statistics_of_slots(plan: LayerPlan) -> tuple[dict[Key, int], list[Statistic]]:
    slots = {
        (slot.tensor, slot.block, slot.pattern, frozenset(slot.order)): slot
        for table in plan.tables
        for slot in table.slots
    }
    numbers: dict[Key, int] = {}
    alike: dict[object, list[tuple[frozenset[int], int]]] = {}
    statistics: list[Statistic] = []
    for key, slot in sorted(slots.items(), key=lambda entry: -len(entry[0][3])):
        family = alike.setdefault(key[:3], [])
        larger = [number for kept, number in family if kept > key[3]]
        source = min(larger, key=lambda number: statistics[number].size, default=None)
        numbers[key] = len(statistics)
        family.append((key[3], len(statistics)))
        statistics.append(
            Statistic(
                slot.tensor, slot.block, slot.dims, slot.pattern, tuple(sorted(key[3])), source
            )
        )
    return numbers, statistics


def dropped_sizes(plan: LayerPlan, table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Of every row and every column of a table's matrix, how many entries
    are averaged or broadcast: float64.
    """
    rows, columns = np.ones(table.height), np.ones(table.width)
    for row in table.rows:
        folded = plan.statistics[row.statistic].folded_size
        rows[row.start : row.start + folded] = row.term.dropped_size
    for slot in table.slots:
        columns[slot.start : slot.start + slot.dims.folded_size] = slot.term.dropped_size
    return rows, columns
