"""Rotary embeddings leave queries and keys one complex number for each plane, where all invertible
maps would pass without them.

The score of a query at position m and a key at position n is ``q^T R(n - m) k``. Moving queries by
A and keys by B keeps it at all positions exactly if ``A^T R + R B = 0`` for every rotation R that
occurs. In a plane that turns, A is ``x I + y J``, with J the turn by a right angle: multiplication
by ``x + i y``; keys are divided by it: B is ``-x I + y J``. Planes of different frequencies do not
mix, so two planes leave 4 dimensions of 16; at a single position nothing turns, and all 16 seem to
be there. The solver of ``sn.verify`` finds the same numbers from derivatives alone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import sympy as sp
import torch
from torch import Tensor, nn

import symnet as sn
from derivations.evidence import agree, holds


def derive() -> dict[str, sp.Basic]:
    """The maps of queries and keys of two planes, and their dimension with and without turns."""
    c, s, d, t = sp.symbols("c s d t")
    a, b = sp.Matrix(4, 4, sp.symbols("a:16")), sp.Matrix(4, 4, sp.symbols("b:16"))
    unknowns = [*a, *b]
    turns = sp.Matrix([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, d, -t], [0, 0, t, d]])

    def solve(rotation: sp.Matrix, letters: list[sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
        # The entries are linear in cosines and sines, which are independent functions of the
        # position.
        entries = [sp.expand(entry) for entry in a.T * rotation + rotation * b]
        equations = (
            [entry.coeff(letter) for entry in entries for letter in letters] if letters else entries
        )
        return sp.solve(equations, unknowns, dict=True)[0]

    turning, still = solve(turns, [c, s, d, t]), solve(sp.eye(4), [])
    return {
        "queries": sp.ImmutableMatrix(a.subs(turning)),
        "keys": sp.ImmutableMatrix(b.subs(turning)),
        "dimension": sp.Integer(len(unknowns) - len(turning)),
        "dimension at one position": sp.Integer(len(unknowns) - len(still)),
    }


class Scores(nn.Module):
    """Scores of queries and keys of width 4, planes (0, 1) and (2, 3) turned by position; at
    ``positions`` of the inputs only.
    """

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.q, self.k = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, : self.positions]
        return self.turned(self.q(x)) @ self.turned(self.k(x)).mT

    def turned(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[1]).to(x)[:, None] * torch.tensor([1.0, 0.3]).to(x)
        first, second = x.unflatten(-1, (2, 2)).unbind(-1)
        return torch.stack(
            [
                first * angle.cos() - second * angle.sin(),
                first * angle.sin() + second * angle.cos(),
            ],
            -1,
        ).flatten(2)


@lru_cache
def found(positions: int) -> sn.verify.LieAlgebra:
    torch.manual_seed(0)
    return sn.verify.lie_algebra(Scores(positions), torch.randn(4, 5, 3))


def check() -> list[str]:
    """Dimensions, the planes that the solver names, and that a derived element is one of the
    algebra.
    """
    results = derive()
    facts = [
        agree("4 dimensions of two planes", int(results["dimension"]), found(5).dimension),
        agree("16 at one position", int(results["dimension at one position"]), found(1).dimension),
    ]
    queries, keys = results["queries"], results["keys"]
    free = sorted(queries.free_symbols | keys.free_symbols, key=str)
    numbers = dict(zip(free, [1.0, 0.5, -0.7, 2.0], strict=True))
    element = {
        (name, 0): np.array(matrix.subs(numbers), dtype=float)
        for name, matrix in (("q.weight", queries), ("k.weight", keys))
    }
    facts.append(
        holds("the derived maps keep the scores at all positions", found(5).holds(element))
    )
    planes = [
        piece.positions for piece in sn.verify.pieces_of(found(5)) if piece.kind == "rotary plane"
    ]
    return [*facts, agree("the planes are those that turn", [(0, 1), (2, 3)], sorted(planes))]
