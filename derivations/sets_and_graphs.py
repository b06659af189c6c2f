"""Layers on sets have 2 maps and layers on graphs 15: special cases of equality patterns, not separate theories.

A set of ``n`` elements is a vector over one neuron set; its maps are ``a I + b 11^T`` (Zaheer et al. 2017, DeepSets). A graph's adjacency matrix
carries the same set on both axes; a map from matrices to matrices has four indices and so ``Bell(4) = 15`` patterns (Maron et al. 2019), 2 biases,
2 invariants (the mean of the diagonal and that of everything), and 5 maps to or from vectors. With 2 or 3 nodes some patterns are empty: 8 and 14 are left.
"""

from __future__ import annotations

import sympy as sp
from sympy.functions.combinatorial.numbers import stirling
from sympy.utilities.iterables import multiset_partitions

import symnet as sn
from derivations.evidence import agree, matrix_of, same_span

INDICES = sp.symbols("i j k l", integer=True)


def pattern(blocks: list[list[sp.Symbol]]) -> sp.Expr:
    """The product of deltas that asks for the equalities of a partition of the indices."""
    return sp.prod(
        [
            sp.KroneckerDelta(a, b)
            for block in blocks
            for a, b in zip(block, block[1:], strict=False)
        ]
    )


def derive() -> dict[str, sp.Basic]:
    """The maps as products of deltas: ``y_i = sum_j M_ij x_j``, and ``Y_ij = sum_kl M_ijkl X_kl``."""
    i, j, k, l = INDICES  # noqa: E741
    parts = {
        count: [pattern(p) for p in multiset_partitions([i, j, k, l][:count])]
        for count in (2, 3, 4)
    }
    return {
        "set to set": sp.Tuple(*parts[2]),
        "set to graph, graph to set": sp.Tuple(*parts[3]),
        "graph to graph": sp.Tuple(*parts[4]),
        "left with 2 nodes": sp.bell(4) - stirling(4, 3) - stirling(4, 4),
        "left with 3 nodes": sp.bell(4) - stirling(4, 4),
    }


def check() -> list[str]:
    """Spans of the written patterns and of symnet's orbits, at 4 nodes and at fewer."""
    results = derive()
    graph = sn.NeuronGraph({"v": sn.Symmetric(4)}, {})
    maps = sn.derive(
        graph, inputs={"set": "v", "graph": "v v"}, outputs={"set": "v", "graph": "v v"}
    )
    i, j, k, l = INDICES  # noqa: E741
    facts = []
    for name, pair, rows, columns in (
        ("set to set", ("set", "set"), (i,), (j,)),
        ("set to graph, graph to set", ("graph", "set"), (i, j), (k,)),
        ("set to graph, graph to set", ("set", "graph"), (i,), (j, k)),
        ("graph to graph", ("graph", "graph"), (i, j), (k, l)),
    ):
        matrices = [
            matrix_of(p, dict.fromkeys(rows, 4), dict.fromkeys(columns, 4))
            for p in results[name].args
        ]
        facts.append(
            same_span(
                f"{pair[1]} to {pair[0]}: {len(matrices)} maps",
                matrices,
                maps.between(*pair).labels(),
            )
        )
    for n in (2, 3):
        small = sn.derive(sn.NeuronGraph({"v": sn.Symmetric(n)}, {"graph": "v v"}))
        facts.append(
            agree(
                f"graphs of {n} nodes: {small.dimension} maps",
                int(results[f"left with {n} nodes"]),
                small.dimension,
            )
        )
    scalars = sn.derive(graph, inputs={"graph": "v v"}, outputs={"z": ""})
    facts.append(
        agree(
            "graphs have 2 invariants, and 2 biases",
            (2, 2),
            (
                scalars.dimension,
                sn.derive(graph, inputs={"z": ""}, outputs={"graph": "v v"}).dimension,
            ),
        )
    )
    return facts
