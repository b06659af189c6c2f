"""Spaces: tensors whose axes are indexed by neuron sets, the domain
and codomain of equivariant maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from symnet.errors import GraphError
from symnet.graph.blocks import Block, axis_size, product_of_blocks, split_blocks
from symnet.graph.neuron_sets import NeuronSet, ancestors_of
from symnet.graph.notation import Axes, Axis, parse_axes, print_axes, strands_in, symbols_in
from symnet.groups import is_linear


@dataclass(frozen=True, slots=True)
class TensorSpace:
    """One tensor: its axes, its shape, and the blocks it is a direct sum of."""

    name: str
    axes: Axes
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Neuron sets that index this tensor, in the order in which they are written."""
        return tuple(dict.fromkeys(name for axis in self.axes for name in symbols_in(axis)))

    def __repr__(self) -> str:
        return f"{self.name}: {print_axes(self.axes)}"


def _read(name: object, notation: object) -> Axes:
    """Axes of a tensor from their notation; axes that were read before stay as they are.

    Raises:
        GraphError: the name is no text, or the notation neither text nor axes.
    """
    if not isinstance(name, str):
        raise GraphError(f"{name!r:.60} cannot name a tensor: use a text.")
    if isinstance(notation, str):
        return parse_axes(notation)
    if isinstance(notation, tuple) and all(isinstance(axis, Axis) for axis in notation):
        return notation
    raise GraphError(
        f"Tensor '{name}' has the axes {notation!r:.60}; write them as a text, for instance 'h2 "
        "h1 3 3'."
    )


def _product(left: TensorSpace, right: TensorSpace) -> TensorSpace:
    blocks = tuple(product_of_blocks(one, other) for one in left.blocks for other in right.blocks)
    name = f"{left.name} * {right.name}"
    return TensorSpace(name, left.axes + right.axes, left.shape + right.shape, blocks)


class Space(Mapping[str, TensorSpace]):
    """Named tensors over neuron sets, immutable; a direct sum of blocks, whose order belongs to it.

    Args:
        neurons: neuron sets by name, already checked.
        tensors: axis notation by tensor name.

    Raises:
        GraphError: an axis names an undeclared set, or a child's parent cannot be read.

    Example:
        >>> from symnet.groups import Symmetric
        >>> space = Space({"h": NeuronSet(Symmetric(4))}, {"weight": "h 3", "bias": "h"})
        >>> space["weight"].shape
        (4, 3)
    """

    def __init__(self, neurons: Mapping[str, NeuronSet], tensors: Mapping[str, str | Axes]) -> None:
        self.neurons: Mapping[str, NeuronSet] = MappingProxyType(dict(neurons))
        self.ancestors: Mapping[str, tuple[str, ...]] = MappingProxyType(ancestors_of(neurons))
        sizes = {name: neuron_set.size for name, neuron_set in neurons.items()}
        # Hundreds of tensors share a few axes: blocks are read once for each.
        blocks_by_axes: dict[Axes, tuple[tuple[int, ...], tuple[Block, ...]]] = {}
        tensor_spaces: dict[str, TensorSpace] = {}
        for name, notation in tensors.items():
            axes = _read(name, notation)
            if axes not in blocks_by_axes:
                self._check_symbols(name, axes)
                shape = tuple(axis_size(axis, sizes) for axis in axes)
                where = f"Tensor '{name}' with axes '{print_axes(axes)}'"
                blocks_by_axes[axes] = shape, split_blocks(axes, sizes, self.ancestors, where)
            tensor_spaces[name] = TensorSpace(name, axes, *blocks_by_axes[axes])
        self._tensors: Mapping[str, TensorSpace] = MappingProxyType(tensor_spaces)

    @classmethod
    def of_products(cls, left: Space, right: Space, pairs: Iterable[tuple[str, str]]) -> Space:
        """The products of tensors of two spaces over the same neurons,
        ``left[a] (x) right[b]`` for every pair.

        A product has the axes of its left factor, then those of its right one, and is named "a *
        b". No notation could say it: children read their parents' values from their own factor.
        """
        space = cls(left.neurons, {})
        products = (_product(left[a], right[b]) for a, b in pairs)
        space._tensors = MappingProxyType({product.name: product for product in products})
        return space

    def _check_symbols(self, name: str, axes: Axes) -> None:
        for axis in axes:
            for symbol in symbols_in(axis):
                if symbol not in self.neurons:
                    raise GraphError(
                        f"Tensor '{name}' has axes '{print_axes(axes)}', but no neuron set "
                        f"'{symbol}' is declared; the neuron sets are "
                        f"{', '.join(self.neurons) or 'none'}. Declare it, or write a whole "
                        "number for an axis whose positions may be told apart."
                    )
            for strand in strands_in(axis):
                if strand.degree == 0 and is_linear(group := self.neurons[strand.name].group):
                    raise GraphError(
                        f"Tensor '{name}' has axes '{print_axes(axes)}', but {group!r} leaves no "
                        f"order of the neurons of '{strand.name}' that a strand '{strand.name}.' "
                        f"could show. Write '{strand.name}', '{strand.name}*', or leave it out."
                    )

    @cached_property
    def size(self) -> int:
        """Number of entries of all tensors together."""
        return sum(tensor.size for tensor in self._tensors.values())

    def __getitem__(self, name: str) -> TensorSpace:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        axes, other_axes = (
            [(name, tensor.axes) for name, tensor in space.items()] for space in (self, other)
        )
        return dict(self.neurons) == dict(other.neurons) and axes == other_axes

    def __hash__(self) -> int:
        return hash(tuple(self._tensors))

    def __reduce__(self) -> tuple[object, ...]:
        return Space, (dict(self.neurons), {name: tensor.axes for name, tensor in self.items()})

    def __repr__(self) -> str:
        return f"Space({', '.join(map(repr, self.values()))})"
