"""Ranks with a margin, what completes a family of vectors to a basis,
and which of its members repeat others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from symnet.errors import VerificationError

# Parts of the largest singular value: below is rounding, above is counted, between decides nothing.
_ZERO, _SAFE = 1e-10, 1e-7


class Rank(NamedTuple):
    """A rank, and the smallest singular value counted over the largest not
    counted (infinite if all are counted).
    """

    rank: int
    margin: float


def components(matrix: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the blocks that a matrix falls into once they are
    ordered; rows of zeros belong to none.

    A layer's parameters mostly act between two tensors each, so that one large matrix is many small
    ones.
    """
    rows, columns = np.nonzero(matrix)
    height, width = matrix.shape
    links = coo_array(
        (np.ones(len(rows)), (rows, columns + height)), shape=(height + width, height + width)
    )
    _, labels = connected_components(links, directed=False)
    order = np.argsort(labels, kind="stable")
    blocks = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    parted = [(block[block < height], block[block >= height] - height) for block in blocks]
    return sorted(
        (part for part in parted if len(part[0]) and len(part[1])), key=lambda part: int(part[0][0])
    )


def rank_of(rows: np.ndarray) -> Rank:
    """Rank of a matrix whose rows are scaled to length one first.

    Raises:
        VerificationError: a singular value is neither clearly zero nor clearly not.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not rows.size:
        return Rank(0, np.inf)
    parts = [np.linalg.svd(rows[np.ix_(*block)], compute_uv=False) for block in components(rows)]
    values = np.sort(np.concatenate(parts))[::-1]
    rank = int((values > _ZERO * values[0]).sum())
    if values[rank - 1] < _SAFE * values[0]:
        raise VerificationError(
            f"The rank cannot be decided: a singular value is {values[rank - 1] / values[0]:.1g} "
            f"of the largest, too large for rounding ({_ZERO:.0g}) and too small to count "
            f"({_SAFE:.0g}). Is the layer computed in float32 inside?"
        )
    if rank == len(values):
        return Rank(rank, np.inf)
    # What is exactly zero counts as one rounding error.
    return Rank(rank, float(values[rank - 1] / max(values[rank], 1e-17 * values[0])))


def independent(rows: np.ndarray, basis: np.ndarray) -> list[int]:
    """Rows that enlarge the span of a basis, in order.

    Args:
        rows: ``(number, width)``.
        basis: orthonormal rows ``(any number, width)``.
    """
    lengths = np.linalg.norm(rows, axis=1)
    rest = rows - (rows @ basis.T) @ basis
    rest -= (rest @ basis.T) @ basis  # twice is enough (Kahan)
    numbers = []
    for number, length in enumerate(lengths):
        size = np.linalg.norm(rest[number])
        if length and size > 1e-8 * length:
            direction = rest[number] / size
            direction -= basis.T @ (basis @ direction)
            rest[number + 1 :] -= np.outer(rest[number + 1 :] @ direction, direction)
            basis = np.concatenate([basis, direction[None]])
            numbers.append(number)
    return numbers


def complement(family: np.ndarray, candidates: np.ndarray, rank: int) -> list[int]:
    """Numbers of candidates that complete the span of a family of this
    rank to everything; as few as possible.
    """
    if rank == candidates.shape[1]:
        return []
    numbers: list[int] = []
    for rows, columns in components(np.concatenate([family, candidates])):
        family_rows, chosen = rows[rows < len(family)], rows[rows >= len(family)] - len(family)
        part = family[np.ix_(family_rows, columns)]
        _, values, right = np.linalg.svd(part, full_matrices=False)
        basis = (
            right[values > _SAFE * values.max(initial=0.0)]
            if len(family_rows)
            else np.zeros((0, len(columns)))
        )
        numbers += [int(chosen[k]) for k in independent(candidates[np.ix_(chosen, columns)], basis)]
    return sorted(numbers)


def dependencies(family: np.ndarray, rank: int) -> list[tuple[int, dict[int, float]]]:
    """For every row that earlier rows express, its number and their
    weights (those that are not zero).
    """
    if rank == len(family):
        return []
    zero = np.flatnonzero(~family.any(1))
    repeats: list[tuple[int, dict[int, float]]] = [(int(row), {}) for row in zero]
    for rows, columns in components(family):
        part = family[np.ix_(rows, columns)]
        pivots = independent(part, np.zeros((0, len(columns))))
        for row in sorted(set(range(len(part))) - set(pivots)):
            before = [k for k in pivots if k < row]
            weights, *_ = np.linalg.lstsq(part[before].T, part[row], rcond=None)
            large = np.abs(weights) > 1e-8 * max(np.abs(weights).max(initial=0.0), 1e-300)
            named = {int(rows[before[k]]): float(weights[k]) for k in np.flatnonzero(large)}
            repeats.append((int(rows[row]), named))
    return sorted(repeats)
