"""Diagrams and orbits are two bases of the same maps; the change between them is unitriangular, so nothing is lost or doubled.

An orbit's indicator asks for equalities *and* inequalities, a diagram ``D_pi`` only for the equalities of the partition ``pi``: ``D_pi`` is the sum of
the orbits of all partitions coarser than or equal to ``pi``. With partitions in order of their number of blocks the matrix ``Z`` of this change is
triangular with ones on its diagonal. Its inverse holds the Moebius function of the partition lattice: from the finest of 4 indices to the
coarsest, ``(-1)^3 3! = -6``. When the set has only ``n`` neurons, partitions of more than ``n`` blocks have no orbit; the diagrams with at most ``n`` blocks are
still unitriangular over the orbits that are left. Keeping every diagram would give 15 matrices of rank 8 for ``n = 2``.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.utilities.iterables import multiset_partitions

import symnet as sn
from derivations.evidence import agree, holds, matrix_of
from derivations.sets_and_graphs import INDICES, pattern

Blocks = list[list[sp.Symbol]]


def partitions() -> list[Blocks]:
    """All partitions of four indices, the coarsest first."""
    return sorted(multiset_partitions(list(INDICES)), key=len)


def is_coarser(one: Blocks, other: Blocks) -> bool:
    """Whether every block of ``other`` lies in a block of ``one``."""
    return all(any(set(block) <= set(large) for large in one) for block in other)


def derive() -> dict[str, sp.Basic]:
    """The change of basis, its inverse, and the largest entry of that by the Moebius function."""
    found = partitions()
    change = sp.Matrix(len(found), len(found), lambda a, b: int(is_coarser(found[b], found[a])))
    finest_to_coarsest = -sp.factorial(3)
    return {
        "change": sp.ImmutableMatrix(change),
        "inverse": sp.ImmutableMatrix(change.inv()),
        "from the finest to the coarsest": finest_to_coarsest,
    }


def check() -> list[str]:
    """The derived change carries symnet's orbits to diagrams, for sets of 2 to 4 neurons; the plan's basis is complete."""
    results = derive()
    change, inverse = results["change"], results["inverse"]
    facts = [
        holds(
            "ones on the diagonal, zeros above",
            change.is_lower and all(change[k, k] == 1 for k in range(15)),
        )
    ]
    facts.append(
        agree(
            "the Moebius function at its largest is -6",
            results["from the finest to the coarsest"],
            inverse[14, 0],
        )
    )
    for n in (2, 3, 4):
        sharing = sn.derive(sn.NeuronGraph({"h": sn.Symmetric(n)}, {"w": "h h"})).between("w", "w")
        kept = [k for k, blocks in enumerate(partitions()) if len(blocks) <= n]
        diagrams = [
            matrix_of(pattern(blocks), dict.fromkeys(INDICES[:2], n), dict.fromkeys(INDICES[2:], n))
            for blocks in partitions()
        ]
        # Inverting the change must give the 0/1 matrices of the labels.
        part = np.array(inverse.extract(kept, kept).tolist(), dtype=float)
        orbits = np.tensordot(part, np.array([diagrams[k] for k in kept], dtype=float), 1)
        labels = sharing.labels()
        ours = {tuple(orbit.reshape(-1)) for orbit in orbits}
        theirs = {tuple((labels == k).reshape(-1).astype(float)) for k in range(sharing.dimension)}
        agree(f"{n} neurons: orbits from diagrams", theirs, ours)
        rank = int(
            np.linalg.matrix_rank(
                np.array([matrix.reshape(-1) for matrix in diagrams], dtype=float)
            )
        )
        agree(f"{n} neurons: rank of all 15 diagrams", rank, sharing.dimension)
        agree(f"{n} neurons: diagrams that symnet keeps", len(kept), len(sharing.diagrams))
        facts.append(
            f"{n} neurons: {len(kept)} diagrams, unitriangular over {sharing.dimension} orbits; all 15 have rank {rank}"
        )
    return facts
