"""One group element acting on the operands of one operation, by their
layouts; and random operands with such layouts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from symnet.graph import NeuronGraph
from symnet.groups import PermutationGroup, SignedSymmetric, Symmetric
from symnet.tracing.layouts import Atom, Cut, Dim, Layout, Plain, sizes_of


class NoParentError(Exception):
    """A set with copies whose parent's value is not known where it stands."""


@dataclass(frozen=True)
class Picks:
    """What a tensor was picked by: whole numbers that are positions of
    a set, along some of its dims.
    """

    symbol: str
    dims: tuple[Atom, ...]  # the axes of the whole numbers
    key: int


@dataclass
class LocalElement:
    """A random element of the sets that one operation sees, perhaps at smaller sizes.

    Args:
        graph: where groups and parents are declared.
        sizes: of every set that occurs, the sizes of its pieces.
        rng: what the element is drawn by.
    """

    graph: NeuronGraph
    sizes: Mapping[str, tuple[int, ...]]
    rng: np.random.Generator
    images: dict[str, np.ndarray] = field(default_factory=dict)
    signs: dict[str, np.ndarray] = field(default_factory=dict)

    def size(self, name: str) -> int:
        return math.prod(self.sizes[name]) if name in self.sizes else self.graph.neurons[name].size

    def image(self, name: str) -> np.ndarray:
        """Images of a set, one copy for every value of its ancestors; every copy moves."""
        if name not in self.images:
            ancestors = self.graph.ancestors(name)
            shape = tuple(self.size(ancestor) for ancestor in ancestors)
            group, size, copies = self.graph.neurons[name].group, self.size(name), math.prod(shape)
            if isinstance(group, (Symmetric, SignedSymmetric)):
                group = type(group)(size)
                images = group.random(self.rng, copies).reshape(-1, size)
                still = np.flatnonzero((images == np.arange(size)).all(1))
                if size > 1:
                    images[still, 0], images[still, 1] = 1, 0
            elif isinstance(group, PermutationGroup):
                images = group.random(self.rng, copies).reshape(-1, size)
            else:
                raise NoParentError(f"the group of '{name}' is no group of permutations")
            self.images[name] = images.reshape(*shape, size)
            if isinstance(group, SignedSymmetric):
                self.signs[name] = group.random_signs(self.rng, copies).reshape(*shape, size)
        return self.images[name]

    # ---- acting ----------------------------------------------------------------------------------
    def act(
        self, layout: Layout, tensor: Tensor, picks: Sequence[Picks], numbers: Mapping[int, Tensor]
    ) -> Tensor:
        """``g.x`` of a tensor with this layout.

        Args:
            picks: what the tensor was picked by.
            numbers: by key, the whole numbers that picked.
        """
        match layout:
            case Plain(axes):
                return self._act_plain(axes, tensor, picks, numbers)
            case Cut():
                pieces = split_cut(layout, tensor)
                moved = [
                    self.act(part, piece, picks, numbers)
                    for part, piece in zip(layout.parts, pieces, strict=True)
                ]
                return join_cut(layout, moved, tuple(tensor.shape))
            case _:
                assert_never(layout)

    def _act_plain(
        self,
        axes: Sequence[Dim],
        tensor: Tensor,
        picks: Sequence[Picks],
        numbers: Mapping[int, Tensor],
    ) -> Tensor:
        dims = [(atom, axis) for axis, atoms in enumerate(axes) for atom in atoms]
        if not any(atom.symbol is not None for atom, _ in dims):
            return tensor
        shape = []
        for axis, atoms in enumerate(axes):
            whole = math.prod(atom.size for atom in atoms) == tensor.shape[axis]
            if not whole and any(atom.symbol is not None for atom in atoms):
                raise ValueError(f"an axis of size {tensor.shape[axis]} where {atoms} is claimed")
            shape += (
                [atom.size for atom in atoms]
                if whole
                else [tensor.shape[axis]] + [1] * (len(atoms) - 1)
            )
        grids = [grid.reshape([-1 if k == d else 1 for k in range(len(shape))]) for d, grid in
                 enumerate(np.arange(size) for size in shape)]  # fmt: skip
        values = _Values(self, dims, grids, picks, numbers)
        places = [values.image(number) for number in range(len(dims))]
        factors = tensor.reshape(shape)
        if (signs := values.sign()) is not None:
            factors = factors * torch.from_numpy(np.ascontiguousarray(signs)).to(factors.dtype)
        result = torch.empty_like(factors)
        result[tuple(torch.from_numpy(np.ascontiguousarray(place)) for place in places)] = factors
        return result.reshape(tensor.shape)

    def move_numbers(self, along: Sequence[Atom], numbers: Tensor) -> Tensor:
        """Positions along an axis after the axis was permuted."""
        layout = Plain((tuple(along),))
        size = math.prod(atom.size for atom in along)
        moved = self.act(layout, torch.arange(size), (), {})
        return torch.argsort(moved)[numbers]


