"""A grouped convolution's weight has 5 maps for each pair of kernel offsets: 4 within a group, 1 between groups.

The weight ``(g o) i K`` holds, for each group, a convolution of its own: ``o`` and ``i`` are over ``g``. Two entries of one group compare their output
and input channels (2 * 2 patterns); two entries of different groups have nothing to compare. Of ``g^2 o^2 i^2`` pairs, ``g o i`` are equal,
``g o (o-1) i`` share the input channel, ``g o i (i-1)`` the output channel, ``g o (o-1) i (i-1)`` neither, and ``g (g-1) o^2 i^2`` lie in different
groups. Depthwise is ``o = i = 1``: 2 maps, a set layer over channels.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
import torch
from torch import nn

import symnet as sn
from derivations.evidence import agree, falling, holds
from symnet.groups import PermutationGroup

GROUPS, OUT, IN, OFFSETS = sp.symbols("g o i K", integer=True, positive=True)


def derive() -> dict[str, sp.Basic]:
    """Sizes of the orbits for one kernel offset, and the number of maps."""
    within = [GROUPS * a * b for a in (OUT, falling(OUT, 2)) for b in (IN, falling(IN, 2))]
    between = GROUPS * (GROUPS - 1) * (OUT * IN) ** 2
    sizes = [sp.expand(size) for size in (*within, between)]
    return {
        "sizes": sp.Tuple(*sizes),
        "all pairs": sp.expand(sum(sizes)),
        "maps": (2 * 2 + 1) * OFFSETS**2,
    }


def graph_of(groups: int, outputs: int, inputs: int, kernel: int) -> sn.NeuronGraph:
    """One grouped convolution's weight."""
    neurons: dict[str, PermutationGroup | sn.NeuronSet] = {
        "g": sn.Symmetric(groups),
        "o": sn.NeuronSet(sn.Symmetric(outputs), over="g"),
        "i": sn.NeuronSet(sn.Symmetric(inputs), over="g"),
    }
    return sn.NeuronGraph(neurons, {"w": f"(g o) i {kernel}"})


def check() -> list[str]:
    """Labels and counts; a network with a grouped convolution under the right group and a wrong one."""
    results = derive()
    agree("the orbits fill all pairs", results["all pairs"], (GROUPS * OUT * IN) ** 2)
    for groups, outputs, inputs, kernel in ((2, 2, 3, 1), (3, 2, 2, 1), (2, 2, 2, 2)):
        maps = sn.derive(graph_of(groups, outputs, inputs, kernel))
        agree("maps", int(results["maps"].subs(OFFSETS, kernel)), maps.dimension)
        agree(
            "maps by Burnside",
            int(results["maps"].subs(OFFSETS, kernel)),
            maps.dimension_by_burnside,
        )
        sizes = [
            int(size.subs({GROUPS: groups, OUT: outputs, IN: inputs}))
            for size in results["sizes"].args
        ]
        found = np.bincount(maps.between("w", "w").labels().reshape(-1)).tolist()
        agree("sizes", sorted(sizes * kernel**2), sorted(found))
    depthwise = sn.derive(graph_of(4, 1, 1, 1)).dimension
    facts = [
        "5 maps for each pair of offsets, with orbits of the derived sizes",
        agree("depthwise: 2 maps", 2, depthwise),
    ]
    return [*facts, *_network()]


def _network() -> list[str]:
    """Convolution to (g i), grouped convolution to (g o), linear: channels may move within groups, and groups as wholes."""
    model = nn.Sequential(
        nn.Conv1d(1, 6, 3),
        nn.ReLU(),
        nn.Conv1d(6, 4, 3, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    over = {name: sn.NeuronSet(sn.Symmetric(size), over="g") for name, size in (("i", 3), ("o", 2))}
    right = sn.NeuronGraph(
        {"g": sn.Symmetric(2), **over},
        {
            "0.weight": "(g i) 1 3",
            "0.bias": "(g i)",
            "2.weight": "(g o) i 3",
            "2.bias": "(g o)",
            "6.weight": "2 (g o)",
            "6.bias": "2",
        },
    )
    wrong = sn.NeuronGraph(
        {"c": sn.Symmetric(6), "i": sn.Symmetric(3), "o": sn.Symmetric(4)},
        {
            "0.weight": "c 1 3",
            "0.bias": "c",
            "2.weight": "o i 3",
            "2.bias": "o",
            "6.weight": "2 o",
            "6.bias": "2",
        },
    )
    x = torch.randn(2, 1, 9)
    return [
        holds(
            "channels within groups, groups as wholes: the function stays",
            sn.verify.network(model, right, x, seed=0).passed,
        ),
        holds(
            "channels as if there were no groups: it changes",
            not sn.verify.network(model, wrong, x, seed=0).passed,
        ),
    ]
