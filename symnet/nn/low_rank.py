"""LowRankLinear: wide fixed sets without a coefficient for every pair of their neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_sets import ancestors_of
from symnet.groups import Symmetric, is_trivial
from symnet.nn.features import Features
from symnet.nn.linear import Linear
from symnet.sharing import EquivariantMaps, Interactions


class LowRankLinear(nn.Module):
    """An equivariant layer whose cost grows with the width of fixed sets, not with its square.

    Fixed neurons are channels, so that a complete layer has ``(784 c_in) x (784 c_out)``
    coefficients for the weights between 784 fixed inputs and a hidden layer. This layer is the sum
    of two that are small:

    - the complete layer of the same graph with the wide sets permuted (all pairs of different
      inputs share a coefficient);
    - a product of two complete layers through ``rank`` features of every other neuron set and of
      the whole network, which tell every fixed neuron apart: a matrix of that rank in place of a
      full one.

    Both are equivariant for the graph's group. Not every equivariant map is such a sum:
    ``sn.verify.certify`` says so.

    Args:
        graph, in_channels, out_channels, inputs, outputs, interactions, bias, gain: as in
            ``Linear``.
        rank: features in between.
        wide: fixed sets to treat so; by default all with more than 16 neurons.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([784, 32, 10])
        >>> sn.nn.Linear(graph, 1, 1).dimension > 600_000
        True
        >>> layer = sn.nn.LowRankLinear(graph, 1, 1, rank=4)
        >>> sum(p.numel() for p in layer.parameters()) < 21_000
        True
    """

    def __init__(
        self,
        graph: NeuronGraph,
        in_channels: int,
        out_channels: int,
        *,
        rank: int = 16,
        wide: tuple[str, ...] | None = None,
        inputs: SpaceLike = None,
        outputs: SpaceLike = None,
        interactions: Interactions = "full",
        bias: bool = True,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(rank, int) or rank < 1:
            raise ShapeError(f"rank={rank!r}: give a whole number of features, at least 1.")
        self.graph, self.in_channels, self.out_channels, self.rank = (
            graph,
            in_channels,
            out_channels,
            rank,
        )
        self.wide = _wide_sets(graph) if wide is None else _checked(graph, wide)
        permuted = graph.with_groups(
            {name: Symmetric(graph.neurons[name].size) for name in self.wide}
        )
        between = graph.space(_features_of_sets(graph))
        kinds: dict[str, Any] = {"interactions": interactions, "device": device, "dtype": dtype}
        share = gain * math.sqrt(0.5)
        ends = [
            {name: t.axes for name, t in graph.space(space).items()} for space in (inputs, outputs)
        ]
        self.permuted = Linear(
            permuted,
            in_channels,
            out_channels,
            inputs=Space(permuted.neurons, ends[0]),
            outputs=Space(permuted.neurons, ends[1]),
            bias=False,
            gain=share,
            **kinds,
        )
        self.narrow = Linear(
            graph, in_channels, rank, inputs=inputs, outputs=between, bias=False, **kinds
        )
        self.widen = Linear(
            graph,
            rank,
            out_channels,
            inputs=between,
            outputs=outputs,
            bias=bias,
            gain=share,
            **kinds,
        )

    @property
    def inputs(self) -> Space:
        return self.narrow.inputs

    @property
    def outputs(self) -> Space:
        return self.widen.outputs

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        direct, through = self.permuted(x), self.widen(self.narrow(x))
        return {name: direct[name] + through[name] for name in direct}

    def describe(self) -> str:
        """The three plans with this layer's channels, and what a complete layer would have cost."""
        parts = [("permuted", self.permuted), ("narrow", self.narrow), ("widen", self.widen)]
        count = sum(parameter.numel() for parameter in self.parameters())
        full = _complete_cost(self)
        head = f"LowRankLinear: {count:,} parameters; the complete layer would have {full:,}\n"
        return head + "\n".join(f"-- {name}\n{layer.describe()}" for name, layer in parts)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels} -> {self.out_channels} channels, rank {self.rank}, wide sets "
            f"{', '.join(self.wide)}"
        )


def _wide_sets(graph: NeuronGraph) -> tuple[str, ...]:
    return tuple(
        name for name, one in graph.neurons.items() if is_trivial(one.group) and one.size > 16
    )


def _checked(graph: NeuronGraph, wide: tuple[str, ...]) -> tuple[str, ...]:
    for name in wide:
        if name not in graph.neurons:
            raise GraphError(
                f"There is no neuron set '{name}'; the graph has {', '.join(graph.neurons)}."
            )
        if not is_trivial(graph.neurons[name].group):
            raise GraphError(
                f"'{name}' is not Fixed but {graph.neurons[name].group!r}: it costs no more when "
                "it is wide."
            )
    return tuple(wide)


def _features_of_sets(graph: NeuronGraph) -> dict[str, str]:
    """A tensor for every neuron set that is not fixed, with its
    ancestors, and one for the whole network.
    """
    features = {}
    for name, ancestors in ancestors_of(graph.neurons).items():
        if not is_trivial(graph.neurons[name].group):
            features[f"of {name}"] = f"({' '.join([*ancestors, name])})" if ancestors else name
    return {**features, "of the network": ""}


def _complete_cost(layer: LowRankLinear) -> int:
    maps = EquivariantMaps(layer.inputs, layer.outputs, layer.permuted.interactions)
    biases = 0 if layer.widen.bias is None else maps.bias_dimension * layer.out_channels
    return maps.dimension * layer.in_channels * layer.out_channels + biases
