"""Pooling by means is complete: every linear invariant of the weights is a combination of means over orbits of entries.

A linear function ``v . x`` is invariant when ``v . (g x) = v . x`` for all ``g``, so when ``v`` is constant on the orbits of single indices: one free number
an orbit, and the mean over each orbit is a basis. For a weight between two permuted sets that is one number, its total mean; with ``p`` fixed
inputs one for each; for a matrix with one set on both axes two, the mean of its diagonal and of everything. Nothing linear and invariant is lost by pooling.
(Nonlinear invariants are another matter: these come from the layers before.)
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

import symnet as sn
from derivations.evidence import agree, bell_of, holds
from derivations.orbits_are_ties import permutation_matrix

P, Q, L = sp.symbols("p q L", integer=True, positive=True)


def derive() -> dict[str, sp.Basic]:
    """Invariants of an MLP with fixed inputs and outputs, of a recurrent weight, and of one matrix by linear algebra."""
    n, m = 2, 3
    rows, columns = (
        permutation_matrix([1, 0]),
        (permutation_matrix([1, 0, 2]), permutation_matrix([1, 2, 0])),
    )
    moves = [
        sp.kronecker_product(rows, sp.eye(m)),
        *(sp.kronecker_product(sp.eye(n), c) for c in columns),
    ]
    equations = sp.Matrix.vstack(*(move.T - sp.eye(n * m) for move in moves))
    solutions = DomainMatrix.from_Matrix(equations).to_field().nullspace().to_Matrix()
    return {
        "of an MLP": P + (L - 1) + (L - 2) + Q + Q,  # W_1; inner biases; inner weights; W_L; b_L
        "of a recurrent weight": bell_of(2),
        "of a 2 x 3 matrix": sp.ImmutableMatrix(solutions),
    }


def check() -> list[str]:
    """Counts of ``Pool`` and of the derivation; the certificate says that the pool misses nothing."""
    results = derive()
    for layers, p, q in ((2, 1, 1), (3, 2, 1), (4, 3, 2)):
        graph = sn.catalogue.mlp([p, *range(2, layers + 1), q])
        expected = int(results["of an MLP"].subs({P: p, Q: q, L: layers}))
        agree(f"{layers} layers", expected, sn.nn.Pool(graph).dimension)
        agree(f"{layers} layers, derived", expected, sn.derive(graph, outputs={"z": ""}).dimension)
    facts = ["an MLP has p + 2 q + 2 L - 3 linear invariants, and Pool returns as many"]
    square = sn.NeuronGraph({"h": sn.Symmetric(4)}, {"w": "h h"})
    facts.append(
        agree(
            "a recurrent weight has 2",
            int(results["of a recurrent weight"]),
            sn.nn.Pool(square).dimension,
        )
    )
    solution = np.array(results["of a 2 x 3 matrix"].tolist(), dtype=float)
    holds(
        "the invariant of a 2 x 3 matrix is its total, up to scale",
        solution.shape == (1, 6) and np.ptp(solution) == 0,
    )
    graph = sn.catalogue.mlp([2, 3, 2])
    certificate = sn.verify.certify(sn.nn.Pool(graph), graph, seed=0)
    facts.append(holds("certified: invariant, complete, nothing twice", bool(certificate)))
    return facts
