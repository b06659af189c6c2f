"""Pointwise nonlinearities: the same function of every entry commutes with every permutation."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.nn.features import Features, check_mapping


class Pointwise(nn.Module):
    """A module applied to every tensor of the features, entry by entry.

    Args:
        module: acts on each entry or on the channels (the last dim): ReLU, GELU, LayerNorm(channels), Linear(channels, c) ...
            A module that mixes other dims would break equivariance, and so would one that is not odd (ReLU) where neurons
            change their sign (``SignedSymmetric``); ``sn.verify.equivariance`` tells.

    Raises:
        ShapeError: the module cannot be called, or the features are no dict.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to ``{name: (batch, *axes, channels')}``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not callable(module):
            raise ShapeError(f"Pointwise got {module!r:.60}; it takes a module such as torch.nn.ReLU().")
        self.module = module

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_mapping(x, "Pointwise got")
        return {name: self.module(tensor) for name, tensor in x.items()}
