"""A layer's parameters by diagram: in the order in which the derivation
lists them, whatever the plan's layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from symnet.graph import Space
from symnet.plan import LayerPlan
from symnet.sharing import EquivariantMaps, PlacedDiagram

if TYPE_CHECKING:
    from symnet.nn.linear import Linear
    from symnet.nn.product import Product


def coefficients(layer: Linear) -> dict[tuple[str, str], Tensor]:
    """For every coupled pair (output, input) the coefficients ``(dimension, c_in, c_out)`` of
    ``maps.between(output, input)``.

    They are differentiable functions of the layer's parameters.
    """
    placed = {(s, t): layer.maps.between(s, t).diagrams for s, t in layer.maps.pairs()}
    return by_diagram(layer.plan, layer.matrices(), (layer.in_channels, layer.out_channels), placed)


def product_coefficients(layer: Product) -> dict[tuple[str, str], Tensor]:
    """For every pair (output, product) the coefficients
    ``(maps, products of channels, c_out)`` of ``maps.placed``.

    Products are named "a * b". Differentiable functions of the layer's parameters.
    """
    placed = {(s, f"{a} * {b}"): layer.maps.placed(s, a, b) for s, a, b in layer.maps.triples()}
    pairs = layer.in_channels * (1 if layer.channels == "same" else layer.right_channels)
    return by_diagram(layer.plan.layer, layer.matrices(), (pairs, layer.out_channels), placed)


def by_diagram(
    plan: LayerPlan,
    matrices: Sequence[Tensor],
    channels: tuple[int, int],
    placed: Mapping[tuple[str, str], Sequence[PlacedDiagram]],
) -> dict[tuple[str, str], Tensor]:
    """The entries of tables that are coefficients of diagrams, pair by pair,
    ``(parameters, c_in, c_out)``.
    """
    entries = [
        matrix.view(table.height, channels[0], table.width, channels[1])
        for table, matrix in zip(plan.tables, matrices, strict=True)
    ]
    none = (matrices[0] if matrices else torch.empty(0)).new_zeros(0, *channels)
    by_pair = {}
    for pair, places in table_places(plan, placed).items():
        by_pair[pair] = torch.cat(
            [none, *(entries[number][rows, :, columns, :] for number, rows, columns in places)]
        )
    return by_pair


def table_places(
    plan: LayerPlan, placed: Mapping[tuple[str, str], Sequence[PlacedDiagram]]
) -> dict[tuple[str, str], list[tuple[int, Tensor, Tensor]]]:
    """Where the parameters of every pair's diagrams stand: numbers of tables,
    rows and columns, in the diagrams' order.
    """
    slots = {
        (slot.tensor, slot.block, slot.term): (t, slot.start)
        for t, table in enumerate(plan.tables)
        for slot in table.slots
    }
    rows = {}
    for t, table in enumerate(plan.tables):
        for row in table.rows:
            statistic = plan.statistics[row.statistic]
            rows[t, statistic.tensor, statistic.block, row.term] = row.start
    places: dict[tuple[str, str], list[tuple[int, Tensor, Tensor]]] = {}
    for (output, source), diagrams in placed.items():
        places[output, source] = []
        for one in diagrams:
            number, column = slots[output, one.output_block, one.diagram.output]
            start = rows[number, source, one.input_block, one.diagram.input]
            f_out, f_in = _representatives(one.diagram.labels, one.count)
            places[output, source].append((number, start + f_in, column + f_out))
    return places


def _representatives(labels: np.ndarray, count: int) -> tuple[Tensor, Tensor]:
    flat = labels.reshape(-1)
    first = np.full(count + 1, -1)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # label -1 lands in the last place
    rows, columns = np.divmod(first[:count], labels.shape[1])
    return torch.from_numpy(rows), torch.from_numpy(columns)


def bias_coefficients(layer: Linear) -> dict[str, Tensor] | None:
    """For every output the coefficients
    ``(bias dimension, 1, c_out)`` of its equivariant biases.
    """
    if layer.bias is None:
        return None
    vector = layer.bias_vector()
    if vector is None:  # every bias vanishes
        vector = layer.bias.reshape(-1)
    columns = vector.view(-1, 1, layer.out_channels)
    by_output = {}
    for s, places in bias_places(layer).items():
        by_output[s] = torch.cat([columns[:0], *(columns[place] for place in places)])
    return by_output


def bias_places(layer: Linear) -> dict[str, list[Tensor]]:
    """For every output the columns of the tables without axes, one after
    another, that its bias diagrams stand in.
    """
    constant = EquivariantMaps(Space(layer.outputs.neurons, {"constant": ""}), layer.outputs)
    starts = {
        (slot.tensor, slot.block, slot.pattern): start + slot.start
        for table, start in zip(layer.plan.tables, layer.plan.bias_starts, strict=True)
        for slot in table.slots
        if not table.sizes
    }
    places: dict[str, list[Tensor]] = {}
    for s in layer.outputs:
        places[s] = []
        for placed in constant.between(s, "constant").diagrams:
            f_out, _ = _representatives(placed.diagram.labels, placed.count)
            places[s].append(starts[s, placed.output_block, placed.diagram.output.pattern] + f_out)
    return places
