"""Initial coefficients keep every component of the features at its variance: drawn for centred means, then written for plain ones.

Means overlap: a total mean is part of every row mean, and that of the entries. Independent coefficients for them would let means grow with depth.
Split instead ``x_i = (x_i - mean) + mean``: the two parts are uncorrelated. If ``y = alpha (x - mean) + beta mean`` with independent
``alpha``, ``beta`` of variance ``1/c`` (``c`` input channels), both parts keep their variance. In the layer's own terms ``y = a x + b mean``, so

    a = alpha,  b = beta - alpha:     Var a = 1/c,  Var b = 2/c,  Cov(a, b) = -1/c.

Independent entries of variance 1 put ``1 - 1/n`` of it into the centred part and ``1/n`` into the mean. A layer is made for features whose parts
have variances in proportion to the square roots of these, summing to 1: between "means vanish in wide sets" and "means count as much as entries". A
matrix has the products over its two sets. Where several inputs reach one part (a bias and a weight's column means live on the same
neurons), the variance is divided by the sum of what arrives.
"""

from __future__ import annotations

import itertools

import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, close

N, M, C = sp.symbols("n m c", positive=True)
CHANNELS, ROWS, COLUMNS = 160, 4, 3


def parts_of(size: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """What independent entries put into the centred part and into the mean of one set."""
    return 1 - 1 / size, 1 / size


def assumed(sizes: tuple[sp.Expr, ...]) -> dict[tuple[int, ...], sp.Expr]:
    """The variance of every part (0: centred, 1: mean, one for each set) in features that a layer is made for."""
    places = list(itertools.product((0, 1), repeat=len(sizes)))
    roots = {
        place: sp.sqrt(sp.prod([parts_of(n)[p] for n, p in zip(sizes, place, strict=True)]))
        for place in places
    }
    total = sum(roots.values())
    return {place: root / total for place, root in roots.items()}


def derive() -> dict[str, sp.Basic]:
    """Moments of a set layer's coefficients, and the variances of a weight's and a bias' responses."""
    one = 1 / C  # of alpha, and of beta
    weight, bias = assumed((N, M)), assumed((M,))
    # Component -> (of the weight's response to itself, of the weight's response to the bias).
    results: dict[str, sp.Basic] = {
        "Var a": one,
        "Var b": one + one,
        "Cov(a, b)": 0 * one - one,
        "parts of a matrix sum to": sp.simplify(
            sum(sp.prod([parts_of(N)[i], parts_of(M)[j]]) for i, j in weight)
        ),
    }
    for (row, column), variance in weight.items():
        arrives = variance + (bias[column,] if row == 1 else 0)
        results[f"weight to weight {row}{column}"] = variance / (C * arrives)
        if row == 1:
            results[f"bias to weight {column}"] = variance / (C * arrives)
    return results


def check() -> list[str]:
    """Moments measured over 25,600 pairs of channels, on the dense twin's matrices."""
    results = derive()
    agree("independent entries: the parts sum to 1", results["parts of a matrix sum to"], 1)
    torch.manual_seed(0)
    graph = sn.NeuronGraph(
        {"h2": sn.Symmetric(ROWS), "h1": sn.Symmetric(COLUMNS)}, {"w": "h2 h1", "b": "h1"}
    )
    dense = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, CHANNELS, CHANNELS))
    sizes = {N: ROWS, M: COLUMNS, C: CHANNELS}
    rows, columns = (torch.stack([_centred(n), torch.ones(n)]) for n in (ROWS, COLUMNS))
    for row, column in itertools.product((0, 1), repeat=2):
        vector = torch.kron(rows[row], columns[column])
        found = _response(dense.matrix("w", "w"), vector, vector)
        close(
            f"weight to weight {row}{column}",
            results[f"weight to weight {row}{column}"].subs(sizes),
            found,
            0.06,
        )
        if row == 1:
            found = _response(dense.matrix("w", "b"), columns[column], vector)
            close(
                f"bias to weight {column}",
                results[f"bias to weight {column}"].subs(sizes),
                found,
                0.06,
            )
    return [
        "responses of a weight's four parts to itself and to a bias",
        _set_layer(results),
        _keeps_variance(),
    ]


def _centred(n: int) -> torch.Tensor:
    vector = torch.zeros(n)
    vector[0], vector[1] = 1.0, -1.0
    return vector


def _response(matrix: torch.Tensor, given: torch.Tensor, expected: torch.Tensor) -> float:
    """Variance, over channel pairs, of the factor by which ``given`` becomes ``expected``."""
    image = torch.einsum("stio,t->sio", matrix.detach(), given)
    return float(
        (torch.einsum("sio,s->io", image, expected) / expected.square().sum()).square().mean()
    )


def _set_layer(results: dict[str, sp.Basic]) -> str:
    graph = sn.NeuronGraph({"h": sn.Symmetric(5)}, {"x": "h"})
    matrix = (
        sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, CHANNELS, CHANNELS))
        .matrix("x", "x")
        .detach()
    )
    b = matrix[0, 1] * 5  # the mean's coefficient: off the diagonal only b/n stands
    a = matrix[0, 0] - matrix[0, 1]
    for name, found in (("Var a", a * a), ("Var b", b * b), ("Cov(a, b)", a * b)):
        close(name, results[name].subs(C, CHANNELS), float(found.mean()), 0.06)
    return "Var a = 1/c, Var b = 2/c, Cov(a, b) = -1/c for a layer on sets"


def _keeps_variance() -> str:
    """Features with the assumed variances come out with variance 1."""
    layer = sn.nn.Linear(sn.NeuronGraph({"h": sn.Symmetric(5)}, {"x": "h"}), CHANNELS, CHANNELS)
    centred, mean = (float(v.subs(N, 5)) for v in assumed((N,)).values())
    noise = torch.randn(200, 5, CHANNELS)
    noise -= noise.mean(1, keepdim=True)
    x = noise * (centred / (1 - 1 / 5)) ** 0.5 + torch.randn(200, 1, CHANNELS) * mean**0.5
    close(
        "variance of the outputs", 1.0, float(layer({"x": x})["x"].square().mean().detach()), 0.06
    )
    return "features of the assumed variances come out with variance 1"
