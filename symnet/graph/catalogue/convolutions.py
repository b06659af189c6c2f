"""Convolutional networks with a linear head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from symnet.errors import GraphError
from symnet.graph.catalogue.pieces import Neurons, affine, io_group, successive, whole_sizes
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Symmetric


def cnn(
    channels: Sequence[int],
    kernel_size: int | Sequence[int] = 3,
    classes: int = 10,
    *,
    dims: int = 2,
    io: str = "fixed",
    head: str = "pool",
    positions: int | Sequence[int] | None = None,
    hidden: Sequence[int] = (),
    pooling: bool = False,
    bias: bool = True,
) -> NeuronGraph:
    """The graph of a convolutional ``nn.Sequential``: convolutions, then a linear head.

    With ``head="pool"`` of ``nn.Sequential(Conv2d, ReLU, ..., Conv2d, ReLU,
    AdaptiveAvgPool2d(1), Flatten(), Linear)``; with ``head="flatten"`` of one without the pool.

    Args:
        channels: of the input and of every convolution's output, at least two.
        kernel_size: one for all dims, or one per dim.
        classes: number of outputs.
        dims: 1, 2 or 3 for Conv1d, Conv2d or Conv3d.
        io: "fixed" or "permuted" input and output neurons.
        head: "pool" or "flatten".
        positions: with ``head="flatten"`` the size of the last feature map: height and width, or
            their product.
        hidden: widths of further pairs ``Linear, ReLU`` before the last ``Linear``.
        pooling: whether a ``MaxPool2d`` follows every ReLU of a convolution.
        bias: whether the layers have biases.

    Returns:
        Neuron sets ``in``, ``c1``, ..., ``h1``, ..., ``out``; tensors by the modules' numbers.

    Raises:
        GraphError: sizes that are not whole numbers of at least 1, or a head without its sizes.

    Example:
        >>> list(cnn([1, 8, 16]).tensors.items())[2:5]
        [('2.weight', 'c2 c1 3 3'), ('2.bias', 'c2'), ('6.weight', 'out c2')]
        >>> cnn([1, 8], head="flatten", positions=(4, 4)).tensors["3.weight"]
        'out (c1 16)'
    """
    channels = whole_sizes("cnn", channels)
    kernel = _kernel(kernel_size, dims)
    flat = _flat_positions(head, positions)
    if len(channels) < 2:
        raise GraphError(
            f"cnn({list(channels)}) names {len(channels)} channels; "
            "give the input's and at least one more."
        )
    convolved = [f"c{number}" for number in range(1, len(channels))]
    between = [f"h{number}" for number in range(1, len(hidden) + 1)]
    neurons: Neurons = {"in": io_group(io, channels[0])}
    neurons |= {name: Symmetric(size) for name, size in zip(convolved, channels[1:], strict=True)}
    neurons |= {name: Symmetric(size) for name, size in zip(between, hidden, strict=True)}
    neurons["out"] = io_group(io, classes)
    tensors: dict[str, str] = {}
    step = 3 if pooling else 2
    for number, (source, target) in enumerate(successive(["in", *convolved])):
        tensors |= affine(f"{step * number}.", f"{target} {source} {kernel}", bias)
    start = step * len(convolved) + (2 if head == "pool" else 1)
    last = f"({convolved[-1]} {flat})" if flat else convolved[-1]
    for number, (source, target) in enumerate(successive([last, *between, "out"])):
        tensors |= affine(f"{start + 2 * number}.", f"{target} {source}", bias)
    return NeuronGraph(neurons, tensors)


def _kernel(kernel_size: int | Sequence[int], dims: int) -> str:
    if dims not in (1, 2, 3):
        raise GraphError(f"cnn(dims={dims}): 1, 2 or 3 are possible (Conv1d, Conv2d, Conv3d).")
    kernel = kernel_size if isinstance(kernel_size, Iterable) else [kernel_size] * dims
    sizes = whole_sizes("cnn(kernel_size=...)", kernel)
    if len(sizes) != dims:
        raise GraphError(
            f"cnn(kernel_size={sizes}, dims={dims}): give one kernel size, or one "
            f"for each of the {dims} dims."
        )
    return " ".join(map(str, sizes))


def _flat_positions(head: str, positions: int | Sequence[int] | None) -> int:
    """Number of positions that a flattened feature map has; 0 under a global pool."""
    if head not in ("pool", "flatten"):
        raise GraphError(
            f"cnn(head={head!r}); write 'pool' for a global average pool before the head, "
            "or 'flatten'."
        )
    if (head == "flatten") != (positions is not None):
        raise GraphError(
            f"cnn(head={head!r}, positions={positions}): a flattened head needs "
            "positions=(height, width) of the last feature map, and a pooled head has none."
        )
    if positions is None:
        return 0
    sizes = positions if isinstance(positions, Iterable) else [positions]
    return math.prod(whole_sizes("cnn(positions=...)", sizes))
