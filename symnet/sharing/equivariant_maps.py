"""derive: the space of equivariant linear maps between two spaces over a graph's neurons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from symnet.display import Displayed
from symnet.errors import GraphError
from symnet.graph.neuron_graph import NeuronGraph, SpaceLike, require_graph
from symnet.graph.notation import Axes
from symnet.graph.space import Space
from symnet.sharing.counting import count_burnside, count_orbits
from symnet.sharing.dims import BlockDims, dims_of
from symnet.sharing.sharing_pattern import SharingPattern

Interactions = Literal["full", "adjacent"]


@dataclass(frozen=True, eq=False)
class EquivariantMaps(Displayed):
    """All equivariant linear maps from one space to another.

    With ``interactions="adjacent"`` only those between tensors that share a neuron set, or of which
    one has none (an invariant): the others would see each other through invariants alone, and are
    most of the maps of a deep network.

    Example:
        >>> import symnet as sn
        >>> sn.derive(sn.catalogue.mlp([4, 5, 3], io="permuted")).dimension
        32
    """

    inputs: Space
    outputs: Space
    interactions: Interactions = "full"

    def __post_init__(self) -> None:
        if self.interactions not in ("full", "adjacent"):
            raise GraphError(f"interactions={self.interactions!r}: choose 'full' or 'adjacent'.")

    def are_coupled(self, output: str, input: str) -> bool:
        """Whether maps between these two tensors are among these."""
        return (
            self.interactions == "full" or input in self._adjacent_inputs[self.outputs[output].axes]
        )

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Coupled pairs (output, input)."""
        return ((s, t) for s in self.outputs for t in self.inputs if self.are_coupled(s, t))

    def adjacent_inputs(self, output: str) -> frozenset[str]:
        """Names of the inputs that share a neuron set with an output, or
        are next to everything (scalars).
        """
        return self._adjacent_inputs[self.outputs[output].axes]

    @cached_property
    def _adjacent_inputs(self) -> dict[Axes, frozenset[str]]:
        """For every kind of output the inputs that share a set with it;
        scalars are next to everything.
        """
        by_symbol: dict[str, set[str]] = {}
        scalars = set()
        for name, tensor in self.inputs.items():
            symbols = tensor.symbols
            for symbol in symbols:
                by_symbol.setdefault(symbol, set()).add(name)
            if not symbols:
                scalars.add(name)
        inputs_by_axes: dict[Axes, frozenset[str]] = {}
        for tensor in self.outputs.values():
            if tensor.axes not in inputs_by_axes:
                near = (
                    [by_symbol.get(symbol, set()) for symbol in tensor.symbols]
                    if tensor.symbols
                    else [self.inputs]
                )
                inputs_by_axes[tensor.axes] = frozenset(scalars).union(*near)
        return inputs_by_axes

    @cached_property
    def dimension(self) -> int:
        """Number of free parameters per channel pair: the number of orbits of index pairs."""
        return self._total(count_orbits)

    @cached_property
    def dimension_by_burnside(self) -> int:
        """The same number by Burnside's lemma, an independent count."""
        return self._total(count_burnside)

    @cached_property
    def bias_dimension(self) -> int:
        """Number of equivariant biases of the outputs: maps from a scalar."""
        return sum(
            count_orbits(dims_of(block, self.outputs.neurons))
            for t in self.outputs.values()
            for block in t.blocks
        )

    def _total(self, count: Callable[[BlockDims], int]) -> int:
        if self.interactions == "adjacent":
            return self._total_of_adjacent(count)
        output_types, input_types = _block_types(self.outputs), _block_types(self.inputs)
        alone = {dims: count(dims) for dims in {**output_types, **input_types}}
        total = sum(m * alone[d] for d, m in output_types.items()) * sum(
            m * alone[d] for d, m in input_types.items()
        )
        # Blocks without a common set are coupled through invariants alone; only the others need a
        # look.
        by_symbol: dict[str, list[BlockDims]] = {}
        for dims in input_types:
            for symbol in _symbols(dims):
                by_symbol.setdefault(symbol, []).append(dims)
        for dims, multiplicity in output_types.items():
            for other in dict.fromkeys(
                d for symbol in sorted(_symbols(dims)) for d in by_symbol.get(symbol, ())
            ):
                total += (
                    multiplicity
                    * input_types[other]
                    * (count(dims + other) - alone[dims] * alone[other])
                )
        return total

    def _total_of_adjacent(self, count: Callable[[BlockDims], int]) -> int:
        # Tensors with the same axes count alike.
        outputs_by_axes = Counter(tensor.axes for tensor in self.outputs.values())
        kinds = {tensor.axes: tensor for tensor in self.outputs.values()}
        total = 0
        for axes, how_many in outputs_by_axes.items():
            one = kinds[axes]
            first = [dims_of(block, self.outputs.neurons) for block in one.blocks]
            near = Counter(self.inputs[name].axes for name in self._adjacent_inputs[axes])
            for name in {
                self.inputs[name].axes: name for name in self._adjacent_inputs[axes]
            }.values():
                second = [dims_of(block, self.inputs.neurons) for block in self.inputs[name].blocks]
                times = how_many * near[self.inputs[name].axes]
                total += times * sum(count(a + b) for a in first for b in second)
        return total

    def between(self, output: str, input: str) -> SharingPattern:
        """The maps into one output tensor from one input tensor."""
        for name, space, kind in ((output, self.outputs, "output"), (input, self.inputs, "input")):
            if name not in space:
                raise GraphError(
                    f"There is no {kind} '{name}'; the {kind}s are {', '.join(space)}. Call "
                    "between(output, input)."
                )
        if not self.are_coupled(output, input):
            raise GraphError(
                f"'{output}' and '{input}' share no neuron set, and interactions='adjacent' "
                "leaves the maps between them out."
            )
        return SharingPattern(self.outputs[output], self.inputs[input], self.outputs.neurons)

    def summary(self) -> str:
        """A table of dimensions, outputs down and inputs across."""
        from symnet.sharing.equations import summarize

        return summarize(self)

    def latex(self) -> str:
        """The layer's equations, one line for each output tensor."""
        from symnet.sharing.equations import write_latex

        return write_latex(self)

    def __repr__(self) -> str:
        return (
            f"EquivariantMaps({len(self.inputs)} tensors -> {len(self.outputs)} tensors: "
            f"{self.dimension} maps, {self.bias_dimension} "
            f"biases{', adjacent' if self.interactions == 'adjacent' else ''})"
        )


def _block_types(space: Space) -> Counter[BlockDims]:
    return Counter(
        dims_of(block, space.neurons) for tensor in space.values() for block in tensor.blocks
    )


def _symbols(dims: BlockDims) -> set[str]:
    return {dim.symbol for dim in dims.dims if dim.group is not None and dim.symbol is not None}


def derive(
    graph: NeuronGraph,
    *,
    inputs: SpaceLike = None,
    outputs: SpaceLike = None,
    interactions: Interactions = "full",
) -> EquivariantMaps:
    """All equivariant linear maps between two spaces over the graph's neurons.

    Args:
        graph: the architecture.
        inputs, outputs: axis notation by name, or names of the graph's tensors; default all its
            tensors.
        interactions: ``"full"``, or ``"adjacent"`` for the maps between tensors that share a neuron
            set alone.

    Raises:
        GraphError, NotationError: a space is not over the graph's neurons.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"h": sn.Symmetric(8)}, {"weight": "h h"})
        >>> sn.derive(graph).dimension, sn.derive(graph, outputs={"score": "h"}).dimension
        (15, 5)
    """
    require_graph(graph, "derive")
    return EquivariantMaps(graph.space(inputs), graph.space(outputs), interactions)
