"""Coordinate descent over units: each is given its best element while all others are held.

Source: Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, Algorithm 1 (weight matching); the
matching of whole heads by the worth of their insides, and the start from invariants, are additions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from symnet.graph import GroupElement
from symnet.graph.blocks import Instance
from symnet.graph.elements import identity_element
from symnet.matching.alignment_problem import (
    AgreementTerm,
    AlignmentProblem,
    Pair,
    block_space,
    choose_dims,
    inner_product,
    read_inside,
)
from symnet.matching.assignment import Placement, best_element
from symnet.matching.exchanges import best_exchange
from symnet.matching.insides import InsideAction, inner_worths

# A gain below this share of |a||b| is no gain, but rounding.
ROUNDING = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}
INNER_SWEEPS = 20


@dataclass(frozen=True)
class Descent:
    """Where a descent ended: the element that was applied to ``b``, and how it went."""

    element: GroupElement
    value: float
    sweeps: int
    settled: bool  # no unit can be improved; otherwise the sweeps ran out


@dataclass(frozen=True)
class Move:
    """An element that moves one unit alone, and how much the value gains by it."""

    element: GroupElement
    gain: float


def best_move(problem: AlignmentProblem, name: str) -> Move:
    """The element that moves one unit alone, and gains most.

    Exact if ``problem.is_exact(name)``; otherwise one occurrence at a time is moved while the
    others are held.
    """
    tables = worths_of(problem, name)
    placement = best_element(problem.neurons[name].group, tables.plus, tables.minus)
    element, worth, held = (
        _compose(problem, name, placement, tables.layouts),
        placement.worth,
        tables.held,
    )
    # the tables hold one occurrence of the set while another is moved
    if not problem.is_exact(name):
        worth, held = problem.moved(element).value, problem.value
    return Move(element, worth - held)


@dataclass(frozen=True)
class Tables:
    """What it is worth to lay neuron j of ``b`` (column) on neuron i of ``a`` (row), all that is
    over them laid as well as can be.
    """

    plus: np.ndarray  # (n, n)
    minus: np.ndarray  # the same with neuron j's sign turned
    # by i, j and sign, where what is over the neurons goes
    layouts: Mapping[tuple[int, int, int], InsideAction]
    held: float  # the worth of moving nothing


def worths_of(problem: AlignmentProblem, name: str) -> Tables:
    """The worth of every pair of neurons of one unit."""
    neuron_set = problem.neurons[name]
    plain, inside = read_inside(problem, name)
    plus, minus = np.zeros((2, neuron_set.size, neuron_set.size))
    for term, k in plain:
        table = term.weight * _products(*problem.read(term), k)
        plus += table
        minus += (-1) ** (term.instances[k].degree % 2) * table
    held = float(plus.trace()) + sum(r.weight * inner_product(r.a, r.b) for r in inside.remainders)
    layouts: Mapping[tuple[int, int, int], InsideAction] = {}
    if inside.remainders:
        worths = inner_worths(inside, neuron_set.group, solve)
        layouts, plus = worths.layouts, plus + worths.by_sign[1]
        minus = minus + worths.by_sign[-1] if -1 in worths.by_sign else minus
    return Tables(plus, minus, layouts, held)


def _products(a: np.ndarray, b: np.ndarray, k: int) -> np.ndarray:
    """Inner products of the slices along one dim: ``(n, n)``, rows
    from ``a``, columns from ``b``.
    """
    size = a.shape[k]
    if k and k == a.ndim - 1:  # as it lies, without a copy
        table: np.ndarray = a.reshape(-1, size).T @ b.reshape(-1, size)
        return table
    left, right = (np.moveaxis(array, k, 0).reshape(size, -1) for array in (a, b))
    table = left @ right.T
    return table


def _compose(
    problem: AlignmentProblem,
    name: str,
    placement: Placement,
    layouts: Mapping[tuple[int, int, int], InsideAction],
) -> GroupElement:
    """The unit's element from that of its set and the layouts inside its neurons."""
    above = problem.ancestors
    identity = identity_element(problem.neurons)
    images = {x: identity[x].copy() for x in problem.neurons}
    signs = {x: s.copy() for x in problem.neurons if (s := identity.signs(x)) is not None}
    matrices = {x: m.copy() for x in problem.neurons if (m := identity.matrices(x)) is not None}
    images[name] = placement.images
    if name in signs:
        signs[name] = placement.signs
    if placement.matrix is not None:
        matrices[name] = placement.matrix
    for j in range(len(placement.images)) if layouts else ():
        layout = layouts[int(placement.images[j]), j, int(placement.signs[j])]
        for x in problem.unit(name) - {name}:
            at = tuple(j if parent == name else slice(None) for parent in above[x])
            images[x][at] = layout[x]
            if x in signs:
                signs[x][at] = layout.multipliers(x)
            if x in matrices:
                matrices[x][at] = layout.matrices(x)
    return GroupElement(problem.neurons, images, signs, matrices)


