"""keep, drop, reorder: fewer neurons, or the same ones in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from symnet.errors import FileError, GraphError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.elements import image_shapes
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.large_files import OneByOne, rewrite
from symnet.surgery.outlets import OutgoingLike, Outlets, read_outlets
from symnet.surgery.requests import NeuronsLike, check_mapping, complement, read_neurons
from symnet.surgery.selection import Array, Selection, check_weights, each_tensor, make_selection

# Arrays by name, or the path of a file or folder.
WeightsLike = Mapping[str, Array] | str | Path
Progress = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Surgery:
    """Weights after an operation, the graph they belong to, and what was
    done; unpacks as ``weights, graph``.

    Attributes:
        weights: new arrays by name, of the kind that was given; untouched ones are the given
            objects. Of files: the path of the new.
        graph: the new graph, with the new sizes.
        old: the graph before.
        selection: which old neuron stands where; None after ``join``, where several do.
        outgoing: where copies share their weights, if there are any (see ``widen``).
        notes: what could not be done beside it (a ``config.json`` that does not exist for these
            sizes).
    """

    weights: Any  # dict[str, Array], or the path of what was written
    graph: NeuronGraph
    old: NeuronGraph
    selection: Selection | None
    outgoing: Mapping[str, Outlets] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter((self.weights, self.graph))

    def __repr__(self) -> str:
        changed = [name for name, s in self.old.neurons.items() if self.graph.neurons[name] != s]
        sizes = (
            f"{name}: {self.old.neurons[name].size} -> {self.graph.neurons[name].size}"
            for name in changed
        )
        return f"Surgery({', '.join(sizes) or 'of the same sizes'})"


def keep(
    weights: WeightsLike,
    graph: NeuronGraph,
    sets: Mapping[str, NeuronsLike],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Surgery:
    """A network with these neurons alone, in this order; what is over them,
    and every tensor they index, goes along.

    The weights of the other neurons are left out. Where nothing else hears of a neuron (no norm, no
    softmax over its set), the result computes what the network computes with these neurons masked.

    Args:
        weights: a state dict: numpy arrays or torch tensors by name. Or the path of a file of
            weights, of an index of shards, or of a folder as transformers write it: then ``out`` is
            written, tensor by tensor.
        graph: its graph, declared or traced.
        sets: by neuron set the neurons that stay: a list for all copies alike, or an array
            ``(*ancestor sizes, count)`` with a row for each copy (each keeps as many).
        out: for files: a file, or for folders and shards a folder. It gets a new index, a
            ``config.json`` if some configuration makes these sizes, and the small files beside the
            weights. Until it is whole it has another name.
        overwrite: whether ``out`` may exist.
        progress: called with the name of every tensor that was written.

    Returns:
        ``weights, graph`` of the smaller network, and what was done.

    Raises:
        GraphError: a set that cannot be cut, with the reason; neurons that there are not. Nothing
            is changed before.
        ShapeError: weights that are not the graph's.
        FileError: a file that cannot be read or written, or is there already.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> small, smaller_graph = keep(weights, graph, {"h1": [0, 3]})
        >>> small["0.weight"].shape, smaller_graph.neurons["h1"]
        ((2, 2), NeuronSet(Symmetric(2)))
    """
    choices = {
        name: read_neurons(graph, name, neurons, "keep")
        for name, neurons in _checked(graph, sets, "keep")
    }
    return _select(weights, graph, choices, FileOptions(out, overwrite, progress))


def drop(
    weights: WeightsLike,
    graph: NeuronGraph,
    sets: Mapping[str, NeuronsLike],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Surgery:
    """A network without these neurons: ``keep`` of all others;
    arguments, result and errors as there.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> drop(weights, graph, {"h1": [1]}).graph.neurons["h1"]
        NeuronSet(Symmetric(3))
    """
    choices = {
        name: complement(graph, name, read_neurons(graph, name, n, "drop"))
        for name, n in _checked(graph, sets, "drop")
    }
    return _select(weights, graph, choices, FileOptions(out, overwrite, progress))


def reorder(
    weights: WeightsLike,
    graph: NeuronGraph,
    sets: Mapping[str, NeuronsLike],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Surgery:
    """The same network with the neurons of some sets in this order;
    arguments, result and errors as for ``keep``.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> weights = {
        ...     name: np.arange(np.prod(shape)).reshape(shape)
        ...     for name, shape in graph.shapes.items()
        ... }
        >>> reorder(weights, graph, {"h1": [2, 0, 1]}).weights["0.bias"]
        array([2, 0, 1])
    """
    choices = {}
    for name, neurons in _checked(graph, sets, "reorder"):
        rows, size = read_neurons(graph, name, neurons, "reorder"), graph.neurons[name].size
        if rows.shape[-1] != size:
            raise GraphError(
                f"reorder '{name}' names {rows.shape[-1]} of its {size} neurons; list each once, "
                "or use keep."
            )
        choices[name] = rows
    return _select(weights, graph, choices, FileOptions(out, overwrite, progress))


def _checked(
    graph: NeuronGraph, sets: Mapping[str, NeuronsLike], what: str
) -> list[tuple[str, NeuronsLike]]:
    require_graph(graph, f"surgery.{what}")
    return list(check_mapping(sets, f"surgery.{what}", "{'h1': [0, 2, 5]}").items())


def _select(
    weights: WeightsLike,
    graph: NeuronGraph,
    choices: Mapping[str, np.ndarray],
    options: FileOptions,
) -> Surgery:
    selection = make_selection(graph, choices)
    return perform(weights, selection, selection.take, {}, options)


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Where weights go that are read from files."""

    out: str | Path | None = None
    overwrite: bool = False
    progress: Progress | None = None


