"""Small moves tried one by one: for sets that a tensor has twice,
where linear assignment only guesses.

Matching such a set is a quadratic assignment problem; exchanging pairs is its classical local
search (2-opt).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from symnet.graph import GroupElement
from symnet.graph.elements import identity_element, image_shapes
from symnet.groups import SignedSymmetric, Symmetric
from symnet.groups.permutation_groups import elements
from symnet.matching.alignment_problem import AlignmentProblem

FEW = 720  # elements of a group without signs that are all tried
PAIRS = 64  # neurons up to which all pairs are tried


def best_exchange(problem: AlignmentProblem, name: str) -> GroupElement:
    """The small move of one set, with no change inside its neurons, that
    gains most; the identity if none does.
    """
    best, worth = identity_element(problem.neurons), problem.value
    for element in _small_moves(problem, name):
        value = problem.moved(element).value
        if value > worth:
            best, worth = element, value
    return best


def _small_moves(problem: AlignmentProblem, name: str) -> Iterator[GroupElement]:
    group = problem.neurons[name].group
    shapes = image_shapes(problem.neurons)
    images = {x: np.broadcast_to(np.arange(shape[-1]), shape) for x, shape in shapes.items()}
    signs = np.ones(group.degree, dtype=np.int64)
    if not isinstance(group, SignedSymmetric) and group.order <= FEW:
        for permutation in elements(group):
            yield GroupElement(problem.neurons, images | {name: permutation})
        return
    if not isinstance(group, Symmetric | SignedSymmetric) or group.degree > PAIRS:
        return
    for i, j in combinations(range(group.degree), 2):
        swapped = images[name].copy()
        swapped[[i, j]] = j, i
        yield GroupElement(problem.neurons, images | {name: swapped})
    if isinstance(group, SignedSymmetric):
        for j in range(group.degree):
            flipped = signs.copy()
            flipped[j] = -1
            yield GroupElement(problem.neurons, images, {name: flipped})
