"""widen and split: more neurons, the same function (Net2Net, Chen,
Goodfellow and Shlens 2016, arXiv 1511.05641).

A neuron becomes several equal ones, and the weights that read it are divided by their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views, clusters
from symnet.graph.elements import image_shapes
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.cutting import FileOptions, Progress, Surgery, WeightsLike, multiply, perform
from symnet.surgery.outlets import Copies, OutgoingLike, Outlets, Place, read_outlets
from symnet.surgery.requests import check_mapping, make_generator, read_width, whole_numbers
from symnet.surgery.selection import (
    Array,
    Selection,
    is_floating,
    make_selection,
    refuse_indivisible,
)


def widen(
    weights: WeightsLike,
    graph: NeuronGraph,
    sizes: Mapping[str, int],
    *,
    outgoing: OutgoingLike | None = None,
    noise: float = 0.0,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Surgery:
    """The same function with more neurons: copies of neurons chosen at random, as evenly as can be.

    Old neurons keep their places, copies follow. Copies of one neuron share the weights that read
    it: halves, thirds, ...; with ``noise`` unequal parts of the same sum, so that training tells
    them apart.

    Args:
        weights, graph, out, overwrite, progress: as for ``keep``.
        sizes: new number of neurons by set.
        outgoing: what reads each set: ``sn.surgery.outgoing(model, graph, inputs)``, or names of
            tensors by set. Without it the layout of torch's layers is trusted (rows make, columns
            read), and refused where it could mean two things.
        noise: spread of what one copy gains and the others lose, in units of the shared weights'
            own spread.
        seed: of the choice of copies, and of the noise.

    Returns:
        ``weights, graph`` of the wider network, and what was done.

    Raises:
        GraphError: a set that cannot be widened; or not exactly, as a norm or softmax runs over it;
            says which sizes are exact.
        ShapeError: weights that are not the graph's.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> wide, wide_graph = widen(weights, graph, {"h1": 8})
        >>> wide_graph.shapes["0.weight"], wide["2.weight"].sum()
        ((8, 2), np.float64(4.0))
    """
    require_graph(graph, "surgery.widen")
    rng = make_generator(seed)
    choices = {}
    for name, new_width in check_mapping(sizes, "surgery.widen", "{'h1': 64}").items():
        width = read_width(graph, name, new_width)
        shape = image_shapes(graph.neurons)[name]
        size, copies = shape[-1], math.prod(shape[:-1])
        extra = [
            rng.permuted(np.tile(np.arange(size), (copies, 1)), axis=1)
            for _ in range(-(-(width - size) // size))
        ]
        rows = np.concatenate([np.tile(np.arange(size), (copies, 1)), *extra], axis=1)[:, :width]
        choices[name] = rows.reshape(*shape[:-1], width)
    return copy_neurons(
        weights, graph, choices, outgoing, noise, rng, FileOptions(out, overwrite, progress)
    )


def split(
    weights: WeightsLike,
    graph: NeuronGraph,
    sets: Mapping[str, Mapping[int, int]],
    *,
    outgoing: OutgoingLike | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Surgery:
    """The same function with some neurons split into several, which stand in
    its place, in all copies of the set alike.

    Args:
        sets: by neuron set, into how many each neuron is split: ``{"h1": {3: 2}}``.
        weights, graph, outgoing, noise, seed: as for ``widen``, and so are results and errors.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> split(weights, graph, {"h1": {1: 2}}).weights["2.weight"]
        array([[1. , 0.5, 0.5, 1. ]])
    """
    require_graph(graph, "surgery.split")
    choices = {}
    for name, parts_given in check_mapping(sets, "surgery.split", "{'h1': {3: 2}}").items():
        refuse_indivisible(graph, name, "split")
        shape = image_shapes(graph.neurons)[name]
        parts = check_mapping(parts_given, f"surgery.split '{name}'", "{3: 2}")
        neurons, counts = (
            whole_numbers(name, parts.keys(), "split"),
            whole_numbers(name, parts.values(), "split"),
        )
        if (counts < 1).any() or (neurons < 0).any() or (neurons >= shape[-1]).any():
            raise GraphError(
                f"split '{name}' got {dict(parts)!r:.60}; give numbers of neurons, 0 to "
                f"{shape[-1] - 1}, and how many each becomes."
            )
        repeats = np.ones(shape[-1], dtype=np.int64)
        repeats[neurons] = counts
        rows = np.repeat(np.arange(shape[-1]), repeats)
        choices[name] = np.broadcast_to(rows, (*shape[:-1], len(rows)))
    return copy_neurons(weights, graph, choices, outgoing, noise, make_generator(seed))


def copy_neurons(
    weights: WeightsLike,
    graph: NeuronGraph,
    choices: Mapping[str, np.ndarray],
    outgoing: OutgoingLike | None,
    noise: float,
    rng: np.random.Generator,
    options: FileOptions | None = None,
) -> Surgery:
    """The weights with repeated neurons, which share what reads them.

    Args:
        choices: old neurons by set, every one at least once, ``(*ancestor sizes, new size)``.
    """
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise GraphError(
            f"noise={noise!r}: give a finite number of at least 0, in units of the weights' spread."
        )
    outlets = {name: exact_outlets(graph, name, rows, outgoing) for name, rows in choices.items()}
    selection = make_selection(graph, choices)
    change = sharing(selection, outlets, noise, rng)
    return perform(weights, selection, change, outlets, options or FileOptions())


def sharing(
    selection: Selection,
    outlets: Mapping[str, Outlets],
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Callable[[str, Array], Array]:
    """What changes a tensor: neurons are repeated, and what reads
    them is divided among the copies.
    """
    rng = rng or np.random.default_rng(0)
    places: dict[str, list[tuple[str, Place]]] = {}
    for name, set_outlets in outlets.items():
        for place in set_outlets.places:
            places.setdefault(place.tensor, []).append((name, place))

    def change(name: str, array: Array) -> Array:
        taken = selection.take(name, array)
        key = selection.old.aliases.get(name, name)
        return _share(selection, places[key], taken, noise, rng) if key in places else taken

    return change


def exact_outlets(
    graph: NeuronGraph, name: str, rows: np.ndarray, outgoing: OutgoingLike | None
) -> Outlets:
    """The outlets of a set, if its neurons can be copied in these numbers and nothing changes.

    Raises:
        GraphError: something else hears of the neurons; says how they could be copied, if they can.
    """
    outlets = read_outlets(graph, name, outgoing)
    counts = copies_of_each(rows)
    alike = bool((counts == counts.flat[0]).all())
    if outlets.copies is Copies.any or (outlets.copies is Copies.alike and alike):
        return outlets
    if outlets.copies is Copies.none:
        raise GraphError(
            f"'{name}' cannot be copied so that the function stays: a tensor both makes and "
            "reads it (tied weights), or a norm or softmax hears of its neurons in a way that "
            "no division makes good; tried out on the module."
        )
    size = int(rows.max()) + 1
    why = (
        "found out on the module"
        if outlets.proved
        else "a module holds weights for each of its neurons, as norms do"
    )
    raise GraphError(
        f"'{name}' can only be copied evenly and stay exact, since a norm or a softmax over the "
        f"set hears of every neuron ({why}): {2 * size}, {3 * size}, ... neurons."
        + (
            ""
            if outlets.proved
            else " If it is none: outgoing=sn.surgery.outgoing(model, graph, inputs)."
        )
    )


def copies_of_each(rows: np.ndarray) -> np.ndarray:
    """How often the neuron at each place occurs in its copy, of the shape of ``rows``."""
    flat = rows.reshape(-1, rows.shape[-1])
    counts = [np.bincount(row)[row] for row in flat]
    return np.array(counts, dtype=np.int64).reshape(rows.shape)


def _share(
    selection: Selection,
    places: list[tuple[str, Place]],
    array: Array,
    noise: float,
    rng: np.random.Generator,
) -> Array:
    """A tensor of the new graph with what reads copies divided among them."""
    result = array.copy() if isinstance(array, np.ndarray) else array.detach().clone()
    if not is_floating(result):
        raise GraphError(
            f"'{places[0][1].tensor}' holds whole numbers, which cannot be divided. Give the "
            "weights as floating-point numbers."
        )
    for name, place in places:
        factors = 1 / copies_of_each(selection.sources[name])
        multiply(selection.new, place.tensor, place.block, place.dim, factors, result)
    if noise:
        spread = float((result * result).mean() ** 0.5)
        for name, place in places:
            _add_noise(selection, name, place, result, noise * spread, rng)
    return result


def _add_noise(
    selection: Selection,
    name: str,
    place: Place,
    array: Array,
    spread: float,
    rng: np.random.Generator,
) -> None:
    """Adds noise to one block of an array, in place, whose sum over the
    copies of every neuron is zero.
    """
    old = selection.old.weights[place.tensor].blocks[place.block]
    new = selection.new.weights[place.tensor].blocks[place.block]
    cluster = next(dims for dims in clusters(new) if place.dim in dims)
    sources = selection.positions(old, new, cluster)
    shape = new.shape
    noise = np.moveaxis(rng.normal(scale=spread, size=shape), cluster, range(len(cluster)))
    rows = noise.reshape(len(sources), -1)
    _, group, counts = np.unique(sources, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, group, rows)
    rows = rows - (sums / counts[:, None])[group]
    balanced = np.moveaxis(rows.reshape(noise.shape), range(len(cluster)), cluster)
    view: Any = apply_views(array, new.views)
    if isinstance(array, np.ndarray):
        view += balanced.astype(array.dtype)
        return
    import torch  # whoever passes a torch tensor has it loaded

    view += torch.from_numpy(np.ascontiguousarray(balanced)).to(
        device=array.device, dtype=array.dtype
    )
