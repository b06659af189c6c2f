"""The layer of a CNN is the layer of an MLP whose weights carry one channel for every kernel offset.

Source: Zhou et al. 2023 (arXiv 2302.14040), the section on convolutions.

Kernel offsets can be told apart (left is not right), so they are fixed, and fixed positions are channels: a convolution's weight ``c_2 c_1 k k`` is
``K = k^2`` matrices over ``c_2 x c_1``. For convolutions ``in -> c_1 -> ... -> c_m``, a global mean, and a linear layer to ``q`` classes:
a pair of weights has ``K^2`` times the maps of an MLP's pair, a weight and a bias ``K`` times.
"""

from __future__ import annotations

import sympy as sp
import torch

import symnet as sn
from derivations.evidence import agree, count_maps, holds

K, P, Q, M = sp.symbols("K p q m", integer=True, positive=True)


def folded(convolutions: int) -> dict[str, tuple[tuple[str, ...], sp.Expr]]:
    """The tensors of such a CNN with input channels, kernel offsets and classes folded into channels."""
    found: dict[str, tuple[tuple[str, ...], sp.Expr]] = {}
    for number in range(1, convolutions + 1):
        found[f"W{number}"] = (
            ((f"c{number}", f"c{number - 1}"), K) if number > 1 else (("c1",), P * K)
        )
        found[f"b{number}"] = ((f"c{number}",), sp.Integer(1))
    return found | {"W": ((f"c{convolutions}",), Q), "b": ((), Q)}


def derive() -> dict[str, sp.Basic]:
    """The number of maps for ``m >= 2`` convolutions: all channels once, and every set's channels once more."""
    channels = P * K + (M - 1) * K + M + Q + Q
    first, last, between = P * K + 1 + K, K + 1 + Q, K + 1 + K
    twice = (
        M - 1
    ) * K**2  # a weight shares two sets with itself: 2^2 - 1 = 3, of which the sets count 2
    return {"maps": sp.expand(channels**2 + first**2 + last**2 + (M - 2) * between**2 + twice)}


def check() -> list[str]:
    """The catalogue's CNNs, for several kernels; and the group leaves a real CNN's function unchanged."""
    results = derive()
    for m, k, p, q in ((2, 1, 1, 2), (2, 3, 1, 10), (3, 2, 3, 2), (4, 3, 1, 5)):
        maps = sn.derive(sn.catalogue.cnn([p, *range(2, m + 2)], kernel_size=k, classes=q))
        values = {K: k * k, P: p, Q: q, M: m}
        agree(f"{m} convolutions of {k}x{k}", int(results["maps"].subs(values)), maps.dimension)
        agree(
            f"{m} convolutions, pair by pair",
            int(count_maps(folded(m)).subs(values)),
            maps.dimension,
        )
    graph = sn.catalogue.cnn([1, 2, 3], classes=2)
    layers = [torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU()]
    model = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)
    )
    return [
        "counts for 2 to 4 convolutions with kernels of 1, 4 and 9 offsets",
        holds(
            "permuting the channels of a CNN leaves its function unchanged",
            sn.verify.network(model, graph, torch.randn(2, 1, 6, 6), seed=0).passed,
        ),
    ]
