"""The same layer for a smaller group: its coefficients in the smaller
group's diagrams, so that training can go on.

Every map that commutes with a group commutes with its subgroups, so it is a combination of their
diagrams, of which there are more. The combination is found entry by entry: both sides are evaluated
at one index pair of every orbit of the smaller group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu
from torch import Tensor

from symnet.errors import GraphError
from symnet.graph import NeuronGraph, Space
from symnet.groups import Group, is_linear
from symnet.groups.linear_groups import Scaled
from symnet.nn.coefficients import bias_coefficients, bias_places, coefficients, table_places
from symnet.sharing import EquivariantMaps, SharingPattern

if TYPE_CHECKING:
    from symnet.nn.linear import Linear

_ELEMENTS = 6  # elements of the smaller group with which the larger one's maps must commute
_CLOSE = 1e-9


def restricted(layer: Linear, graph: NeuronGraph) -> Linear:
    """See ``Linear.restricted_to``."""
    spaces = [_same_tensors(space, graph) for space in (layer.inputs, layer.outputs)]
    for space in (*spaces, layer.inputs, layer.outputs):
        _refuse_matrices(space)
    like = next(layer.parameters(), torch.empty(0))
    result = type(layer)(
        graph,
        layer.in_channels,
        layer.out_channels,
        inputs=spaces[0],
        outputs=spaces[1],
        interactions=layer.interactions,
        bias=layer.bias is not None,
        gain=layer.gain,
        device=like.device,
        dtype=like.dtype,
    )
    with torch.no_grad():
        _write_tables(result, _carried(layer.maps, result.maps, coefficients(layer)))
        _write_biases(result, layer)
    return result


def _same_tensors(space: Space, graph: NeuronGraph) -> Space:
    """The space's tensors with the axes that the smaller graph gives them.

    Raises:
        GraphError: a tensor has other sizes, or stands in neither graph.
    """
    shared = [name for name in space if name in graph.weights]
    for name in shared:
        if graph.weights[name].shape != space[name].shape:
            raise GraphError(
                f"Tensor '{name}' has sizes {space[name].shape} in the layer and "
                f"{graph.weights[name].shape} in the graph; the smaller group acts on the same "
                "tensors."
            )
    try:
        return Space(
            graph.neurons,
            {n: graph.weights[n].axes if n in shared else t.axes for n, t in space.items()},
        )
    except GraphError as error:
        raise GraphError(
            f"The layer's tensors cannot be read in the smaller graph: {error}"
        ) from None


def _refuse_matrices(space: Space) -> None:
    for name, neuron_set in space.neurons.items():
        group: Group = neuron_set.group
        if is_linear(group) or isinstance(group, Scaled):
            raise GraphError(
                f"'{name}' has the group {group!r}: layers are carried between groups of "
                "permutations and signs. Make a new layer for the other graph."
            )


def _carried(
    larger: EquivariantMaps, smaller: EquivariantMaps, values: Mapping[tuple[str, str], Tensor]
) -> dict[tuple[str, str], Tensor]:
    """The coefficients of every pair in the smaller group's diagrams
    ``(dimension, c_in, c_out)``.
    """
    pairs = set(smaller.pairs())
    if missing := [pair for pair in larger.pairs() if pair not in pairs]:
        raise GraphError(
            f"The layer maps '{missing[0][1]}' to '{missing[0][0]}', which the smaller graph "
            "leaves out."
        )
    carried = {}
    for pair in smaller.pairs():
        pattern = smaller.between(*pair)
        if pair in values:
            carried[pair] = _carry(larger.between(*pair), pattern, values[pair])
        else:
            some = next(iter(values.values()))
            carried[pair] = some.new_zeros(pattern.dimension, *some.shape[1:])
    return carried


def _carry(larger: SharingPattern, smaller: SharingPattern, values: Tensor) -> Tensor:
    rows, columns = smaller.representatives()
    _check_subgroup(larger, smaller, rows, columns)
    if not smaller.dimension:
        return values.new_zeros(0, *values.shape[1:])
    entries = _evaluate(larger, rows, columns) @ values.detach().cpu().double().flatten(1).numpy()
    solved = splu(csc_matrix(_evaluate(smaller, rows, columns))).solve(entries)
    return torch.from_numpy(solved).to(values).reshape(-1, *values.shape[1:])


def _evaluate(pattern: SharingPattern, rows: np.ndarray, columns: np.ndarray) -> csc_matrix:
    """What each parameter puts at matrix entries: sparse ``(entries, dimension)``."""
    at, parameters, scales = [], [], []
    for placed in pattern.diagrams:
        parameter = pattern.evaluate(placed, rows, columns)
        entries = np.flatnonzero(parameter >= 0)
        at.append(entries)
        parameters.append(parameter[entries])
        scales.append(np.full(len(entries), 1 / placed.diagram.input.dropped_size))
    if not at:
        return csc_matrix((len(rows), pattern.dimension))
    data = np.concatenate(scales), (np.concatenate(at), np.concatenate(parameters))
    return csc_matrix(data, shape=(len(rows), pattern.dimension))


def _check_subgroup(
    larger: SharingPattern, smaller: SharingPattern, rows: np.ndarray, columns: np.ndarray
) -> None:
    """Raise unless a generic map of the larger group is the same along the smaller group's orbits.

    Raises:
        GraphError: the second group is not contained in the first.
    """
    rng = np.random.default_rng(0)
    generic = rng.standard_normal(larger.dimension)
    expected = _evaluate(larger, rows, columns) @ generic
    graph = NeuronGraph(
        smaller.neurons, {"output": smaller.output.axes, "input": smaller.input.axes}
    )
    positions = {
        name: np.arange(space.size).reshape(space.shape) for name, space in graph.weights.items()
    }
    signs = {name: np.ones(space.shape) for name, space in graph.weights.items()}
    for _ in range(_ELEMENTS):
        element = graph.random_element(rng)
        # g moves entry i to g(i): what stands at position p of the moved positions came from there.
        moved, flipped = graph.act(element, signs), graph.act(element, positions)
        there = [np.argsort(np.abs(flipped[name]).reshape(-1)) for name in ("output", "input")]
        sign = (
            moved["output"].reshape(-1)[there[0][rows]]
            * moved["input"].reshape(-1)[there[1][columns]]
        )
        values = _evaluate(larger, there[0][rows], there[1][columns]) @ generic
        if np.abs(sign * values - expected).max(initial=0.0) > _CLOSE * (
            1 + np.abs(expected).max(initial=0.0)
        ):
            raise GraphError(
                "The graph's group is not contained in the layer's: a map from "
                f"'{larger.input.name}' to '{larger.output.name}' that the layer may hold does "
                "not commute with it. Pass a graph of the same tensors that permutes less."
            )


def _write_tables(layer: Linear, values: Mapping[tuple[str, str], Tensor]) -> None:
    placed = {(s, t): layer.maps.between(s, t).diagrams for s, t in layer.maps.pairs()}
    stored = layer.stored_tables()
    for pair, places in table_places(layer.plan, placed).items():
        start = 0
        for number, rows, columns in places:
            part = values[pair][start : start + len(rows)]
            start += len(rows)
            table, parameter = layer.plan.tables[number], stored[number]
            if not len(rows) or parameter is None:
                continue
            if table.index is None:
                parameter[rows, :, columns, :] = part
            else:
                parameter[torch.tensor(table.index[rows, columns])] = part


def _write_biases(layer: Linear, source: Linear) -> None:
    by_output = bias_coefficients(source)
    if by_output is None or layer.bias is None:
        return
    constants = [
        EquivariantMaps(Space(x.outputs.neurons, {"constant": ""}), x.outputs)
        for x in (source, layer)
    ]
    column_parameters = layer.bias_columns()
    for name, places in bias_places(layer).items():
        larger, smaller = (maps.between(name, "constant") for maps in constants)
        values = _carry(larger, smaller, by_output[name])[:, 0, :]
        at = torch.cat([torch.zeros(0, dtype=torch.int64), *places])
        layer.bias[column_parameters[at]] = values
