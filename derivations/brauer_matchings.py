"""Rotations allow perfect matchings (Brauer 1937), and with few neurons these depend on each other.

``A A^T = 1`` is what contracts two strands, and nothing else does: invariants of O(n) are combinations of products of Kronecker deltas,
one for each pair of a perfect matching. The inner product of two matchings is n to the number of loops that they form together. The
determinant of these inner products says for which n matchings are independent; its zeros are whole numbers below the number of pairs. There
a basis is left by the matchings which, as involutions, have no increasing subsequence longer than n.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import sympy as sp

import symnet as sn
from derivations.evidence import agree
from symnet.groups.block_rules import longest_increasing

N = sp.symbols("n", positive=True)
Matching = tuple[tuple[int, int], ...]


def derive() -> dict[str, sp.Basic]:
    """The determinant for four strands, and the ranks for four and six strands at n = 1, 2, 3."""
    four, six = gram(list(matchings(range(4)))), gram(list(matchings(range(6))))
    return {
        "determinant for four strands": sp.factor(four.det()),
        "ranks for four strands, n = 1, 2, 3": sp.Tuple(
            *(four.subs(N, n).rank() for n in (1, 2, 3))
        ),
        "ranks for six strands, n = 1, 2, 3": sp.Tuple(*(six.subs(N, n).rank() for n in (1, 2, 3))),
    }


def matchings(points: range | tuple[int, ...]) -> Iterator[Matching]:
    """All perfect matchings of some points."""
    if not points:
        yield ()
        return
    first, rest = points[0], tuple(points[1:])
    for partner in rest:
        for others in matchings(tuple(p for p in rest if p != partner)):
            yield ((first, partner), *others)


def gram(diagrams: list[Matching]) -> sp.Matrix:
    """Inner products: n to the number of loops of two matchings laid on one another."""
    return sp.Matrix(
        len(diagrams), len(diagrams), lambda i, j: N ** loops(diagrams[i], diagrams[j])
    )


def loops(first: Matching, second: Matching) -> int:
    """Number of connected components of two matchings together."""
    component = {point: point for pair in first for point in pair}
    for a, b in (*first, *second):
        old, new = component[a], component[b]
        component = {point: new if c == old else c for point, c in component.items()}
    return len(set(component.values()))


def check() -> list[str]:
    """Against symnet's dimensions, and against the rule which matchings are kept."""
    results = derive()
    agree(
        "determinant",
        sp.expand(N**3 * (N - 1) ** 2 * (N + 2)),
        sp.expand(results["determinant for four strands"]),
    )
    for strands in (4, 6):
        ranks = results[f"ranks for {'four' if strands == 4 else 'six'} strands, n = 1, 2, 3"]
        for n, rank in zip((1, 2, 3), ranks, strict=True):
            kept = [m for m in matchings(range(strands)) if longest_increasing(_images(m)) <= n]
            agree(f"kept for O({n})", int(rank), len(kept))
            agree("the kept ones are independent", int(rank), gram(kept).subs(N, n).rank())
            graph = sn.NeuronGraph({"m": sn.Orthogonal(n)}, {})
            maps = sn.derive(graph, inputs={"x": " ".join("m" * strands)}, outputs={"y": ""})
            agree(f"O({n})", (int(rank),) * 2, (maps.dimension, maps.dimension_by_burnside))
    return [
        "n^3 (n - 1)^2 (n + 2): dependent for n = 1 alone",
        "O(1), O(2), O(3) on four and six strands",
        "the kept matchings",
    ]


def _images(matching: Matching) -> list[int]:
    partner = {a: b for pair in matching for a, b in itertools.permutations(pair)}
    return [partner[point] for point in sorted(partner)]
