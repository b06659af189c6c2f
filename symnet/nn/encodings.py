"""Positional encodings: tell the neurons of a permuted set apart,
where their order does have a meaning.

Networks made for permuted inputs and outputs (NP) are blind to which input is which. Encodings
appended to the weights that touch these neurons give the information back; what follows is then
equivariant under the other sets only, as the graph with these sets Fixed says (HNP), but with NP's
fewer parameters (Zhou et al. 2023, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError
from symnet.graph import NeuronGraph, Space, SpaceLike, TensorSpace
from symnet.graph.action import apply_views
from symnet.nn.features import Features, check_features, refuse_signs


class PositionalEncoding(nn.Module):
    """Features with encodings of neurons' positions appended as channels.

    Args:
        graph: the architecture.
        sets: neuron sets whose neurons are told apart, for instance ``["in", "out"]``.
        channels: channels appended for each of these sets (zero on tensors that it does not index).
        kind: ``"sinusoidal"`` (fixed: sines and cosines of geometrically spaced frequencies, as in
            Vaswani et al. 2017) or ``"learned"`` (a table for each set).
        inputs: the features' space (default: the graph's tensors).

    Shapes:
        ``{name: (batch, *axes, c)}`` to ``{name: (batch, *axes, c + len(sets) * channels)}``.
    """

    def __init__(
        self,
        graph: NeuronGraph,
        sets: Iterable[str],
        channels: int,
        *,
        kind: str = "sinusoidal",
        inputs: SpaceLike = None,
    ) -> None:
        super().__init__()
        self.inputs, self.sets, self.channels, self.kind = (
            graph.space(inputs),
            tuple(sets),
            channels,
            kind,
        )
        if unknown := [name for name in self.sets if name not in graph.neurons]:
            raise GraphError(
                f"There are no neuron sets {unknown} to encode; the graph has "
                f"{', '.join(graph.neurons)}."
            )
        if kind not in ("sinusoidal", "learned"):
            raise GraphError(f"kind={kind!r} is no encoding; choose 'sinusoidal' or 'learned'.")
        touched = {
            name: t.axes for name, t in self.inputs.items() if set(self.sets) & set(t.symbols)
        }
        refuse_signs(Space(self.inputs.neurons, touched), "PositionalEncoding appends constants")
        self.embeddings = nn.ParameterList()
        for number, name in enumerate(self.sets):
            table = sinusoids(graph.neurons[name].size, channels)
            if kind == "learned":
                self.embeddings.append(nn.Parameter(torch.randn_like(table) / math.sqrt(2)))
            else:
                self.register_buffer(f"_table{number}", table, persistent=False)
        for t, tensor in enumerate(self.inputs.values()):
            for s, name in enumerate(self.sets):
                for k, positions in enumerate(positions_along(tensor, name)):
                    self.register_buffer(
                        f"_positions{t}.{s}.{k}".replace(".", "_"),
                        torch.from_numpy(positions),
                        persistent=False,
                    )

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.inputs, "PositionalEncoding got")
        encoded = {}
        for t, name in enumerate(self.inputs):
            tensor = x[name]
            parts = [tensor]
            for s in range(len(self.sets)):
                encoding = self._encoding(t, s, tensor)
                parts.append(encoding.expand(tensor.shape[0], *encoding.shape))
            encoded[name] = torch.cat(parts, dim=-1)
        return encoded

    def _encoding(self, t: int, s: int, tensor: Tensor) -> Tensor:
        table = self.embeddings[s] if self.kind == "learned" else getattr(self, f"_table{s}")
        table = table.to(tensor.dtype)
        # position -1: the set does not index this entry
        padded = torch.cat([table, table.new_zeros(1, self.channels)])
        total = tensor.new_zeros(*tensor.shape[1:-1], self.channels)
        k = 0
        while (positions := getattr(self, f"_positions{t}_{s}_{k}", None)) is not None:
            total = total + padded[positions]
            k += 1
        return total

    def extra_repr(self) -> str:
        return f"{self.kind} for {', '.join(self.sets)}: {self.channels} channels each"


def sinusoids(count: int, channels: int) -> Tensor:
    """Encodings of positions ``0..count-1``: ``(count, channels)``, sines then cosines."""
    half = (channels + 1) // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / max(half, 1))
    angles = torch.arange(count)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :channels]


def positions_along(tensor: TensorSpace, name: str) -> list[np.ndarray]:
    """For every occurrence of a neuron set, its neuron at every entry of a
    tensor: int64 of the tensor's shape, or -1.
    """
    positions: list[np.ndarray] = []
    for block in tensor.blocks:
        places = [k for k, instance in enumerate(block.instances) if instance.symbol == name]
        for number, place in enumerate(places):
            if number == len(positions):
                positions.append(np.full(tensor.shape, -1))
            shape = [size if k == place else 1 for k, size in enumerate(block.shape)]
            apply_views(positions[number], block.views)[...] = np.arange(
                block.shape[place]
            ).reshape(shape)
    return positions