def solve(problem: AlignmentProblem) -> tuple[GroupElement, float]:
    """A small problem inside a neuron, and its value: exact when its units do
    not meet, else a descent from a good start.
    """
    units = problem.units()
    meet = any(_neighbours(problem, unit) & set(units) for unit in units)
    exact = not meet and all(map(problem.is_exact, units))
    start = identity_element(problem.neurons) if exact else propagate(problem)
    ended = descend(problem, start, units, INNER_SWEEPS)
    return ended.element, ended.value


def descend(
    problem: AlignmentProblem,
    start: GroupElement,
    units: Sequence[str],
    sweeps: int,
    exchange: bool = False,
) -> Descent:
    """Give every unit in turn its best element, until none gains any more. The value never falls.

    Args:
        exchange: whether to try small moves as well, where the best element is not found exactly.
    """
    values, bounds = _values(problem.moved(start))
    element, value, done = start, sum(values), 0
    exact = {unit: problem.is_exact(unit) for unit in units}
    near = {unit: _neighbours(problem, unit) & set(units) for unit in units}
    around = {unit: problem.around(unit) for unit in units}
    least = {
        unit: sum(b for b, t in zip(bounds, problem.terms, strict=True) if t.places(unit))
        for unit in units
    }
    stale = set(units)
    while stale and done < sweeps:
        done += 1
        for unit in [unit for unit in units if unit in stale]:
            stale.discard(unit)
            local = around[unit].moved(element)
            if not exact[unit]:
                local = local.in_memory()  # it is evaluated again and again
            move = best_move(local, unit)
            if move.gain <= least[unit] and exchange and not exact[unit]:
                move = _exchange(local, unit)
            if move.gain <= least[unit]:
                continue
            element, value = move.element @ element, value + move.gain
            stale |= near[unit] | (set() if exact[unit] else {unit})
    return Descent(element, value, done, not stale)


def _exchange(problem: AlignmentProblem, name: str) -> Move:
    element = best_exchange(problem, name)
    return Move(element, problem.moved(element).value - problem.value)


def _values(problem: AlignmentProblem) -> tuple[list[float], list[float]]:
    """Of every term its value, and the gain that is lost in its rounding."""
    values, bounds = [], []
    for term in problem.terms:
        a, b = problem.read(term)
        values.append(term.weight * inner_product(a, b))
        bounds.append(
            ROUNDING[a.dtype] * abs(term.weight) * float(np.linalg.norm(a) * np.linalg.norm(b))
        )
    return values, bounds


def _neighbours(problem: AlignmentProblem, name: str) -> set[str]:
    """Sets without parents that occur in a term together with this one."""
    neighbours = {
        i.symbol
        for t in problem.terms
        if t.places(name)
        for i in t.instances
        if i.symbol is not None
    }
    return {x for x in neighbours if not problem.neurons[x].over} - {name}


