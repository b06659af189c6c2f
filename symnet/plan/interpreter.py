"""A plan run in numpy, step by step as it reads: the executor to compare the fast ones with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from symnet.plan.block_arrays import assemble, read_block, restore_block, sym_positions
from symnet.plan.layer_plan import LayerPlan
from symnet.plan.steps import Slot, TableRow
from symnet.sharing.dims import BlockDims, dims_of
from symnet.sharing.patterns import Pattern


def run_plan(
    plan: LayerPlan,
    tensors: Mapping[str, np.ndarray],
    matrices: list[np.ndarray],
    bias: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The layer's outputs.

    Args:
        tensors: inputs by name, ``(batch, *axes, in_channels)``.
        matrices: for every table of the plan, ``(height * in_channels, width * out_channels)``.
        bias: ``(columns * out_channels,)`` of the tables without axes, or None.

    Returns:
        Outputs by name, ``(batch, *axes, out_channels)``.
    """
    statistics: list[np.ndarray] = []
    for statistic in plan.statistics:
        block = plan.inputs[statistic.tensor].blocks[statistic.block]
        if statistic.source is None:
            array = read_block(tensors[statistic.tensor], block, statistic.dims, np.transpose)
            array = take_diagonals(array, statistic.dims, statistic.pattern)
            present = tuple(range(len(statistic.pattern.parts)))
        else:
            array, present = statistics[statistic.source], plan.statistics[statistic.source].kept
        averaged = tuple(
            position + 1 for position, part in enumerate(present) if part not in statistic.kept
        )
        statistics.append(array.mean(axis=averaged) if averaged else array)
    batch = next(iter(tensors.values())).shape[0]
    mixed = []
    for table, matrix, start in zip(plan.tables, matrices, plan.bias_starts, strict=True):
        rows = [_ordered(row, statistics[row.statistic]) for row in table.rows]
        mixed.append(np.concatenate([np.zeros((batch, *table.sizes, 0)), *rows], axis=-1) @ matrix)
        if bias is not None and not table.sizes:
            channels = matrix.shape[1] // table.width
            mixed[-1] = mixed[-1] + bias[start * channels : (start + table.width) * channels]
    outputs = {}
    for name, tensor in plan.outputs.items():
        arrays = []
        for number in range(len(tensor.blocks)):
            slots = plan.slots[name, number]
            dims = dims_of(tensor.blocks[number], plan.outputs.neurons)
            channels = mixed[0].shape[-1] // plan.tables[0].width
            sizes = [dims.dims[k].size for k in dims.sym]
            value = np.zeros((batch, *sizes, dims.folded_size * channels), dtype=mixed[0].dtype)
            for where, slot in slots:
                columns = mixed[where][
                    ..., slot.start * channels : (slot.start + dims.folded_size) * channels
                ]
                add_slot(value, columns, slot)
            arrays.append(restore_block(value, dims, np.transpose))
        outputs[name] = assemble(tensor.blocks, arrays, np.concatenate)
    return outputs


def take_diagonals(array: np.ndarray, dims: BlockDims, pattern: Pattern) -> np.ndarray:
    """``(batch, *sym dims, features)`` to ``(batch, *parts, features)``, the
    dims of a part run through together.
    """
    count = len(dims.sym)
    index: list[np.ndarray] = [np.zeros(())] * count
    shape = tuple(part.size for part in pattern.parts)
    grid = np.indices(shape, sparse=True)
    for positions, values in zip(sym_positions(dims, pattern), grid, strict=True):
        for position in positions:
            index[position] = values
    at: tuple[Any, ...] = (slice(None), *index)
    return array[at] if count else array


def add_slot(value: np.ndarray, columns: np.ndarray, slot: Slot) -> None:
    """Add a slot's columns ``(batch, *kept, features)`` in place, broadcast
    and on the diagonal of its pattern.
    """
    parts = slot.term.pattern.parts
    order = sorted(range(len(slot.order)), key=lambda a: slot.order[a])
    columns = np.transpose(columns, (0, *(a + 1 for a in order), columns.ndim - 1))
    shape = [part.size if k in slot.order else 1 for k, part in enumerate(parts)]
    columns = columns.reshape(columns.shape[0], *shape, columns.shape[-1])
    if not parts:
        value += columns
        return
    index: list[np.ndarray] = [np.zeros(())] * len(slot.dims.sym)
    grid = np.indices(tuple(part.size for part in parts), sparse=True)
    for positions, values in zip(sym_positions(slot.dims, slot.term.pattern), grid, strict=True):
        for position in positions:
            index[position] = values
    at: tuple[Any, ...] = (slice(None), *index)
    value[at] += columns


def _ordered(row: TableRow, statistic: np.ndarray) -> np.ndarray:
    return np.transpose(statistic, (0, *(a + 1 for a in row.order), statistic.ndim - 1))
