"""A recurrent network's hidden weight has one neuron set on both axes, so it has 15 maps to itself; gates are channels.

``W_hh`` has axes ``h h``: a permutation moves its rows and columns together, which is the graph case (``Bell(4) = 15``), not the 4 of a
matrix between different sets. With ``p`` inputs held fixed and ``g`` gates stacked (1 for an RNN, 3 for a GRU, 4 for an LSTM), ``W_ih`` is ``g p``
vectors, each bias ``g`` vectors, and ``W_hh`` is ``g`` matrices. All together: ``g^2 (2 (p + 2)^2 + 10 (p + 2) + 15)``.
"""

from __future__ import annotations

import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, bell_of, count_maps, holds

G, P = sp.symbols("g p", integer=True, positive=True)
FOLDED = {
    "W_ih": (("h",), G * P),
    "W_hh": (("h", "h"), G),
    "b_ih": (("h",), G),
    "b_hh": (("h",), G),
}


def derive() -> dict[str, sp.Basic]:
    """The number of maps of a one-layer recurrent network, from vectors ``v`` and matrices ``m`` over one set."""
    vectors, matrices = G * P + G + G, G
    total = bell_of(2) * vectors**2 + 2 * bell_of(3) * vectors * matrices + bell_of(4) * matrices**2
    return {
        "W_hh to W_hh": bell_of(4) * matrices**2,
        "all": sp.expand(total),
        "all, as in the text": sp.expand(G**2 * (2 * (P + 2) ** 2 + 10 * (P + 2) + 15)),
    }


def check() -> list[str]:
    """RNN, GRU and LSTM of the catalogue, and their function under the group."""
    results = derive()
    agree("the formula of the text", results["all"], results["all, as in the text"])
    agree("pair by pair", results["all"], count_maps(FOLDED))
    facts = []
    for name, gates in (("rnn", 1), ("gru", 3), ("lstm", 4)):
        for inputs in (1, 3):
            maps = sn.derive(getattr(sn.catalogue, name)(inputs, 5))
            agree(
                f"{name}, {inputs} inputs",
                int(results["all"].subs({G: gates, P: inputs})),
                maps.dimension,
            )
            own = maps.between("weight_hh_l0", "weight_hh_l0").dimension
            agree(f"{name}: W_hh to itself", int(results["W_hh to W_hh"].subs(G, gates)), own)
        facts.append(
            f"{name}: {own} maps from W_hh to itself, {maps.dimension} in all for 3 inputs"
        )
    graph = sn.catalogue.rnn(3, 5)
    report = sn.verify.network(
        torch.nn.RNN(3, 5), graph, torch.randn(4, 2, 3), output_axes=["... h1", "... h1"], seed=0
    )
    return [*facts, holds("an RNN's states move with its neurons", report.passed)]
