"""Scales allow the partitions whose blocks are balanced: as many primal strands as dual ones.

If neuron i is multiplied by s, a block with p strands ``h`` and q strands ``h*`` is multiplied by ``s^(p - q)``; so it is invariant for all s
exactly if ``p = q``, as that is the only integer power which is 1 for every s. Strands ``h.`` count for nothing. Blocks of p primal, p dual and z
others have the generating function ``sum_p (x y)^p / p!^2 e^z - 1``, a Bessel function ``I_0(2 sqrt(x y)) e^z - 1``. For a ReLU network with
``L >= 3`` layers, p inputs and q outputs, ``(p + 1)^2 + 2 (L - 2) + 2 q^2`` maps are left: tensors see only those with the very
same scales.
"""

from __future__ import annotations

import sympy as sp

import symnet as sn
from derivations.evidence import agree

P, Q, L = sp.symbols("p q L", integer=True, positive=True)


def derive() -> dict[str, sp.Basic]:
    """Which powers of a scale are 1; balanced partitions; maps of a ReLU network."""
    s, m, x, y, z = sp.symbols("s m x y z")
    power = sp.solveset(sp.diff(m * sp.log(s), s), m, sp.Reals)  # s^m is constant in s
    blocks = (
        sum((x * y) ** k / sp.factorial(k) ** 2 for k in range(4))
        * sum(z**k / sp.factorial(k) for k in range(4))
        - 1
    )

    def count(p: int, q: int, free: int, n: int) -> sp.Integer:
        total = sp.expand(sum(blocks**j / sp.factorial(j) for j in range(n + 1)))
        return (
            total.coeff(x, p).coeff(y, q).coeff(z, free)
            * sp.factorial(p)
            * sp.factorial(q)
            * sp.factorial(free)
        )

    # First weights and biases see each other; inner weights, inner biases, last weights, output biases themselves alone.
    network = (P + 1) ** 2 + (L - 2) + (L - 2) + Q**2 + Q**2
    return {
        "powers that are 1 for every scale": power,
        "balanced partitions of 1+1, 2+2, 3+3 strands": sp.Tuple(
            *(count(k, k, 0, 3) for k in (1, 2, 3))
        ),
        "of 2+2 strands and 1 of degree 0": count(2, 2, 1, 3),
        "of 2+2 strands, two neurons, one neuron": sp.Tuple(count(2, 2, 0, 2), count(2, 2, 0, 1)),
        "maps of a ReLU network": sp.expand(network),
    }


def check() -> list[str]:
    """Against symnet's counts, and the network of the acceptance table: 19 maps."""
    results = derive()
    agree("only the zeroth power", sp.FiniteSet(0), results["powers that are 1 for every scale"])
    for k, expected in enumerate(results["balanced partitions of 1+1, 2+2, 3+3 strands"], start=1):
        agree(f"{k}+{k} strands", int(expected), _dimension(3, "h " * k, "h " * k))
    agree(
        "a strand of degree 0",
        int(results["of 2+2 strands and 1 of degree 0"]),
        _dimension(3, "h h h.", "h h"),
    )
    few = results["of 2+2 strands, two neurons, one neuron"]
    agree(
        "few neurons",
        tuple(map(int, few)),
        (_dimension(2, "h h", "h h"), _dimension(1, "h h", "h h")),
    )
    formula = results["maps of a ReLU network"]
    for p, q, layers in ((2, 2, 3), (3, 1, 4), (1, 2, 5)):
        expected = int(formula.subs({P: p, Q: q, L: layers}))
        agree(f"{layers} layers", expected, sn.derive(_network(p, q, layers)).dimension)
    return [
        "balanced partitions",
        "degree 0 counts for nothing",
        "fewer neurons than blocks",
        "ReLU networks of 3 to 5 layers",
    ]


def _dimension(n: int, source: str, target: str) -> int:
    graph = sn.NeuronGraph({"h": sn.Scaled(n)}, {})
    maps = sn.derive(graph, inputs={"x": source.strip()}, outputs={"y": target.strip()})
    agree("by the mean over phases", maps.dimension, maps.dimension_by_burnside)
    return maps.dimension


def _network(p: int, q: int, layers: int) -> sn.NeuronGraph:
    """A ReLU network: incoming weights have degree 1, outgoing ones -1."""
    neurons: dict[str, sn.Fixed | sn.Scaled] = {"h0": sn.Fixed(p), f"h{layers}": sn.Fixed(q)}
    neurons |= {f"h{k}": sn.Scaled(k + 1) for k in range(1, layers)}
    tensors: dict[str, str] = {}
    for k in range(layers):
        star = "*" if k else ""
        tensors |= {f"W{k + 1}": f"h{k + 1} h{k}{star}", f"b{k + 1}": f"h{k + 1}"}
    return sn.NeuronGraph(neurons, tensors)
