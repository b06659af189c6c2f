"""The HNP layer is the NP layer with fixed inputs and outputs folded into channels; the published code leaves one map an output out.

Source: Zhou et al. 2023 (arXiv 2302.14040), the layer for fixed inputs and outputs.

With ``p`` inputs held fixed, ``W_1`` is not a matrix over ``h_1 x in`` but ``p`` vectors over ``h_1``: its columns are channels, and channels mix
freely. Likewise ``W_L`` is ``q`` vectors over ``h_(L-1)``, and ``b_L`` is ``q`` numbers. A pair of tensors has ``2^s`` maps for each pair of its
channels. For ``L >= 3`` layers:

    (p + 2 q + 2 L - 3)^2 + (p + 2)^2 + (q + 2)^2 + 9 (L - 3) + (L - 2).

The authors' public code (package nfn) sends ``b_(L-1)`` to ``W_L`` through its mean alone: the map "bias of neuron h to the weights out of neuron h"
is missing for every output, so its rank is ``q`` below. (Its parameters are more than its rank: some maps are there twice.)
"""

from __future__ import annotations

import sympy as sp
import torch
from torch import nn

import symnet as sn
from derivations.evidence import agree, count_maps

P, Q, L = sp.symbols("p q L", integer=True, positive=True)


def folded(layers: int) -> dict[str, tuple[tuple[str, ...], sp.Expr]]:
    """The tensors of an MLP with inputs and outputs folded into channels."""
    found = {}
    for number in range(1, layers + 1):
        sets = tuple(f"h{k}" for k in (number, number - 1) if 0 < k < layers)
        channels = (P if number == 1 else 1) * (Q if number == layers else 1)
        found[f"W{number}"] = (sets, sp.sympify(channels))
        found[f"b{number}"] = (
            sets[:1] if number < layers else (),
            sp.Integer(1) if number < layers else Q,
        )
    return found


def derive() -> dict[str, sp.Basic]:
    """The number of maps as a polynomial in the sizes of inputs and outputs, for 2 layers and for any more."""
    channels = P + Q + Q + (L - 1) + (L - 2)  # W_1, W_L, b_L; the other biases; the other weights
    # Every hidden set adds the square of the channels that it indexes: 2^s - 1 is 1 for one shared set, and 1 + 1 + 1 for two.
    shared = (P + 2) ** 2 + (Q + 2) ** 2 + 9 * (L - 3) + (L - 2)
    deep = channels**2 + shared
    shallow = (P + Q + Q + 1) ** 2 + (P + 1 + Q) ** 2
    return {
        "2 layers": sp.expand(shallow),
        "3 layers or more": sp.expand(deep),
        "published, rank": sp.expand(deep - Q),
    }


class WithoutTheMap(nn.Module):
    """The HNP layer, except that the bias before the last weight reaches it through its mean alone."""

    def __init__(self, graph: sn.NeuronGraph, last: str, before: str) -> None:
        super().__init__()
        names = list(graph.tensors)
        self.last, self.before, self.size = last, before, graph.shapes[before][0]
        self.others = sn.nn.Linear(
            graph, 1, 1, outputs=[name for name in names if name != last], bias=False
        )
        self.rest = sn.nn.Linear(
            graph,
            1,
            1,
            inputs=[name for name in names if name != before],
            outputs=[last],
            bias=False,
        )
        self.mean = sn.nn.Linear(graph, 1, 1, inputs=[before], outputs={"mean": "out"}, bias=False)

    def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rest = self.rest({name: tensor for name, tensor in x.items() if name != self.before})
        mean = self.mean({self.before: x[self.before]})["mean"][:, :, None, :].expand(
            -1, -1, self.size, -1
        )
        return self.others(x) | {self.last: rest[self.last] + mean}


def check() -> list[str]:
    """Counts for several sizes; and what is missing, named by the certificate of such a layer."""
    results = derive()
    for layers in range(2, 6):
        for p, q in ((1, 1), (2, 3), (4, 2)):
            graph = sn.catalogue.mlp([p, *range(2, layers + 1), q], io="fixed")
            formula = results["2 layers" if layers == 2 else "3 layers or more"].subs(
                {P: p, Q: q, L: layers}
            )
            agree(f"{graph.shapes}", int(formula), sn.derive(graph).dimension)
            agree(
                "folded, pair by pair",
                int(formula),
                int(count_maps(folded(layers)).subs({P: p, Q: q})),
            )
    facts = ["counts for 2 to 5 layers and three sizes of inputs and outputs"]
    graph = sn.catalogue.mlp([3, 2, 3, 2], io="fixed")
    found = sn.verify.certify(WithoutTheMap(graph, "4.weight", "2.bias"), graph, seed=0)
    rank = int(results["published, rank"].subs({P: 3, Q: 2, L: 3}))
    agree("rank without the map", rank, found.rank)
    named = tuple(f"'2.bias' -> '4.weight': per h2, to out {k}" for k in range(2))
    agree("what the certificate names as missing", named, found.missing)
    facts.append(
        f"without it {found.rank} of {found.dimension} maps are left; the certificate names both that are missing"
    )
    return facts
