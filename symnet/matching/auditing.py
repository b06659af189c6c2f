"""audit: what a network's symmetry says about it on one page: dead and
doubled neurons, scales, what a cut would save.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.elements import image_shapes
from symnet.graph.notation import symbols_in
from symnet.groups import is_trivial
from symnet.matching.alignment import align
from symnet.matching.balancing import without_scales
from symnet.matching.descent import worths_of
from symnet.matching.problem_reading import State, as_array, read_problem
from symnet.matching.states import StateView
from symnet.nn.features import Source, check_state

_EQUAL = 1e-6  # relative distance up to which two neurons, or two networks, are the same
_LARGEST = 4096  # neurons of a set that are compared pair by pair
_SHOWN = 12


@dataclass(frozen=True)
class SetAudit:
    """One neuron set: its group, what is dead or doubled in it, and what cutting it would save.

    ``same`` has groups of neurons with equal incoming weights (of heads: up to the order of what is
    inside); None if they were too many to compare. ``imbalance`` is the largest ratio between two
    neurons' incoming norms.
    """

    name: str
    group: str
    size: int
    copies: int
    dead_in: int  # no incoming weight
    dead_out: int  # no outgoing weight
    same: tuple[tuple[int, ...], ...] | None
    imbalance: float
    each: int  # weights that go with one neuron of every copy


@dataclass(frozen=True, eq=False)
class Audit:
    """What ``audit`` says of one network; ``print`` shows one screen."""

    graph: NeuronGraph
    sets: tuple[SetAudit, ...]  # those that move, the largest savings first
    held: Mapping[str, int]  # sets that are held, with their sizes
    assumed: str  # how incoming weights were told from outgoing ones

    @property
    def digits(self) -> float:
        """Digits of the order of the permutation group."""
        logs = (
            math.prod(image_shapes(self.graph.neurons)[name][:-1]) * math.lgamma(s.size + 1)
            for name, s in self.graph.neurons.items()
            if not is_trivial(s.group)
        )
        return sum(logs) / math.log(10)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "weights": self.graph.weights.size,
            "group_digits": self.digits,
            "sets": [
                {
                    "name": s.name,
                    "group": s.group,
                    "size": s.size,
                    "copies": s.copies,
                    "dead_in": s.dead_in,
                    "dead_out": s.dead_out,
                    "same": None if s.same is None else [list(group) for group in s.same],
                    "imbalance": s.imbalance if math.isfinite(s.imbalance) else None,
                    "weights_of_one": s.each,
                }
                for s in self.sets
            ],
            "held": dict(self.held),
            "notes": list(self.graph.notes),
            "assumed": self.assumed,
        }

    def __str__(self) -> str:
        whole = self.graph.weights.size
        lines = [
            f"{whole:,} weights in {len(self.graph.weights)} tensors; {len(self.sets)} neuron "
            f"sets move, about 10^{self.digits:.0f} orders of their neurons are the same network"
        ]
        for s in self.sets[:_SHOWN]:
            same = (
                "not compared" if s.same is None else f"{sum(len(g) - 1 for g in s.same)} doubled"
            )
            lines.append(
                f"  {s.name}: {s.group}{f' in {s.copies} copies' if s.copies > 1 else ''}; dead "
                f"{s.dead_in} in, {s.dead_out} out; {same}; norms within {s.imbalance:.3g}; half "
                f"of it is {s.each * (s.size // 2) / max(1, whole):.1%} of all weights"
            )
        if len(self.sets) > _SHOWN:
            lines.append(f"  and {len(self.sets) - _SHOWN} smaller sets")
        if self.held:
            lines.append(
                "  held: "
                f"{', '.join(f'{name} ({n})' for name, n in list(self.held.items())[:_SHOWN])}"
            )
        lines += [f"  not used: {note}" for note in self.graph.notes[:_SHOWN]]
        return "\n".join([*lines, f"  {self.assumed}"])

    __repr__ = __str__


def audit(weights: Source, graph: NeuronGraph, *, model: nn.Module | None = None) -> Audit:
    """What the symmetry of a network says about it.

    Args:
        weights: module or state dict.
        graph: its architecture.
        model: a module of this architecture, to tell embeddings (whose last axis is what they
            write) from other weights. Without it all are read as ``nn.Linear`` and ``nn.Conv`` lay
            theirs: what comes in stands on the first axis.

    Raises:
        ShapeError: the weights do not fit the graph.

    Example:
        >>> import torch
        >>> from symnet.graph import catalogue
        >>> graph = catalogue.mlp([2, 4, 1])
        >>> weights = {name: torch.randn(shape) for name, shape in graph.shapes.items()}
        >>> weights["0.weight"][3], weights["0.bias"][3] = (
        ...     weights["0.weight"][1],
        ...     weights["0.bias"][1],
        ... )
        >>> weights["2.weight"][:, 0] = 0
        >>> (found,) = audit(weights, graph).sets
        >>> found.same, found.dead_out, found.each
        (((1, 3),), 1, 4)
    """
    state = StateView(weights)
    check_state(state, graph, "the network")
    embeddings = {
        f"{name}.weight"
        for name, m in (model.named_modules() if model is not None else ())
        if isinstance(m, nn.Embedding)
    }
    sets = [
        _look_at(graph, state, name, embeddings)
        for name, s in graph.neurons.items()
        if not is_trivial(s.group)
    ]
    held = {n: s.size for n, s in graph.neurons.items() if is_trivial(s.group)}
    assumed = "incoming: weights with the set on their first axis" + (
        ", embeddings with it on their last" if embeddings else ""
    )
    return Audit(graph, tuple(sorted(sets, key=lambda s: -s.each * s.size)), held, assumed)


def _look_at(graph: NeuronGraph, state: State, name: str, embeddings: Collection[str]) -> SetAudit:
    coming, going = (
        _squares(graph, state, name, _tensors(graph, name, embeddings, incoming))
        for incoming in (True, False)
    )
    shape = image_shapes(graph.neurons)[name]
    norms = np.sqrt(coming[coming > 0]) if coming is not None else np.zeros(0)
    touching = [space for space in graph.weights.values() if name in space.symbols]
    each = sum(
        math.prod(b.shape) // shape[-1]
        for s in touching
        for b in s.blocks
        if any(i.symbol == name for i in b.instances)
    )
    return SetAudit(
        name,
        repr(graph.neurons[name].group),
        shape[-1],
        math.prod(shape[:-1]),
        0 if coming is None else int((coming == 0).sum()),
        0 if going is None else int((going == 0).sum()),
        _same(graph, state, name, embeddings),
        float(norms.max() / norms.min()) if norms.size else 1.0,
        each,
    )


def _tensors(
    graph: NeuronGraph, name: str, embeddings: Collection[str], incoming: bool
) -> list[str]:
    """Tensors whose weights come into a set, or go out of it."""
    chosen = []
    for tensor, space in graph.weights.items():
        if name not in space.symbols:
            continue
        axis = space.axes[-1 if tensor in embeddings or space.name in embeddings else 0]
        if (name in symbols_in(axis)) == incoming:
            chosen.append(tensor)
    return chosen


def _squares(
    graph: NeuronGraph, state: State, name: str, tensors: Sequence[str]
) -> np.ndarray | None:
    """Sum of squares by neuron, of the set's shape; None if no tensor is there."""
    if not tensors:
        return None
    total = np.zeros(image_shapes(graph.neurons)[name])
    for tensor in tensors:
        array = np.square(as_array(state[tensor], np.float64))
        for block in graph.weights[tensor].blocks:
            for front, rest in _fronts(block, name):
                summed = apply_views(array, block.views).sum(axis=rest)
                total += np.transpose(summed, np.argsort(np.argsort(front)))
    return total


