"""Selections: which old neuron stands at every place of a new, smaller, larger or reordered set.

A group element says where neurons go; a selection says where they come from, and may leave some out
or take some twice. Keeping, dropping, widening and reordering are selections; they act on tensors
block by block as the group does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph, NeuronSet
from symnet.graph.action import apply_views, clusters
from symnet.graph.blocks import Block
from symnet.graph.elements import image_shapes
from symnet.graph.notation import print_axes
from symnet.groups import Fixed, Scaled, SignedSymmetric, Symmetric

# Arrays are numpy arrays or torch tensors, as in symnet.graph.action.
Array = Any
# Groups under which any neurons of a set may be left out or taken twice: what is left is again such
# a set.
_DIVISIBLE = (Symmetric, SignedSymmetric, Scaled)


def is_divisible(neuron_set: NeuronSet) -> bool:
    """Whether any of the set's neurons may be left out or repeated."""
    return isinstance(neuron_set.group, _DIVISIBLE)


@dataclass(frozen=True, eq=False)
class Selection:
    """The neurons that stand in a new graph, by their places in an old one (immutable).

    ``sources[name]``, int64 of shape ``(*new ancestor sizes, new size)``: the old neuron at every
    place of a set. Its copy is the one at the ancestors' old values, which their own sources tell.
    """

    old: NeuronGraph
    new: NeuronGraph
    sources: Mapping[str, np.ndarray]

    def image(self, name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Old neurons at new places ``values[name]``, the ancestors' new
        places being given beside it.
        """
        places = tuple(values[ancestor] for ancestor in self.new.ancestors(name))
        return self.sources[name][(*places, values[name])]

    @property
    def changed(self) -> tuple[str, ...]:
        """Sets of which some neuron is not where it was."""
        old = image_shapes(self.old.neurons)
        return tuple(
            name
            for name, source in self.sources.items()
            if source.shape != old[name] or (source != np.arange(source.shape[-1])).any()
        )

    def touched(self) -> tuple[str, ...]:
        """Tensors that the selection changes, by the graph's names."""
        changed = set(self.changed)
        return tuple(
            name for name, tensor in self.old.weights.items() if changed & set(tensor.symbols)
        )

    def take(self, name: str, array: Array) -> Array:
        """One tensor of the new graph from the old graph's; the same
        object if nothing in it changes.

        Args:
            name: the tensor's name in the graphs, or an alias.

        Raises:
            ShapeError: the array's shape is not the old graph's.
        """
        key = self.old.aliases.get(name, name)
        check_shape(self.old, key, array, name)
        changed = set(self.changed)
        if not changed & set(self.old.weights[key].symbols):
            return array
        old, new = self.old.weights[key], self.new.weights[key]
        if len(old.blocks) == 1:
            taken = self._take_block(key, 0, apply_views(array, old.blocks[0].views))
            return taken.reshape(new.shape)
        empty = (
            np.empty(new.shape, array.dtype)
            if isinstance(array, np.ndarray)
            else array.new_empty(new.shape)
        )
        for number, (source, target) in enumerate(zip(old.blocks, new.blocks, strict=True)):
            view = apply_views(empty, target.views)
            view[...] = self._take_block(key, number, apply_views(array, source.views))
        return empty

    def _take_block(self, name: str, number: int, array: Array) -> Array:
        old, new = self.old.weights[name].blocks[number], self.new.weights[name].blocks[number]
        changed = set(self.changed)
        for cluster in clusters(new):
            if changed & {new.instances[dim].symbol for dim in cluster}:
                shape = [new.instances[dim].size for dim in cluster]
                array = take_positions(array, cluster, self.positions(old, new, cluster), shape)
        return array

    def positions(
        self,
        old: Block,
        new: Block,
        cluster: list[int],
        by_dim: Mapping[int, Selection] | None = None,
    ) -> np.ndarray:
        """Flattened old positions of some dims of a block for every new
        position of them, flattened as well.

        Args:
            by_dim: selections to use on some of the dims in place of this one.
        """
        sizes = [new.instances[dim].size for dim in cluster]
        grid = dict(zip(cluster, np.indices(sizes, sparse=True), strict=True))
        flat: np.ndarray = np.zeros((1,) * len(cluster), dtype=np.int64)
        for dim in cluster:
            instance = new.instances[dim]
            values = {ancestor: grid[place] for ancestor, place in instance.parents}
            source = grid[dim]
            if instance.symbol is not None:
                selection = (by_dim or {}).get(dim, self)
                source = selection.image(instance.symbol, values | {instance.symbol: grid[dim]})
            flat = flat * old.instances[dim].size + source
        return np.broadcast_to(flat, sizes).reshape(-1)

    def __repr__(self) -> str:
        sizes = (
            f"{name}: {self.old.neurons[name].size} -> {self.new.neurons[name].size}"
            for name in self.changed
        )
        return f"Selection({', '.join(sizes) or 'changes nothing'})"


def make_selection(graph: NeuronGraph, choices: Mapping[str, np.ndarray]) -> Selection:
    """The selection that takes these neurons of some sets, and all neurons of the others.

    Args:
        choices: old neurons by set, int64 ``(*old ancestor sizes, new size)``: one row for every
            copy.
    """
    sizes = {
        name: choices[name].shape[-1] if name in choices else s.size
        for name, s in graph.neurons.items()
    }
    neurons = {
        name: NeuronSet(type(s.group)(sizes[name]), s.over) if name in choices else s
        for name, s in graph.neurons.items()
    }
    axes = {name: tensor.axes for name, tensor in graph.weights.items()}
    new = NeuronGraph(neurons, axes, aliases=graph.aliases, notes=graph.notes)
    sources: dict[str, np.ndarray] = {}
    for name, shape in image_shapes(neurons).items():
        above = graph.ancestors(name)
        values = dict(zip(above, np.indices(shape[:-1]), strict=True))
        selected = Selection(graph, new, sources)
        copies = tuple(selected.image(ancestor, values) for ancestor in above)
        rows = (
            choices[name][copies]
            if name in choices
            else np.broadcast_to(np.arange(shape[-1]), shape)
        )
        sources[name] = np.array(rows, dtype=np.int64)
        sources[name].flags.writeable = False
    return Selection(graph, new, MappingProxyType(sources))


def take_positions(array: Array, dims: list[int], positions: np.ndarray, shape: list[int]) -> Array:
    """The array with the flattened positions of ``dims`` chosen in the order ``positions``.

    Args:
        shape: new sizes of the dims; their product is ``len(positions)``.
    """
    first, last = dims[0], dims[-1]
    # neighbours are one axis: nothing is moved but what is taken
    if dims == list(range(first, last + 1)):
        before, after = tuple(array.shape[:first]), tuple(array.shape[last + 1 :])
        merged = array.reshape((*before, -1, *after))
        return _take(merged, first, positions).reshape((*before, *shape, *after))
    front = list(range(len(dims)))
    moved = (
        np.moveaxis(array, dims, front)
        if isinstance(array, np.ndarray)
        else array.movedim(dims, front)
    )
    taken = take_positions(moved, front, positions, shape)
    return (
        np.moveaxis(taken, front, dims)
        if isinstance(taken, np.ndarray)
        else taken.movedim(front, dims)
    )


def _take(array: Array, axis: int, positions: np.ndarray) -> Array:
    if isinstance(array, np.ndarray):
        return np.take(array, positions, axis=axis)
    # only to make an index on the tensor's device; whoever passes a torch tensor has it loaded
    import torch

    return array.index_select(axis, torch.from_numpy(np.array(positions)).to(array.device))


def check_shape(graph: NeuronGraph, key: str, array: Array, name: str) -> None:
    """Raise unless an array has the shape that the graph declares.

    Raises:
        ShapeError: with the tensor's axes and both shapes.
    """
    if not hasattr(array, "shape"):
        raise ShapeError(
            f"Tensor '{name}' is a {type(array).__name__}; expected a numpy array or a torch "
            "tensor."
        )
    tensor = graph.weights[key]
    if tuple(array.shape) != tensor.shape:
        raise ShapeError(
            f"Tensor '{name}' has axes '{print_axes(tensor.axes)}' of sizes {tensor.shape}, but "
            f"the given array has shape {tuple(array.shape)}. Pass the weights that this graph "
            "was declared or traced for."
        )


def check_weights(graph: NeuronGraph, weights: object) -> Mapping[str, Array]:
    """The weights, if they hold every tensor of the graph in its shape.

    Raises:
        ShapeError: no dict, a tensor that is missing, floating-point entries that the graph does
            not know.
    """
    if not isinstance(weights, Mapping):
        raise ShapeError(
            f"{weights!r:.60} holds no weights: give a dict of arrays by name, such as "
            "model.state_dict()."
        )
    names = {graph.aliases.get(name, name) for name in weights}
    if missing := [name for name in graph.weights if name not in names]:
        raise ShapeError(
            f"The weights lack {', '.join(map(repr, missing[:5]))} of the graph. Pass a whole "
            "state dict of its network."
        )
    # of an open file, whose tensors are not read for this
    shapes = getattr(weights, "shapes", None)
    for name in weights:
        key = graph.aliases.get(name, name)
        if key in graph.weights:
            if shapes is None:
                check_shape(graph, key, weights[name], name)
            elif shapes[name] != graph.shapes[key]:
                raise ShapeError(
                    f"Tensor '{name}' has shape {shapes[name]} in the file; the graph says "
                    f"{graph.shapes[key]}."
                )
        elif is_floating(weights[name]):
            raise ShapeError(
                f"The weights hold '{name}', which the graph does not: how it is to be cut is "
                "not known. Trace the network that they belong to, or leave the tensor out."
            )
    return weights


def is_floating(array: Array) -> bool:
    """Whether an array or tensor holds real or complex numbers, not whole ones."""
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "fc"
    return hasattr(array, "dtype") and (array.dtype.is_floating_point or array.dtype.is_complex)


def each_tensor(
    graph: NeuronGraph, weights: Mapping[str, Array]
) -> Iterator[tuple[str, str | None, Array]]:
    """Names, the graph's names for them (None for what it does not hold), and arrays."""
    for name, array in weights.items():
        key = graph.aliases.get(name, name)
        yield name, key if key in graph.weights else None, array


def refuse_indivisible(graph: NeuronGraph, name: str, what: str) -> None:
    """Raise unless neurons of a set can be left out or repeated.

    Raises:
        GraphError: there is no such set, or its group holds its neurons in place; with the graph's
            notes on why.
    """
    if name not in graph.neurons:
        notes = [note for note in graph.notes if note.startswith((f"{name}.", f"{name},"))]
        why = f" The graph's notes on '{name}': {'; '.join(notes[:3])}." if notes else ""
        raise GraphError(
            f"There is no neuron set '{name}' to {what}; there are {_few(graph)}.{why}"
        )
    group = graph.neurons[name].group
    if isinstance(group, Fixed):
        raise GraphError(
            f"'{name}' is {group!r}, so its neurons are told apart by what is outside of these "
            f"weights: they cannot be {_PAST[what]}. Sets that can: "
            f"{_few(graph)}.{_notes_on(graph, name)}"
        )
    if not is_divisible(graph.neurons[name]):
        raise GraphError(
            f"'{name}' has the group {group!r:.60}, of which a part is no such group again, so "
            f"it cannot be {_PAST[what]}. Sets that can: {_few(graph)}."
        )


_PAST = {
    "keep": "cut",
    "drop": "cut",
    "widen": "widened",
    "join": "joined",
    "split": "split",
    "reorder": "reordered",
}


def _few(graph: NeuronGraph) -> str:
    names = [name for name, s in graph.neurons.items() if is_divisible(s)]
    return (
        ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        if names
        else "none"
    )


def _notes_on(graph: NeuronGraph, name: str) -> str:
    """What the graph says of axes that a Fixed set indexes."""
    tensors = [t for t, space in graph.weights.items() if name in space.symbols]
    notes = [
        note for note in graph.notes if note.partition(", ")[0] in tensors and "pinned" in note
    ]
    return f" The graph's notes: {'; '.join(notes[:2])}." if notes else ""
