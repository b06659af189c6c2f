"""Simple models to compare with, from any graph, all called alike:
``{name: (batch, *axes, c)}`` to ``(batch, outputs)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_count
from symnet.nn.features import check_features, refuse_signs
from symnet.nn.pool import Pool

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


class Statistics(nn.Module):
    """Mean, variance and the quantiles 0, 25, 50, 75 and 100 % of every tensor and channel.

    They are invariant under every permutation of a tensor's entries, far more than the group's.

    Args:
        graph: the architecture.

    Shapes:
        ``{name: (batch, *axes, c)}`` to ``(batch, 7 * tensors * c)``.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 3])
        >>> Statistics(graph)(
        ...     {name: torch.ones(5, *shape, 1) for name, shape in graph.shapes.items()}
        ... ).shape
        torch.Size([5, 28])

    Source: Unterthiner et al. 2020 (arXiv 2002.11448), section 3.
    """

    def __init__(self, graph: NeuronGraph) -> None:
        super().__init__()
        self.inputs = require_graph(graph, "Statistics").weights
        refuse_signs(self.inputs, "Statistics takes means and quantiles")

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.inputs, "Statistics got", alike=True)
        statistics = []
        for name in self.inputs:
            entries = x[name].flatten(1, -2) if x[name].dim() > 2 else x[name].unsqueeze(1)
            statistics.append(entry_statistics(entries))
        return torch.cat(statistics, dim=1)


def entry_statistics(entries: Tensor) -> Tensor:
    """Mean, variance and quantiles of ``(batch, entries, channels)``: ``(batch, 7 * channels)``."""
    variance, mean = torch.var_mean(entries, dim=1, correction=0)
    return torch.stack([mean, variance, *_quantiles(entries)], dim=1).flatten(1)


def _quantiles(entries: Tensor) -> list[Tensor]:
    """Of ``(batch, entries, channels)``, each ``(batch, channels)``: linear between neighbours.

    (torch.quantile takes no half precision, and at most 16 million entries.)
    """
    ordered, last = entries.sort(dim=1).values, entries.shape[1] - 1
    quantiles = []
    for share in QUANTILES:
        below = int(share * last)
        above = min(below + 1, last)
        quantiles.append(torch.lerp(ordered[:, below], ordered[:, above], share * last - below))
    return quantiles


class _Baseline(nn.Module):
    """What the three share: a graph, and a configuration that JSON holds."""

    def __init__(self, graph: NeuronGraph, **counts: int) -> None:
        super().__init__()
        self.graph = require_graph(graph, type(self).__name__)
        for name, count in counts.items():
            check_count(name, count)
        self.config: dict[str, Any] = dict(counts)


class StatisticsNetwork(_Baseline):
    """An MLP on the statistics of every tensor: knows nothing of how weights are connected.

    Args:
        graph: the architecture.
        hidden: width of the MLP.
        outputs: numbers for each network.
        in_channels: features of every weight.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``(batch, outputs)``.

    Source: Unterthiner et al. 2020 (arXiv 2002.11448).
    """

    def __init__(
        self, graph: NeuronGraph, hidden: int, outputs: int, *, in_channels: int = 1
    ) -> None:
        super().__init__(graph, hidden=hidden, outputs=outputs, in_channels=in_channels)
        self.statistics = Statistics(graph)
        self.head = _mlp(7 * len(graph.weights) * in_channels, hidden, outputs)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.head(self.statistics(x))


class PointwiseNetwork(_Baseline):
    """One MLP on every weight by itself, then the graph's invariants: no weight
    hears of another before they are pooled.

    Args:
        graph, outputs, in_channels: as in :class:`StatisticsNetwork`.
        channels: features of every weight inside, and half the width of the head.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``(batch, outputs)``.
    """

    def __init__(
        self, graph: NeuronGraph, channels: int, outputs: int, *, in_channels: int = 1
    ) -> None:
        super().__init__(graph, channels=channels, outputs=outputs, in_channels=in_channels)
        refuse_signs(graph.weights, "PointwiseNetwork has biases and GELUs")
        self.each = _mlp(in_channels, channels, channels)
        self.pool = Pool(graph)
        self.head = _mlp(self.pool.dimension * channels, 2 * channels, outputs)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.graph.weights, "PointwiseNetwork got", self.config["in_channels"])
        return self.head(self.pool({name: self.each(tensor) for name, tensor in x.items()}))


class FlatNetwork(_Baseline):
    """An MLP on all weights in one row: blind to every symmetry.

    Args:
        graph, hidden, outputs, in_channels: as in :class:`StatisticsNetwork`.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``(batch, outputs)``.
    """

    def __init__(
        self, graph: NeuronGraph, hidden: int, outputs: int, *, in_channels: int = 1
    ) -> None:
        super().__init__(graph, hidden=hidden, outputs=outputs, in_channels=in_channels)
        self.head = _mlp(graph.weights.size * in_channels, hidden, outputs)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        check_features(x, self.graph.weights, "FlatNetwork got", self.config["in_channels"])
        return self.head(torch.cat([x[name].flatten(1) for name in self.graph.weights], dim=1))


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, outputs),
    )
