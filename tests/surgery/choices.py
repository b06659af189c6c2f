"""Random neurons to keep and to copy, for every copy of a set by itself."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator

import numpy as np

import symnet as sn
from symnet.graph.elements import image_shapes
from symnet.surgery.selection import is_divisible


def divisible(graph: sn.NeuronGraph, least: int = 1) -> list[str]:
    """Sets that can be cut, of so many neurons at least."""
    return [name for name, s in graph.neurons.items() if is_divisible(s) and s.size >= least]


@contextlib.contextmanager
def refused_where_sizes_must_agree(graph: sn.NeuronGraph, name: str) -> Iterator[None]:
    """Lets one refusal through: of a set that is interleaved with another, or stands for one, and
    so cannot change its size alone.
    """
    try:
        yield
    except sn.GraphError as error:
        assert "one size" in str(error)
        joined = [axes for axes in graph.tensors.values() if set(axes) & set("&|")]
        assert any(name in re.findall(r"\w+", axes) for axes in joined)


def some_neurons(
    graph: sn.NeuronGraph, name: str, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Different neurons of every copy, in random order: ``(*ancestor sizes, count)``."""
    shape = image_shapes(graph.neurons)[name]
    copies = math.prod(shape[:-1])
    orders = rng.permuted(np.tile(np.arange(shape[-1]), (copies, 1)), axis=1)
    return orders[:, :count].reshape(*shape[:-1], count)


def half_of(graph: sn.NeuronGraph, name: str, rng: np.random.Generator) -> np.ndarray:
    """Half of the neurons of every copy, rounded up."""
    return some_neurons(graph, name, -(-graph.neurons[name].size // 2), rng)


def numbered(graph: sn.NeuronGraph) -> dict[str, np.ndarray]:
    """Weights that are all different."""
    counts = np.cumsum([0, *(space.size for space in graph.weights.values())])
    return {
        name: np.arange(start, start + space.size, dtype=float).reshape(space.shape)
        for start, (name, space) in zip(counts, graph.weights.items(), strict=False)
    }
