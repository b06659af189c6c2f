"""Convolution is weight tying along rotations: what commutes with the shift is circulant, and the Fourier vectors diagonalise it.

With the shift ``S`` of ``n`` positions on a ring, ``S M = M S`` makes ``M[i, j]`` depend on ``i - j`` alone: ``M = sum_d c_d S^d``, a convolution
with the filter ``c``, one free number for each distance. Its eigenvectors are the powers of a root of unity. With reflections as well (the dihedral
group) the distances ``d`` and ``-d`` are one: a symmetric filter, ``floor(n/2) + 1`` numbers.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, holds
from derivations.orbits_are_ties import permutation_matrix

SIZE = 4
N = sp.Symbol("n")


def shift(n: int) -> sp.Matrix:
    """The matrix that moves every entry one position on."""
    return permutation_matrix([*range(1, n), 0])


def derive() -> dict[str, sp.Basic]:
    """All matrices that commute with the shift, written by their first column; the eigenvalues; counts with reflections."""
    n, s = SIZE, shift(SIZE)
    unknown = sp.Matrix(n, n, sp.symbols(f"m:{n * n}"))
    c = sp.symbols(f"c:{n}")
    solved = sp.solve(
        [*(s * unknown - unknown * s), *(unknown[i, 0] - c[i] for i in range(n))],
        list(unknown),
        dict=True,
    )[0]
    matrix = unknown.subs(solved)
    root = sp.exp(2 * sp.pi * sp.I / n)
    fourier = sp.Matrix(n, n, lambda i, k: root ** (-i * k))
    eigenvalues = [sp.expand(sum(c[d] * root ** (d * k) for d in range(n))) for k in range(n)]
    residue = sp.simplify(sp.expand(matrix * fourier - fourier * sp.diag(*eigenvalues)))
    # Burnside, for n > 2: the identity fixes n^2 pairs, other rotations none, a reflection
    # the square of its fixed points: one each for odd n; two or none, half of them each, for even n.
    odd = (N**2 + N * 1**2) / (2 * N)
    even = (N**2 + N / 2 * 2**2) / (2 * N)
    return {
        "commutes with the shift": sp.ImmutableMatrix(matrix),
        "M F - F diag(eigenvalues)": sp.ImmutableMatrix(residue),
        "filters with reflections, n odd": sp.expand(odd),
        "filters with reflections, n even": sp.expand(even),
    }


def check() -> list[str]:
    """Labels of cyclic and dihedral sets; the derived layer is a circular convolution of its filter."""
    results = derive()
    matrix, c = results["commutes with the shift"], sp.symbols(f"c:{SIZE}")
    labels = (
        sn.derive(sn.NeuronGraph({"x": sn.Cyclic(SIZE)}, {"v": "x"})).between("v", "v").labels()
    )
    order = [int(labels[i, 0]) for i in range(SIZE)]
    numbered = np.array([[order[c.index(matrix[i, j])] for j in range(SIZE)] for i in range(SIZE)])
    facts = [agree("the solved matrix has symnet's labels", numbered, labels)]
    facts.append(
        holds(
            "the Fourier vectors are eigenvectors of every such matrix",
            results["M F - F diag(eigenvalues)"] == sp.zeros(SIZE),
        )
    )
    for n in range(3, 9):
        reflected = int(
            results[f"filters with reflections, n {'odd' if n % 2 else 'even'}"].subs(N, n)
        )
        counts = [
            sn.derive(sn.NeuronGraph({"x": kind(n)}, {"v": "x"})).dimension
            for kind in (sn.Cyclic, sn.Dihedral)
        ]
        agree(f"{n} positions: filters without and with reflections", [n, reflected], counts)
    facts.append("n filters for rotations, floor(n/2) + 1 with reflections, for n = 3 to 8")
    facts.append(_layer_is_convolution())
    return facts


def _layer_is_convolution() -> str:
    torch.manual_seed(0)
    layer = sn.nn.Linear(sn.NeuronGraph({"x": sn.Cyclic(7)}, {"v": "x"}), 1, 1, bias=False).double()
    unit, x = torch.zeros(1, 7, 1).double(), torch.randn(1, 7, 1).double()
    unit[0, 0] = 1
    filter_, signal = (t.reshape(-1).detach() for t in (layer({"v": unit})["v"], x))
    convolved = torch.fft.ifft(torch.fft.fft(filter_) * torch.fft.fft(signal)).real
    return holds(
        "the layer is a product in Fourier space",
        torch.allclose(convolved, layer({"v": x})["v"].reshape(-1)),
    )
