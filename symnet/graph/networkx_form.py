"""A graph for networkx: neuron sets and tensors as nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.notation import print_axes, symbols_in
from symnet.graph.space import Space

if TYPE_CHECKING:
    import networkx


def networkx_form(neurons: Mapping[str, NeuronSet], weights: Space) -> networkx.MultiDiGraph:
    """Nodes with attribute ``kind``; edges from tensor to set (attribute ``axis``) and from a
    child set to its parents (attribute ``over=True``).
    """
    import networkx

    result = networkx.MultiDiGraph()
    for name, neuron_set in neurons.items():
        result.add_node(
            ("neurons", name),
            kind="neurons",
            group=repr(neuron_set.group),
            size=neuron_set.size,
        )
    for name, neuron_set in neurons.items():
        for parent in neuron_set.over:
            result.add_edge(("neurons", name), ("neurons", parent), over=True)
    for name, tensor in weights.items():
        result.add_node(
            ("tensor", name), kind="tensor", axes=print_axes(tensor.axes), shape=tensor.shape
        )
        for position, axis in enumerate(tensor.axes):
            for symbol in dict.fromkeys(symbols_in(axis)):
                result.add_edge(("tensor", name), ("neurons", symbol), axis=position)
    return result