def perform(
    weights: WeightsLike,
    selection: Selection,
    change: Callable[[str, Array], Array],
    outgoing: Mapping[str, Outlets],
    options: FileOptions,
) -> Surgery:
    """Every tensor changed: in memory, or from file to file.

    Args:
        change: the new array of a tensor, by a name that the graph knows.
    """
    old, new = selection.old, selection.new
    if not isinstance(weights, str | Path):
        if options.out is not None:
            raise FileError(
                "out= is for weights given as a path; write these with "
                "symnet.files.write_state_file."
            )
        return Surgery(
            change_all(old, check_weights(old, weights), change), new, old, selection, outgoing
        )
    check_weights(old, OneByOne(weights))

    def changed(name: str, array: Array) -> Array:
        return change(name, array) if old.aliases.get(name, name) in old.weights else array

    path, notes = rewrite(
        weights,
        options.out,
        (old, new),
        changed,
        overwrite=options.overwrite,
        progress=options.progress,
    )
    return Surgery(path, new, old, selection, outgoing, tuple(notes))


def change_all(
    graph: NeuronGraph, weights: Mapping[str, Array], change: Callable[[str, Array], Array]
) -> dict[str, Array]:
    """Every tensor changed; tied tensors stay tied, and what the
    graph does not hold stays as it is.
    """
    finished: dict[tuple[str, object], Array] = {}
    result = {}
    for name, key, array in each_tensor(graph, weights):
        if key is None:
            result[name] = array
            continue
        place = key, _memory(array)
        if place not in finished:
            finished[place] = change(name, array)
        result[name] = finished[place]
    return result


def _memory(array: Array) -> object:
    """What two names of one array have in common."""
    return array.__array_interface__["data"] if isinstance(array, np.ndarray) else array.data_ptr()


def masked(
    weights: Mapping[str, Array],
    selection: Selection,
    *,
    outgoing: OutgoingLike | None = None,
) -> dict[str, Array]:
    """The old network with the neurons that a selection leaves out
    silenced: zeros where they are read.

    Args:
        weights: the old weights.
        selection: of ``keep`` or ``drop``.
        outgoing: what reads the sets, as for ``widen``.

    Raises:
        GraphError: what reads a set is not clear.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
        >>> masked(weights, keep(weights, graph, {"h1": [0, 3]}).selection)["2.weight"]
        array([[1., 0., 0., 1.]])
    """
    graph = selection.old
    silent: dict[str, list[tuple[int, int, np.ndarray]]] = {}
    for name in selection.changed:
        stays = _staying(selection, name)
        if stays.all():
            continue
        for place in read_outlets(graph, name, outgoing).places:
            silent.setdefault(place.tensor, []).append((place.block, place.dim, stays))
    result = dict(weights)
    for name, key, array in each_tensor(graph, weights):
        if key in silent:
            changed = array.copy() if isinstance(array, np.ndarray) else array.detach().clone()
            for number, dim, stays in silent[key]:
                multiply(graph, key, number, dim, stays, changed)
            result[name] = changed
    return result


def _staying(selection: Selection, name: str) -> np.ndarray:
    """Which old neurons of a set stand somewhere in the new graph,
    ``(*old ancestor sizes, old size)``; those in copies that have gone count as staying: their
    ancestor is what is left out.
    """
    stays = np.zeros(image_shapes(selection.old.neurons)[name], dtype=bool)
    above = selection.new.ancestors(name)
    source = selection.sources[name]
    values: dict[str, np.ndarray] = dict(zip((*above, name), np.indices(source.shape), strict=True))
    stays[tuple(selection.image(n, values) for n in (*above, name))] = True
    stays[~stays.any(axis=-1)] = True
    return stays


def multiply(
    graph: NeuronGraph, tensor: str, block: int, dim: int, factors: np.ndarray, array: Array
) -> None:
    """Multiplies one block of an array, in place, by a number for each
    neuron of the set on one of its dims.

    Args:
        factors: ``(*ancestor sizes, size)``.
    """
    part = graph.weights[tensor].blocks[block]
    parents = dict(part.instances[dim].parents)
    name = part.instances[dim].symbol
    assert name is not None
    dims = [*(parents[ancestor] for ancestor in graph.ancestors(name)), dim]
    order = np.argsort(dims)
    shape = [part.instances[k].size if k in dims else 1 for k in range(len(part.instances))]
    shaped = np.transpose(factors, order).reshape(shape)
    view = apply_views(array, part.views)
    if isinstance(array, np.ndarray):
        view *= shaped.astype(array.dtype)
        return
    import torch  # whoever passes a torch tensor has it loaded

    view *= torch.from_numpy(np.array(shaped)).to(device=array.device, dtype=array.dtype)
