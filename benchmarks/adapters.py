"""A GL layer on a LoRA adapter against its floor, one matrix product of the channels: ``python -m benchmarks.adapters``.

Rank 64 on a 4096 x 4096 matrix, a batch of 8, 8 channels; forward and backward in turn with the floor. Inputs and outputs
are permuted, as they are in networks that tell wide sets apart by gates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

import symnet as sn

RANK, WIDTH, BATCH, CHANNELS, ROUNDS = 64, 4096, 8, 8, 7
BAR = 1.5  # of the floor, at most


def measure(rounds: int = ROUNDS, width: int = WIDTH, rank: int = RANK) -> float:
    """Median ratio of the layer's time to the floor's, forward and backward."""
    torch.manual_seed(0)
    neurons = {"in": sn.Symmetric(width), "r": sn.GeneralLinear(rank), "out": sn.Symmetric(width)}
    graph = sn.NeuronGraph(neurons, {"A": "r in", "B": "out r*"})
    layer = sn.nn.Linear(graph, CHANNELS, CHANNELS)
    x = {
        name: torch.randn(BATCH, *shape, CHANNELS, requires_grad=True)
        for name, shape in graph.shapes.items()
    }
    mixing = {name: torch.randn(CHANNELS, CHANNELS, requires_grad=True) for name in x}
    ones = [torch.ones_like(tensor) for tensor in x.values()]

    def floor() -> dict[str, Tensor]:
        return {
            name: (x[name].reshape(-1, CHANNELS) @ mixing[name]).view(x[name].shape) for name in x
        }

    def seconds(run: Callable[[], dict[str, Tensor]], parameters: list[Tensor]) -> float:
        start = time.perf_counter()
        torch.autograd.grad(list(run().values()), [*x.values(), *parameters], ones)
        return time.perf_counter() - start

    own = [parameter for parameter in layer.parameters() if parameter.numel()]
    ratios = []
    for number in range(rounds + 1):
        least = seconds(floor, list(mixing.values()))
        ratio = seconds(lambda: layer(x), own) / least
        if number:  # the first round warms up
            ratios.append(ratio)
    return statistics.median(ratios)


if __name__ == "__main__":
    found = measure()
    print(
        f"GL layer on LoRA rank {RANK}, {WIDTH} x {WIDTH}: {found:.2f} times the floor (at most {BAR})"
    )
    raise SystemExit(found > BAR)