# ---- a start that needs no luck ------------------------------------------------------------------
def propagate(problem: AlignmentProblem) -> GroupElement:
    """A start: units are matched one after another, from what is known outwards.

    The set is next of which most weights lead to sets that are known. Along dims of sets that are
    not yet known, weights are compared in ascending order, which no permutation changes. If ``b``
    is ``a`` with neurons moved, this finds them.
    """
    pending = problem.units()
    around = {unit: problem.around(unit) for unit in pending}
    element = identity_element(problem.neurons)
    while pending:
        unknown = set().union(*(around[unit].unit(unit) for unit in pending))
        name = max(
            pending,
            key=lambda unit: _known_share(around[unit], unit, unknown - around[unit].unit(unit)),
        )
        move = best_move(_hide(around[name].moved(element), name, unknown), name).element
        element = move @ element
        pending.remove(name)
    return element


def _known_share(problem: AlignmentProblem, name: str, unknown: set[str]) -> float:
    terms = problem.terms
    matched_terms = [
        t
        for t in terms
        if len(t.places(name)) == 1 and not unknown & {i.symbol for i in t.instances}
    ]
    return sum(t.space.size for t in matched_terms) / max(1, sum(t.space.size for t in terms))


def _hide(problem: AlignmentProblem, name: str, unknown: set[str]) -> AlignmentProblem:
    """The problem of one unit with what is unknown put in order."""
    unit = problem.unit(name)
    terms = []
    for term in problem.terms:
        for k in term.places(name):
            kept = _known_dims(term, k, name, unit, unknown)
            hidden = [d for d in range(len(term.instances)) if d not in kept]
            # With signs or rotations of the unit itself in play, an ordered row says nothing.
            if hidden and (problem.signed(unit) or problem.mixed(unit)):
                continue
            symbols = {
                d: symbol for d in hidden if (symbol := term.instances[d].symbol) is not None
            }
            rotated = tuple(d for d, symbol in symbols.items() if problem.mixed([symbol]))
            instances = choose_dims(term.instances, kept, set(problem.neurons))
            rest = Instance(
                None, math.prod(term.instances[d].size for d in hidden if d not in rotated)
            )
            read = partial(
                _read_hidden, problem, term, kept, rotated, problem.signed(symbols.values())
            )
            terms.append(AgreementTerm(block_space("", (*instances, rest)), read, term.weight))
    return AlignmentProblem(problem.neurons, tuple(terms))


def _read_hidden(
    problem: AlignmentProblem,
    term: AgreementTerm,
    kept: list[int],
    rotated: tuple[int, ...],
    absolute: bool,
) -> Pair:
    """Both blocks with what is unknown replaced by what no element changes:
    norms, and values in ascending order.
    """
    a, b = problem.read(term)
    if rotated:
        a, b = (np.sqrt(np.square(x).sum(axis=rotated, keepdims=True)) for x in (a, b))
    return sort_away(a, kept, absolute), sort_away(b, kept, absolute)


def _known_dims(
    term: AgreementTerm, k: int, name: str, unit: set[str], unknown: set[str]
) -> list[int]:
    def is_matched(d: int) -> bool:
        instance = term.instances[d]
        inside = instance.symbol in unit and (name, k) in instance.parents
        return d == k or (
            (inside or instance.symbol not in unknown)
            and all(is_matched(p) for _, p in instance.parents)
        )

    return [d for d in range(len(term.instances)) if is_matched(d)]


def sort_away(array: np.ndarray, kept: Iterable[int], absolute: bool = False) -> np.ndarray:
    """The array with all dims that are not kept flattened into a last
    one and put in ascending order.
    """
    kept = list(kept)
    hidden = [d for d in range(array.ndim) if d not in kept]
    flat = np.transpose(array, kept + hidden).reshape(*(array.shape[d] for d in kept), -1)
    flat = np.abs(flat) if absolute else flat
    return np.sort(flat, axis=-1) if hidden else flat
