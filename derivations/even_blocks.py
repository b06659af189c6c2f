"""Signs allow the partitions with even blocks: exp(cosh t - 1) counts them.

A diagram is a product of one factor for each block of a partition of the strands: 1 where all strands of the block hold one neuron. If
a neuron's sign turns, a block of b strands gives ``(-1)^b``; so it is invariant exactly if every block is even. Blocks of even size have the
exponential generating function ``cosh t - 1``, so partitions into j of them ``(cosh t - 1)^j / j!``, and all of them ``exp(cosh t - 1)``. With n neurons at
most n blocks can be told apart: the sum stops at j = n.
"""

from __future__ import annotations

import sympy as sp
from sympy.utilities.iterables import multiset_partitions

import symnet as sn
from derivations.evidence import agree

STRANDS = (0, 2, 4, 6, 8)


def derive() -> dict[str, sp.Basic]:
    """Partitions of k strands into even blocks, and those into at most n."""
    t = sp.symbols("t")
    blocks = sp.series(sp.cosh(t) - 1, t, 0, 9).removeO()

    def count(k: int, n: int) -> sp.Integer:
        total = sum(blocks**j / sp.factorial(j) for j in range(n + 1))
        return sp.expand(total).coeff(t, k) * sp.factorial(k)

    everything = sp.Tuple(*(count(k, 4) for k in STRANDS))
    few = sp.ImmutableMatrix(3, len(STRANDS), lambda i, j: count(STRANDS[j], i + 1))
    return {
        "even partitions of 0, 2, 4, 6, 8 strands": everything,
        "into at most 1, 2, 3 blocks": few,
    }


def check() -> list[str]:
    """Listed one by one, and derived by symnet for any number of neurons."""
    results = derive()
    free, few = (
        results["even partitions of 0, 2, 4, 6, 8 strands"],
        results["into at most 1, 2, 3 blocks"],
    )
    for k, expected in zip(STRANDS, free, strict=True):
        listed = list(multiset_partitions(list(range(k)))) if k else [[]]
        agree("listed", int(expected), sum(all(len(b) % 2 == 0 for b in p) for p in listed))
        agree("derived", int(expected), _dimension(8, k))
    for n in (1, 2, 3):
        for j, k in enumerate(STRANDS):
            agree(f"{n} neurons", int(few[n - 1, j]), _dimension(n, k))
    agree("an odd number of strands", 0, _dimension(4, 3))
    return [
        "even partitions, listed and derived",
        "with 1, 2, 3 neurons at most as many blocks",
        "none of odd size",
    ]


def _dimension(n: int, k: int) -> int:
    graph = sn.NeuronGraph({"h": sn.SignedSymmetric(n)}, {})
    maps = sn.derive(graph, inputs={"x": " ".join("h" * k)}, outputs={"y": ""})
    agree("by Burnside's lemma", maps.dimension, maps.dimension_by_burnside)
    return maps.dimension
