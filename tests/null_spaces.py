"""The oracle for every group: matrices that commute with random elements, as a null space in float64."""

from __future__ import annotations

import numpy as np

from symnet import NeuronGraph
from symnet.graph import Space

GAP = 1e-12  # squared singular values below this are zero


def representation(graph: NeuronGraph, space: Space, name: str, element) -> np.ndarray:
    """The matrix by which an element acts on a tensor: ``(size, size)``."""
    size, shape = space[name].size, space[name].shape
    basis = np.eye(size).reshape(size, *shape)
    return graph.act(element, {name: basis}, batch_dims=1, space=space)[name].reshape(size, size).T


def commuting_matrices(
    graph: NeuronGraph, outputs: Space, output: str, inputs: Space, input: str
) -> np.ndarray:
    """An orthonormal basis ``(dimension, output size, input size)`` of what commutes with random elements of the group.

    A few random elements generate a dense subgroup of a continuous group. Of a finite one each misses a subgroup with probability
    one half at least, so that 30 of them generate it.
    """
    rng = np.random.default_rng(0)
    rows, columns = outputs[output].size, inputs[input].size
    basis = np.eye(rows * columns).reshape(-1, rows, columns)
    for _ in range(30):
        element = graph.random_element(rng)
        left = representation(graph, outputs, output, element)
        right = representation(graph, inputs, input, element)
        change = (left @ basis @ np.linalg.inv(right) - basis).reshape(len(basis), rows * columns)
        values, vectors = np.linalg.eigh(change @ change.T)
        basis = np.tensordot(vectors[:, values < GAP].T, basis, 1)
    return basis
