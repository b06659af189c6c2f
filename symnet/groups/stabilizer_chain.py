"""Orders and uniform random elements of generated groups (Schreier-Sims, Sims 1970).

sympy has the algorithm; this file keeps one chain per set of generators and draws from it with
numpy. A uniform element is a product of one uniformly drawn coset representative per level of the
chain.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def _transversals(degree: int, generators: tuple[tuple[int, ...], ...]) -> tuple[np.ndarray, ...]:
    """Coset representatives of every level of a stabilizer chain,
    each int64 ``(orbit, degree)``.
    """
    if not generators:
        return ()
    from sympy.combinatorics import Permutation
    from sympy.combinatorics import PermutationGroup as SympyGroup

    group = SympyGroup([Permutation(list(g), size=degree) for g in generators])
    levels = []
    for transversal in group.basic_transversals:  # by Schreier-Sims
        representatives = [
            np.array(p.array_form + list(range(p.size, degree))) for p in transversal.values()
        ]
        levels.append(np.stack(representatives))
    return tuple(levels)


def chain_order(degree: int, generators: tuple[tuple[int, ...], ...]) -> int:
    """Order of the generated group: the product of the basic orbits' sizes."""
    return math.prod(len(level) for level in _transversals(degree, generators))


def random_elements(
    degree: int, generators: tuple[tuple[int, ...], ...], rng: np.random.Generator, count: int
) -> np.ndarray:
    """Uniform elements, int64 ``(count, degree)``."""
    result = np.tile(np.arange(degree), (count, 1))
    # g = u_1 u_2 ... u_k with u_1 from the outermost level: apply the innermost first.
    for level in reversed(_transversals(degree, generators)):
        chosen = level[rng.integers(len(level), size=count)]
        result = np.take_along_axis(chosen, result, axis=1)
    return result
