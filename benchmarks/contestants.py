"""What is timed on a workload: floors, symnet's layer, and peers that are installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

import symnet as sn
from benchmarks.workloads import Workload

# Each contestant: a forward call without arguments that returns its output tensors, and what to differentiate.
Contestant = tuple[Callable[[], list[Tensor]], list[Tensor]]


def floor_mixing(workload: Workload, io: str) -> Contestant:
    """F1: one channel-mixing product ``x @ W`` a tensor."""
    x = workload.features(workload.graph(io))
    matrices = [torch.randn(workload.channels, workload.channels, requires_grad=True) for _ in x]

    def forward() -> list[Tensor]:
        return [tensor @ matrix for tensor, matrix in zip(x.values(), matrices, strict=True)]

    return forward, [*x.values(), *matrices]


def floor_products(workload: Workload, io: str) -> Contestant:
    """F2: all matrix products that the symmetry makes necessary, one a table of the plan, and nothing else.

    No statistics are taken and nothing is broadcast: the operands are random.
    """
    plan = sn.plan.make_plan(workload.graph(io))
    channels = workload.channels
    operands = []
    for table in plan.tables:
        rows = torch.randn(
            workload.batch * table.positions, table.height * channels, requires_grad=True
        )
        operands.append(
            (rows, torch.randn(table.height * channels, table.width * channels, requires_grad=True))
        )

    def forward() -> list[Tensor]:
        return [rows @ matrix for rows, matrix in operands]

    return forward, [tensor for pair in operands for tensor in pair]


def symnet_linear(workload: Workload, io: str) -> Contestant:
    """symnet's complete layer."""
    graph = workload.graph(io)
    x = workload.features(graph)
    layer = sn.nn.Linear(graph, workload.channels, workload.channels)
    return lambda: list(layer(x).values()), [*x.values(), *layer.parameters()]


def nfn_linear(workload: Workload, io: str) -> Contestant | None:
    """nfn's NPLinear or HNPLinear (Zhou et al. 2023), if the package is installed; its features are channels first."""
    if find_spec("nfn") is None:
        return None
    from nfn.common import WeightSpaceFeatures, network_spec_from_wsfeat
    from nfn.layers import HNPLinear, NPLinear

    x = workload.features(workload.graph(io))
    first = {
        name: tensor.detach().movedim(-1, 1).contiguous().requires_grad_()
        for name, tensor in x.items()
    }
    features = WeightSpaceFeatures(
        [t for n, t in first.items() if n.endswith("weight")],
        [t for n, t in first.items() if n.endswith("bias")],
    )
    spec = network_spec_from_wsfeat(features)
    layer = (HNPLinear if io == "fixed" else NPLinear)(spec, workload.channels, workload.channels)

    def forward() -> list[Tensor]:
        out = layer(features)
        return [*out.weights, *out.biases]

    return forward, [*first.values(), *layer.parameters()]


CONTESTANTS: dict[str, Callable[[Workload, str], Contestant | None]] = {
    "F1": floor_mixing,
    "F2": floor_products,
    "symnet": symnet_linear,
    "nfn": nfn_linear,
}
