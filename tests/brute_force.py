"""Oracles that are plainly right and slow: orbits of index pairs under every generator of the whole group."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from symnet import NeuronGraph
from symnet.graph import Space


def images(graph: NeuronGraph, space: Space, name: str) -> list[np.ndarray]:
    """For every generator of the graph's group, the image of every flat position of a tensor."""
    found = []
    shape = space[name].shape
    for _, generator in graph.generators():
        moved = graph.act(generator, {name: np.arange(space[name].size).reshape(shape)}, space=space)[name]
        image = np.empty(space[name].size, dtype=np.int64)
        image[moved.reshape(-1)] = np.arange(space[name].size)
        found.append(image)
    return found


def orbits_of_pairs(graph: NeuronGraph, outputs: Space, output: str, inputs: Space, input: str) -> np.ndarray:
    """Orbit of every index pair, ``(output size, input size)``, by connected components."""
    rows, columns = outputs[output].size, inputs[input].size
    nodes = np.arange(rows * columns)
    sources, targets = [nodes[:0]], [nodes[:0]]
    for row, column in zip(images(graph, outputs, output), images(graph, inputs, input), strict=True):
        sources.append(nodes)
        targets.append((row[:, None] * columns + column[None, :]).reshape(-1))
    source, target = np.concatenate(sources), np.concatenate(targets)
    edges = coo_array((np.ones(source.size, dtype=np.int8), (source, target)), shape=(nodes.size, nodes.size))
    return connected_components(edges, directed=False)[1].reshape(rows, columns)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings tie the same entries."""
    pairs = np.unique(np.stack([first.reshape(-1), second.reshape(-1)]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))
