"""What a user asks for, read into old neurons for every copy of a set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.elements import image_shapes
from symnet.surgery.selection import refuse_indivisible

# Neurons of a set: for all copies alike, or an array (*ancestor sizes, count) that says them for
# each copy.
NeuronsLike = Iterable[int] | np.ndarray


def check_mapping(value: object, what: str, example: str) -> Mapping[str, Any]:
    """The value, if it is a non-empty dict by name.

    Raises:
        GraphError: it is not.
    """
    if not isinstance(value, Mapping) or not value:
        raise GraphError(
            f"{what} got {value!r:.60}; say of which neuron sets, for instance {example}."
        )
    return value


def read_neurons(graph: NeuronGraph, name: str, neurons: NeuronsLike, what: str) -> np.ndarray:
    """Old neurons of a set: int64 ``(*ancestor sizes, count)``, one row
    for each copy, in the order given.

    Raises:
        GraphError: no whole numbers in range, none at all, one twice, or another number in some
            copies.
    """
    refuse_indivisible(graph, name, what)
    shape = image_shapes(graph.neurons)[name]
    rows = whole_numbers(name, neurons, what)
    if rows.ndim == 1:
        rows = np.broadcast_to(rows, (*shape[:-1], len(rows)))
    if rows.shape[:-1] != shape[:-1]:
        raise GraphError(
            f"{what} '{name}' got an array of shape {rows.shape}; give a list for all copies "
            f"alike, or an array of shape ({', '.join(map(str, (*shape[:-1], 'count')))}): one "
            f"row for each copy over {', '.join(graph.ancestors(name)) or 'nothing'}."
        )
    if not rows.shape[-1] or (rows < 0).any() or (rows >= shape[-1]).any():
        problem = (
            "names none" if not rows.shape[-1] else f"names {int(rows.min())} to {int(rows.max())}"
        )
        raise GraphError(
            f"{what} '{name}' {problem} of its neurons; they are 0 to {shape[-1] - 1}."
        )
    ordered = np.sort(rows, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        repeated = int(ordered[..., 1:][ordered[..., 1:] == ordered[..., :-1]][0])
        raise GraphError(
            f"{what} '{name}' names neuron {repeated} twice. To copy neurons there are widen and "
            "split."
        )
    return rows


def whole_numbers(name: str, values: object, what: str) -> np.ndarray:
    """Whole numbers as an int64 array of at least one dim.

    Raises:
        GraphError: they are something else; truth values are refused, as they read as 0 and 1.
    """
    ready = isinstance(values, str | np.ndarray | Sequence) or not isinstance(values, Iterable)
    numbers: Any = values if ready else list(values)  # type: ignore[call-overload]
    try:
        rows = np.asarray(numbers.tolist() if hasattr(numbers, "tolist") else numbers)
    except ValueError:
        raise GraphError(
            f"{what} '{name}' names another number of neurons in some copies. Each copy keeps as "
            "many as the others."
        ) from None
    if rows.ndim and rows.size == 0:
        return rows.astype(np.int64)
    if rows.ndim == 0 or rows.dtype.kind not in "iu":
        raise GraphError(
            f"{what} '{name}' got {values!r:.60}; list the neurons' numbers, for instance [0, 2, "
            "5]. How many to keep by scores: sn.surgery.choose(scores, graph, keep=...)."
        )
    return rows.astype(np.int64)


def complement(graph: NeuronGraph, name: str, rows: np.ndarray) -> np.ndarray:
    """The neurons of every copy that are not listed, in their order.

    Raises:
        GraphError: all are listed.
    """
    shape = image_shapes(graph.neurons)[name]
    listed = np.zeros(shape, dtype=bool)
    np.put_along_axis(listed, rows, True, axis=-1)
    count = shape[-1] - rows.shape[-1]
    if not count:
        raise GraphError(
            f"drop '{name}' names all of its {shape[-1]} neurons; at least one has to stay."
        )
    return np.nonzero(~listed)[-1].reshape(*shape[:-1], count)


def read_width(graph: NeuronGraph, name: str, width: object) -> int:
    """A new number of neurons, at least the old one.

    Raises:
        GraphError: it is no such number.
    """
    refuse_indivisible(graph, name, "widen")
    size = graph.neurons[name].size
    if isinstance(width, bool) or not isinstance(width, int | np.integer) or width < size:
        raise GraphError(
            f"widen '{name}' to {width!r:.60}: it has {size} neurons; give a whole number of at "
            "least as many. To make it narrower: keep."
        )
    return int(width)


def make_generator(seed: int) -> np.random.Generator:
    """Random numbers of a seed.

    Raises:
        GraphError: it is no whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise GraphError(f"seed={seed!r:.60}: give a whole number of at least 0.")
    return np.random.default_rng(int(seed))
