"""Strands of a neuron set in tensors, each as an array with the set's copies and neurons first:
read, and replaced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.neuron_graph import NeuronGraph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Strand:
    """One occurrence of a neuron set: a dimension of a block of a tensor."""

    name: str
    tensor: str
    block: Block
    place: int
    batch_dims: int

    @property
    def degree(self) -> int:
        return self.block.instances[self.place].degree

    @property
    def others(self) -> tuple[str, ...]:
        """Further neuron sets of the block, this one as well if it has more strands in it; no
        ancestors of the set.
        """
        instance = self.block.instances[self.place]
        taken = {self.place, *(place for _, place in instance.parents)}
        return tuple(
            one.symbol
            for k, one in enumerate(self.block.instances)
            if k not in taken and one.symbol is not None
        )

    def read(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The strand's entries: ``(*batch, *ancestor sizes, n, rest)``; channels behind the axes
        are in the rest.
        """
        view = apply_views(tensors[self.tensor], self.block.views, self.batch_dims)
        order = self._order(view.ndim)
        front = view.permute(order)
        kept = self.batch_dims + len(self._kept())
        return front.reshape(*front.shape[:kept], math.prod(front.shape[kept:]))

    def replaced(self, tensors: Mapping[str, Tensor], values: Tensor) -> dict[str, Tensor]:
        """The tensors with this strand's entries replaced by others of the shape that ``read``
        gives; new memory.
        """
        result = tensors[self.tensor].clone()
        view = apply_views(result, self.block.views, self.batch_dims)
        order = self._order(view.ndim)
        shape = [view.shape[k] for k in order]
        back = [order.index(k) for k in range(len(order))]
        view.copy_(values.reshape(shape).permute(back).to(view))
        return {**tensors, self.tensor: result}

    def _kept(self) -> list[int]:
        return [*(place for _, place in self.block.instances[self.place].parents), self.place]

    def _order(self, dims: int) -> list[int]:
        front = [*range(self.batch_dims), *(k + self.batch_dims for k in self._kept())]
        return [*front, *(k for k in range(dims) if k not in front)]


def strands_of(graph: NeuronGraph, name: str, batch_dims: int = 0) -> tuple[Strand, ...]:
    """All occurrences of a neuron set in the graph's tensors."""
    return tuple(_strands(graph, name, batch_dims))


def _strands(graph: NeuronGraph, name: str, batch_dims: int) -> Iterator[Strand]:
    for tensor, space in graph.weights.items():
        for block in space.blocks:
            for place, instance in enumerate(block.instances):
                if instance.symbol == name:
                    yield Strand(name, tensor, block, place, batch_dims)
