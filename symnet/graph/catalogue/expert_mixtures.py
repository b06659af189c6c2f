"""Mixtures of experts."""

from __future__ import annotations

from symnet.graph.catalogue.pieces import Neurons, io_group
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import Symmetric


def experts(
    model: int, hidden: int, count: int, *, bias: bool = False, io: str = "fixed"
) -> NeuronGraph:
    """The graph of a mixture of experts with stacked weights: experts move as wholes.

    Args:
        model: width of what is read and written.
        hidden: neurons inside every expert.
        count: number of experts.
        bias: whether there are ``up_bias`` and ``down_bias``.
        io: "fixed" or "permuted" input and output neurons.

    Returns:
        Tensors ``router.weight`` (a ``Linear`` without bias from model to experts), ``up``
        ``(experts, hidden, model)`` and ``down`` ``(experts, model, hidden)``.

    Raises:
        GraphError: sizes that are not whole numbers of at least 1.

    Example:
        >>> dict(experts(8, 16, 4).tensors)
        {'router.weight': 'e in', 'up': 'e f in', 'down': 'e out f'}
    """
    neurons: Neurons = {
        "in": io_group(io, model),
        "e": Symmetric(count),
        "f": NeuronSet(Symmetric(hidden), over=("e",)),
        "out": io_group(io, model),
    }
    tensors = {"router.weight": "e in", "up": "e f in"} | ({"up_bias": "e f"} if bias else {})
    tensors |= {"down": "e out f"} | ({"down_bias": "e out"} if bias else {})
    return NeuronGraph(neurons, tensors)
