"""Coordinate descent over units: each is given its best element while all others are held.

Source: Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, Algorithm 1 (weight matching); the matching of whole heads
by the worth of their insides, and the start from invariants, are additions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from symnet.graph import GroupElement
from symnet.graph.blocks import Instance
from symnet.graph.elements import identity_element, image_shapes
from symnet.graph.neuron_sets import ancestors_of
from symnet.groups import Fixed, LinearGroup, Scaled, is_signed
from symnet.matching.assignment import best_element
from symnet.matching.exchanges import best_exchange
from symnet.matching.problem import Problem, Term, block_space, choose_dims, read_inside

ROUNDING = 1e-12  # a gain below this share of |a||b| is no gain
INNER_SWEEPS = 20


@dataclass(frozen=True)
class Descent:
    """Where a descent ended: the element that was applied to ``b``, and how it went."""

    element: GroupElement
    value: float
    sweeps: int
    settled: bool  # no unit can be improved; otherwise the sweeps ran out


def best_move(problem: Problem, name: str) -> GroupElement:
    """The element that moves one unit alone, and gains most.

    Exact if ``problem.is_exact(name)``; otherwise one occurrence at a time is moved while the others are held.
    """
    neuron_set = problem.neurons[name]
    plain, inside = read_inside(problem, name)
    plus = np.zeros((neuron_set.size, neuron_set.size))
    for term, k in plain:
        plus += _products(term, k)
    minus = -plus
    found: dict[tuple[int, int, int], GroupElement] = {}
    if inside.terms:
        fixed = isinstance(neuron_set.group, Fixed)
        pairs = [(i, i) for i in range(neuron_set.size)] if fixed else list(np.ndindex(plus.shape))
        for sign, worth in ((1, plus), (-1, minus)) if is_signed(neuron_set.group) else ((1, plus),):
            for i, j in pairs:
                solved = solve(inside.at(i, j, sign))
                worth[i, j] += solved.value
                found[i, j, sign] = solved.element
    group = neuron_set.group
    assert not isinstance(group, Scaled | LinearGroup)  # read_problem refuses them
    images, signs = best_element(group, plus, minus)
    return _compose(problem, name, images, signs, found)


def _products(term: Term, k: int) -> np.ndarray:
    """Inner products of the slices along one dim: ``(n, n)``, rows from ``a``, columns from ``b``."""
    size = term.a.shape[k]
    a, b = (np.moveaxis(array, k, 0).reshape(size, -1) for array in (term.a, term.b))
    return a @ b.T


def _compose(
    problem: Problem, name: str, images: np.ndarray, signs: np.ndarray, found: dict[tuple[int, int, int], GroupElement]
) -> GroupElement:
    """The unit's element from that of its set and those found inside its neurons."""
    above = ancestors_of(problem.neurons)
    shapes = image_shapes(problem.neurons)
    all_images = {x: np.broadcast_to(np.arange(shape[-1]), shape).copy() for x, shape in shapes.items()}
    all_signs = {
        x: np.ones(shape, dtype=np.int64) for x, shape in shapes.items() if is_signed(problem.neurons[x].group)
    }
    all_images[name] = images
    if name in all_signs:
        all_signs[name] = signs
    for j in range(len(images)) if found else ():
        inner = found[int(images[j]), j, int(signs[j])]
        for x in problem.unit(name) - {name}:
            at = tuple(j if parent == name else slice(None) for parent in above[x])
            all_images[x][at] = inner[x]
            if (inner_signs := inner.signs(x)) is not None:
                all_signs[x][at] = inner_signs
    return GroupElement(problem.neurons, all_images, all_signs)


def solve(problem: Problem) -> Descent:
    """A small problem inside a neuron: exact when its units do not meet, else a descent from a good start."""
    units = problem.units()
    meet = any(_neighbours(problem, unit) & set(units) for unit in units)
    exact = not meet and all(map(problem.is_exact, units))
    start = identity_element(problem.neurons) if exact else propagate(problem)
    return descend(problem, start, units, INNER_SWEEPS)


