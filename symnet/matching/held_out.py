"""Which tensors are left out of a match, so that they can be compared
afterwards without having been fitted.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from symnet.graph import NeuronGraph
from symnet.graph.neuron_sets import ancestors_of
from symnet.groups import is_trivial

FOLDS = 4
_KEPT = 0.25  # share of every neuron set's weights that stays in the match
_ROWS = 4  # a tensor with fewer rows or columns has no weak directions to speak of


def hold_out(graph: NeuronGraph) -> tuple[tuple[str, ...], ...]:
    """Groups of tensors: each is left out of a match of its own, and no tensor is in two of them.

    Large tensors first. A tensor joins a group if every neuron set that it touches keeps a quarter
    of its weights in the match, and every set that could be matched outwards from what never moves
    still can. What fits into no group is never compared.

    Example:
        >>> from symnet.graph import catalogue
        >>> hold_out(catalogue.mlp([64, 32, 32, 10]))
        (('0.weight', '4.weight'), ('2.weight',))
    """
    touched = _moving_sets(graph)
    remaining = sorted(
        (n for n in touched if _is_matrix(graph, n)), key=lambda n: -graph.weights[n].size
    )
    anchored = _anchored(graph, touched, ())
    folds: list[tuple[str, ...]] = []
    while remaining and len(folds) < FOLDS:
        held: list[str] = []
        for name in remaining:
            trial = [*held, name]
            if anchored <= _anchored(graph, touched, trial) and _enough_left(graph, touched, trial):
                held.append(name)
        if not held:
            break
        folds.append(tuple(held))
        remaining = [name for name in remaining if name not in held]
    return tuple(folds)


_Touched = dict[str, list[set[str]]]  # by tensor that moves, the sets that move each of its blocks


def _moving_sets(graph: NeuronGraph) -> _Touched:
    moving = {
        name for name, neuron_set in graph.neurons.items() if not is_trivial(neuron_set.group)
    }
    touched = {
        name: [moving & {i.symbol for i in block.instances if i.symbol} for block in space.blocks]
        for name, space in graph.weights.items()
    }
    return {name: blocks for name, blocks in touched.items() if any(blocks)}


def _is_matrix(graph: NeuronGraph, name: str) -> bool:
    """Whether every block of the tensor has several rows and columns."""
    for block in graph.weights[name].blocks:
        rows = block.shape[0] if block.shape else 1
        if min(rows, graph.weights[name].size // max(1, graph.weights[name].shape[0])) < _ROWS:
            return False
    return True


def _anchored(graph: NeuronGraph, touched: _Touched, held: Collection[str]) -> set[str]:
    """Sets that can be matched one after another, each by a tensor all of
    whose other sets are matched already.
    """
    above = ancestors_of(graph.neurons)
    reached: set[str] = set()
    while True:
        more = set()
        blocks = (symbols for name, each in touched.items() if name not in held for symbols in each)
        for symbols in blocks:
            for symbol in symbols - reached:
                family = {symbol, *above[symbol]} | {x for x in symbols if symbol in above[x]}
                if symbols - family <= reached:
                    more.add(symbol)
        if not more:
            return reached
        reached |= more


def _enough_left(graph: NeuronGraph, touched: _Touched, held: Collection[str]) -> bool:
    for symbol in {symbol for name in held for symbols in touched[name] for symbol in symbols}:
        sizes = {
            name: sum(
                math.prod(b.shape)
                for b, symbols in zip(graph.weights[name].blocks, each, strict=True)
                if symbol in symbols
            )
            for name, each in touched.items()
        }
        if sum(size for name, size in sizes.items() if name not in held) < _KEPT * sum(
            sizes.values()
        ):
            return False
    return True
