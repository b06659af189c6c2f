"""Whole networks and traced networks: stacks of layers beside stacks of channel mixing, ResNet-18, a transformer block."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor, nn

import symnet as sn
from benchmarks.layers import KINDS, timed_calls
from benchmarks.timing import Rounds, alternate
from benchmarks.workloads import WORKLOADS
from symnet.tasks.readers import NeuronReader


def stacks(
    workload: str, rounds: int, *, layers: int = 4, cpu_time: bool = False
) -> dict[str, Rounds]:
    """``layers`` layers with ReLUs between: symnet's Network, torch's Sequential of the same, and F1 + ReLU as often."""
    chosen = WORKLOADS[workload]
    graph, c = chosen.graph("permuted"), chosen.channels
    modules: list[nn.Module] = []
    for _ in range(layers):
        modules += [sn.nn.Linear(graph, c, c), sn.nn.Pointwise(nn.ReLU())]
    x = chosen.features(graph)
    matrices = [[torch.randn(c, c, requires_grad=True) for _ in x] for _ in range(layers)]

    def floor() -> list[Tensor]:
        tensors = list(x.values())
        for own in matrices:
            tensors = [
                (tensor @ matrix).relu() for tensor, matrix in zip(tensors, own, strict=True)
            ]
        return tensors

    contestants: dict[str, tuple[Callable[[], list[Tensor]], list[Tensor]]] = {
        "F1 + ReLU": (floor, [*x.values(), *(matrix for own in matrices for matrix in own)])
    }
    for name, net in (
        ("Network", sn.nn.Network(*modules)),
        ("Sequential", nn.Sequential(*modules)),
    ):
        contestants[name] = (
            (lambda net=net: list(net(x).values())),
            [*x.values(), *net.parameters()],
        )
    calls = {name: timed_calls(contestant) for name, contestant in contestants.items()}
    return {
        kind: alternate(
            {n: k[kind] for n, k in calls.items()}, rounds, f"{layers} layers, {kind}", cpu_time
        )
        for kind in KINDS
    }


def reader(rounds: int, *, batch: int = 128, cpu_time: bool = False) -> Rounds:
    """Forward and backward of the demo's reader of digits: its layers by the executor, and by torch's own backward."""
    graph = sn.catalogue.mlp([2, 16, 16, 1])
    x = {name: torch.randn(batch, *shape, 1) for name, shape in graph.shapes.items()}
    model = NeuronReader(graph, x)
    parameters = list(model.parameters())

    def step() -> object:
        return torch.autograd.grad(model(x).square().sum(), parameters)

    def plain() -> object:
        with patch(
            "symnet.nn.executor.is_recorded", return_value=True
        ):  # as under a torch transform
            return step()

    return alternate(
        {"executor": step, "torch's backward": plain}, rounds, "the demo's reader", cpu_time
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down: nn.Module = nn.Identity()
        if inputs != outputs or stride > 1:
            self.down = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.down(x) + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def resnet18(width: int, classes: int = 10) -> nn.Sequential:
    """The residual network of He et al. (2016) with 18 layers; ``width`` is 64 there."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    before = width
    for stage in range(4):
        for block in range(2):
            layers.append(_Block(before, width * 2**stage, 2 if stage and not block else 1))
            before = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def traced_models() -> dict[str, tuple[nn.Module, Tensor]]:
    """Narrow real architectures, each with an example input."""
    block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    return {
        "ResNet-18, width 8": (resnet18(8), torch.randn(2, 3, 16, 16)),
        "transformer block, width 32": (block, torch.randn(2, 5, 32)),
    }


def traced(
    rounds: int, *, channels: int = 8, batch: int = 4, cpu_time: bool = False
) -> list[dict[str, object]]:
    """For every traced network and choice of interactions: seconds to trace and to make the layer, cost, time over F1."""
    found: list[dict[str, object]] = []
    for name, (model, example) in traced_models().items():
        start = time.perf_counter()
        graph = sn.trace(model, example)
        tracing = time.perf_counter() - start
        x = {
            n: torch.randn(batch, *s, channels, requires_grad=True) for n, s in graph.shapes.items()
        }
        matrices = [torch.randn(channels, channels, requires_grad=True) for _ in x]

        def floor(x: dict[str, Tensor] = x, matrices: list[Tensor] = matrices) -> list[Tensor]:
            return [tensor @ matrix for tensor, matrix in zip(x.values(), matrices, strict=True)]

        for interactions in ("full", "adjacent"):
            start = time.perf_counter()
            layer = sn.nn.Linear(graph, channels, channels, interactions=interactions)
            making = time.perf_counter() - start
            ours = (
                (lambda layer=layer, x=x: list(layer(x).values())),
                [*x.values(), *layer.parameters()],
            )
            calls = {
                "F1": timed_calls((floor, [*x.values(), *matrices])),
                "symnet": timed_calls(ours),
            }
            row: dict[str, object] = {
                "network": name,
                "tensors": len(graph.shapes),
                "interactions": interactions,
                "maps": layer.dimension,
                "parameters": sum(p.numel() for p in layer.parameters()),
                "trace, s": round(tracing, 2),
                "derive + plan + draw, s": round(making, 2),
            }
            for kind in KINDS:
                rounds_of = alternate(
                    {n: k[kind] for n, k in calls.items()}, rounds, f"{name} {kind}", cpu_time
                )
                row[f"{kind} over F1"] = str(rounds_of.ratio("symnet", "F1"))
            found.append(row)
    return found
