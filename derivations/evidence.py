"""What the derivations share: comparisons that raise, counts of folded tensors, patterns written with Kronecker deltas."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

Tensors = Mapping[
    str, tuple[Sequence[str], Any]
]  # name -> (the neuron sets of its axes, how many channels are folded in)


class Disagreement(AssertionError):
    """A derivation and symnet say different things."""


def agree(what: str, derived: Any, found: Any) -> str:
    """A line for the record, if both are equal.

    Raises:
        Disagreement: they differ.
    """
    if isinstance(derived, np.ndarray) or isinstance(found, np.ndarray):
        same = np.array_equal(derived, found)
    else:
        same = bool(derived == found)
    if not same:
        raise Disagreement(f"{what}: derived {derived}, but symnet says {found}")
    return what


def close(what: str, derived: float, found: float, tolerance: float) -> str:
    """As ``agree``, for numbers that were measured; ``tolerance`` is relative."""
    if abs(float(derived) - found) > tolerance * abs(float(derived)):
        raise Disagreement(f"{what}: derived {float(derived):.4g}, but symnet gives {found:.4g}")
    return what


def holds(what: str, fact: bool) -> str:
    """As ``agree``, for a statement."""
    return agree(what, True, bool(fact))


def bell_of(k: int) -> sp.Expr:
    """Number of equality patterns of ``k`` indices into one set that is large enough."""
    return sp.bell(k)


def count_maps(tensors: Tensors) -> sp.Expr:
    """The number of equivariant maps from some tensors to themselves, pair by pair.

    A pair has one map for each equality pattern of each set's occurrences in both, and each of them once for every
    pair of folded channels.
    """
    total = sp.Integer(0)
    for (sets, channels), (other_sets, other_channels) in itertools.product(
        tensors.values(), repeat=2
    ):
        occurrences = Counter([*sets, *other_sets])
        total += channels * other_channels * sp.prod([bell_of(k) for k in occurrences.values()])
    return sp.expand(total)


def matrix_of(
    pattern: sp.Expr, rows: Mapping[sp.Symbol, int], columns: Mapping[sp.Symbol, int]
) -> np.ndarray:
    """The 0/1 matrix whose entries a product of Kronecker deltas gives, rows and columns in row-major order."""
    index = [*rows, *columns]
    value = sp.lambdify(
        index, pattern, modules=[{"KroneckerDelta": lambda a, b: int(a == b)}, "numpy"]
    )
    entries = [
        value(*place)
        for place in itertools.product(*map(range, [*rows.values(), *columns.values()]))
    ]
    return np.array(entries).reshape(int(np.prod([*rows.values(), 1])), -1)


def same_span(what: str, matrices: Sequence[np.ndarray], labels: np.ndarray) -> str:
    """That matrices are a basis of all matrices which are constant on the orbits of ``labels`` (and zero where it is -1).

    Raises:
        Disagreement: a matrix differs within an orbit, some repeat each other, or some are missing.
    """
    dimension = int(labels.max(initial=-1)) + 1
    orbits = np.array([(labels == k).reshape(-1) for k in range(dimension)], dtype=float)
    ours = np.array([matrix.reshape(-1) for matrix in matrices], dtype=float)
    ranks = [int(np.linalg.matrix_rank(rows)) for rows in (ours, orbits, np.vstack([ours, orbits]))]
    agree(
        f"{what}: ranks of ours, the orbits, and both",
        (len(matrices), dimension, dimension),
        tuple(ranks),
    )
    return what


def falling(n: sp.Expr, j: int) -> sp.Expr:
    """``n (n-1) ... (n-j+1)``: the number of ways to choose ``j`` different neurons in order."""
    return sp.expand(sp.prod([n - i for i in range(j)]))
