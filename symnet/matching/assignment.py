"""The best element of one set's group, given what it is worth to
lay each neuron on each other one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from scipy.optimize import linear_sum_assignment

from symnet.errors import GraphError, TooLargeError
from symnet.graph import NeuronSet
from symnet.groups import (
    Cyclic,
    Dihedral,
    Fixed,
    GeneralLinear,
    Generated,
    Group,
    Orthogonal,
    Scaled,
    SignedSymmetric,
    Symmetric,
    elements,
)

LIMIT = 50_000  # elements that are tried one by one


def check_groups(neurons: Mapping[str, NeuronSet]) -> None:
    """Check that every group can be searched.

    Raises:
        GraphError: a group mixes neurons by matrices that are no rotations.
        TooLargeError: a group is no symmetric one and has too many elements to try them all.
    """
    for name, neuron_set in neurons.items():
        group = neuron_set.group
        if isinstance(group, GeneralLinear):
            raise GraphError(
                "Neurons are matched one to one, up to scales, signs and rotations, but "
                f"{group!r} of '{name}' also stretches them. Bring both networks to a normal "
                f"form, or match with graph.with_groups({{'{name}': "
                f"sn.Symmetric({group.degree})}})."
            )
        if isinstance(group, Generated | Cyclic | Dihedral) and (order := group.order) > LIMIT:
            raise TooLargeError(
                f"Neuron set '{name}' has a group of {order} elements, {group!r:.60}; align "
                f"tries every element of such a group, up to {LIMIT}. Hold the set with "
                f"graph.with_groups({{'{name}': sn.Fixed({group.degree})}}), or split it into "
                "sets with sn.Symmetric if that is its symmetry."
            )


@dataclass(frozen=True, slots=True)
class Placement:
    """Where neurons are laid: images ``j -> images[j]``, signs, and for
    groups that mix neurons a matrix.
    """

    worth: float
    images: np.ndarray
    signs: np.ndarray
    matrix: np.ndarray | None = None


def best_element(group: Group, plus: np.ndarray, minus: np.ndarray) -> Placement:
    """The element of largest worth.

    Args:
        plus: ``(n, n)``, the worth of laying neuron j (column) on neuron i (row).
        minus: the same with the sign of neuron j turned; looked at for signed groups only.

    Example:
        >>> best = best_element(Symmetric(2), np.array([[0.0, 1.0], [2.0, 0.0]]), np.zeros((2, 2)))
        >>> best.images.tolist(), best.worth
        ([1, 0], 3.0)
    """
    ones, columns = np.ones(group.degree, dtype=np.int64), np.arange(group.degree)
    images, signs = columns, ones
    match group:
        case Symmetric():
            images = _assign(plus)
        case SignedSymmetric():
            images = _assign(np.maximum(plus, minus))
            signs = np.where(plus[images, columns] >= minus[images, columns], 1, -1)
        case Fixed():
            pass
        case Cyclic() | Dihedral() | Generated():
            tried = elements(group, LIMIT)
            images = tried[plus[tried, columns].sum(1).argmax()]
        case Orthogonal():
            matrix = _rotate(group, plus)
            return Placement(float((matrix * plus).sum()), columns, ones, matrix)
        case Scaled() | GeneralLinear():
            raise AssertionError(f"{group!r} is balanced, or refused by check_groups")
        case _:
            assert_never(group)
    worth = np.where(signs > 0, plus[images, columns], minus[images, columns]).sum()
    return Placement(float(worth), images, signs)


def _rotate(group: Orthogonal, worth: np.ndarray) -> np.ndarray:
    """The rotation of largest inner product: the orthogonal factor of the worth
    (Schönemann 1966, orthogonal Procrustes).
    """
    n = group.degree
    basis, still = np.eye(n), np.zeros((n, n))
    if group.fixes_mean:
        q, _ = np.linalg.qr(np.concatenate([np.ones((n, 1)), np.eye(n, n - 1)], axis=1))
        basis, still = q[:, 1:], np.full((n, n), 1 / n)
    left, _, right = np.linalg.svd(basis.T @ worth @ basis)
    rotation: np.ndarray = still + basis @ (left @ right) @ basis.T
    return rotation


def _assign(worth: np.ndarray) -> np.ndarray:
    columns = np.arange(len(worth))
    rows = worth.argmax(0)
    # Where every neuron has a place of its own that is best, no assignment is better.
    if np.bincount(rows, minlength=len(worth)).max(initial=0) > 1:
        rows, columns = linear_sum_assignment(worth, maximize=True)
    images = np.empty(len(worth), dtype=np.int64)
    images[columns] = rows
    return images
