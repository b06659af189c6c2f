"""Ranks with a margin, what completes a family of vectors to a basis, and which of its members repeat others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from symnet.errors import VerificationError

_ZERO, _SAFE = (
    1e-10,
    1e-7,
)  # parts of the largest singular value: below is rounding, above is counted, between decides nothing


class Rank(NamedTuple):
    """A rank, and the smallest singular value counted over the largest not counted (infinite if all are counted)."""

    rank: int
    margin: float


def rank_of(rows: np.ndarray) -> Rank:
    """Rank of a matrix whose rows are scaled to length one first.

    Raises:
        VerificationError: a singular value is neither clearly zero nor clearly not.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not rows.size:
        return Rank(0, np.inf)
    values = np.linalg.svd(rows, compute_uv=False)
    rank = int((values > _ZERO * values[0]).sum())
    if values[rank - 1] < _SAFE * values[0]:
        raise VerificationError(
            f"The rank cannot be decided: a singular value is {values[rank - 1] / values[0]:.1g} of the largest, too large for "
            f"rounding ({_ZERO:.0g}) and too small to count ({_SAFE:.0g}). Is the layer computed in float32 inside?"
        )
    if rank == len(values):
        return Rank(rank, np.inf)
    # What is exactly zero counts as one rounding error.
    return Rank(rank, float(values[rank - 1] / max(values[rank], 1e-17 * values[0])))


def independent(rows: Iterable[np.ndarray], basis: list[np.ndarray]) -> list[int]:
    """Rows that enlarge the span, in order; ``basis``, orthonormal vectors of the span so far, grows by them."""
    found = []
    for number, row in enumerate(rows):
        length = np.linalg.norm(row)
        rest = row
        for _ in range(2):  # twice is enough (Kahan)
            if basis:
                known = np.array(basis)
                rest = rest - known.T @ (known @ rest)
        if length and np.linalg.norm(rest) > 1e-8 * length:
            basis.append(rest / np.linalg.norm(rest))
            found.append(number)
    return found


def complement(family: np.ndarray, candidates: np.ndarray, rank: int) -> list[int]:
    """Numbers of candidates that complete the span of a family of this rank to everything; as few as possible."""
    if rank == candidates.shape[1]:
        return []
    _, _, right = np.linalg.svd(family, full_matrices=False)
    return independent(candidates, list(right[:rank]))


def dependencies(family: np.ndarray, rank: int) -> list[tuple[int, dict[int, float]]]:
    """For every row that earlier rows express, its number and their weights (those that are not zero)."""
    if rank == len(family):
        return []
    pivots = independent(family, [])
    found: list[tuple[int, dict[int, float]]] = []
    for row in sorted(set(range(len(family))) - set(pivots)):
        before = [k for k in pivots if k < row]
        if not before:
            found.append((row, {}))
            continue
        weights, *_ = np.linalg.lstsq(family[before].T, family[row], rcond=None)
        large = np.abs(weights) > 1e-8 * max(np.abs(weights).max(), 1e-300)
        found.append((row, {before[k]: float(weights[k]) for k in np.flatnonzero(large)}))
    return found
