"""Surgery entry by entry, from the notation alone: slow, and plainly right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import symnet as sn

Rows = Mapping[str, np.ndarray]  # old neurons by set, (*old ancestor sizes, new size)


def old_neuron(graph: sn.NeuronGraph, rows: Rows, name: str, values: Mapping[str, int]) -> int:
    """The old number of a neuron whose new number, and its ancestors', are in ``values``."""
    if name not in rows:
        return values[name]
    copy = tuple(old_neuron(graph, rows, ancestor, values) for ancestor in graph.ancestors(name))
    return int(rows[name][copy][values[name]])


def take(
    graph: sn.NeuronGraph, new: sn.NeuronGraph, rows: Rows, name: str, array: np.ndarray
) -> np.ndarray:
    """A tensor of the new graph, every entry looked up by itself."""
    result = np.full(new.shapes[name], np.nan)
    olds, news = (entries(g, name) for g in (graph, new))
    lookup = {key: index for index, key in olds.items()}
    for index, (block, dims) in news.items():
        found = []
        for symbol, value, above in dims:
            number = (
                value
                if symbol is None
                else old_neuron(graph, rows, symbol, {**dict(above), symbol: value})
            )
            copies = tuple((a, old_neuron(graph, rows, a, dict(above))) for a, _ in above)
            found.append((symbol, number, copies))
        result[index] = array[lookup[block, tuple(found)]]
    return result


def entries(graph: sn.NeuronGraph, name: str) -> dict[tuple[int, ...], tuple[int, tuple]]:
    """For every entry of a tensor its block, and for each dim the symbol, its value, and its ancestors' values."""
    space = graph.weights[name]
    marks = np.arange(space.size).reshape(space.shape)
    found = {}
    for number, block in enumerate(space.blocks):
        part = marks
        for view in block.views:
            if hasattr(view, "sizes"):
                part = part.reshape(
                    part.shape[: view.axis] + view.sizes + part.shape[view.axis + 1 :]
                )
            elif hasattr(view, "position"):
                part = np.take(part, view.position, axis=view.axis)
            else:
                part = np.take(part, range(view.start, view.start + view.size), axis=view.axis)
        for place in np.ndindex(part.shape):
            dims = tuple(
                (i.symbol, place[k], tuple((ancestor, place[dim]) for ancestor, dim in i.parents))
                for k, i in enumerate(block.instances)
            )
            index = np.unravel_index(part[place], space.shape)
            found[tuple(int(n) for n in index)] = number, dims
    return found
