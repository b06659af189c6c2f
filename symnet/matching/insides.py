"""What it is worth to lay one neuron on another, all that is over
them being laid as well as can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from symnet.graph import GroupElement
from symnet.groups import Fixed, Group, is_signed, is_trivial
from symnet.matching.alignment_problem import AlignmentProblem, Inside
from symnet.matching.assignment import Placement, best_element

_AT_ONCE = 2**23  # inner products of neurons over other neurons that are held at once


class InsideAction(Protocol):
    """Where the neurons inside another one go, as a group element says it."""

    def __getitem__(self, name: str) -> np.ndarray: ...

    def multipliers(self, name: str) -> np.ndarray | None: ...

    def matrices(self, name: str) -> np.ndarray | None: ...


@dataclass(frozen=True)
class _Layout:
    placements: Mapping[str, Placement]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.placements[name].images

    def multipliers(self, name: str) -> np.ndarray | None:
        return self.placements[name].signs

    def matrices(self, name: str) -> np.ndarray | None:
        return self.placements[name].matrix


@dataclass(frozen=True)
class Worths:
    """The worth of every pair of neurons by sign, and where everything inside them goes."""

    # (n, n): neuron j of ``b`` (column) laid on neuron i of ``a`` (row)
    by_sign: Mapping[int, np.ndarray]
    layouts: Mapping[tuple[int, int, int], InsideAction]  # by (i, j, sign)


def inner_worths(
    inside: Inside, group: Group, solve: Callable[[AlignmentProblem], tuple[GroupElement, float]]
) -> Worths:
    """Solve the problem inside every pair of neurons that the group may lay on one another.

    Args:
        solve: for insides whose sets meet; where each term has one set that moves, a linear
            assignment for each is exact.
    """
    n = group.degree
    by_sign = {sign: np.zeros((n, n)) for sign in ((1, -1) if is_signed(group) else (1,))}
    layouts: dict[tuple[int, int, int], InsideAction] = {}
    one_by_one = isinstance(group, Fixed)
    if _is_simple(inside):
        solved = _Sides.of(inside).solve(n, one_by_one, by_sign)
    else:
        pairs = [(i, i) for i in range(n)] if one_by_one else np.ndindex(n, n)
        solved = (
            (i, j, sign, *reversed(solve(inside.at(i, j, sign))))
            for i, j in pairs
            for sign in by_sign
        )
    for i, j, sign, worth, layout in solved:
        by_sign[sign][i, j] += worth
        layouts[i, j, sign] = layout
    return Worths(by_sign, layouts)


def _is_simple(inside: Inside) -> bool:
    """Whether every term has at most one set that moves, without parents
    and with nothing that moves over it.
    """
    moving = {
        name for name, neuron_set in inside.neurons.items() if not is_trivial(neuron_set.group)
    }
    if any(inside.neurons[name].over for name in moving):
        return False
    return all(
        sum(i.symbol in moving for i in space.blocks[0].instances) <= 1
        for space in (r.space for r in inside.remainders)
    )


@dataclass(frozen=True)
class _Side:
    """A term inside, laid out for matrix products."""

    name: str  # the set that moves; "" if none does
    a: np.ndarray  # (neurons, n, the rest); n is 1 if nothing moves
    b: np.ndarray
    weight: float
    degrees: tuple[int, int]  # modulo 2: of the strand that is fixed, and of the one that moves


Tables = Mapping[str, Mapping[tuple[int, int], np.ndarray]]  # by set and degrees: (n, n)


@dataclass(frozen=True)
class _Sides:
    """An inside whose sets do not meet: every pair's problem is one
    linear assignment for each set.
    """

    groups: Mapping[str, Group]  # of all sets inside
    sides: tuple[_Side, ...]

    @staticmethod
    def of(inside: Inside) -> _Sides:
        sides = []
        for r in inside.remainders:
            instances = r.space.blocks[0].instances
            moving = [
                d
                for d, i in enumerate(instances)
                if i.symbol and not is_trivial(inside.neurons[i.symbol].group)
            ]
            if not moving:
                a, b = (x.reshape(len(x), 1, -1) for x in (r.a, r.b))
                sides.append(_Side("", a, b, r.weight, (r.degree, 0)))
                continue
            instance = instances[moving[0]]
            a, b = (
                np.moveaxis(x, moving[0] + 1, 1).reshape(len(x), instance.size, -1)
                for x in (r.a, r.b)
            )
            sides.append(
                _Side(instance.symbol or "", a, b, r.weight, (r.degree, instance.degree % 2))
            )
        return _Sides({x: s.group for x, s in inside.neurons.items()}, tuple(sides))

    def solve(
        self, n: int, one_by_one: bool, signs: Collection[int]
    ) -> Iterator[tuple[int, int, int, float, InsideAction]]:
        """Every neuron of ``a`` against every one of ``b``, or the same
        one alone; as many at once as fit.

        Yields:
            i, j, sign, worth, layout.
        """
        largest = max((group.degree for group in self.groups.values()), default=1)
        side = 1 if one_by_one else max(1, math.isqrt(_AT_ONCE // largest**2))
        for top in range(0, n, side):
            for left in [top] if one_by_one else range(0, n, side):
                rows, columns = (slice(start, min(start + side, n)) for start in (top, left))
                products = self._products(rows, columns)
                for i, j in np.ndindex(rows.stop - top, columns.stop - left):
                    tables = {
                        x: {d: p[i, :, j, :] for d, p in kinds.items()}
                        for x, kinds in products.items()
                    }
                    for sign in signs:
                        yield top + i, left + j, sign, *self._assign(sign, tables)

    def _products(
        self, rows: slice, columns: slice
    ) -> dict[str, dict[tuple[int, int], np.ndarray]]:
        """By set and degrees the products ``(rows, n, columns, n)`` of its neurons."""
        products: dict[str, dict[tuple[int, int], np.ndarray]] = {}
        for side in self.sides:
            n, rest = side.a.shape[1:]
            a, b = side.a[rows], side.b[columns]
            product = (a.reshape(-1, rest) @ b.reshape(-1, rest).T).astype(np.float64)
            product = side.weight * product.reshape(len(a), n, len(b), n)
            kinds = products.setdefault(side.name, {})
            kinds[side.degrees] = (
                kinds[side.degrees] + product if side.degrees in kinds else product
            )
        return products

    def _assign(self, sign: int, tables: Tables) -> tuple[float, InsideAction]:
        worth = sum(
            sign**outer * float(table.sum()) for (outer, _), table in tables.get("", {}).items()
        )
        placements = {}
        for name, group in self.groups.items():
            plus = minus = np.zeros((group.degree, group.degree)) if name not in tables else 0.0
            for (outer, inner), table in tables.get(name, {}).items():
                plus, minus = (
                    plus + sign**outer * table,
                    minus + sign**outer * (-1) ** inner * table,
                )
            placements[name] = best_element(group, np.asarray(plus), np.asarray(minus))
            worth += placements[name].worth
        return worth, _Layout(placements)
