"""Odd activations allow sign flips too; a signed orbit that meets its own negative forces its weight to zero.

For ``tanh`` and ``sin``, ``f(-x) = -f(x)``: flipping the sign of a neuron's incoming weights and bias, and of its outgoing weights, changes nothing. Along an
axis the group is then that of signed permutations. Flipping neuron ``i`` alone, ``D M = M D`` gives ``M[i, j] = -M[i, j]`` for ``j != i``: only ``a I`` is left of
the two maps ``a I + b 11^T``. In general a pattern survives when every block has an even number of indices. An equivariant bias of an odd
tensor must vanish, and so must every mean over a hidden set. For an MLP of ``L >= 3`` layers with ``p`` inputs and ``q`` outputs held fixed,
``(p + 1)^2 + (L - 2) + (L - 3) + (q + 1)^2 + q^2`` maps are left.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch
from sympy.utilities.iterables import multiset_partitions

import symnet as sn
from derivations.evidence import agree, holds

P, Q, L = sp.symbols("p q L", integer=True, positive=True)


def derive() -> dict[str, sp.Basic]:
    """Commuting matrices and invariant vectors of two signed neurons; patterns of four indices; the maps of an MLP."""
    a, b, c, d, v, w = sp.symbols("a b c d v w")
    m, vector = sp.Matrix([[a, b], [c, d]]), sp.Matrix([v, w])
    swap, flip = sp.Matrix([[0, 1], [1, 0]]), sp.diag(-1, 1)
    solved = sp.solve([*(swap * m - m * swap), *(flip * m - m * flip)], [b, c, d], dict=True)[0]
    even = [p for p in multiset_partitions([0, 1, 2, 3]) if all(len(block) % 2 == 0 for block in p)]
    # Only tensors with the very same hidden sets are coupled: W_1 with b_1; inner weights and biases each alone;
    # b_(L-1) with W_L; b_L, which no sign moves, with itself.
    first, inner_weights, inner_biases = (P + 1) ** 2, L - 2, L - 3
    last, outputs = (Q + 1) ** 2, Q**2
    return {
        "matrices": sp.ImmutableMatrix(m.subs(solved)),
        "what a flip changes in a bias": sp.ImmutableMatrix(flip * vector - vector),
        "matrix to matrix, one set": sp.Integer(len(even)),
        "maps of an MLP": sp.expand(first + inner_weights + inner_biases + last + outputs),
    }


def check() -> list[str]:
    """Labels with forced zeros (-1), counts, biases, and networks with odd and other activations."""
    results = derive()
    neurons = {"h": sn.SignedSymmetric(2)}
    maps = sn.derive(sn.NeuronGraph(neurons, {"x": "h"}))
    labels = maps.between("x", "x").labels()
    zeros = np.array([[entry == 0 for entry in row] for row in results["matrices"].tolist()])
    facts = [agree("forced zeros of a vector's maps", zeros, labels == -1)]
    agree("the maps that are left", sp.Symbol("a") * sp.eye(2), results["matrices"])
    agree(
        "an equivariant bias: -2 v = 0",
        sp.Matrix([-2 * sp.Symbol("v"), 0]),
        results["what a flip changes in a bias"],
    )
    facts.append(agree("no bias is left", 0, maps.bias_dimension))
    square = sn.derive(sn.NeuronGraph({"h": sn.SignedSymmetric(3)}, {"w": "h h"}))
    facts.append(
        agree(
            "4 of 15 patterns are left", int(results["matrix to matrix, one set"]), square.dimension
        )
    )
    for p, q, layers in ((1, 1, 3), (3, 2, 3), (2, 3, 4), (2, 1, 5)):
        graph = signed(sn.catalogue.mlp([p, *range(2, layers + 1), q]))
        found = sn.derive(graph)
        expected = int(results["maps of an MLP"].subs({P: p, Q: q, L: layers}))
        agree(
            f"{layers} layers", (expected, expected), (found.dimension, found.dimension_by_burnside)
        )
    return [*facts, "maps of signed MLPs with 3 to 5 layers, Burnside included", *_networks()]


def signed(graph: sn.NeuronGraph) -> sn.NeuronGraph:
    """The same network with sign flips of its hidden neurons."""
    return graph.with_groups(
        {
            name: sn.SignedSymmetric(s.size)
            for name, s in graph.neurons.items()
            if name.startswith("h")
        }
    )


def _networks() -> list[str]:
    graph, x = signed(sn.catalogue.mlp([2, 4, 3, 1])), torch.randn(5, 2)

    def passes(activation: torch.nn.Module) -> bool:
        layers = [
            torch.nn.Linear(2, 4),
            activation,
            torch.nn.Linear(4, 3),
            activation,
            torch.nn.Linear(3, 1),
        ]
        return sn.verify.network(torch.nn.Sequential(*layers), graph, x, seed=0).passed

    return [
        holds("signs leave a tanh network's function unchanged", passes(torch.nn.Tanh())),
        holds("they change a ReLU network's, and 'verify' says so", not passes(torch.nn.ReLU())),
    ]
