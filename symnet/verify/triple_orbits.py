"""Orbits of index triples, counted one by one: the number of bilinear maps by a second route."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from symnet.errors import TooLargeError
from symnet.graph import NeuronGraph, Space
from symnet.graph.action import apply_views
from symnet.sharing import BilinearMaps
from symnet.sharing.dims import BlockDims, dims_of

# index triples looked at for one output and one pair; entries of the matrix whose rank is taken
ENTRY_LIMIT = 2**28


def count_orbits(graph: NeuronGraph, maps: BilinearMaps) -> int | None:
    """Number of orbits of index triples that hang together (or of all), by
    the generators of the group alone.

    Groups without a list of generators have no orbits of entries: all maps are counted by
    Burnside's lemma, connected ones not at all.
    """
    if math.isinf(graph.order):
        return maps.dimension_by_burnside if maps.diagrams == "all" else None
    return sum(count_orbits_of_triples(graph, maps, *triple) for triple in maps.triples())


def count_orbits_of_triples(
    graph: NeuronGraph, maps: BilinearMaps, output: str, left: str, right: str
) -> int:
    """Orbits of (output, left, right) index triples, those alone that hang
    together unless all diagrams are meant.

    Every triple is two nodes, itself and its negative; generators are edges. An orbit that joins
    both vanishes.

    Raises:
        TooLargeError: there are too many triples.
    """
    spaces = (maps.outputs, output), (maps.left, left), (maps.right, right)
    sizes = [space[name].size for space, name in spaces]
    count = int(np.prod(sizes))
    if count > ENTRY_LIMIT:
        raise TooLargeError(
            f"There are {count:,} index triples of '{output}', '{left}' and '{right}'. Certify a "
            "narrower instance."
        )
    nodes, sources, targets = np.arange(count), [], []
    for _, generator in graph.generators():
        images = [_image(graph, generator, space, name) for space, name in spaces]
        target = np.ravel_multi_index(np.ix_(*(image for image, _ in images)), sizes).reshape(-1)
        signs = images[0][1][:, None, None] * images[1][1][:, None] * images[2][1]
        negative = (signs.reshape(-1) < 0) * count
        sources += [nodes, nodes + count]
        targets += [target + negative, target + count - negative]
    source, target = np.concatenate([nodes[:0], *sources]), np.concatenate([nodes[:0], *targets])
    edges = coo_array(
        (np.ones(source.size, dtype=np.int8), (source, target)), shape=(2 * count, 2 * count)
    )
    component = connected_components(edges, directed=False)[1]
    orbits, first = np.unique(component[:count], return_index=True)
    kept = [
        k for orbit, k in zip(orbits, first, strict=True) if component[k] != component[count + k]
    ]
    if maps.diagrams == "all":
        return len(kept)
    triples = zip(*np.unravel_index(np.array(kept, dtype=np.int64), sizes), strict=True)
    return sum(
        _hang_together(
            [
                list(_neurons(space, name, int(k)))
                for (space, name), k in zip(spaces, t, strict=True)
            ]
        )
        for t in triples
    )


def _image(
    graph: NeuronGraph, generator: Any, space: Space, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Where a generator takes every entry of a tensor, and the sign that it gets."""
    numbered = np.arange(1, space[name].size + 1).reshape(space[name].shape)
    moved = graph.act(generator, {name: numbered}, space=space)[name].reshape(-1)
    image, sign = np.empty(moved.size, dtype=np.int64), np.empty(moved.size, dtype=np.int64)
    image[np.abs(moved) - 1] = np.arange(moved.size)
    sign[np.abs(moved) - 1] = np.sign(moved)
    return image, sign


def _neurons(space: Space, name: str, position: int) -> Iterator[tuple[object, ...]]:
    """The permuted neurons that index an entry: symbol, neuron, and the
    neurons of all sets it has copies over.
    """
    tensor = space[name]
    numbered = np.arange(tensor.size).reshape(tensor.shape)
    for block in tensor.blocks:
        view = apply_views(numbered, block.views)
        where = np.argwhere(view == position)
        if len(where):
            dims: BlockDims = dims_of(block, space.neurons)
            for k in dims.sym:
                parents = tuple(
                    (ancestor, int(where[0][place])) for ancestor, place in dims.dims[k].parents
                )
                yield dims.dims[k].symbol, int(where[0][k]), parents
            return


def _hang_together(tensors: list[list[tuple[object, ...]]]) -> bool:
    """Whether the entries' neurons connect the factors, and the output if it has any."""
    output, *factors = (set(neurons) for neurons in tensors)
    present = [neurons for neurons in factors if neurons]
    if len(present) == 2 and not present[0] & present[1]:
        return bool(output & present[0]) and bool(output & present[1])
    return any(output & neurons for neurons in present) == bool(output)
