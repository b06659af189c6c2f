"""Pointwise nonlinearities: the same function of every entry commutes with every permutation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.neuron_graph import require_graph
from symnet.nn.commuting import channels_of, demands, refuse_pointwise
from symnet.nn.features import Features, check_mapping, space_of


class Pointwise(nn.Module):
    """A module applied to every tensor of the features, entry by entry.

    Args:
        module: acts on each entry or on the channels (the last dim): ReLU, GELU,
            LayerNorm(channels), Linear(channels, c) ... A module that mixes other dims would break
            equivariance; ``sn.verify.equivariance`` tells.
        graph: the architecture. Given one, or the features of a layer over one, functions are
            refused that do not commute with what its group does besides permutations: signs need
            odd functions, scales positively homogeneous ones, rotations and invertible maps linear
            ones. Strands of degree 0 (``h.``) allow any.
        inputs: the features' space (default: the graph's tensors).

    Raises:
        ShapeError: the module cannot be called, or the features are no dict.
        GraphError: the module does not commute with the group; names the set and the function, and
            what to use.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to ``{name: (batch, *axes, channels')}``.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"h": sn.Scaled(8)}, {"bias": "h"})
        >>> layer = sn.nn.Pointwise(nn.ReLU(), graph)
        >>> sn.nn.Pointwise(nn.GELU(), graph)
        Traceback (most recent call last):
        symnet.errors.GraphError: Pointwise(GELU(approximate='none')) does not commute with ...
    """

    def __init__(
        self, module: nn.Module, graph: NeuronGraph | None = None, *, inputs: SpaceLike = None
    ) -> None:
        super().__init__()
        if not callable(module):
            raise ShapeError(
                f"Pointwise got {module!r:.60}; it takes a module such as torch.nn.ReLU()."
            )
        self.module = module
        self._accepted: set[tuple[Space, int]] = set()
        self.inputs = None if graph is None else require_graph(graph, "Pointwise").space(inputs)
        is_lazy = any(
            isinstance(parameter, nn.UninitializedParameter) for parameter in _parameters(module)
        )
        if self.inputs is not None and not is_lazy:
            self.check(self.inputs, channels_of(module) or 4)

    def check(self, space: Space, channels: int) -> None:
        """Refuse the module if it does not commute with what the group
        does to the entries of a space.

        Raises:
            GraphError: it does not; names the set and the function, and what to use.
        """
        if demands(space) and (space, channels) not in self._accepted:
            refuse_pointwise(self.module, space, channels)
            self._accepted.add((space, channels))

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_mapping(x, "Pointwise got")
        space = space_of(x)
        if space is not None and x and not torch.compiler.is_compiling():
            self.check(space, next(iter(x.values())).shape[-1])
        return {name: self.module(tensor) for name, tensor in x.items()}


def _parameters(module: object) -> list[nn.Parameter]:
    return list(module.parameters()) if isinstance(module, nn.Module) else []
