"""Matching problems: two networks cut into blocks, to be brought
together by moving neurons of the second.

A problem's neuron sets without parents are its units; each is moved together with everything that
is over it. Fixing one neuron of a unit leaves a smaller problem of the same kind, in which the sets
directly over it are the units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from symnet.graph import GroupElement, NeuronSet, TensorSpace
from symnet.graph.action import act_on_tensor
from symnet.graph.blocks import Block, Instance
from symnet.graph.neuron_sets import ancestors_of
from symnet.graph.notation import Anonymous, Axis, Symbol
from symnet.groups import Fixed, is_linear, is_signed, is_trivial

Pair = tuple[np.ndarray, np.ndarray]  # one block of both networks, float64 or float32 (*dims)


@dataclass(frozen=True, slots=True)
class AgreementTerm:
    """One block of a tensor in both networks, read when it is needed; its value
    is ``weight`` times their inner product.
    """

    space: TensorSpace  # a single block, an axis for every dim
    read: Callable[[], Pair]
    weight: float = 1.0

    @property
    def instances(self) -> tuple[Instance, ...]:
        return self.space.blocks[0].instances

    def places(self, name: str) -> list[int]:
        """Dims that a neuron set indexes."""
        return [k for k, instance in enumerate(self.instances) if instance.symbol == name]


@dataclass(frozen=True)
class AlignmentProblem:
    """Make the sum of all terms' values as large as possible by moving the neurons of ``b``.

    Permutations, signs and rotations keep the norm of ``b``, so this is the same as making
    ``|a - b|`` small.
    """

    neurons: Mapping[str, NeuronSet]
    terms: tuple[AgreementTerm, ...]
    # moves ``b`` when a term is read; the terms themselves stay as they are
    element: GroupElement | None = None

    def read(self, term: AgreementTerm) -> Pair:
        """The term's block in both networks, the second with its neurons moved."""
        a, b = term.read()
        return (
            (a, b) if self.element is None else (a, act_on_tensor(self.element, term.space, b, 0))
        )

    @cached_property
    def value(self) -> float:
        return sum(term.weight * inner_product(*self.read(term)) for term in self.terms)

    def units(self) -> list[str]:
        """Sets without parents that move, or that sets which move are over."""
        return [
            name
            for name, neuron_set in self.neurons.items()
            if not neuron_set.over
            and any(not is_trivial(self.neurons[x].group) for x in self.unit(name))
        ]

    @cached_property
    def ancestors(self) -> dict[str, tuple[str, ...]]:
        return ancestors_of(self.neurons)

    def unit(self, name: str) -> set[str]:
        """The set and everything that is over it."""
        return {name} | {x for x, above in self.ancestors.items() if name in above}

    def signed(self, names: Iterable[str]) -> bool:
        return any(is_signed(self.neurons[name].group) for name in names)

    def mixed(self, names: Iterable[str]) -> bool:
        return any(is_linear(self.neurons[name].group) for name in names)

    def moved(self, element: GroupElement) -> AlignmentProblem:
        return replace(self, element=element if self.element is None else element @ self.element)

    def around(self, name: str) -> AlignmentProblem:
        """The terms alone that a set indexes."""
        return replace(self, terms=tuple(term for term in self.terms if term.places(name)))

    def in_memory(self) -> AlignmentProblem:
        """The same problem with all its blocks read, and moved, once and for all."""
        return AlignmentProblem(
            self.neurons, tuple(term_of(t.space, *self.read(t), t.weight) for t in self.terms)
        )

    def is_exact(self, name: str) -> bool:
        """Whether the best move of a unit is found exactly: no term
        depends on it in more than one place.
        """
        above, unit = self.ancestors, self.unit(name)
        for term in self.terms:
            inside = [i.symbol for i in term.instances if i.symbol in unit]
            if any(
                x not in above[y] and y not in above[x]
                for x, y in combinations(inside, 2)
                if x and y
            ):
                return False
        return True


def term_of(space: TensorSpace, a: np.ndarray, b: np.ndarray, weight: float = 1.0) -> AgreementTerm:
    """A term whose blocks lie in memory."""
    return AgreementTerm(space, lambda: (a, b), weight)


