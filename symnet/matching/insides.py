"""What it is worth to lay one neuron on another, all that is over them being laid as well as can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from symnet.graph import GroupElement
from symnet.groups import Fixed, PermutationGroup, is_signed, is_trivial
from symnet.matching.assignment import best_element
from symnet.matching.problem import Inside, Problem

_AT_ONCE = 2**23  # inner products of neurons over other neurons that are held at once


class Layout(Protocol):
    """Where the neurons inside another one go: images by set, and signs."""

    def __getitem__(self, name: str) -> np.ndarray: ...

    def signs(self, name: str) -> np.ndarray | None: ...


@dataclass(frozen=True)
class _Layout:
    images: Mapping[str, np.ndarray]
    flips: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.images[name]

    def signs(self, name: str) -> np.ndarray | None:
        return self.flips.get(name)


@dataclass(frozen=True)
class Worths:
    """The worth of every pair of neurons by sign, and where everything inside them goes."""

    by_sign: Mapping[int, np.ndarray]  # (n, n): neuron j of ``b`` (column) laid on neuron i of ``a`` (row)
    layouts: Mapping[tuple[int, int, int], Layout]  # by (i, j, sign)


def inner_worths(inside: Inside, group: PermutationGroup, solve: Callable[[Problem], tuple[GroupElement, float]]) -> Worths:
    """Solve the problem inside every pair of neurons that the group may lay on one another.

    Args:
        solve: for insides whose sets meet; where each term has one set that moves, a linear assignment for each is exact.
    """
    n = group.degree
    by_sign = {sign: np.zeros((n, n)) for sign in ((1, -1) if is_signed(group) else (1,))}
    layouts: dict[tuple[int, int, int], Layout] = {}
    one_by_one = isinstance(group, Fixed)
    if _is_simple(inside):
        solved = _Sides.of(inside).solve(n, one_by_one, by_sign)
    else:
        pairs = [(i, i) for i in range(n)] if one_by_one else np.ndindex(n, n)
        solved = ((i, j, sign, *reversed(solve(inside.at(i, j, sign)))) for i, j in pairs for sign in by_sign)
    for i, j, sign, worth, layout in solved:
        by_sign[sign][i, j] += worth
        layouts[i, j, sign] = layout
    return Worths(by_sign, layouts)


def _is_simple(inside: Inside) -> bool:
    """Whether every term has at most one set that moves, without parents and with nothing that moves over it."""
    moving = {name for name, neuron_set in inside.neurons.items() if not is_trivial(neuron_set.group)}
    if any(inside.neurons[name].over for name in moving):
        return False
    return all(sum(i.symbol in moving for i in space.blocks[0].instances) <= 1 for space, *_ in inside.blocks)


@dataclass(frozen=True)
class _Sides:
    """An inside whose sets do not meet, laid out for matrix products: ``(neurons, n, the rest)`` of both networks."""

    groups: Mapping[str, PermutationGroup]  # of all sets inside
    products: tuple[tuple[str, np.ndarray, np.ndarray, float], ...]  # the set that moves, a, b, weight
    constants: tuple[tuple[np.ndarray, np.ndarray, float], ...]  # a, b ``(neurons, values)``: nothing moves

    @staticmethod
    def of(inside: Inside) -> _Sides:
        products, constants = [], []
        for space, a, b, weight in inside.blocks:
            symbols = [instance.symbol for instance in space.blocks[0].instances]
            moving = [d for d, x in enumerate(symbols) if x and not is_trivial(inside.neurons[x].group)]
            if not moving:
                constants.append((a.reshape(len(a), -1), b.reshape(len(b), -1), weight))
                continue
            (d,), n = moving, a.shape[moving[0] + 1]
            left, right = (np.moveaxis(x, d + 1, 1).reshape(len(x), n, -1) for x in (a, b))
            products.append((symbols[d] or "", left, right, weight))
        return _Sides({x: s.group for x, s in inside.neurons.items()}, tuple(products), tuple(constants))

    def solve(
        self, n: int, one_by_one: bool, signs: Collection[int]
    ) -> Iterator[tuple[int, int, int, float, Layout]]:
        """Every neuron of ``a`` against every one of ``b``, or the same one alone; as many at once as fit.

        Yields:
            i, j, sign, worth, layout.
        """
        largest = max((group.degree for group in self.groups.values()), default=1)
        side = 1 if one_by_one else max(1, math.isqrt(_AT_ONCE // largest**2))
        for top in range(0, n, side):
            for left in [top] if one_by_one else range(0, n, side):
                rows, columns = (slice(start, min(start + side, n)) for start in (top, left))
                constant, products = self._products(rows, columns)
                for i, j in np.ndindex(*constant.shape):
                    tables = {name: table[i, :, j, :] for name, table in products.items()}
                    for sign in signs:
                        yield top + i, left + j, sign, *self._assign(sign, float(constant[i, j]), tables)

    def _products(self, rows: slice, columns: slice) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """What does not depend on the insides ``(rows, columns)``, and by set its neurons' ``(rows, n, columns, n)``."""
        constant = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        for a, b, weight in self.constants:
            constant += weight * (a[rows] @ b[columns].T).astype(np.float64)
        tables: dict[str, np.ndarray] = {}
        for name, a, b, weight in self.products:
            n, rest = a.shape[1:]
            table = a[rows].reshape(-1, rest) @ b[columns].reshape(-1, rest).T
            shape = (len(constant), n, constant.shape[1], n)
            table = weight * table.astype(np.float64).reshape(shape)
            tables[name] = tables[name] + table if name in tables else table
        return constant, tables

    def _assign(self, sign: int, worth: float, tables: Mapping[str, np.ndarray]) -> tuple[float, Layout]:
        images, flips = {}, {}
        for name, group in self.groups.items():
            images[name] = columns = np.arange(group.degree)
            if name in tables:
                plus = sign * tables[name]
                images[name], flip = best_element(group, plus, -plus)
                worth += float((flip * plus[images[name], columns]).sum())
                if is_signed(group):
                    flips[name] = flip
        return worth, _Layout(images, flips)
