"""pieces_of: what a Lie algebra that the solver found consists of: scales, invertible maps,
rotations, rotary planes.

Axes of one size are laid over one another. For two positions i, j the elements of the algebra that
move only the entries (i, j) and (j, i) of the axes' matrices are a small intersection of two
subspaces, which no choice of basis disturbs. Such an element with one entry on each axis belongs to
invertible maps (with the sign that says which axis is dual), an antisymmetric one to rotations; on
the diagonal its entries are the degrees of a scale. Where a layer norm takes the mean out, the same
is done in a basis that has the constant vector first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from symnet.tracing.continuous import reduced_rows
from symnet.verify.lie_algebra import AxisUnknown, LieAlgebra

Kind = Literal["scale", "maps", "rotations", "rotary plane", "common scale", "dead"]
_ONE = 1e-7  # a cosine this close to 1 counts as lying in both subspaces
_ZERO = 1e-6  # entries of reduced vectors below this are zeros


@dataclass(frozen=True, slots=True)
class LiePiece:
    """A part of a Lie algebra on some positions of some axes.

    ``degrees`` says by tensor and axis how it acts: 1 as it is, -1 by the inverse (the dual side),
    in between other powers; rotations act everywhere alike, with degree 1. ``mean_first`` tells
    that positions are counted in a basis whose
    first vector is constant: rotations then are those that fix the mean.
    """

    kind: Kind
    positions: tuple[int, ...]
    degrees: Mapping[tuple[str, int], float]
    dimension: int
    mean_first: bool = False

    def __str__(self) -> str:
        where = ", ".join(
            f"{tensor}[{axis}]" + ("" if abs(degree - 1) < _ZERO else f" by {degree:.3g}")
            for (tensor, axis), degree in self.degrees.items()
        )
        basis = " (constant vector first)" if self.mean_first else ""
        shown = ", ".join(map(str, self.positions))
        return f"{self.kind} of dimension {self.dimension} at {shown}{basis} on {where}"


def pieces_of(algebra: LieAlgebra) -> tuple[LiePiece, ...]:
    """The parts of a Lie algebra that can be named; what they lack of its dimension has no name
    here.

    Returns:
        Pieces on axes of one size after another. ``named_dimension`` counts them without counting
        twice.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from symnet.verify.lie_algebra import lie_algebra
        >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> print(pieces_of(lie_algebra(model, torch.randn(8, 3)))[0])
        scale of dimension 1 at 0 on 0.weight[0], 0.bias[0], 2.weight[1] by -1
    """
    pieces: list[LiePiece] = []
    for size in sorted({one.size for one in algebra.axes if one.size > 1}):
        axes = [one for one in algebra.axes if one.size == size]
        plain = _read(algebra, axes, np.eye(size), mean_first=False)
        centred = _read(algebra, axes, _constant_first(size), mean_first=True) if size > 2 else []
        richer = sum(p.dimension for p in centred) > sum(p.dimension for p in plain)
        pieces += centred if richer else plain
    common = [piece for piece in pieces if piece.kind == "common scale"]
    kept = [piece for piece in pieces if piece.kind != "common scale"]
    # most are products of others: one number on all neurons of a head, or on one axis of a tensor
    for piece in common:
        if named_dimension(algebra, [*kept, piece]) > named_dimension(algebra, kept):
            kept.append(piece)
    return tuple(kept)


def named_dimension(algebra: LieAlgebra, pieces: Sequence[LiePiece]) -> int:
    """How much of the algebra the pieces cover; ``algebra.dimension`` if all of it."""
    vectors = np.array(
        [algebra.vector(element) for piece in pieces for element in elements_of(algebra, piece)]
    )
    trivial = _trivial_vectors(algebra)
    together = np.concatenate([vectors.reshape(-1, algebra.unknowns), trivial])
    if not len(together):
        return 0
    return int(np.linalg.matrix_rank(together, tol=1e-6)) - len(trivial)


def _constant_first(size: int) -> np.ndarray:
    """An orthogonal matrix whose first column is constant."""
    start = np.eye(size)
    start[:, 0] = 1
    return np.asarray(np.linalg.qr(start)[0])


def _read(
    algebra: LieAlgebra, axes: Sequence[AxisUnknown], basis: np.ndarray, *, mean_first: bool
) -> list[LiePiece]:
    turned = {
        one: np.einsum("ia,ijv,jb->abv", basis, algebra.stack[one.tensor, one.axis], basis)
        for one in axes
    }
    pairs: dict[tuple[str, tuple[tuple[AxisUnknown, float], ...]], list[tuple[int, int]]] = (
        defaultdict(list)
    )
    size = axes[0].size
    for i, j in combinations(range(size), 2):
        rows = np.concatenate([np.stack([turned[one][i, j], turned[one][j, i]]) for one in axes])
        for vector in _intersection(rows):
            kind, degrees = _off_diagonal(axes, vector.reshape(-1, 2))
            pairs[kind, degrees].append((i, j))
    scales: dict[tuple[tuple[AxisUnknown, float], ...], list[int]] = defaultdict(list)
    for i in range(size):
        for vector in _intersection(np.stack([turned[one][i, i] for one in axes])):
            scales[_degrees(axes, vector)].append(i)
    pieces = [*_off_diagonal_pieces(pairs, scales, size)]
    pieces = _joined([*pieces, *_scale_pieces(scales, pieces)])
    pieces += _common_scales(axes, turned, pieces)
    planes = {positions for kind, positions, _, _ in pieces if kind == "rotary plane"}
    return [
        LiePiece(
            kind,
            positions,
            {(one.tensor, one.axis): d for one, d in degrees},
            dimension,
            mean_first,
        )
        for kind, positions, degrees, dimension in pieces
        # a plane's rotation is part of its complex number
        if kind != "rotations" or positions not in planes
    ]


_Degrees = tuple[tuple[AxisUnknown, float], ...]
_Piece = tuple[Kind, tuple[int, ...], _Degrees, int]


def _intersection(rows: np.ndarray) -> np.ndarray:
    """Vectors of the algebra that have entries at these unknowns only: reduced to leading ones, as
    rows.
    """
    left, cosines, _ = np.linalg.svd(rows, full_matrices=False)
    return reduced_rows(left[:, cosines > 1 - _ONE].T)


def _degrees(axes: Sequence[AxisUnknown], vector: np.ndarray) -> _Degrees:
    return tuple((one, round(float(x), 5)) for one, x in zip(axes, vector, strict=True) if x)


def _off_diagonal(axes: Sequence[AxisUnknown], entries: np.ndarray) -> tuple[str, _Degrees]:
    """What an element with entries ``(i, j), (j, i)`` on every axis is a part of, and its
    degrees.
    """
    if np.allclose(entries[:, 0], -entries[:, 1], atol=_ZERO):
        return "rotations", _degrees(axes, entries[:, 0])
    if np.allclose(entries[:, 0] * entries[:, 1], 0, atol=_ZERO):
        # E_ij on a primal axis goes with -E_ji on a dual one; the leading entry is 1.
        degrees = _degrees(axes, entries.sum(1))
        return ("maps" if len(degrees) > 1 else "dead"), degrees
    return "other", _degrees(axes, entries[:, 0])


def _off_diagonal_pieces(
    pairs: Mapping[tuple[str, _Degrees], list[tuple[int, int]]],
    scales: Mapping[_Degrees, list[int]],
    size: int,
) -> Iterator[_Piece]:
    for (kind, degrees), edges in pairs.items():
        if kind == "dead":
            # One direction on one axis: nothing to join.
            yield "dead", tuple(sorted({k for edge in edges for k in edge})), degrees, len(edges)
            continue
        if kind == "other":
            continue
        for block in _components(edges, size):
            inside = [edge for edge in edges if edge[0] in block]
            if kind == "rotations" and len(inside) == len(block) * (len(block) - 1) // 2:
                yield "rotations", block, degrees, len(inside)
            elif kind == "maps" and len(inside) == len(block) * (len(block) - 1):
                diagonal = sum(k in block for k in scales.get(degrees, ()))
                yield "maps", block, degrees, len(inside) + diagonal


def _components(edges: Sequence[tuple[int, int]], size: int) -> list[tuple[int, ...]]:
    """Sets of positions that are joined by edges."""
    colour = np.arange(size)
    for i, j in edges:
        colour[colour == colour[j]] = colour[i]
    blocks = [tuple(np.flatnonzero(colour == c).tolist()) for c in np.unique(colour)]
    return [block for block in blocks if len(block) > 1]


def _scale_pieces(
    scales: Mapping[_Degrees, list[int]], pieces: Sequence[_Piece]
) -> Iterator[_Piece]:
    """Scales of single positions that are no part of invertible maps."""
    taken = {(degrees, k) for kind, block, degrees, _ in pieces if kind == "maps" for k in block}
    for degrees, positions in scales.items():
        for k in positions:
            if (degrees, k) not in taken:
                yield ("scale" if len(degrees) > 1 else "dead"), (k,), degrees, 1


def _joined(pieces: Sequence[_Piece]) -> list[_Piece]:
    """The pieces with what is dead on one axis taken together."""
    dead: dict[_Degrees, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        if piece[0] == "dead":
            dead[piece[2]].append(piece)
    together: list[_Piece] = [
        (
            "dead",
            tuple(sorted({k for part in parts for k in part[1]})),
            degrees,
            sum(part[3] for part in parts),
        )
        for degrees, parts in dead.items()
    ]
    return [*(piece for piece in pieces if piece[0] != "dead"), *together]


def _common_scales(
    axes: Sequence[AxisUnknown], turned: Mapping[AxisUnknown, np.ndarray], pieces: Sequence[_Piece]
) -> Iterator[_Piece]:
    """Numbers that multiply a whole block of rotations, or a whole axis; in a plane they make a
    complex number.
    """
    blocks = {
        block: (degrees, dimension)
        for kind, block, degrees, dimension in pieces
        if kind == "rotations"
    }
    for block in dict.fromkeys([*blocks, tuple(range(axes[0].size))]):
        corner = np.ix_(block, block)
        traces = np.stack([np.einsum("iiv->v", turned[one][corner]) for one in axes])
        for vector in _intersection(traces / len(block) ** 0.5):
            degrees = _degrees(axes, vector)
            turning, dimension = blocks.get(block, ((), 0))
            if len(block) == 2 and {one for one, _ in degrees} == {one for one, _ in turning}:
                yield "rotary plane", block, degrees, dimension + 1
            else:
                yield "common scale", block, degrees, 1


def elements_of(
    algebra: LieAlgebra, piece: LiePiece
) -> Iterator[dict[tuple[str, int], np.ndarray]]:
    """Elements that span a piece: matrices ``(n, n)`` by tensor and axis."""
    size = next(one.size for one in algebra.axes if (one.tensor, one.axis) in piece.degrees)
    basis = _constant_first(size) if piece.mean_first else np.eye(size)

    def unit(i: int, j: int) -> np.ndarray:
        return np.outer(basis[:, i], basis[:, j])

    block = piece.positions
    whole = sum((unit(k, k) for k in block), np.zeros((size, size)))
    match piece.kind:
        case "scale":
            yield {place: degree * whole for place, degree in piece.degrees.items()}
        case "common scale":
            yield {place: degree * whole for place, degree in piece.degrees.items()}
        case "rotary plane":
            i, j = block
            yield {place: degree * whole for place, degree in piece.degrees.items()}
            yield dict.fromkeys(piece.degrees, unit(i, j) - unit(j, i))
        case "rotations":
            for i, j in combinations(block, 2):
                yield dict.fromkeys(piece.degrees, unit(i, j) - unit(j, i))
        case "maps":
            for i in block:
                for j in block:
                    yield {
                        p: d * (unit(i, j) if d > 0 else unit(j, i))
                        for p, d in piece.degrees.items()
                    }
        case "dead":
            ((place, _),) = piece.degrees.items()
            for i in block:
                for j in block:
                    element = {place: unit(i, j)}
                    if algebra.holds(element):
                        yield element


def _trivial_vectors(algebra: LieAlgebra) -> np.ndarray:
    """Numbers on two axes of one tensor that cancel."""
    rows = []
    for one, other in zip(algebra.axes[:-1], algebra.axes[1:], strict=True):
        if one.tensor == other.tensor:
            rows.append(
                algebra.vector(
                    {
                        (one.tensor, one.axis): np.eye(one.size),
                        (one.tensor, other.axis): -np.eye(other.size),
                    }
                )
            )
    return np.array(rows).reshape(-1, algebra.unknowns)


__all__ = ["LiePiece", "elements_of", "named_dimension", "pieces_of"]
