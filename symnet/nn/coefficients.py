"""A layer's parameters by diagram: in the order in which the derivation lists them, whatever the plan's layout."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from symnet.graph import Space
from symnet.nn.linear import Linear
from symnet.sharing import EquivariantMaps, SharingPattern


def coefficients(layer: Linear) -> dict[tuple[str, str], Tensor]:
    """For every coupled pair (output, input) the coefficients ``(dimension, c_in, c_out)`` of ``maps.between(output, input)``.

    They are differentiable functions of the layer's parameters.
    """
    maps = layer.maps
    entries = [
        matrix.view(table.height, layer.in_channels, table.width, layer.out_channels)
        for table, matrix in zip(layer.plan.tables, layer.matrices(), strict=True)
    ]
    slots = {
        (slot.tensor, slot.block, slot.term): (t, slot.start)
        for t, table in enumerate(layer.plan.tables)
        for slot in table.slots
    }
    rows = {}
    for t, table in enumerate(layer.plan.tables):
        for row in table.rows:
            statistic = layer.plan.statistics[row.statistic]
            rows[t, statistic.tensor, statistic.block, row.term] = row.start
    found = {}
    for output, source in maps.pairs():
        found[output, source] = _of_pair(maps.between(output, source), entries, slots, rows, layer)
    return found


def _of_pair(pattern: SharingPattern, entries: list[Tensor], slots: dict, rows: dict, layer: Linear) -> Tensor:
    parts = []
    for placed in pattern.diagrams:
        table, column = slots[pattern.output.name, placed.output_block, placed.diagram.output]
        row = rows[table, pattern.input.name, placed.input_block, placed.diagram.input]
        f_out, f_in = _representatives(placed.diagram.labels, placed.count)
        parts.append(entries[table][row + f_in, :, column + f_out, :])
    none = next(layer.parameters(), torch.empty(0)).new_zeros(0, layer.in_channels, layer.out_channels)
    return torch.cat([none, *parts])


def _representatives(labels: np.ndarray, count: int) -> tuple[Tensor, Tensor]:
    flat = labels.reshape(-1)
    first = np.full(count + 1, -1)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # label -1 lands in the last place
    rows, columns = np.divmod(first[:count], labels.shape[1])
    return torch.from_numpy(rows), torch.from_numpy(columns)


def bias_coefficients(layer: Linear) -> dict[str, Tensor] | None:
    """For every output the coefficients ``(bias dimension, 1, c_out)`` of its equivariant biases."""
    if layer.bias is None:
        return None
    vector = layer.bias_vector()
    if vector is None:  # every bias vanishes
        vector = layer.bias.reshape(-1)
    constant = EquivariantMaps(Space(layer.outputs.neurons, {"constant": ""}), layer.outputs)
    columns = vector.view(-1, 1, layer.out_channels)
    starts = {
        (slot.tensor, slot.block, slot.pattern): start + slot.start
        for table, start in zip(layer.plan.tables, layer.plan.bias_starts, strict=True)
        for slot in table.slots
        if not table.sizes
    }
    found = {}
    for s in layer.outputs:
        parts = []
        for placed in constant.between(s, "constant").diagrams:
            f_out, _ = _representatives(placed.diagram.labels, placed.count)
            parts.append(columns[starts[s, placed.output_block, placed.diagram.output.pattern] + f_out])
        found[s] = torch.cat([columns[:0], *parts])
    return found
