"""The labels of a whole layer: the orbit of every entry of the weight matrix, all tensors at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from symnet.errors import GraphError, TooLargeError
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.space import Space
from symnet.groups import Generated, Group
from symnet.sharing import EquivariantMaps

SIZE_LIMIT = 400  # rows or columns; beyond this an entry is smaller than a dot of print


@dataclass(frozen=True, eq=False)
class TyingPattern:
    """The labels of a whole layer: orbit numbers of every entry, all output tensors below, all inputs across.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"weight": "h", "bias": "h"})
        >>> label_matrix(sn.derive(graph)).labels[:3]
        array([[0, 1, 1, 2, 3, 3],
               [1, 0, 1, 3, 2, 3],
               [1, 1, 0, 3, 3, 2]])
    """

    labels: np.ndarray  # int64 (output entries, input entries), 0 .. dimension - 1; -1 where a signed group forces a zero
    rows: dict[str, range]  # output tensor -> its rows
    columns: dict[str, range]  # input tensor -> its columns

    @cached_property
    def dimension(self) -> int:
        """Number of orbits: of free parameters, of colours."""
        return int(self.labels.max(initial=-1)) + 1

    def orbits_between(self, rows: range, columns: range) -> list[int]:
        """Numbers of the orbits in one block."""
        found = np.unique(self.labels[rows.start : rows.stop, columns.start : columns.stop])
        return [int(label) for label in found if label >= 0]


def _bands(space: Space) -> dict[str, range]:
    bands, start = {}, 0
    for name, tensor in space.items():
        bands[name] = range(start, start + tensor.size)
        start += tensor.size
    return bands


def label_matrix(maps: EquivariantMaps) -> TyingPattern:
    """The orbit of every entry of the layer's weight matrix, numbered in reading order of the blocks.

    Raises:
        TooLargeError: more rows or columns than can be shown.
    """
    rows, columns = _bands(maps.outputs), _bands(maps.inputs)
    if max(maps.outputs.size, maps.inputs.size) > SIZE_LIMIT:
        raise TooLargeError(
            f"The tying matrix of this layer has {maps.outputs.size} rows and {maps.inputs.size} columns; up to {SIZE_LIMIT} of "
            "each can be seen. The pattern is the same for narrower sets: show the same architecture with 2 to 4 neurons a "
            "set (narrowed(graph, 3), or symnet show --narrow 3), or fewer tensors with derive(graph, inputs=..., outputs=...)."
        )
    labels = np.empty((maps.outputs.size, maps.inputs.size), dtype=np.int64)
    start = 0
    for output, band in rows.items():
        for input, column in columns.items():
            pattern = maps.between(output, input)
            found = pattern.labels()
            labels[band.start : band.stop, column.start : column.stop] = np.where(
                found < 0, found, found + start
            )
            start += pattern.dimension
    return TyingPattern(labels, rows, columns)


def narrowed(graph: NeuronGraph, most: int) -> NeuronGraph:
    """The same architecture with at most ``most`` neurons in each set: its pattern has the same parts, and can be seen.

    Sets with generators of their own keep their size; so do axes that are written as whole numbers.

    Raises:
        GraphError: ``most`` is below 1.

    Example:
        >>> import symnet as sn
        >>> narrowed(sn.NeuronGraph({"h": sn.Symmetric(32)}, {"bias": "h"}), 3).shapes["bias"]
        (3,)
    """
    if most < 1:
        raise GraphError(
            f"A neuron set cannot be narrowed to {most} neurons; give at least 1, best 2 to 4."
        )
    neurons = {
        name: NeuronSet(_narrow_group(given.group, most), given.over)
        for name, given in graph.neurons.items()
    }
    axes = {name: tensor.axes for name, tensor in graph.weights.items()}
    return NeuronGraph(neurons, axes, aliases=graph.aliases, notes=graph.notes)


def _narrow_group(group: Group, most: int) -> Group:
    return group if isinstance(group, Generated) else replace(group, degree=min(group.degree, most))
