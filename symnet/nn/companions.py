"""The body of networks over weights that the group scales, rotates or
transforms: features and their companions.

Functions that are not linear cannot act on such features themselves. So every tensor has a
companion, the same axes in degree 0 and without what mixes neurons, on which any function may act.
In every block

    companions += products of features with themselves      (norms, balanced products, Gram
    matrices) companions += linear maps of companions, then functions of each features   += gates of
    the companions times linear maps of the features

so features stay equivariant, and companions hear everything that the group does not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from symnet.graph import NeuronGraph, Space
from symnet.nn.encodings import positions_along, sinusoids
from symnet.nn.features import Features
from symnet.nn.gate import Gate, gate_space
from symnet.nn.linear import Linear
from symnet.nn.pointwise import Pointwise
from symnet.nn.product import Product
from symnet.nn.regularization import Dropout, LayerNorm


class PositionGates(nn.Module):
    """Features times numbers learnt for the positions of neuron sets, appended as channels: tells
    neurons apart, and adds no constant.

    Args:
        graph: the architecture.
        sets: neuron sets whose neurons are told apart.
        channels: numbers for each neuron.
        inputs: the features' space.

    Shapes:
        ``{name: (batch, *axes, c)}`` to ``{name: (batch, *axes, c * (1 + len(sets) * channels))}``;
        zero where a set does not index a tensor.
    """

    def __init__(
        self, graph: NeuronGraph, sets: Iterable[str], channels: int, *, inputs: Space
    ) -> None:
        super().__init__()
        self.inputs, self.sets, self.channels = inputs, tuple(sets), channels
        self.tables = nn.ParameterList(
            nn.Parameter(torch.randn_like(sinusoids(graph.neurons[name].size, channels)))
            for name in self.sets
        )
        for t, tensor in enumerate(inputs.values()):
            for s, name in enumerate(self.sets):
                # An entry that two occurrences of a set index is told apart by the first of them.
                positions = positions_along(tensor, name)
                first = (
                    torch.from_numpy(positions[0]) if positions else torch.full(tensor.shape, -1)
                )
                self.register_buffer(f"_positions{t}_{s}", first, persistent=False)

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        result = {}
        for t, name in enumerate(self.inputs):
            parts = [x[name]]
            for s, table in enumerate(self.tables):
                padded = torch.cat(
                    [table, table.new_zeros(1, self.channels)]
                )  # position -1: the set does not index this entry
                codes = padded[getattr(self, f"_positions{t}_{s}")]
                parts.append((x[name].unsqueeze(-1) * codes.unsqueeze(-2)).flatten(-2))
            result[name] = torch.cat(parts, dim=-1)
        return result


class CompanionBlock(nn.Module):
    """One step: companions hear of products and of each other,
    features of features through gates.
    """

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int,
        features: Space,
        companions: Space,
        config: Mapping[str, Any],
    ):
        super().__init__()
        between = {"interactions": config["interactions"]}
        self.companions = companions
        self.products = Product(
            graph, channels, channels, inputs=features, outputs=companions, channels="same"
        )
        self.norm = (
            LayerNorm(graph, channels, inputs=companions) if config["norm"] else nn.Identity()
        )
        self.mix = Linear(
            graph, channels, channels, inputs=companions, outputs=companions, **between
        )
        perceptron = [
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        ]
        self.each = Pointwise(nn.Sequential(*perceptron))
        self.dropout = Dropout(config["dropout"])
        self.linear = Linear(
            graph, channels, channels, inputs=features, outputs=features, bias=False, **between
        )
        self.gate = Gate(
            graph, channels, inputs=_joined(features, companions), sources=list(companions)
        )

    def forward(self, x: Features, y: Features) -> tuple[Features, Features]:
        products = self.products(x)
        heard = self.norm({name: y[name] + _bounded(products[name]) for name in y})
        mixed = self.mix(heard)
        change = self.dropout(self.each({name: heard[name] + mixed[name] for name in y}))
        y = {name: y[name] + change[name] for name in y}
        gated = self.gate({**self.linear(x), **y})
        return {name: tensor + gated[name] for name, tensor in x.items()}, y


def _bounded(x: Tensor) -> Tensor:
    """Products grow with the square of the weights; their logarithm, with the sign, does not."""
    return x.sign() * x.abs().log1p()


def _joined(first: Space, second: Space) -> Space:
    return Space(
        first.neurons,
        {name: tensor.axes for space in (first, second) for name, tensor in space.items()},
    )


class CompanionBody(nn.Module):
    """Features and companions after any number of blocks.

    Args:
        graph: the architecture, its encoded sets permuted.
        inputs: the tensors that are read.
        encoded: sets whose neurons are told apart by gates.
        config: channels, in_channels, layers, interactions, norm, dropout, position_channels.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to the same tensors and their companions,
        ``{name: (batch, *axes, channels)}``.
    """

    def __init__(
        self, graph: NeuronGraph, inputs: Space, encoded: tuple[str, ...], config: Mapping[str, Any]
    ) -> None:
        super().__init__()
        channels, width = config["channels"], config["in_channels"]
        self.inputs, self.companions = inputs, gate_space(inputs)
        self.outputs = _joined(inputs, self.companions)
        self.positions: nn.Module = nn.Identity()
        if encoded:
            self.positions = PositionGates(
                graph, encoded, config["position_channels"], inputs=inputs
            )
            width *= 1 + len(encoded) * config["position_channels"]
        self.first = Linear(
            graph,
            width,
            channels,
            inputs=inputs,
            outputs=inputs,
            interactions=config["interactions"],
        )
        self.seen = Linear(graph, width, channels, inputs=inputs, outputs=self.companions)
        self.blocks = nn.ModuleList(
            CompanionBlock(graph, channels, inputs, self.companions, config)
            for _ in range(max(config["layers"], 1))
        )

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        placed = self.positions(x)
        features, companions = dict(self.first(placed)), self.seen(placed)
        for block in self.blocks:
            features, companions = block(features, companions)
        return {**features, **companions}
