"""What a graph is declared from and asked for, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np

from symnet.errors import GraphError, ShapeError
from symnet.graph.elements import GroupElement
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.notation import print_axes
from symnet.graph.space import Space, TensorSpace

Neurons = Mapping[str, NeuronSet]

_EXAMPLES = {
    "neurons": "{'h': sn.Symmetric(8)}",
    "tensors": "{'0.bias': 'h'}",
    "aliases": "{'tied.weight': '0.weight'}",
}


# ---- declarations --------------------------------------------------------------------------------
def check_declaration(neurons: object, tensors: object, aliases: object, notes: object) -> None:
    """Raise unless these are three dicts and a list of texts.

    Raises:
        GraphError: which it is, and what it should be.
    """
    for what, value in (("neurons", neurons), ("tensors", tensors), ("aliases", aliases)):
        if not isinstance(value, Mapping):
            raise GraphError(
                f"{what}={value!r:.60}: give a dict by name, for instance {_EXAMPLES[what]}."
            )
    if not isinstance(notes, Iterable) or isinstance(notes, str):
        raise GraphError(f"notes={notes!r:.60}: give a list of texts.")


def check_tensor_names(names: Iterable[object]) -> None:
    """Raise unless every name can stand in the text form of a graph.

    Raises:
        GraphError: the first name that cannot.
    """
    for name in names:
        fits = isinstance(name, str) and name.splitlines() == [name.strip()]
        if not fits or set(str(name)) & set("#:"):
            raise GraphError(
                f"{name!r} cannot name a tensor: use a non-empty text without ':', '#' and line "
                "breaks."
            )


def check_aliases(aliases: Mapping[str, str], weights: Space) -> None:
    """Raise unless every alias is a new name of a declared tensor.

    Raises:
        GraphError: the first alias that is not.
    """
    for alias, tensor in aliases.items():
        if tensor not in weights or alias in weights:
            raise GraphError(
                f"Alias '{alias}' of '{tensor}': the second must be a declared tensor, the first "
                "must not be one."
            )


# ---- names ---------------------------------------------------------------------------------------
def check_set(name: object, neurons: Neurons) -> None:
    """Raise unless a neuron set of this name is declared.

    Raises:
        GraphError: with the names that are.
    """
    if name not in neurons:
        raise GraphError(f"There is no neuron set {name!r}; they are {', '.join(neurons)}.")


def chosen_sets(only: object, neurons: Neurons) -> Collection[str] | None:
    """The neuron sets that ``only=`` names; None for all of them.

    Raises:
        GraphError: it is no collection of names, or names no neuron set.
    """
    if isinstance(only, str):
        only = (only,)
    if only is not None and not isinstance(only, Collection):
        raise GraphError(
            f"only={only!r:.60}: give names of neuron sets; they are {', '.join(neurons)}."
        )
    if only is not None and (unknown := set(only) - set(neurons)):
        raise GraphError(
            f"only={sorted(unknown)} names no neuron set; they are {', '.join(neurons)}."
        )
    return only


def tensor_names(tensors: object, weights: Space) -> list[str]:
    """The names of the graph's tensors that a space is asked of.

    Raises:
        GraphError: it holds no names, or unknown ones.
    """
    if not isinstance(tensors, Iterable):
        raise GraphError(
            f"{tensors!r:.60} is no space: give names of the graph's tensors, or a dict from "
            "names to axis notation."
        )
    names = [tensors] if isinstance(tensors, str) else list(tensors)
    if unknown := [name for name in names if name not in weights]:
        raise GraphError(
            f"The graph has no tensor {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(weights)}. For a space of your own pass a mapping from names to axis "
            "notation."
        )
    return names


def check_same_neurons(space: Space, neurons: Neurons) -> None:
    """Raise unless a space was made over these neuron sets.

    Raises:
        GraphError: it was made over others.
    """
    if dict(space.neurons) != dict(neurons):
        raise GraphError(
            "The space was made over other neuron sets than this graph's. Make it with "
            "graph.space(...)."
        )


def check_new_groups(groups: object, neurons: Neurons) -> None:
    """Raise unless this is a dict of groups by declared neuron set.

    Raises:
        GraphError: it is no dict, or names an unknown set.
    """
    if not isinstance(groups, Mapping):
        raise GraphError(
            f"with_groups got {groups!r:.60}; give a dict, for instance {{'in': sn.Symmetric(2)}}."
        )
    for name in groups:
        if name not in neurons:
            raise GraphError(
                f"with_groups names '{name}'; the neuron sets are {', '.join(neurons)}."
            )


def check_same_size(name: str, old: NeuronSet, new: NeuronSet) -> None:
    """Raise unless a neuron set keeps its number of neurons.

    Raises:
        GraphError: with both numbers.
    """
    if new.size != old.size:
        raise GraphError(f"Neuron set '{name}' has {old.size} neurons, but {new!r} has {new.size}.")


def check_new_names(names: object, neurons: Neurons) -> None:
    """Raise unless this is a dict of new names, all different, by declared neuron set.

    Raises:
        GraphError: it is no dict, names an unknown set, or gives two sets one name.
    """
    if not isinstance(names, Mapping):
        raise GraphError(
            f"rename got {names!r:.60}; give a dict of new names by old ones, {{'h': 'hidden'}}."
        )
    if unknown := [name for name in names if name not in neurons]:
        raise GraphError(
            f"rename names {', '.join(map(repr, unknown))}; the sets are {', '.join(neurons)}."
        )
    taken = set()
    for name in neurons:
        new = names.get(name, name)
        if new in taken:
            raise GraphError(
                f"rename would give two neuron sets the name {new!r}; choose different ones."
            )
        taken.add(new)


# ---- the action ----------------------------------------------------------------------------------
def make_generator(seed: int | np.random.Generator | None) -> np.random.Generator:
    """Random numbers from a seed.

    Raises:
        GraphError: it is none.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise GraphError(
            f"seed={seed!r:.60}: give a whole number of at least 0, a numpy Generator, or None "
            "for a new element each time."
        ) from None


