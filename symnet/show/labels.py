"""The labels of a whole layer: the orbit of every entry of the weight matrix, all tensors at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symnet.errors import TooLargeError
from symnet.graph.space import Space
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

    labels: np.ndarray  # int64 (output entries, input entries), 0 .. dimension - 1
    rows: dict[str, range]  # output tensor -> its rows
    columns: dict[str, range]  # input tensor -> its columns

    @cached_property
    def dimension(self) -> int:
        """Number of orbits: of free parameters, of colours."""
        return int(self.labels.max(initial=-1)) + 1


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
            "set (symnet show mlp:2-3-3-1), or fewer tensors with derive(graph, inputs=..., outputs=...)."
        )
    labels = np.empty((maps.outputs.size, maps.inputs.size), dtype=np.int64)
    start = 0
    for output, band in rows.items():
        for input, column in columns.items():
            pattern = maps.between(output, input)
            labels[band.start : band.stop, column.start : column.stop] = pattern.labels() + start
            start += pattern.dimension
    return TyingPattern(labels, rows, columns)