class _Values:
    """Positions of the dims of a plain tensor, before and after an element acts."""

    def __init__(
        self,
        element: LocalElement,
        dims: Sequence[tuple[Atom, int]],
        grids: list[np.ndarray],
        picks: Sequence[Picks],
        numbers: Mapping[int, Tensor],
    ) -> None:
        self.element, self.dims, self.grids, self.picks, self.numbers = (
            element,
            dims,
            grids,
            picks,
            numbers,
        )

    def value(self, name: str, near: int) -> np.ndarray:
        """Positions of a whole set before it moves, read from its pieces."""
        pieces = self.element.sizes.get(name, (self.element.size(name),))
        numbers_by_piece: dict[int, list[int]] = {}
        for number, (atom, _) in enumerate(self.dims):
            if atom.symbol == name:
                numbers_by_piece.setdefault(atom.piece, []).append(number)
        total: np.ndarray = np.zeros((1,) * len(self.grids), dtype=np.int64)
        for piece, size in enumerate(pieces):
            places = numbers_by_piece.get(piece, [])
            same = [k for k in places if self.dims[k][1] == self.dims[near][1]] or places
            if self.dims[near][0].symbol == name and self.dims[near][0].piece == piece:
                same = [near]
            if len(same) != 1:
                raise NoParentError(
                    f"'{name}' occurs {len(same)} times beside '{self.dims[near][0].symbol}'"
                )
            total = total * size + self.grids[same[0]]
        return total

    def ancestor(self, name: str, near: int) -> np.ndarray:
        positions = dict(self.dims[near][0].at)
        if name in positions:
            return np.full((1,) * len(self.grids), positions[name])
        if any(atom.symbol == name for atom, _ in self.dims):
            return self.value(name, near)
        for picks in self.picks:
            if picks.symbol == name:
                return self._picked(picks)
        raise NoParentError(f"'{name}' does not occur beside '{self.dims[near][0].symbol}'")

    def _picked(self, picks: Picks) -> np.ndarray:
        """The positions that picked each entry, broadcast over the tensor's dims."""
        places, start = [], 0
        for atom in picks.dims:
            if atom.size == 1:
                continue
            where = next((k for k in range(start, len(self.dims)) if self.dims[k][0] == atom), None)
            if where is None:
                raise NoParentError("the axes of what picked it are not there")
            places.append(where)
            start = where + 1
        shape = [self.grids[k].size if k in places else 1 for k in range(len(self.grids))]
        return self.numbers[picks.key].numpy().reshape(shape)

    def image(self, number: int) -> np.ndarray:
        """Where the positions of a dim go."""
        atom = self.dims[number][0]
        if atom.symbol is None:
            return self.grids[number]
        ancestors = self.element.graph.ancestors(atom.symbol)
        at = tuple(self.ancestor(name, number) for name in ancestors)
        images = self.element.image(atom.symbol)[(*at, self.value(atom.symbol, number))]
        pieces = self.element.sizes.get(atom.symbol, (self.element.size(atom.symbol),))
        return images // math.prod(pieces[atom.piece + 1 :]) % pieces[atom.piece]

    def sign(self) -> np.ndarray | None:
        """By what the entries are multiplied before they move; None if by nothing."""
        total: np.ndarray | None = None
        for number, (atom, _) in enumerate(self.dims):
            if (
                atom.symbol is None
                or atom.piece
                or not isinstance(self.element.graph.neurons[atom.symbol].group, SignedSymmetric)
            ):
                continue
            self.element.image(atom.symbol)
            at = tuple(
                self.ancestor(name, number) for name in self.element.graph.ancestors(atom.symbol)
            )
            signs = self.element.signs[atom.symbol][(*at, self.value(atom.symbol, number))]
            total = signs if total is None else total * signs
        return total


