"""Equivariant normalisation and dropout."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.nn.arguments import check_count
from symnet.nn.features import Features, check_features, check_mapping, refuse_signs


class LayerNorm(nn.Module):
    """Features of mean 0 and variance 1 over each tensor of each network, then
    scaled and shifted channel by channel.

    Mean and variance are taken over all entries and channels of a tensor, so they are invariant and
    the layer is equivariant for every group. (``Pointwise(torch.nn.LayerNorm(channels))``
    normalises each entry instead.)

    Args:
        graph: the architecture.
        channels: features of every weight.
        inputs: the features' space (default: the graph's tensors).
        eps: added to the variance.

    Raises:
        ShapeError: wrong channels or eps, or features that do not fit.
        GraphError: a tensor's sign may change (``SignedSymmetric``): its mean and a shift would not
            change with it.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to the same.
    """

    def __init__(
        self, graph: NeuronGraph, channels: int, *, inputs: SpaceLike = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        check_count("channels", channels)
        if not isinstance(eps, float | int) or not 0 <= eps < math.inf:
            raise ShapeError(
                f"eps={eps!r}: what is added to the variance must be a finite number of at least 0."
            )
        self.inputs, self.channels, self.eps = (
            require_graph(graph, "LayerNorm").space(inputs),
            channels,
            eps,
        )
        refuse_signs(self.inputs, "LayerNorm subtracts a mean and adds a shift")
        self.scale = nn.Parameter(torch.ones(len(self.inputs), channels))
        self.shift = nn.Parameter(torch.zeros(len(self.inputs), channels))

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.inputs, "LayerNorm got", self.channels, like=self.scale)
        results = {}
        for number, name in enumerate(self.inputs):
            tensor = x[name]
            normalized = torch.nn.functional.layer_norm(tensor, tensor.shape[1:], eps=self.eps)
            results[name] = normalized * self.scale[number] + self.shift[number]
        return results

    def extra_repr(self) -> str:
        return f"{len(self.inputs)} tensors, {self.channels} channels, eps={self.eps}"


class Dropout(nn.Module):
    """Features with whole channels of a tensor zeroed at random in
    training; nothing happens in eval mode.

    One mask holds for all entries of a tensor, so that for a given mask the layer commutes with
    every permutation; what is kept is divided by ``1 - p``, as in ``torch.nn.Dropout``.

    Args:
        p: probability of zeroing a channel of a tensor of a network.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not isinstance(p, float | int) or not 0 <= p < 1:
            raise ShapeError(f"Dropout(p={p!r}): the probability must be at least 0 and below 1.")
        self.p = p

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_mapping(x, "Dropout got")
        if not self.training or self.p == 0:
            return dict(x)
        results = {}
        for name, tensor in x.items():
            shape = (tensor.shape[0], *[1] * (tensor.dim() - 2), tensor.shape[-1])
            results[name] = (
                tensor
                * torch.empty(shape, device=tensor.device, dtype=tensor.dtype).bernoulli_(
                    1 - self.p
                )
                / (1 - self.p)
            )
        return results

    def extra_repr(self) -> str:
        return f"p={self.p}"
