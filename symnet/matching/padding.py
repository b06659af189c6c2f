"""Two widths of one architecture: a narrow network laid into a
wide one, and cut out of it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.notation import print_axes


def pad(weights: Mapping[str, Tensor], narrow: NeuronGraph, wide: NeuronGraph) -> dict[str, Tensor]:
    """The weights of the narrow network with zeros for the neurons that only the wide one has.

    The result has the wide graph's shapes, and no meaning as a network where zeros change the
    function (norms, softmax).

    Raises:
        ShapeError: the graphs differ by more than the sizes of their neuron sets, or a set of
            ``wide`` is the smaller one.
    """
    _check_pair(narrow, wide)
    padded = {}
    for name, shape in wide.shapes.items():
        padded[name] = result = weights[name].new_zeros(shape)
        for small, large, sizes in _blocks(name, narrow, wide):
            corner = tuple(slice(size) for size in sizes)
            apply_views(result, large.views)[corner] = apply_views(
                weights[name].detach(), small.views
            )
    return padded | {alias: padded[kept] for alias, kept in wide.aliases.items()}


def cut(weights: Mapping[str, Tensor], wide: NeuronGraph, narrow: NeuronGraph) -> dict[str, Tensor]:
    """The first neurons of every set of a wide network: what ``pad`` put there."""
    _check_pair(narrow, wide)
    kept = {}
    for name, shape in narrow.shapes.items():
        kept[name] = result = weights[name].new_empty(shape)
        for small, large, sizes in _blocks(name, narrow, wide):
            corner = tuple(slice(size) for size in sizes)
            apply_views(result, small.views)[...] = apply_views(
                weights[name].detach(), large.views
            )[corner]
    return kept | {alias: kept[name] for alias, name in narrow.aliases.items()}


def _blocks(
    name: str, narrow: NeuronGraph, wide: NeuronGraph
) -> Iterator[tuple[Block, Block, tuple[int, ...]]]:
    """The blocks of a tensor in both graphs, and the sizes of the narrow one's dims."""
    for small, large in zip(narrow.weights[name].blocks, wide.weights[name].blocks, strict=True):
        yield small, large, small.shape


def _check_pair(narrow: NeuronGraph, wide: NeuronGraph) -> None:
    if list(narrow.tensors.items()) != list(wide.tensors.items()) or set(narrow.neurons) != set(
        wide.neurons
    ):
        differing = [
            n
            for n in {**wide.tensors, **narrow.tensors}
            if narrow.tensors.get(n) != wide.tensors.get(n)
        ]
        first = differing[0] if differing else ""
        axes = [
            print_axes(g.weights[first].axes) if first in g.weights else "missing"
            for g in (narrow, wide)
        ]
        raise ShapeError(
            f"The two graphs declare different networks: '{first}' has the axes '{axes[0]}' in "
            f"one and '{axes[1]}' in the other. Only the sizes of neuron sets may differ."
        )
    for name, neuron_set in narrow.neurons.items():
        if neuron_set.size > wide.neurons[name].size or neuron_set.over != wide.neurons[name].over:
            raise ShapeError(
                f"Neuron set '{name}' has {neuron_set.size} neurons in the narrow graph and "
                f"{wide.neurons[name].size} in the wide one; pass the graph of the wider "
                "network, in every set, first."
            )
