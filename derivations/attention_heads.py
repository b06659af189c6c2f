"""Heads of attention move as wholes, dims within each: 3 maps along such an axis; taking all of them for one set claims too much.

The rows of a value weight carry ``(head dim)`` with ``dim`` over ``head``: every head has permutations of its own (the wreath product
``S_d wr S_h``). Two indices lie in one head with one dim, in one head with different dims, or in different heads: 3 orbits, of sizes ``h d``,
``h d (d-1)`` and ``h (h-1) d^2``. Under all permutations of ``h d`` dims there would be 2. That group is not a symmetry: it mixes
dims of different heads, between which the softmax stands. With model dims held fixed (``m`` of them) the four weights have ``40 m^2`` maps.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, holds
from symnet.groups import PermutationGroup

H, D, M = sp.symbols("h d m", integer=True, positive=True)


def derive() -> dict[str, sp.Basic]:
    """Sizes of the orbits along one axis, and counts for the four weights of attention."""
    same, same_head, other_head = H * D, H * D * (D - 1), H * (H - 1) * D**2
    # Query and key share heads and dims, so do value and output; the two kinds share heads alone.
    alike, unlike = 2 * 2 + 2 * 2, 2 * (2 * 2)
    return {
        "sizes of the orbits": sp.Tuple(
            *(sp.expand(size) for size in (same, same_head, other_head))
        ),
        "all pairs": sp.expand(same + same_head + other_head),
        "q, k, v and o": sp.expand((3 * alike + 2 * unlike) * M**2),
    }


def check() -> list[str]:
    """Labels, counts, and torch's attention under the right group and under two wrong ones."""
    results = derive()
    agree("the orbits fill all pairs", results["all pairs"], (H * D) ** 2)
    for heads, dims in ((2, 2), (3, 2), (2, 4)):
        neurons: dict[str, PermutationGroup | sn.NeuronSet] = {
            "head": sn.Symmetric(heads),
            "dim": sn.NeuronSet(sn.Symmetric(dims), over="head"),
        }
        labels = sn.derive(sn.NeuronGraph(neurons, {"v": "(head dim)"})).between("v", "v").labels()
        sizes = [
            int(size.subs({H: heads, D: dims})) for size in results["sizes of the orbits"].args
        ]
        agree(
            f"{heads} heads of {dims}: sizes",
            sorted(sizes),
            sorted(np.bincount(labels.reshape(-1)).tolist()),
        )
    facts = ["3 orbits along (head dim), of the derived sizes"]
    for model, heads in ((4, 2), (6, 2), (6, 3)):
        counted = sn.derive(sn.catalogue.attention(model, heads, bias=False)).dimension
        agree(f"attention({model}, {heads})", int(results["q, k, v and o"].subs(M, model)), counted)
    facts.append("40 m^2 maps among the weights of an attention block")
    return [*facts, *_wrong_groups()]


def _wrong_groups() -> list[str]:
    attention = sn.catalogue.attention(6, 2, bias=False)
    model = torch.nn.MultiheadAttention(6, 2, bias=False, batch_first=True)
    x = torch.randn(2, 4, 6)

    def passes(graph: sn.NeuronGraph) -> bool:
        return sn.verify.network(
            model, graph, x, x, x, kwargs={"need_weights": False}, seed=0
        ).passed

    one_set = sn.NeuronGraph(
        {"in": sn.Fixed(6), "all": sn.Symmetric(6), "every": sn.Symmetric(6), "out": sn.Fixed(6)},
        {"in_proj_weight": "(all + all + every) in", "out_proj.weight": "out every"},
    )
    heads_alone = attention.with_groups(
        {"qk": sn.NeuronSet(sn.Fixed(3), over="head"), "vo": sn.NeuronSet(sn.Fixed(3), over="head")}
    )
    return [
        holds("heads as wholes, dims within: the function stays", passes(attention)),
        holds(
            "all dims as one set: the function changes, and 'verify' says so", not passes(one_set)
        ),
        holds(
            "heads alone: a smaller group, and so more maps",
            sn.derive(heads_alone).dimension > sn.derive(attention).dimension,
        ),
    ]