def _fronts(block: Block, name: str) -> Iterator[tuple[list[int], tuple[int, ...]]]:
    """For every occurrence of the set: its parents' dims and its own, and all other dims."""
    for d, instance in enumerate(block.instances):
        if instance.symbol == name:
            front = [*(place for _, place in instance.parents), d]
            yield front, tuple(k for k in range(len(block.instances)) if k not in front)


def _same(
    graph: NeuronGraph, state: State, name: str, embeddings: Collection[str]
) -> tuple[tuple[int, ...], ...] | None:
    """Groups of neurons with the same incoming weights, up to the order of
    what is over them; dead ones are left out.
    """
    neuron_set = graph.neurons[name]
    if neuron_set.over or neuron_set.size > _LARGEST:
        return None
    plain = without_scales(graph)
    wanted = set(_tensors(graph, name, embeddings, True))
    factors = {tensor: float(tensor in wanted) for tensor in graph.weights}
    problem = read_problem(plain, state, state, factors)
    table = worths_of(problem.around(name), name).plus
    norms = np.diagonal(table)
    apart = norms[:, None] + norms[None, :] - 2 * np.maximum(table, table.T)
    equal = (
        (apart <= _EQUAL**2 * np.maximum.outer(norms, norms))
        & (norms[:, None] > 0)
        & (norms[None, :] > 0)
    )
    groups = {tuple(map(int, np.flatnonzero(row))) for row in equal}
    return tuple(sorted(group for group in groups if len(group) > 1))


def find_copies(networks: Mapping[str, Source], graph: NeuronGraph) -> tuple[tuple[str, ...], ...]:
    """Names of networks that are the same up to the graph's group, in groups of two and more.

    Norms of tensors, which no permutation or sign changes, tell most apart; the others are matched.
    """
    states = {name: StateView(network) for name, network in networks.items()}
    for name, state in states.items():
        check_state(state, graph, name)
    scaled = without_scales(graph) != graph
    norms = {
        name: np.array([_norm(state, t) for t in graph.weights]) for name, state in states.items()
    }
    groups: list[list[str]] = []
    for name, state in states.items():
        for group in groups:
            first = group[0]
            alike = scaled or np.allclose(norms[name], norms[first], rtol=1e-5, atol=0)
            if alike and _is_copy(states[first], state, graph, norms[first]):
                group.append(name)
                break
        else:
            groups.append([name])
    return tuple(tuple(group) for group in groups if len(group) > 1)


def _norm(state: State, tensor: str) -> float:
    return float(np.linalg.norm(as_array(state[tensor], np.float64)))


def _is_copy(a: StateView, b: StateView, graph: NeuronGraph, norms: np.ndarray) -> bool:
    alignment = align({n: a[n] for n in a}, {n: b[n] for n in b}, graph, starts=1)
    return all(
        after <= _EQUAL * norm + 1e-300
        for (_, after), norm in zip(alignment.distances.values(), norms, strict=True)
    )
