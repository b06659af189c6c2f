"""Invariant pooling: every linear invariant of the features, as a vector."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.features import check_features
from symnet.nn.gathering import gather
from symnet.nn.linear import compile_plan


class Pool(nn.Module):
    """All linear invariants of features: means over everything that the group permutes, kept apart by what it does not.

    The invariants are complete: every invariant linear function of the features is a linear function of these.

    Args:
        graph: the architecture.
        inputs: the features' space (default: the graph's tensors).

    Shapes:
        ``{name: (batch, *axes, channels)}`` to ``(batch, dimension * channels)``, invariant by invariant.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.NeuronGraph({"in": sn.Fixed(2), "h": sn.Symmetric(8)}, {"0.weight": "h in", "0.bias": "h"})
        >>> sn.nn.Pool(graph)({"0.weight": torch.ones(5, 8, 2, 4), "0.bias": torch.ones(5, 8, 4)}).shape
        torch.Size([5, 12])
    """

    def __init__(self, graph: NeuronGraph, *, inputs: SpaceLike = None) -> None:
        super().__init__()
        self.inputs = graph.space(inputs)
        self.dimension = _plan(self.inputs).plan.dimension

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.inputs, "Pool got")
        plan = _plan(self.inputs)
        if not self.dimension:
            some = next(iter(x.values()))
            return some.new_zeros(some.shape[0], 0)
        ((_, rows),) = gather(plan, [x[name] for name in self.inputs])[0]
        (table,) = plan.plan.tables
        values = rows.view(rows.shape[0], table.height, rows.shape[1] // table.height)
        if table.index is not None:  # entries tied by a group other than Sym: their mean is the invariant
            values = torch.einsum(
                "kh,bhc->bkc", _averaging(torch.tensor(table.index[:, 0]), table.parameters).to(values), values
            )
        return values.flatten(1)

    def extra_repr(self) -> str:
        return f"{len(self.inputs)} tensors -> {self.dimension} invariants a channel"


def _plan(inputs: Space) -> CompiledPlan:
    return compile_plan(inputs, Space(inputs.neurons, {"invariant": ""}))


def _averaging(label: Tensor, count: int) -> Tensor:
    """The matrix ``(count, rows)`` that averages rows of one label."""
    one_hot = (label[None, :] == torch.arange(count)[:, None]).double()
    return one_hot / one_hot.sum(1, keepdim=True)
