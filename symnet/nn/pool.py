"""Invariant pooling: every linear invariant of the features, as a vector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_spaces
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.constants import Constants
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
        self.inputs, _ = check_spaces("Pool", require_graph(graph, "Pool").space(inputs), graph.weights)
        self._prepare()
        self.dimension = self._compiled.plan.dimension

    def _prepare(self) -> None:
        # Looked up once: torch.compile cannot look into a cache of functions.
        self._compiled = _plan(self.inputs)
        self._constants = Constants()
        # Entries tied by a group other than Sym: their mean is the invariant.
        tables = self._compiled.plan.tables
        index = tables[0].index if tables else None
        self._averaging = None if index is None else _averaging(index[:, 0], tables[0].parameters)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.inputs, "Pool got", alike=True)
        if not self.dimension:
            some = next(iter(x.values()))
            return some.new_zeros(some.shape[0], 0)
        ((_, rows),) = gather(self._compiled, [x[name] for name in self.inputs])[0]
        (table,) = self._compiled.plan.tables
        values = rows.view(rows.shape[0], table.height, rows.shape[1] // table.height)
        if self._averaging is not None:
            weights = self._constants.get("averaging", self._averaging, values.device, values.dtype)
            values = torch.einsum("kh,bhc->bkc", weights, values)
        return values.flatten(1)

    def __getstate__(self) -> dict[str, object]:
        state = self.__dict__.copy()
        del state["_compiled"], state["_constants"], state["_averaging"]  # made again from the space
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._prepare()

    def extra_repr(self) -> str:
        return f"{len(self.inputs)} tensors -> {self.dimension} invariants a channel"


def _plan(inputs: Space) -> CompiledPlan:
    return compile_plan(inputs, Space(inputs.neurons, {"invariant": ""}))


def _averaging(label: np.ndarray, count: int) -> np.ndarray:
    """The matrix ``(count, rows)`` that averages rows of one label."""
    one_hot = (label[None, :] == np.arange(count)[:, None]).astype(np.float64)
    return one_hot / one_hot.sum(1, keepdims=True)
