"""The orbits of index tuples are counted by Bell numbers, cut off where the set is too small, and Burnside's lemma agrees.

Under all permutations of ``n`` neurons two ``k``-tuples lie in one orbit exactly when the same positions hold equal neurons. A pattern with ``j``
different neurons has ``n (n-1) ... (n-j+1)`` tuples, and ``S(k, j)`` (Stirling, second kind) patterns have ``j``. So

    n^k = sum_j S(k, j) n (n-1) ... (n-j+1)          as polynomials,

and the number of orbits is ``sum_{j <= n} S(k, j)``: the Bell number once ``n >= k``, less below, as patterns with more than ``n``
different neurons are empty.

Burnside: the pairs ``(g, x)`` with ``g x = x`` are counted by ``sum_g fix(g)`` and by ``sum_x |stabiliser(x)| = sum_x |G| / |orbit(x)| = |G|
(number of orbits)``. On ``k``-tuples ``fix`` is the ``k``-th power of that on neurons, so the number of orbits is the mean of ``fix^k``.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from sympy.functions.combinatorial.numbers import stirling
from sympy.utilities.iterables import partitions

import symnet as sn
from derivations.evidence import agree, falling, holds

N = sp.Symbol("n", integer=True, nonnegative=True)
MOST = 4  # positions of a tuple


def derive() -> dict[str, sp.Basic]:
    """For every ``k`` the sizes of the orbits as polynomials, by number of different neurons, and how many of each there are."""
    results: dict[str, sp.Basic] = {}
    for k in range(1, MOST + 1):
        sizes = [falling(N, j) for j in range(1, k + 1)]
        patterns = [stirling(k, j) for j in range(1, k + 1)]
        total = sum(count * size for count, size in zip(patterns, sizes, strict=True))
        results[f"{k}-tuples: patterns by different neurons"] = sp.Tuple(*patterns)
        results[f"{k}-tuples: sizes of the orbits"] = sp.Tuple(*sizes)
        results[f"{k}-tuples: all together"] = sp.expand(total)
    return results


def mean_fixed(n: int, k: int) -> Fraction:
    """The mean of ``fix^k`` over all permutations of ``n`` neurons, one cycle type after another."""
    total = Fraction(0)
    for cycle_type in partitions(n) if n else [{}]:
        alike = math.prod(
            length**times * math.factorial(times) for length, times in cycle_type.items()
        )
        total += Fraction(
            cycle_type.get(1, 0) ** k, alike
        )  # one in `alike` permutations has this cycle type
    return total


def check() -> list[str]:
    """Orbits counted and measured in labels, for sets smaller and larger than the number of positions."""
    results = derive()
    facts = []
    for k in range(1, MOST + 1):
        holds(
            f"{k}-tuples: the orbits fill the space", results[f"{k}-tuples: all together"] == N**k
        )
        for n in range(1, 6):
            graph = sn.NeuronGraph({"h": sn.Symmetric(n)}, {})
            maps = sn.derive(
                graph,
                inputs={"x": " ".join(["h"] * (k // 2))},
                outputs={"y": " ".join(["h"] * (k - k // 2))},
            )
            patterns = results[f"{k}-tuples: patterns by different neurons"].args
            expected = sum(int(count) for count in patterns[:n])
            agree(f"{k}-tuples of {n} neurons: dimension", expected, maps.dimension)
            agree(f"{k}-tuples of {n} neurons: by Burnside", expected, maps.dimension_by_burnside)
            agree(
                f"{k}-tuples of {n} neurons: mean of fix^{k}", Fraction(expected), mean_fixed(n, k)
            )
            sizes = results[f"{k}-tuples: sizes of the orbits"].args
            derived = sorted(
                int(size.subs(N, n))
                for size, count in zip(sizes[:n], patterns, strict=False)
                for _ in range(count)
            )
            found = sorted(np.bincount(maps.between("y", "x").labels().reshape(-1)).tolist())
            agree(f"{k}-tuples of {n} neurons: sizes of the orbits", derived, found)
        facts.append(
            f"{k}-tuples: {sp.bell(k)} orbits once n >= {k}; sizes and counts agree for n = 1 to 5, Burnside included"
        )
    return facts
