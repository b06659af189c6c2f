"""The product of the weights along a network is an invariant that no linear layer sees, and it is what the network computes to first order.

For ``f(x) = W2 s(W1 x)`` with permuted hidden neurons the linear invariants are the means of the columns of ``W1`` and of the rows of ``W2``. Two networks
can agree in all of them, and even in the values that their weights take tensor by tensor, and differ in ``W2 W1``. Bilinear in the two
tensors there are two invariants for each output and input: the sum over the neurons of the products, and the product of the sums; only
the first is connected. Where ``s`` has slope 1 at zero the derivative of ``f`` at zero is ``W2 W1``; of a ReLU network the odd part
``f(x) - f(-x)`` is ``W2 W1 x``, exactly and everywhere, since ``relu(t) - relu(-t) = t``.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, bell_of, holds

N = 3
W1 = sp.Matrix(N, 2, lambda i, j: sp.Symbol(f"a{i}{j}", real=True))
W2 = sp.Matrix(2, N, lambda i, j: sp.Symbol(f"b{i}{j}", real=True))
X = sp.Matrix(2, 1, sp.symbols("x y", real=True))


def network(s: sp.FunctionClass) -> sp.Matrix:
    """Outputs of the network with an activation."""
    return W2 * (W1 * X).applyfunc(s)


def derive() -> dict[str, sp.Basic]:
    """Invariants of two networks that linear layers confuse; counts; derivatives at zero; the odd part of a ReLU network."""
    first = sp.ImmutableMatrix([1, -1]), sp.ImmutableMatrix([[1, -1]])
    second = first[0], sp.ImmutableMatrix([[-1, 1]])
    at_zero = network(sp.tanh).jacobian(X).subs(dict.fromkeys(X, 0))
    relu = network(lambda t: sp.Max(t, 0))
    odd = (relu - relu.subs({x: -x for x in X}, simultaneous=True)).applyfunc(
        lambda e: sp.simplify(e.rewrite(sp.Abs))
    )
    return {
        "linear invariants of both": sp.Tuple(
            *(sp.Tuple(sum(a), sum(b)) for a, b in (first, second))
        ),
        "products of both": sp.Tuple(*((b * a)[0] for a, b in (first, second))),
        "bilinear invariants for each output and input": bell_of(2),
        "connected ones": bell_of(2) - bell_of(1) * bell_of(1),
        "derivative of a tanh network at zero": sp.ImmutableMatrix(at_zero),
        "odd part of a ReLU network": sp.ImmutableMatrix(odd.applyfunc(sp.expand)),
    }


def check() -> list[str]:
    """``Pool`` confuses the two networks, ``PathProduct`` does not; counts, and values against sympy's."""
    results = derive()
    graph = sn.catalogue.mlp([1, 2, 1])
    sums, products = results["linear invariants of both"], results["products of both"]
    features = []
    for output in ([1.0, -1.0], [-1.0, 1.0]):
        features.append({name: torch.zeros(1, *shape, 1) for name, shape in graph.shapes.items()})
        features[-1]["0.weight"][0, :, 0, 0] = torch.tensor([1.0, -1.0])
        features[-1]["2.weight"][0, 0, :, 0] = torch.tensor(output)
    pooled = [sn.nn.Pool(graph)(x) for x in features]
    agree("their linear invariants are equal", sums[0], sums[1])
    facts = [
        holds("two networks with the same linear invariants, for Pool too", torch.equal(*pooled))
    ]
    path = [int(sn.nn.PathProduct(graph)(x)["out in"]) for x in features]
    facts.append(
        agree("and products 2 and -2, for PathProduct too", [int(p) for p in products], path)
    )
    torch.manual_seed(0)
    deep = torch.nn.Sequential(
        *(sn.nn.Linear(graph, 1 if k == 0 else 4, 4) for k in range(3)), sn.nn.Pool(graph)
    )
    one, other = (deep(x) for x in features)
    close = torch.allclose(one, other, atol=1e-6)
    facts.append(holds("three random linear layers confuse them", close))
    hidden = sn.NeuronGraph(
        {"in": sn.Fixed(2), "h": sn.Symmetric(N), "out": sn.Fixed(2)}, {"W1": "h in", "W2": "out h"}
    )
    every = sn.sharing.derive_bilinear(
        hidden, outputs={"z": ""}, pairs=[("W2", "W1")], diagrams="all"
    )
    connected = sn.sharing.derive_bilinear(hidden, outputs={"z": ""}, pairs=[("W2", "W1")])
    for name, maps in (
        ("bilinear invariants for each output and input", every),
        ("connected ones", connected),
    ):
        facts.append(agree(name, int(results[name]) * 4, maps.dimension))
    values = {symbol: k % 5 - 2 for k, symbol in enumerate([*W1, *W2])}
    x = {
        name: torch.tensor(np.array(matrix.subs(values), dtype=float))[None, ..., None]
        for name, matrix in (("W1", W1), ("W2", W2))
    }
    product = sn.nn.PathProduct(hidden)(x)["out in"][0, ..., 0].numpy().astype(int)
    derivative = results["derivative of a tanh network at zero"].subs(values)
    facts.append(
        agree("the derivative of a tanh network at zero", derivative, sp.ImmutableMatrix(product))
    )
    odd = results["odd part of a ReLU network"].jacobian(X).subs(values)
    facts.append(agree("the odd part of a ReLU network", odd, sp.ImmutableMatrix(product)))
    return facts
