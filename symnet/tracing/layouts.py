"""How the entries of a tensor are moved: every axis a product of
atoms, or parts laid one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never


@dataclass(frozen=True, slots=True)
class Atom:
    """One dim of a tensor: (a piece of) a neuron set, or positions that stay.

    Args:
        size: how many positions.
        symbol: the neuron set; None if nothing moves it.
        piece: which piece of the set, if it is split into several dims.
        uniform: the tensor is the same at all positions.
        at: ancestors of the set whose value is known: of a copy that was taken out.
    """

    size: int
    symbol: str | None = None
    piece: int = 0
    uniform: bool = False
    at: tuple[tuple[str, int], ...] = ()


Dim = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Plain:
    """A tensor whose axes are products of atoms."""

    axes: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor that is several laid one after another along part of an axis.

    Args:
        axis: which axis.
        before: how many atoms stand before the joined factor in that axis.
        widths: of each part, how many atoms it has in place of the joined factor.
        parts: layouts with the part in the joined factor's place.
    """

    axis: int
    before: int
    widths: tuple[int, ...]
    parts: tuple[Layout, ...]


Layout = Plain | Cut


def sizes_of(layout: Layout) -> tuple[tuple[int, ...], ...]:
    """For every axis the sizes of its factors; a joined factor counts as one."""
    match layout:
        case Plain(axes):
            return tuple(tuple(atom.size for atom in axis) for axis in axes)
        case Cut(axis, before, widths, parts):
            inside = [sizes_of(part) for part in parts]
            joined = sum(
                math.prod(sizes[axis][before : before + width])
                for sizes, width in zip(inside, widths, strict=True)
            )
            first = list(inside[0])
            axis_sizes = first[axis]
            first[axis] = (*axis_sizes[:before], joined, *axis_sizes[before + widths[0] :])
            return tuple(first)
        case _:
            assert_never(layout)


def shape_of(layout: Layout) -> tuple[int, ...]:
    """The shape of a tensor with this layout."""
    return tuple(math.prod(sizes) for sizes in sizes_of(layout))


def atoms_of(layout: Layout) -> Iterator[Atom]:
    """Every atom, with repeats."""
    match layout:
        case Plain(axes):
            for axis in axes:
                yield from axis
        case Cut():
            for part in layout.parts:
                yield from atoms_of(part)
        case _:
            assert_never(layout)


def change_atoms(layout: Layout, change: Callable[[Atom], Atom]) -> Layout:
    """The layout with every atom changed."""
    match layout:
        case Plain(axes):
            return Plain(tuple(tuple(change(atom) for atom in axis) for axis in axes))
        case Cut():
            return replace(layout, parts=tuple(change_atoms(part, change) for part in layout.parts))
        case _:
            assert_never(layout)


def comparable(layout: Layout) -> object:
    """The layout without splits that move nothing, for comparison."""
    match layout:
        case Plain(axes):
            return tuple(_merged(axis) for axis in axes)
        case Cut():
            joined = _joined_still(layout)
            if joined is not None:
                return comparable(joined)
            return layout.axis, tuple(comparable(part) for part in layout.parts)
        case _:
            assert_never(layout)


def _joined_still(layout: Cut) -> Layout | None:
    """A tensor whose parts differ in nothing that moves, as one."""
    axis, before = layout.axis, layout.before
    parts = [
        _joined_still(part) or part if isinstance(part, Cut) else part for part in layout.parts
    ]
    total, beside = 0, set()
    for part, width in zip(parts, layout.widths, strict=True):
        if not isinstance(part, Plain):
            return None
        sizes = part.axes[axis]
        inside = sizes[before : before + width]
        if any(atom.symbol is not None or atom.uniform for atom in inside):
            return None
        total += math.prod(atom.size for atom in inside)
        beside.add(
            (*part.axes[:axis], sizes[:before], sizes[before + width :], *part.axes[axis + 1 :])
        )
    if len(beside) != 1:
        return None
    rest = beside.pop()
    return Plain((*rest[:axis], (*rest[axis], Atom(total), *rest[axis + 1]), *rest[axis + 2 :]))


def _merged(axis: Dim) -> Dim:
    merged: list[Atom] = []
    for atom in axis:
        still = atom.symbol is None and not atom.uniform
        if atom.size == 1 and still:
            continue
        if merged and still and merged[-1].symbol is None and not merged[-1].uniform:
            merged[-1] = Atom(merged[-1].size * atom.size)
        else:
            merged.append(atom)
    return tuple(merged)
