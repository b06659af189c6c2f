"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

from symnet.errors import GraphError
from symnet.graph.catalogue.pieces import Neurons, affine, io_group, successive, whole_sizes
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Symmetric


def mlp(sizes: Sequence[int], io: str = "fixed", bias: bool = True) -> NeuronGraph:
    """The graph of ``nn.Sequential(Linear, ReLU, Linear, ReLU, ..., Linear)``.

    Args:
        sizes: widths from input to output, at least two.
        io: "fixed" or "permuted" input and output neurons.
        bias: whether the layers have biases.

    Returns:
        Neuron sets ``in``, ``h1``, ``h2``, ..., ``out``; tensors ``0.weight``, ``0.bias``,
        ``2.weight``, ...

    Raises:
        GraphError: fewer than two sizes, or sizes that are not whole numbers of at least 1.

    Example:
        >>> mlp([2, 32, 1])
        neurons
          in: Fixed(2)
          h1: Symmetric(32)
          out: Fixed(1)
        tensors
          0.weight: h1 in
          0.bias: h1
          2.weight: out h1
          2.bias: out
    """
    sizes = whole_sizes("mlp", sizes)
    if len(sizes) < 2:
        raise GraphError(
            f"mlp({list(sizes)}) names {len(sizes)} widths; give at least two, "
            "the inputs and the outputs."
        )
    hidden = [f"h{number}" for number in range(1, len(sizes) - 1)]
    neurons: Neurons = {"in": io_group(io, sizes[0])}
    neurons |= {name: Symmetric(size) for name, size in zip(hidden, sizes[1:-1], strict=True)}
    neurons["out"] = io_group(io, sizes[-1])
    tensors: dict[str, str] = {}
    for number, (source, target) in enumerate(successive(list(neurons))):
        tensors |= affine(f"{2 * number}.", f"{target} {source}", bias)
    return NeuronGraph(neurons, tensors)