def descend(
    problem: Problem, start: GroupElement, units: Sequence[str], sweeps: int, exchange: bool = False
) -> Descent:
    """Give every unit in turn its best element, until none gains any more. The value never falls.

    Args:
        exchange: whether to try small moves as well, where the best element is not found exactly.
    """
    current = list(problem.moved(start).terms)
    scale = sum(float(np.linalg.norm(t.a) * np.linalg.norm(t.b)) for t in current)
    element, done = start, 0
    near = {unit: _neighbours(problem, unit) & set(units) for unit in units}
    again = {unit: set() if problem.is_exact(unit) else {unit} for unit in units}
    stale = set(units)
    while stale and done < sweeps:
        done += 1
        for unit in [unit for unit in units if unit in stale]:
            stale.discard(unit)
            places = [k for k, term in enumerate(current) if term.places(unit)]
            local = Problem(problem.neurons, tuple(current[k] for k in places))
            move = best_move(local, unit)
            after = local.moved(move)
            if exchange and again[unit] and after.value - local.value <= ROUNDING * scale:
                move = best_exchange(local, unit)
                after = local.moved(move)
            if after.value - local.value <= ROUNDING * scale:
                continue
            for k, term in zip(places, after.terms, strict=True):
                current[k] = term
            element = move @ element
            stale |= near[unit] | again[unit]
    return Descent(element, sum(term.value for term in current), done, not stale)


def _neighbours(problem: Problem, name: str) -> set[str]:
    """Sets without parents that occur in a term together with this one."""
    found = {i.symbol for t in problem.terms if t.places(name) for i in t.instances if i.symbol is not None}
    return {x for x in found if not problem.neurons[x].over} - {name}


# ---- a start that needs no luck -------------------------------------------------------------------------------------
def propagate(problem: Problem) -> GroupElement:
    """A start: units are matched one after another, from what is known outwards.

    The set is next of which most weights lead to sets that are known. Along dims of sets that are not yet known, weights are
    compared in ascending order, which no permutation changes. If ``b`` is ``a`` with neurons moved, this finds them.
    """
    pending = problem.units()
    element = identity_element(problem.neurons)
    while pending:
        unknown = set().union(*(problem.unit(unit) for unit in pending))
        name = max(pending, key=lambda unit: _known_share(problem, unit, unknown - problem.unit(unit)))
        move = best_move(_hide(problem, name, unknown), name)
        problem, element = problem.moved(move), move @ element
        pending.remove(name)
    return element


def _known_share(problem: Problem, name: str, unknown: set[str]) -> float:
    terms = [term for term in problem.terms if term.places(name)]
    known = [t for t in terms if len(t.places(name)) == 1 and not unknown & {i.symbol for i in t.instances}]
    return sum(t.a.size for t in known) / max(1, sum(t.a.size for t in terms))


def _hide(problem: Problem, name: str, unknown: set[str]) -> Problem:
    """The problem of one unit with what is unknown put in order."""
    unit = problem.unit(name)
    terms = []
    for term in problem.terms:
        for k in term.places(name):
            kept = _known_dims(term, k, name, unit, unknown)
            hidden = [d for d in range(term.a.ndim) if d not in kept]
            # With signs of the unit itself in play, an ordered row says nothing.
            if hidden and problem.signed(unit):
                continue
            absolute = problem.signed(s for d in hidden if (s := term.instances[d].symbol) is not None)
            instances = choose_dims(term.instances, kept, set(problem.neurons))
            a, b = (sort_away(array, kept, absolute) for array in (term.a, term.b))

            terms.append(Term(block_space("", (*instances, Instance(None, a.shape[-1]))), a, b))
    return Problem(problem.neurons, tuple(terms))


def _known_dims(term: Term, k: int, name: str, unit: set[str], unknown: set[str]) -> list[int]:
    def known(d: int) -> bool:
        instance = term.instances[d]
        inside = instance.symbol in unit and (name, k) in instance.parents
        return d == k or ((inside or instance.symbol not in unknown) and all(known(p) for _, p in instance.parents))

    return [d for d in range(term.a.ndim) if known(d)]


def sort_away(array: np.ndarray, kept: Iterable[int], absolute: bool = False) -> np.ndarray:
    """The array with all dims that are not kept flattened into a last one and put in ascending order."""
    kept = list(kept)
    hidden = [d for d in range(array.ndim) if d not in kept]
    flat = np.transpose(array, kept + hidden).reshape(*(array.shape[d] for d in kept), -1)
    flat = np.abs(flat) if absolute else flat
    return np.sort(flat, axis=-1) if hidden else flat
