"""Gates: features times functions of invariants, the nonlinearity
that commutes with every group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from symnet.errors import GraphError
from symnet.graph import NeuronGraph, Space, SpaceLike
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block, Instance, axes_of_dims
from symnet.graph.neuron_graph import require_graph
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.notation import Anonymous, Axes, Axis, Symbol, product
from symnet.graph.space import TensorSpace
from symnet.groups import is_linear
from symnet.nn.arguments import check_count
from symnet.nn.commuting import demands
from symnet.nn.features import Features, check_features, with_space
from symnet.nn.linear import Linear
from symnet.plan.block_arrays import assemble


class Gate(nn.Module):
    """Every entry times a function of what the group does not change there.

    Where pointwise functions are not allowed (``GeneralLinear``, ``Orthogonal``; most of them on
    ``Scaled`` and ``SignedSymmetric`` sets), features may still be multiplied by gates: of a tensor
    with axes ``h m`` by one with axes ``h.``, a neuron each, in which signs and scales do not show,
    and which is the same for all directions that rotations mix. Gates are
    ``2 sigmoid(linear maps of all features)``, so 1 on average when they are new.

    What gates see of the features themselves are degree-0 strands, traces and means: give them
    norms and products to see (a :class:`Product` before), or name tensors to read in ``sources``.

    Args:
        graph: the architecture.
        channels: features of every weight, in and out.
        inputs: the features' space (default: the graph's tensors).
        sources: names of tensors among these that gates are functions of (default: all).
        activation: from numbers to gates (default: twice the sigmoid).

    Raises:
        GraphError, ShapeError: spaces or features that do not fit.

    Shapes:
        ``{name: (batch, *axes, channels)}`` to the same.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"m": sn.Orthogonal(4)}, {"x": "m", "norm": ""})
        >>> gate = sn.nn.Gate(graph, 2)
        >>> gate({"x": torch.ones(5, 4, 2), "norm": torch.ones(5, 2)})["x"].shape
        torch.Size([5, 4, 2])

    Source: gated nonlinearities of Weiler et al. 2018 (arXiv 1807.02547, section 4.4), for any
    group.
    """

    def __init__(
        self,
        graph: NeuronGraph,
        channels: int,
        *,
        inputs: SpaceLike = None,
        sources: SpaceLike = None,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.inputs = require_graph(graph, "Gate").space(inputs)
        check_count("channels", channels)
        self.channels = channels
        self._demanding = bool(demands(self.inputs))
        self.sources = self.inputs if sources is None else _chosen(graph, self.inputs, sources)
        self.gates = gate_space(self.inputs)
        self.activation = activation if activation is not None else twice_sigmoid
        self.linear = Linear(graph, channels, channels, inputs=self.sources, outputs=self.gates)

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_features(x, self.inputs, "Gate got", self.channels)
        gates = self.linear({name: x[name] for name in self.sources})
        result: Features = {}
        for name, tensor in self.inputs.items():
            parts = []
            for number, block in enumerate(tensor.blocks):
                gate = self.activation(gates[gate_name(name, number)])
                (gate_block,) = self.gates[gate_name(name, number)].blocks
                gate = apply_views(gate, gate_block.views, offset=1)
                parts.append(apply_views(x[name], block.views, offset=1) * gate)
            result[name] = assemble(tensor.blocks, parts, torch.cat)
        return with_space(result, self.inputs, demanding=self._demanding)

    def extra_repr(self) -> str:
        return f"{len(self.inputs)} tensors, {self.channels} channels"


def twice_sigmoid(x: Tensor) -> Tensor:
    """A gate that is 1 at 0."""
    return 2 * torch.sigmoid(x)


def gate_name(tensor: str, block: int) -> str:
    """Name of the gates of one block of a tensor."""
    return f"gates of {tensor}" + (f", part {block + 1}" if block else "")


def gate_space(space: Space) -> Space:
    """For every block of every tensor its gates: the same axes in
    degree 0, without what mixes neurons.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"h": sn.Scaled(2), "m": sn.Orthogonal(3)}, {"w": "m (h* + m)"})
        >>> gate_space(graph.weights)
        Space(gates of w: 1 h., gates of w, part 2: 1 1)
    """
    return Space(
        space.neurons,
        {
            gate_name(name, number): _gated(tensor, block, space.neurons)
            for name, tensor in space.items()
            for number, block in enumerate(tensor.blocks)
        },
    )


def _gated(tensor: TensorSpace, block: Block, neurons: Mapping[str, NeuronSet]) -> Axes:
    """The axes of one block's gates."""
    origins = axes_of_dims(block, len(tensor.axes))
    strands = [
        (origin, _gated_dim(one, neurons))
        for origin, one in zip(origins, block.instances, strict=True)
    ]
    return tuple(
        product([strand for origin, strand in strands if origin == axis])
        for axis in range(len(tensor.axes))
    )


def _gated_dim(instance: Instance, neurons: Mapping[str, NeuronSet]) -> Axis:
    if instance.symbol is None:
        return Anonymous(instance.size)
    return Anonymous(1) if is_linear(neurons[instance.symbol].group) else Symbol(instance.symbol, 0)


def _chosen(graph: NeuronGraph, inputs: Space, sources: SpaceLike) -> Space:
    """The tensors that gates are functions of, which must be among the features."""
    names = [sources] if isinstance(sources, str) else list(sources or ())
    if unknown := [name for name in names if name not in inputs]:
        raise GraphError(
            f"Gate's sources= names {unknown}, but the features are {', '.join(inputs)}."
        )
    return graph.space(Space(inputs.neurons, {name: inputs[name].axes for name in names}))
