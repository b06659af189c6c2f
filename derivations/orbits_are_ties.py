"""A linear map commutes with a permutation group exactly when it is constant on the orbits of index pairs.

Source: Ravanbakhsh, Schneider, Poczos 2017 (arXiv 1702.08389), theorem on parameter sharing.

By hand, for two neurons that can be swapped: let ``M = [[a, b], [c, d]]`` and ``P`` the swap. ``P M`` is ``M`` with its rows
exchanged, ``M P`` with its columns exchanged; equal means ``a = d`` and ``b = c``. The two orbits of index pairs are
{(0,0), (1,1)} and {(0,1), (1,0)}: one letter each.

In general ``(P_g M P_h^-1)[g(i), h(j)] = M[i, j]``, so ``P_g M = M P_h`` says ``M[g(i), h(j)] = M[i, j]`` and nothing else. What holds for
the generators of a group holds for their products.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

import symnet as sn
from derivations.evidence import agree
from symnet.groups import PermutationGroup

# group on the rows and columns, with its generators (i -> image of i)
GROUPS: dict[str, tuple[PermutationGroup, list[list[int]]]] = {
    "Symmetric(3)": (sn.Symmetric(3), [[1, 0, 2], [1, 2, 0]]),
    "Cyclic(4)": (sn.Cyclic(4), [[1, 2, 3, 0]]),
    "Dihedral(5)": (sn.Dihedral(5), [[1, 2, 3, 4, 0], [0, 4, 3, 2, 1]]),
    "a swap beside a 3-cycle": (
        sn.Generated(5, [[1, 0, 2, 3, 4], [0, 1, 3, 4, 2]]),
        [[1, 0, 2, 3, 4], [0, 1, 3, 4, 2]],
    ),
}


def permutation_matrix(images: list[int]) -> sp.Matrix:
    """The matrix that carries the entry at ``i`` to ``images[i]``."""
    return sp.Matrix(len(images), len(images), lambda row, column: int(images[column] == row))


def commuting_matrices(generators: list[list[int]]) -> list[sp.Matrix]:
    """A basis of the matrices with ``P M - M P = 0`` for every generator, found by linear algebra alone."""
    n = len(generators[0])
    identity = sp.eye(n)
    # Row-major flattening turns P M into (P kron 1) m, and M P into (1 kron P^T) m.
    equations = [
        sp.kronecker_product(p, identity) - sp.kronecker_product(identity, p.T)
        for p in map(permutation_matrix, generators)
    ]
    null = DomainMatrix.from_Matrix(sp.Matrix.vstack(*equations)).to_field().nullspace().to_Matrix()
    return [sp.Matrix(n, n, list(null.row(k))) for k in range(null.rows)]


def derive() -> dict[str, sp.Basic]:
    """The two-neuron case solved for its letters, and the number of free entries for larger groups."""
    a, b, c, d = sp.symbols("a b c d")
    m, swap = sp.Matrix([[a, b], [c, d]]), permutation_matrix([1, 0])
    solution = sp.solve(list(swap * m - m * swap), [c, d], dict=True)[0]
    results: dict[str, sp.Basic] = {"two neurons": sp.ImmutableMatrix(m.subs(solution))}
    for name, (_, generators) in GROUPS.items():
        results[name] = sp.Integer(len(commuting_matrices(generators)))
    return results


def check() -> list[str]:
    """The solved letters are symnet's labels; the solutions of the linear system are constant on its orbits."""
    results = derive()
    two = sn.derive(sn.NeuronGraph({"h": sn.Symmetric(2)}, {"x": "h"})).between("x", "x").labels()
    letters = [sp.Symbol("a"), sp.Symbol("b")]
    facts = [
        agree(
            "two neurons: the same letter where the label is the same",
            results["two neurons"],
            sp.ImmutableMatrix(2, 2, [letters[k] for k in two.reshape(-1)]),
        )
    ]
    for name, (group, generators) in GROUPS.items():
        maps = sn.derive(sn.NeuronGraph({"h": group}, {"x": "h"}))
        labels = maps.between("x", "x").labels()
        agree(f"{name}: dimension", int(results[name]), maps.dimension)
        for matrix in commuting_matrices(generators):
            values = np.array(matrix.tolist(), dtype=float)
            spread = max(np.ptp(values[labels == k]) for k in range(maps.dimension))
            agree(f"{name}: entries of one orbit differ by", 0.0, spread)
        facts.append(
            f"{name}: {maps.dimension} orbits, as many as independent commuting matrices, each constant on every orbit"
        )
    return facts