def inner_product(a: np.ndarray, b: np.ndarray) -> float:
    """The sum of products; of single-precision arrays in float64 after the first few thousand."""
    x, y = a.reshape(-1), b.reshape(-1)
    if x.dtype == np.float64:
        return float(np.dot(x, y))
    whole = x.size - x.size % _RUN
    runs = np.einsum("ij,ij->i", x[:whole].reshape(-1, _RUN), y[:whole].reshape(-1, _RUN))
    return float(runs.sum(dtype=np.float64)) + float(np.dot(x[whole:], y[whole:]))


_RUN = 4096  # products that are added up in single precision


def block_space(name: str, instances: tuple[Instance, ...]) -> TensorSpace:
    """A tensor that is one block, with an axis for each dim."""
    axes: tuple[Axis, ...] = tuple(
        Anonymous(i.size) if i.symbol is None else Symbol(i.symbol, i.degree) for i in instances
    )
    block = Block((), instances)
    return TensorSpace(name, axes, block.shape, (block,))


def choose_dims(
    instances: tuple[Instance, ...], kept: list[int], movable: set[str]
) -> tuple[Instance, ...]:
    """The kept dims, their parents renumbered; sets that are not movable,
    or lose a parent, become plain dims.
    """
    number = {k: position for position, k in enumerate(kept)}
    chosen = []
    for k in kept:
        instance = instances[k]
        if instance.symbol in movable and all(place in number for _, place in instance.parents):
            chosen.append(
                replace(
                    instance,
                    parents=tuple((name, number[place]) for name, place in instance.parents),
                )
            )
        else:
            chosen.append(Instance(None, instance.size))
    return tuple(chosen)


@dataclass(frozen=True)
class Remainder:
    """What remains of a term when one of its dims is fixed."""

    space: TensorSpace
    a: np.ndarray  # the fixed dim first
    b: np.ndarray
    weight: float
    degree: int  # of the fixed strand: whether the neuron's sign shows in it


@dataclass(frozen=True)
class Inside:
    """What remains of a problem when neuron j of the second network is
    laid on neuron i of the first.
    """

    neurons: Mapping[str, NeuronSet]
    remainders: tuple[Remainder, ...]

    def at(self, i: int, j: int, sign: int = 1) -> AlignmentProblem:
        terms = (
            term_of(r.space, r.a[i], r.b[j], sign**r.degree * r.weight) for r in self.remainders
        )
        return AlignmentProblem(self.neurons, tuple(terms))


def read_inside(
    problem: AlignmentProblem, name: str
) -> tuple[list[tuple[AgreementTerm, int]], Inside]:
    """The places where a unit occurs: those where nothing is over it,
    and the problems inside its neurons.

    Where a set occurs twice in a term, one occurrence is moved and the others are held.
    """
    above = problem.ancestors
    below = problem.unit(name) - {name}
    plain: list[tuple[AgreementTerm, int]] = []
    nested: list[Remainder] = []
    for term in problem.terms:
        for k in term.places(name):
            children = {
                i.symbol for i in term.instances if i.symbol in below and (name, k) in i.parents
            }
            if not children:
                plain.append((term, k))
                continue
            # A child that reads its parent elsewhere is held, as is every set that only says which
            # copy is meant.
            bare = [
                Instance(None, i.size)
                if i.symbol in below and (name, k) not in i.parents
                else replace(i, parents=tuple(p for p in i.parents if p != (name, k)))
                for i in term.instances
            ]
            kept = [d for d in range(len(bare)) if d != k]
            movable = (below | {x for child in below for x in above[child]}) - {name}
            space = block_space(term.space.name, choose_dims(tuple(bare), kept, movable))
            a, b = (np.moveaxis(array, k, 0) for array in problem.read(term))
            nested.append(Remainder(space, a, b, term.weight, term.instances[k].degree % 2))
    neurons: dict[str, NeuronSet] = {}
    for other in dict.fromkeys(x for child in below for x in (*above[child], child) if x != name):
        neuron_set = problem.neurons[other]
        over = tuple(parent for parent in neuron_set.over if parent != name)
        neurons[other] = NeuronSet(
            neuron_set.group if other in below else Fixed(neuron_set.size), over
        )
    return plain, Inside(neurons, tuple(nested))
