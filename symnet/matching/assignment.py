"""The best element of one set's group, given what it is worth to lay each neuron on each other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np
from scipy.optimize import linear_sum_assignment

from symnet.errors import TooLargeError
from symnet.graph import NeuronSet
from symnet.groups import Cyclic, Dihedral, Fixed, Generated, PermutationGroup, SignedSymmetric, Symmetric
from symnet.groups.permutation_groups import elements

LIMIT = 50_000  # elements that are tried one by one


def check_groups(neurons: Mapping[str, NeuronSet]) -> None:
    """Check that every group can be searched.

    Raises:
        TooLargeError: a group is no symmetric one and has too many elements to try them all.
    """
    for name, neuron_set in neurons.items():
        group = neuron_set.group
        if isinstance(group, Generated | Cyclic | Dihedral) and (order := group.order) > LIMIT:
            raise TooLargeError(
                f"Neuron set '{name}' has a group of {order} elements, {group!r:.60}; align tries every element of such a "
                f"group, up to {LIMIT}. Hold the set with graph.with_groups({{'{name}': sn.Fixed({group.degree})}}), or split "
                "it into sets with sn.Symmetric if that is its symmetry."
            )


def best_element(group: PermutationGroup, plus: np.ndarray, minus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images and signs of the element of largest worth.

    Args:
        plus: ``(n, n)``, the worth of laying neuron j (column) on neuron i (row).
        minus: the same with the sign of neuron j turned; looked at for signed groups only.

    Returns:
        int64 ``(n,)`` images, ``j -> images[j]``, and int64 ``(n,)`` signs.

    Example:
        >>> images, signs = best_element(Symmetric(2), np.array([[0.0, 1.0], [2.0, 0.0]]), np.zeros((2, 2)))
        >>> images.tolist(), signs.tolist()
        ([1, 0], [1, 1])
    """
    n = group.degree
    ones = np.ones(n, dtype=np.int64)
    columns = np.arange(n)
    match group:
        case Symmetric():
            return _assign(plus), ones
        case SignedSymmetric():
            images = _assign(np.maximum(plus, minus))
            return images, np.where(plus[images, columns] >= minus[images, columns], 1, -1)
        case Fixed():
            return columns, ones
        case Cyclic() | Dihedral() | Generated():
            tried = elements(group, LIMIT)
            return tried[plus[tried, columns].sum(1).argmax()], ones
        case _:
            assert_never(group)


def _assign(worth: np.ndarray) -> np.ndarray:
    columns = np.arange(len(worth))
    rows = worth.argmax(0)
    # Where every neuron has a place of its own that is best, no assignment is better.
    if np.bincount(rows, minlength=len(worth)).max(initial=0) > 1:
        rows, columns = linear_sum_assignment(worth, maximize=True)
    images = np.empty(len(worth), dtype=np.int64)
    images[columns] = rows
    return images
