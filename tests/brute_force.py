"""Oracles that are plainly right and slow: orbits of index pairs under every generator of the whole group."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from symnet import NeuronGraph
from symnet.graph import Space


def images(graph: NeuronGraph, space: Space, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """For every generator of the graph's group, the image of every flat position of a tensor, and the sign there."""
    found = []
    shape = space[name].shape
    for _, generator in graph.generators():
        numbered = np.arange(1, space[name].size + 1).reshape(shape)
        moved = graph.act(generator, {name: numbered}, space=space)[name].reshape(-1)
        image, sign = np.empty(moved.size, dtype=np.int64), np.empty(moved.size, dtype=np.int64)
        image[np.abs(moved) - 1] = np.arange(moved.size)
        sign[np.abs(moved) - 1] = np.sign(moved)
        found.append((image, sign))
    return found


def orbits_of_pairs(
    graph: NeuronGraph, outputs: Space, output: str, inputs: Space, input: str
) -> np.ndarray:
    """Orbit of every index pair, ``(output size, input size)``, by connected components; -1 where the map must vanish.

    Every pair is two nodes, itself and its negative. An orbit that joins them meets its own negative.
    """
    rows, columns = outputs[output].size, inputs[input].size
    count = rows * columns
    nodes = np.arange(count)
    sources, targets = [nodes[:0]], [nodes[:0]]
    for (row, row_sign), (column, column_sign) in zip(
        images(graph, outputs, output), images(graph, inputs, input), strict=True
    ):
        target = (row[:, None] * columns + column[None, :]).reshape(-1)
        negative = ((row_sign[:, None] * column_sign[None, :]).reshape(-1) < 0) * count
        sources += [nodes, nodes + count]
        targets += [target + negative, target + (count - negative)]
    source, target = np.concatenate(sources), np.concatenate(targets)
    edges = coo_array(
        (np.ones(source.size, dtype=np.int8), (source, target)), shape=(2 * count, 2 * count)
    )
    component = connected_components(edges, directed=False)[1]
    vanishes = component[:count] == component[count:]
    return np.where(vanishes, -1, component[:count]).reshape(rows, columns)


def count_orbits(labels: np.ndarray) -> int:
    """Number of orbits that do not vanish."""
    return int(np.sum(np.unique(labels) >= 0))


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings tie the same entries (and leave out the same, labelled -1)."""
    if not np.array_equal(first < 0, second < 0):
        return False
    pairs = np.unique(np.stack([first.reshape(-1), second.reshape(-1)]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))
