"""The workloads that layers are measured on: an architecture, a batch and channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import symnet as sn
from symnet.nn.linear import PARAMETER_LIMIT


@dataclass(frozen=True)
class Workload:
    """A stack of linear or 3x3 convolution layers whose weights are read by an NF-Layer.

    widths: neurons, inputs and outputs included; taps: kernel offsets of each weight (1 for an MLP).
    """

    name: str
    title: str
    widths: tuple[int, ...]
    batch: int
    channels: int
    kernel: int = 1

    def graph(self, io: str) -> sn.NeuronGraph:
        """The graph with I/O neurons 'permuted' or 'fixed'."""
        last = len(self.widths) - 1
        group = {True: sn.Fixed, False: sn.Symmetric}
        neurons = {
            f"h{k}": group[io == "fixed" and k in (0, last)](n) for k, n in enumerate(self.widths)
        }
        tensors = {}
        for k in range(last):
            kernel = f" {self.kernel} {self.kernel}" if self.kernel > 1 and k < last - 1 else ""
            tensors[f"{k}.weight"] = f"h{k + 1} h{k}{kernel}"
            tensors[f"{k}.bias"] = f"h{k + 1}"
        return sn.NeuronGraph(neurons, tensors)

    def fits(self, io: str) -> bool:
        """Whether the complete layer has fewer parameters than symnet allows: 784 fixed inputs do not fit."""
        cost = sn.plan.make_plan(self.graph(io)).cost(self.channels, self.channels)
        return cost.parameters <= PARAMETER_LIMIT

    def features(self, graph: sn.NeuronGraph, requires_grad: bool = True) -> dict[str, Tensor]:
        """Random features ``(batch, *axes, channels)``."""
        torch.manual_seed(0)
        return {
            name: torch.randn(self.batch, *shape, self.channels, requires_grad=requires_grad)
            for name, shape in graph.shapes.items()
        }


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("a", "MLP 2-32-32-3, batch 32, 64 to 64 channels", (2, 32, 32, 3), 32, 64),
        Workload("b", "MLP 784-512-512-10, batch 4, 16 to 16", (784, 512, 512, 10), 4, 16),
        Workload("c8", "MLP of 8 hidden layers of 64, batch 8, 32 to 32", (2, *[64] * 8, 1), 8, 32),
        Workload(
            "c32", "MLP of 32 hidden layers of 64, batch 8, 32 to 32", (2, *[64] * 32, 1), 8, 32
        ),
        Workload(
            "d", "CNN 1-16-16-16-10 (3x3), batch 64, 32 to 32", (1, 16, 16, 16, 10), 64, 32, 3
        ),
        Workload(
            "e", "CNN 3-64-128-256-10 (3x3), batch 1, 16 to 16", (3, 64, 128, 256, 10), 1, 16, 3
        ),
    )
}