def split_cut(layout: Cut, tensor: Tensor) -> list[Tensor]:
    """The parts of a tensor that is several laid one after another."""
    sizes = [list(axis_sizes) for axis_sizes in sizes_of(layout)]
    whole = list(tensor.shape)
    axis_sizes = sizes[layout.axis]
    before, after = (
        math.prod(axis_sizes[: layout.before]),
        math.prod(axis_sizes[layout.before + 1 :]),
    )
    shape = [
        *whole[: layout.axis],
        before,
        axis_sizes[layout.before],
        after,
        *whole[layout.axis + 1 :],
    ]
    lengths = []
    for part, width in zip(layout.parts, layout.widths, strict=True):
        lengths.append(
            math.prod(sizes_of(part)[layout.axis][layout.before : layout.before + width])
        )
    pieces = tensor.reshape(shape).split(lengths, layout.axis + 1)
    return [
        piece.reshape([*whole[: layout.axis], before * length * after, *whole[layout.axis + 1 :]])
        for piece, length in zip(pieces, lengths, strict=True)
    ]


def join_cut(layout: Cut, pieces: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The tensor whose parts these are."""
    axis_sizes = sizes_of(layout)[layout.axis]
    before, after = (
        math.prod(axis_sizes[: layout.before]),
        math.prod(axis_sizes[layout.before + 1 :]),
    )
    opened = [
        piece.reshape([*shape[: layout.axis], before, -1, after, *shape[layout.axis + 1 :]])
        for piece in pieces
    ]
    return torch.cat(opened, layout.axis + 1).reshape(shape)


def draw(
    layout: Layout, kind: torch.dtype, generator: torch.Generator, positive: bool, most: int
) -> Tensor:
    """Random entries, the same along uniform dims; whole numbers are below ``most``."""
    match layout:
        case Plain(axes):
            shape = [1 if atom.uniform else atom.size for axis in axes for atom in axis]
            full = [atom.size for axis in axes for atom in axis]
            drawn = _entries(shape, kind, generator, positive, most).expand(full)
            return drawn.reshape([math.prod(atom.size for atom in axis) for axis in axes])
        case Cut():
            pieces = [draw(part, kind, generator, positive, most) for part in layout.parts]
            shape_all = tuple(math.prod(axis_sizes) for axis_sizes in sizes_of(layout))
            return join_cut(layout, pieces, shape_all)
        case _:
            assert_never(layout)


def _entries(
    shape: Sequence[int], kind: torch.dtype, generator: torch.Generator, positive: bool, most: int
) -> Tensor:
    if kind == torch.bool:
        return torch.rand(tuple(shape), generator=generator) > 0.5
    if kind.is_complex:
        return torch.randn(tuple(shape), generator=generator, dtype=torch.complex128)
    if not kind.is_floating_point:
        return torch.randint(max(most, 1), tuple(shape), generator=generator).to(kind)
    if positive:
        return torch.rand(tuple(shape), generator=generator, dtype=torch.float64) * 0.9 + 0.05
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64)
