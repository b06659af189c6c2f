"""Signs and order of neurons decided by their weights, one neuron set after another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.elements import identity_element, image_shapes
from symnet.graph.neuron_sets import ancestors_of
from symnet.matching.descent import sort_away

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Ordering:
    """The element that gives neurons their canonical signs and places, and
    where the weights could not decide.
    """

    element: GroupElement
    ties: tuple[str, ...]


def put_in_order(
    graph: NeuronGraph, arrays: Arrays, signed: Collection[str], ordered: Collection[str]
) -> Ordering:
    """Decide set after set, from what is known outwards: children before their parents, then the
    set of which most weights lead to sets that are known. What is not yet known counts by values
    in ascending order, without signs.
    """
    pending = [name for name in graph.neurons if name in signed or name in ordered]
    element, ties = graph.identity(), []
    above = ancestors_of(graph.neurons)
    while pending:
        ready = [n for n in pending if not any(n in above[other] for other in pending)]
        name = max(ready, key=lambda n: _known_share(graph, n, set(pending) - {n}))
        steps = [(name in signed, _sign_step), (name in ordered, _order_step)]
        for wanted, step in steps:
            if wanted:
                move, tie = step(graph, arrays, name, pending, signed)
                arrays, element = graph.act(move, arrays), move @ element
                ties += tie
        pending.remove(name)
    return Ordering(element, tuple(ties))


def _known_share(graph: NeuronGraph, name: str, unknown: set[str]) -> float:
    touching = [t for t in graph.weights.values() if name in t.symbols]
    return sum(t.size for t in touching if not unknown & set(t.symbols)) / max(
        1, sum(t.size for t in touching)
    )


def _sign_step(
    graph: NeuronGraph, arrays: Arrays, name: str, pending: Collection[str], signed: Collection[str]
) -> tuple[GroupElement, list[str]]:
    """Signs that make the sum of cubes of each neuron's weights positive:
    odd, and the same in every order.
    """
    unknown = {n for n in pending if n in signed and n != name}
    sums = np.zeros(image_shapes(graph.neurons)[name])
    for block, array, place in _places(graph, arrays, name):
        symbols = [instance.symbol for instance in block.instances]
        if symbols.count(name) == 1 and not unknown & set(symbols):
            sums += (_rows(block, array, place, range(array.ndim)) ** 3).sum(-1)
    identity = identity_element(graph.neurons)
    signs = np.where(sums < 0, -1, 1)
    undecided = int((sums == 0).sum())
    tie = (
        [f"the sign of {undecided} neurons of '{name}', whose weights' cubes add to zero"]
        if undecided
        else []
    )
    return GroupElement(graph.neurons, {n: identity[n] for n in graph.neurons}, {name: signs}), tie


def _order_step(
    graph: NeuronGraph, arrays: Arrays, name: str, pending: Collection[str], signed: Collection[str]
) -> tuple[GroupElement, list[str]]:
    """Each copy's neurons in the lexicographic order of their weights."""
    parts = []
    for block, array, place in _places(graph, arrays, name):
        ordered_dims = _known_dims(block, place, set(pending))
        hidden = {block.instances[d].symbol for d in range(array.ndim) if d not in ordered_dims}
        parts.append(
            _rows(
                block,
                array,
                place,
                ordered_dims,
                absolute=bool(hidden & set(signed) & set(pending)),
            )
        )
    shape = image_shapes(graph.neurons)[name]
    images = np.empty(shape, dtype=np.int64)
    equal = 0
    keys = np.concatenate(parts, axis=-1) if parts else np.zeros((*shape, 1))
    for copy in np.ndindex(*shape[:-1]):
        rank = np.lexsort(keys[copy].T[::-1])
        images[copy][rank] = np.arange(shape[-1])
        equal += int((keys[copy][rank[1:]] == keys[copy][rank[:-1]]).all(-1).sum())
    identity = identity_element(graph.neurons)
    tie = [f"the order of neurons of '{name}' with equal weights, {equal} pairs"] if equal else []
    return GroupElement(
        graph.neurons, {n: images if n == name else identity[n] for n in graph.neurons}
    ), tie


def _places(graph: NeuronGraph, arrays: Arrays, name: str) -> list[tuple[Block, np.ndarray, int]]:
    """Every place where a set occurs: a block, its values, and the dim."""
    return [
        (block, apply_views(arrays[tensor], block.views), place)
        for tensor, space in graph.weights.items()
        for block in space.blocks
        for place, instance in enumerate(block.instances)
        if instance.symbol == name
    ]


def _known_dims(block: Block, place: int, pending: set[str]) -> list[int]:
    """Dims whose positions mean the same for every neuron: none is in
    play, or it is inside this neuron.
    """
    copy_dims = {place, *(dim for _, dim in block.instances[place].parents)}

    def is_ordered(d: int) -> bool:
        instance = block.instances[d]
        return d in copy_dims or (
            instance.symbol not in pending and all(is_ordered(p) for _, p in instance.parents)
        )

    return [d for d in range(len(block.instances)) if is_ordered(d)]


def _rows(
    block: Block,
    array: np.ndarray,
    place: int,
    ordered_dims: Collection[int],
    absolute: bool = False,
) -> np.ndarray:
    """A row for every neuron of every copy:
    ``(*ancestor sizes, n, values)``, unknown dims in ascending order.
    """
    front = [*(dim for _, dim in block.instances[place].parents), place]
    kept = front + [d for d in ordered_dims if d not in front]
    return sort_away(array, kept, absolute).reshape(*(array.shape[d] for d in front), -1)
