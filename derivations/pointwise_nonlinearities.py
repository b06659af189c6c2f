"""A pointwise nonlinearity commutes with every permutation, with sign flips only if it is odd, and with rotations only if it is linear.

A permutation moves entries; applying ``f`` to each entry before or after the move is the same. A sign flip asks for ``f(-x) = -f(x)``. A rotation by an
angle with cosine ``c`` and sine ``s`` mixes two entries: ``f(c x - s y) = c f(x) - s f(y)`` for all ``x`` and ``y``. Differentiate by ``x`` and by ``y``: the right
side vanishes, the left is ``-c s f''``. So ``f'' = 0``, ``f`` is affine, and ``f(0) = (c - s) f(0)`` leaves no constant. That is why the symmetry of a network's
neurons is by permutations (and signs), although its linear layers alone would allow all invertible matrices.
"""

from __future__ import annotations

import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, holds

X, Y = sp.symbols("x y", real=True)
C, S = sp.Rational(3, 5), sp.Rational(4, 5)


def derive() -> dict[str, sp.Basic]:
    """The equation that a rotation asks for, for an unknown ``f``, for an affine one, and for three others."""
    f, slope, offset = sp.Function("f"), sp.Symbol("a"), sp.Symbol("b")

    def difference(function: sp.Lambda | sp.Function) -> sp.Expr:
        return function(C * X - S * Y) - (C * function(X) - S * function(Y))

    mixed = sp.diff(difference(f), X, Y).doit()
    affine = sp.expand(difference(sp.Lambda(X, slope * X + offset)))
    return {
        "derivative by x and y": sp.simplify(mixed),
        "of an affine f": affine,
        "of a cube": sp.expand(difference(sp.Lambda(X, X**3))),
        "oddness of tanh": sp.simplify(sp.tanh(-X) + sp.tanh(X)),
        "oddness of relu": sp.Max(0, -X) + sp.Max(0, X),
    }


def check() -> list[str]:
    """symnet's verifier on pointwise modules under permutations and signs; a network whose hidden layer is rotated."""
    results = derive()
    curvature = sp.Symbol("f''")
    second = results["derivative by x and y"].replace(
        lambda part: isinstance(part, sp.Subs), lambda part: curvature
    )
    agree(
        "the right side vanishes, and f'' is left with the factor -c s", -C * S * curvature, second
    )
    agree(
        "an affine f keeps its slope and loses its constant",
        (1 - C + S) * sp.Symbol("b"),
        results["of an affine f"],
    )
    holds("a cube does not commute with the rotation", results["of a cube"] != 0)
    permuted, signed = (
        sn.NeuronGraph({"h": kind(4)}, {"x": "h"}) for kind in (sn.Symmetric, sn.SignedSymmetric)
    )

    def commutes(module: torch.nn.Module, graph: sn.NeuronGraph) -> bool:
        return sn.verify.equivariance(sn.nn.Pointwise(module), graph, in_channels=1, seed=0).passed

    odd, other = torch.nn.Tanh(), torch.nn.ReLU()
    relu = [results["oddness of relu"].subs(X, value) for value in (-2, 3)]
    agree("relu(-x) + relu(x) is the absolute value", [2, 3], relu)
    facts = ["f(c x - s y) = c f(x) - s f(y) for all x, y leaves f(x) = a x"]
    facts.append(
        holds(
            "permutations: tanh and relu both commute",
            commutes(odd, permuted) and commutes(other, permuted),
        )
    )
    derived = results["oddness of tanh"] == 0, results["oddness of relu"] == 0
    facts.append(
        agree(
            "signs: tanh commutes, relu does not",
            derived,
            (commutes(odd, signed), commutes(other, signed)),
        )
    )
    changed = [
        rotation_changes(activation)
        for activation in (torch.nn.Identity(), torch.nn.Tanh(), torch.nn.ReLU())
    ]
    facts.append(
        agree(
            "a rotated hidden layer: no change without activations, a change with tanh and relu",
            [False, True, True],
            changed,
        )
    )
    return facts


def rotation_changes(activation: torch.nn.Module) -> bool:
    """Whether rotating two hidden neurons changes the function of a network."""
    generator = torch.Generator().manual_seed(0)
    first, second, x = (
        torch.randn(*shape, generator=generator).double() for shape in ((2, 3), (1, 2), (3, 50))
    )
    rotation = torch.tensor([[float(C), -float(S)], [float(S), float(C)]]).double()
    before = second @ activation(first @ x)
    after = second @ rotation.T @ activation(rotation @ first @ x)
    return not torch.allclose(before, after)
