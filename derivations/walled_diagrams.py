"""Invertible maps allow matchings of primal with dual strands: k! of them, of which pairs of standard tableaux are left.

A primal strand is multiplied by ``A``, a dual one by ``A^-T``: a primal and a dual strand contract to something invariant, two primal ones do not.
With k of each the diagrams are permutations, their inner products ``n^cycles``, and by Schur and Weyl the rank of these is
``sum f(shape)^2`` over the shapes of k boxes with at most n rows, f the number of standard tableaux, by hooks. Robinson and
Schensted's correspondence makes of a permutation a pair of tableaux whose number of rows is the longest decreasing subsequence: so
the permutations without one longer than n are as many, and they are independent.
"""

from __future__ import annotations

import itertools

import sympy as sp
from sympy.combinatorics import Permutation
from sympy.utilities.iterables import partitions

import symnet as sn
from derivations.evidence import agree
from symnet.groups.block_rules import longest_increasing
from symnet.sharing.matchings import tableaux

N = sp.symbols("n", positive=True)


def derive() -> dict[str, sp.Basic]:
    """The determinant for 2 + 2 strands, ranks for 3 + 3, and sums of squared numbers of tableaux."""
    return {
        "determinant for 2 + 2 strands": sp.factor(gram(_permutations(2)).det()),
        "ranks for 3 + 3 strands, n = 1, 2, 3": sp.Tuple(
            *(gram(_permutations(3)).subs(N, n).rank() for n in (1, 2, 3))
        ),
        "tableaux for 4 + 4 strands, n = 1, 2, 3, 4": sp.Tuple(
            *(tableaux_count(4, n) for n in (1, 2, 3, 4))
        ),
    }


def gram(diagrams: list[Permutation]) -> sp.Matrix:
    """Inner products of permutations as diagrams: n to the number of cycles of the quotient."""
    return sp.Matrix(
        len(diagrams), len(diagrams), lambda i, j: N ** (~diagrams[i] * diagrams[j]).cycles
    )


def tableaux_count(k: int, rows: int) -> int:
    """Sum of squares of the numbers of standard tableaux with k boxes in at most so many rows, each by its hooks."""
    total = 0
    for shape in partitions(k, m=rows):
        lengths = sorted(
            (length for length, times in shape.items() for _ in range(times)), reverse=True
        )
        columns = [sum(row > j for row in lengths) for j in range(lengths[0])]
        hooks = sp.prod(
            row - j + columns[j] - i - 1 for i, row in enumerate(lengths) for j in range(row)
        )
        agree("tableaux of a shape", int(sp.factorial(k) / hooks), tableaux(tuple(lengths)))
        total += int(sp.factorial(k) / hooks) ** 2
    return total


def check() -> list[str]:
    """Against symnet's dimensions, and against the permutations that are kept."""
    results = derive()
    agree(
        "determinant",
        sp.expand(N**2 * (N**2 - 1)),
        sp.expand(results["determinant for 2 + 2 strands"]),
    )
    for n, rank in zip((1, 2, 3), results["ranks for 3 + 3 strands, n = 1, 2, 3"], strict=True):
        kept = [
            p
            for p in _permutations(3)
            if longest_increasing([-image for image in p.array_form]) <= n
        ]
        agree(
            "kept",
            (int(rank),) * 3,
            (len(kept), gram(kept).subs(N, n).rank(), tableaux_count(3, n)),
        )
        agree(f"GL({n}) on 3 + 3 strands", int(rank), _dimension(n, 3))
    for n, count in zip(
        (1, 2, 3, 4), results["tableaux for 4 + 4 strands, n = 1, 2, 3, 4"], strict=True
    ):
        agree(f"GL({n}) on 4 + 4 strands", int(count), _dimension(n, 4))
    return [
        "n^2 (n^2 - 1): dependent for n = 1 alone",
        "1, 5, 6 permutations of three",
        "1, 14, 23, 24 of four",
        "tableaux by hooks",
    ]


def _permutations(k: int) -> list[Permutation]:
    return [Permutation(list(images)) for images in itertools.permutations(range(k))]


def _dimension(n: int, k: int) -> int:
    graph = sn.NeuronGraph({"r": sn.GeneralLinear(n)}, {})
    strands = " ".join("r" * k)
    maps = sn.derive(graph, inputs={"x": strands}, outputs={"y": strands})
    agree("by the mean of traces", maps.dimension, maps.dimension_by_burnside)
    return maps.dimension
