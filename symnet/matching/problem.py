"""Matching problems: two networks cut into blocks, to be brought together by moving neurons of the second.

A problem's neuron sets without parents are its units; each is moved together with everything that is over it. Fixing one
neuron of a unit leaves a smaller problem of the same kind, in which the sets directly over it are the units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from symnet.errors import GraphError
from symnet.graph import GroupElement, NeuronGraph, NeuronSet, TensorSpace
from symnet.graph.action import act_on_tensor, apply_views
from symnet.graph.blocks import Block, Instance
from symnet.graph.neuron_sets import ancestors_of
from symnet.graph.notation import Anonymous, Axis, Symbol
from symnet.groups import Fixed, LinearGroup, Scaled, is_signed, is_trivial


@dataclass(frozen=True, slots=True)
class Term:
    """One block of a tensor in both networks; its value is their inner product."""

    space: TensorSpace  # a single block, an axis for every dim
    a: np.ndarray  # float64 (*dims)
    b: np.ndarray

    @property
    def instances(self) -> tuple[Instance, ...]:
        return self.space.blocks[0].instances

    @property
    def value(self) -> float:
        return float(np.vdot(self.a, self.b))

    def places(self, name: str) -> list[int]:
        """Dims that a neuron set indexes."""
        return [k for k, instance in enumerate(self.instances) if instance.symbol == name]

    def moved(self, element: GroupElement) -> Term:
        return replace(self, b=act_on_tensor(element, self.space, self.b, 0))


@dataclass(frozen=True)
class Problem:
    """Make the sum of all terms' values as large as possible by moving the neurons of ``b``.

    Permutations and signs keep the norm of ``b``, so this is the same as making ``|a - b|`` small.
    """

    neurons: Mapping[str, NeuronSet]
    terms: tuple[Term, ...]

    @property
    def value(self) -> float:
        return sum(term.value for term in self.terms)

    def units(self) -> list[str]:
        """Sets without parents that move, or that sets which move are over."""
        return [
            name
            for name, neuron_set in self.neurons.items()
            if not neuron_set.over and any(not is_trivial(self.neurons[x].group) for x in self.unit(name))
        ]

    def unit(self, name: str) -> set[str]:
        """The set and everything that is over it."""
        return {name} | {x for x, above in ancestors_of(self.neurons).items() if name in above}

    def signed(self, names: Iterable[str]) -> bool:
        return any(is_signed(self.neurons[name].group) for name in names)

    def moved(self, element: GroupElement) -> Problem:
        return replace(self, terms=tuple(term.moved(element) for term in self.terms))

    def is_exact(self, name: str) -> bool:
        """Whether the best move of a unit is found exactly: no term depends on it in more than one place."""
        above, unit = ancestors_of(self.neurons), self.unit(name)
        for term in self.terms:
            inside = [i.symbol for i in term.instances if i.symbol in unit]
            if any(x not in above[y] and y not in above[x] for x, y in combinations(inside, 2) if x and y):
                return False
        return True


def read_problem(
    graph: NeuronGraph, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], importance: Mapping[str, float]
) -> Problem:
    """The matching problem of two networks' float64 arrays; tensors of no importance are left out."""
    for name, neuron_set in graph.neurons.items():
        if isinstance(group := neuron_set.group, Scaled | LinearGroup):
            raise GraphError(
                f"Neurons are matched one to one, up to signs, but {group!r} of '{name}' also scales or mixes them. Bring both networks "
                f"to a normal form, or match with graph.with_groups({{'{name}': sn.Symmetric({group.degree})}})."
            )
    terms = []
    for name, tensor in graph.weights.items():
        if not (weight := importance.get(name, 1.0)):
            continue
        for block in tensor.blocks:
            space = block_space(name, block.instances)
            terms.append(Term(space, weight * apply_views(a[name], block.views), apply_views(b[name], block.views)))
    return Problem(dict(graph.neurons), tuple(terms))


def block_space(name: str, instances: tuple[Instance, ...]) -> TensorSpace:
    """A tensor that is one block, with an axis for each dim."""
    axes: tuple[Axis, ...] = tuple(
        Anonymous(i.size) if i.symbol is None else Symbol(i.symbol, i.degree) for i in instances
    )
    block = Block((), instances)
    return TensorSpace(name, axes, block.shape, (block,))


def choose_dims(instances: tuple[Instance, ...], kept: list[int], movable: set[str]) -> tuple[Instance, ...]:
    """The kept dims, their parents renumbered; sets that are not movable, or lose a parent, become plain dims."""
    number = {k: position for position, k in enumerate(kept)}
    chosen = []
    for k in kept:
        instance = instances[k]
        if instance.symbol in movable and all(place in number for _, place in instance.parents):
            chosen.append(replace(instance, parents=tuple((name, number[place]) for name, place in instance.parents)))
        else:
            chosen.append(Instance(None, instance.size))
    return tuple(chosen)


@dataclass(frozen=True)
class Inside:
    """What remains of a problem when neuron j of the second network is laid on neuron i of the first."""

    neurons: Mapping[str, NeuronSet]
    terms: tuple[tuple[Term, int, TensorSpace], ...]  # a term, the dim that is fixed, what remains

    def at(self, i: int, j: int, sign: int = 1) -> Problem:
        terms = []
        for term, k, space in self.terms:
            terms.append(Term(space, np.take(term.a, i, axis=k), sign * np.take(term.b, j, axis=k)))
        return Problem(self.neurons, tuple(terms))


def read_inside(problem: Problem, name: str) -> tuple[list[tuple[Term, int]], Inside]:
    """The places where a unit occurs: those where nothing is over it, and the problems inside its neurons.

    Where a set occurs twice in a term, one occurrence is moved and the others are held.
    """
    above = ancestors_of(problem.neurons)
    below = problem.unit(name) - {name}
    plain: list[tuple[Term, int]] = []
    nested: list[tuple[Term, int, TensorSpace]] = []
    for term in problem.terms:
        for k in term.places(name):
            children = {i.symbol for i in term.instances if i.symbol in below and (name, k) in i.parents}
            if not children:
                plain.append((term, k))
                continue
            # A child that reads its parent elsewhere is held, as is every set that only says which copy is meant.
            bare = [
                Instance(None, i.size)
                if i.symbol in below and (name, k) not in i.parents
                else replace(i, parents=tuple(p for p in i.parents if p != (name, k)))
                for i in term.instances
            ]
            kept = [d for d in range(len(bare)) if d != k]
            movable = (below | {x for child in below for x in above[child]}) - {name}
            nested.append((term, k, block_space(term.space.name, choose_dims(tuple(bare), kept, movable))))
    neurons: dict[str, NeuronSet] = {}
    for other in dict.fromkeys(x for child in below for x in (*above[child], child) if x != name):
        neuron_set = problem.neurons[other]
        over = tuple(parent for parent in neuron_set.over if parent != name)
        neurons[other] = NeuronSet(neuron_set.group if other in below else Fixed(neuron_set.size), over)
    return plain, Inside(neurons, tuple(nested))
