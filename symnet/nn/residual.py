"""Residual blocks: what goes in, plus what a sequence of modules makes of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.nn.features import Features, check_mapping
from symnet.nn.sequence import Network


class Residual(nn.Module):
    """Features plus what modules make of them; equivariant if they are.

    Args:
        modules: layers, each called with the result of the one before; the last gives features of
            the first one's shape.

    Raises:
        ShapeError: the modules change the shape of a tensor.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to the same.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> block = sn.nn.Residual(sn.nn.LayerNorm(graph, 3), sn.nn.Linear(graph, 3, 3))
        >>> block({name: torch.ones(5, *shape, 3) for name, shape in graph.shapes.items()})[
        ...     "0.bias"
        ... ].shape
        torch.Size([5, 4, 3])
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.inner = Network(*modules)

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_mapping(x, "Residual got")
        change = self.inner(x)
        check_mapping(change, "Residual's modules gave")
        for name, tensor in x.items():
            if name not in change or change[name].shape != tensor.shape:
                shape = tuple(change[name].shape) if name in change else "nothing"
                raise ShapeError(
                    f"Residual cannot add: '{name}' has shape {tuple(tensor.shape)}, but its "
                    f"modules gave {shape}. Let them read and write the same tensors with the "
                    "same channels."
                )
        return {name: tensor + change[name] for name, tensor in x.items()}
