"""Adapters: layers that take their weights as lists, containers or flat
vectors, as functions of features by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, SpaceLike

Features = dict[str, Tensor]


class OnLists(nn.Module):
    """A layer on two lists of weights and biases as a layer on features; made by ``on_lists``."""

    def __init__(
        self,
        layer: nn.Module,
        weights: Sequence[str],
        biases: Sequence[str],
        channels_first: bool,
        pack: Callable[[list[Tensor], list[Tensor]], tuple[Any, ...]],
    ) -> None:
        super().__init__()
        self.layer, self.weights, self.biases = layer, tuple(weights), tuple(biases)
        self.channels_first, self.pack = channels_first, pack

    def forward(self, x: Features) -> Any:
        lists = [[self._enter(x[name]) for name in names] for names in (self.weights, self.biases)]
        result = self.layer(*self.pack(lists[0], lists[1]))
        if isinstance(result, Tensor):
            return result
        if hasattr(result, "weights") and hasattr(result, "biases"):
            result = result.weights, result.biases
        named = zip((*self.weights, *self.biases), (*result[0], *result[1]), strict=True)
        return {name: self._leave(tensor) for name, tensor in named}

    def _get_name(self) -> str:
        return self.layer._get_name()

    def _enter(self, tensor: Tensor) -> Tensor:
        return tensor.movedim(-1, 1) if self.channels_first else tensor

    def _leave(self, tensor: Tensor) -> Tensor:
        return tensor.movedim(1, -1) if self.channels_first else tensor


def on_lists(
    layer: nn.Module,
    graph: NeuronGraph,
    *,
    container: Callable[[list[Tensor], list[Tensor]], Any] | None = None,
    channels_first: bool = True,
) -> OnLists:
    """A layer that takes a list of weights and a list of biases, as a module on features.

    Args:
        layer: called with ``(weights, biases)``, or with ``container(weights, biases)``; it returns
            the same, an object with ``weights`` and ``biases``, or one tensor of invariants.
        graph: its tensors with two axes or more are the weights, the others the biases, in the
            graph's order.
        container: makes the one argument, such as nfn's ``WeightSpaceFeatures``.
        channels_first: whether the layer's tensors are ``(batch, channels, *axes)``.
    """
    weights = [name for name, shape in graph.shapes.items() if len(shape) > 1]
    biases = [name for name, shape in graph.shapes.items() if len(shape) <= 1]

    def pack(first: list[Tensor], second: list[Tensor]) -> tuple[Any, ...]:
        return (first, second) if container is None else (container(first, second),)

    return OnLists(layer, weights, biases, channels_first, pack)


class OnVectors(nn.Module):
    """A layer on flat vectors as a layer on features; made by ``on_vectors``."""

    def __init__(
        self, layer: nn.Module, graph: NeuronGraph, inputs: SpaceLike, outputs: SpaceLike
    ) -> None:
        super().__init__()
        self.layer = layer
        self.inputs, self.outputs = graph.space(inputs), graph.space(outputs)

    def _get_name(self) -> str:
        return self.layer._get_name()

    def forward(self, x: Features) -> Features:
        # (batch, all entries, channels)
        flat = torch.cat([x[name].flatten(1, -2) for name in self.inputs], 1)
        y = self.layer(flat)
        if y.ndim != 3 or y.shape[1] != self.outputs.size:
            raise ShapeError(
                f"The layer on vectors returned {tuple(y.shape)}; expected (batch, "
                f"{self.outputs.size}, channels), all entries of {', '.join(self.outputs)} one "
                "after another."
            )
        parts = y.split([tensor.size for tensor in self.outputs.values()], 1)
        return {
            name: part.reshape(len(part), *tensor.shape, part.shape[-1])
            for (name, tensor), part in zip(self.outputs.items(), parts, strict=True)
        }


def on_vectors(
    layer: nn.Module, graph: NeuronGraph, *, inputs: SpaceLike = None, outputs: SpaceLike = None
) -> OnVectors:
    """A layer from ``(batch, entries, channels)`` to the same, all tensors
    flattened in order, as a module on features.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([1, 2, 1])
        >>> sn.verify.certify(on_vectors(nn.Identity(), graph), graph, seed=0).equivariant
        True
    """
    return OnVectors(layer, graph, inputs, outputs)