def check_action(element: object, tensors: object, batch_dims: object, neurons: Neurons) -> None:
    """Raise unless this is an element of the graph's group, and tensors that it could act on.

    Raises:
        GraphError: no element, or one of another group.
        ShapeError: no dict of tensors, or no number of dims.
    """
    if not isinstance(element, GroupElement):
        raise GraphError(
            f"act got {element!r:.60}; draw an element of the group: graph.random_element()."
        )
    if not isinstance(tensors, Mapping):
        raise ShapeError(
            f"act got a {type(tensors).__name__}; expected a dict of arrays or tensors by name."
        )
    if isinstance(batch_dims, bool) or not isinstance(batch_dims, int) or batch_dims < 0:
        raise ShapeError(
            f"batch_dims={batch_dims!r}: give the number of dims before the axes, at least 0."
        )
    if element.neurons != dict(neurons):
        raise GraphError("The element belongs to another graph's group. Draw it from this graph.")


def fitting_tensor(name: str, key: str, array: Any, space: Space, batch_dims: int) -> TensorSpace:
    """What an array is, if it is an entry of a space.

    Args:
        name, key: what the caller calls the tensor, and what the space does.
        array: ``(*batch, *axes, *channels)``.
        space: where it belongs.
        batch_dims: number of dims before the axes.

    Raises:
        ShapeError: an unknown name, no array, or a shape that does not fit.
    """
    if key not in space:
        raise ShapeError(
            f"There is no tensor '{name}' to act on; the graph's are {', '.join(space)}."
        )
    if not hasattr(array, "shape"):
        raise ShapeError(
            f"Tensor '{name}' is a {type(array).__name__}; expected a numpy array or a torch "
            "tensor."
        )
    tensor = space[key]
    if tuple(array.shape[batch_dims : batch_dims + len(tensor.shape)]) != tensor.shape:
        raise ShapeError(
            f"Tensor '{name}' has axes '{print_axes(tensor.axes)}' of sizes {tensor.shape} after "
            f"{batch_dims} batch dims, but the given array has shape {tuple(array.shape)}."
        )
    return tensor
