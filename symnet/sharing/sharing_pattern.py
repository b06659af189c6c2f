"""Sharing patterns: which entries of the matrix between two tensors
are tied (Ravanbakhsh et al. 2017).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symnet.errors import GraphError, TooLargeError
from symnet.graph.action import apply_views
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.space import TensorSpace
from symnet.groups import is_charged, is_linear
from symnet.sharing.counting import count_burnside, count_orbits
from symnet.sharing.diagrams import Diagram, diagrams_between
from symnet.sharing.dims import BlockDims, dims_of

LABEL_LIMIT = 2**28  # matrix entries labelled at once (8 bytes each)


@dataclass(frozen=True)
class PlacedDiagram:
    """A diagram between one block of the output and one of the input;
    its parameters start at ``offset``.
    """

    output_block: int
    input_block: int
    diagram: Diagram
    offset: int

    @property
    def count(self) -> int:
        return self.diagram.count


@dataclass(frozen=True, eq=False)
class SharingPattern:
    """The equivariant linear maps from one tensor to another: one
    parameter per orbit of index pairs.

    Where a group mixes neurons there are no orbits, and one parameter per independent diagram.
    """

    output: TensorSpace
    input: TensorSpace
    neurons: Mapping[str, NeuronSet]

    @cached_property
    def output_dims(self) -> tuple[BlockDims, ...]:
        return tuple(dims_of(block, self.neurons) for block in self.output.blocks)

    @cached_property
    def input_dims(self) -> tuple[BlockDims, ...]:
        return tuple(dims_of(block, self.neurons) for block in self.input.blocks)

    @cached_property
    def dimension(self) -> int:
        """Number of independent maps, counted without listing them: of
        orbits where there are any.
        """
        return sum(
            count_orbits(output_block + input_block)
            for output_block in self.output_dims
            for input_block in self.input_dims
        )

    @cached_property
    def dimension_by_burnside(self) -> int:
        """The same number by Burnside's lemma: the mean over the group
        of the trace on all matrices.
        """
        return sum(
            count_burnside(output_block + input_block)
            for output_block in self.output_dims
            for input_block in self.input_dims
        )

    @cached_property
    def diagrams(self) -> tuple[PlacedDiagram, ...]:
        """The diagram basis, in the order of the parameters."""
        placed, offset = [], 0
        for s, output_block in enumerate(self.output_dims):
            for t, input_block in enumerate(self.input_dims):
                for diagram in diagrams_between(output_block, input_block):
                    placed.append(PlacedDiagram(s, t, diagram, offset))
                    offset += diagram.count
        assert offset == self.dimension, (offset, self.dimension, self)
        return tuple(placed)

    def labels(self) -> np.ndarray:
        """The orbit of every index pair: int64 ``(output size, input size)``,
        orbits numbered 0 .. dimension - 1.

        -1 marks entries that must vanish: orbits that meet their own negative or another multiple,
        under signs and scales.

        Raises:
            GraphError: the group mixes neurons, so that there are no orbits of entries; ``entries``
                has the diagrams.
            TooLargeError: the matrix would not fit; says its size.
        """
        self._check_orbits()
        self._check_size()
        result = np.full((self.output.size, self.input.size), -1)
        rows = [_positions(self.output, k) for k in range(len(self.output.blocks))]
        columns = [_positions(self.input, k) for k in range(len(self.input.blocks))]
        for placed in self.diagrams:
            diagram = placed.diagram
            values = np.indices(diagram.joint.shape, sparse=True)
            block = np.where(diagram.is_exact(values), self._label_at(placed, values), -1)
            block = np.broadcast_to(block, diagram.joint.shape).reshape(
                len(rows[placed.output_block]), -1
            )
            where = np.ix_(rows[placed.output_block], columns[placed.input_block])
            result[where] = (
                np.where(block >= 0, block, result[where])
                if result.size > block.size
                else np.maximum(result, block)
            )
        charged = any(is_charged(neuron_set.group) for neuron_set in self.neurons.values())
        assert charged or result.size == 0 or result.min() >= 0
        return result

    def entries(self, placed: PlacedDiagram) -> np.ndarray:
        """The parameter that a diagram puts at every entry: int64
        ``(output size, input size)``, -1 where it has none.

        Raises:
            TooLargeError: the matrix would not fit; says its size.
        """
        self._check_size()
        rows, columns = np.indices((self.output.size, self.input.size))
        return self.evaluate(placed, rows, columns)

    @cached_property
    def has_orbits(self) -> bool:
        """Whether entries fall into orbits: not where a group mixes neurons."""
        names = {*self.output.symbols, *self.input.symbols}
        return not any(is_linear(self.neurons[name].group) for name in names)

    def _check_orbits(self) -> None:
        if self.has_orbits:
            return
        names = dict.fromkeys((*self.output.symbols, *self.input.symbols))
        name = next(name for name in names if is_linear(self.neurons[name].group))
        raise GraphError(
            f"{self.neurons[name].group!r} mixes the neurons of '{name}', so that the entries "
            f"between '{self.input.name}' and '{self.output.name}' fall into no orbits. Look at "
            "the diagrams: .diagrams, .entries(diagram), .summary(), .latex()."
        )

    def _check_size(self) -> None:
        entries = self.output.size * self.input.size
        if entries > LABEL_LIMIT:
            raise TooLargeError(
                f"The labels from '{self.input.name}' to '{self.output.name}' are a matrix of "
                f"{self.output.size} by {self.input.size} entries, {8 * entries / 2**30:.3g} "
                f"GiB; the limit is {8 * LABEL_LIMIT / 2**30:.3g} GiB. The dimension and the "
                "layer need no such matrix; look at the same architecture with narrower sets."
            )

    def evaluate(self, placed: PlacedDiagram, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The parameter that a diagram puts at matrix entries
        ``(rows, columns)``, -1 where it has none there.

        This reads the diagram's definition entry by entry: the route of the dense reference layer.
        """
        row_of, column_of = (
            _positions(self.output, placed.output_block),
            _positions(self.input, placed.input_block),
        )
        inverse_row, inverse_column = np.full(self.output.size, -1), np.full(self.input.size, -1)
        inverse_row[row_of], inverse_column[column_of] = (
            np.arange(row_of.size),
            np.arange(column_of.size),
        )
        inside = (inverse_row[rows] >= 0) & (inverse_column[columns] >= 0)
        output_coordinates = _coordinates(
            inverse_row[rows], self.output.blocks[placed.output_block].shape
        )
        values = [
            *output_coordinates,
            *_coordinates(inverse_column[columns], self.input.blocks[placed.input_block].shape),
        ]
        return np.where(
            inside & placed.diagram.equalities_hold(values), self._label_at(placed, values), -1
        )

    def representatives(self) -> tuple[np.ndarray, np.ndarray]:
        """An index pair of every orbit, in the order of the parameters: flat output and input
        positions, int64 ``(dimension,)`` each.

        For groups of permutations and signs; the matrix is not made, so that wide tensors do not
        matter.
        """
        rows, columns = np.full(self.dimension, -1), np.full(self.dimension, -1)
        for placed in self.diagrams:
            dims = placed.diagram.joint.dims
            strands = Counter(dim.symbol for dim in dims)
            # As many neurons as there are strands of their set can show every pattern of
            # equalities.
            shape = [min(d.size, strands[d.symbol]) if d.kind == "sym" else d.size for d in dims]
            values = list(np.indices(shape, sparse=True))
            labels = np.where(placed.diagram.is_exact(values), self._label_at(placed, values), -1)
            orbits, first = np.unique(np.broadcast_to(labels, shape).reshape(-1), return_index=True)
            at = np.unravel_index(first[orbits >= 0], shape) if shape else ()
            split = placed.diagram.split
            for indices, space, block, coordinates in (
                (rows, self.output, placed.output_block, at[:split]),
                (columns, self.input, placed.input_block, at[split:]),
            ):
                sizes = space.blocks[block].shape
                flat = (
                    np.ravel_multi_index(coordinates, sizes)
                    if sizes
                    else np.zeros(int((orbits >= 0).sum()), np.int64)
                )
                indices[orbits[orbits >= 0]] = _positions(space, block)[flat]
        assert self.dimension == 0 or min(rows.min(), columns.min()) >= 0
        return rows, columns

    def describe(self, output: int | Iterable[int], input: int | Iterable[int]) -> str:
        """The orbit of one matrix entry in words: "same row (h2), different column (h1)".

        Args:
            output, input: an entry of either tensor, by its index along every axis or its position
                in row-major order.
        """
        from symnet.sharing.orbit_words import describe_orbit

        self._check_orbits()
        return describe_orbit(self, output, input)

    def _label_at(
        self, placed: PlacedDiagram, values: list[np.ndarray] | tuple[np.ndarray, ...]
    ) -> np.ndarray:
        diagram = placed.diagram
        labels = diagram.labels
        row, column = np.zeros((), dtype=np.int64), np.zeros((), dtype=np.int64)
        for k in diagram.joint.folded:
            if k < diagram.split:
                row = row * diagram.joint.dims[k].size + values[k]
            else:
                column = column * diagram.joint.dims[k].size + values[k]
        orbits = labels[row, column]
        return np.where(orbits >= 0, orbits + placed.offset, -1)

    def __repr__(self) -> str:
        return f"SharingPattern({self.input!r} -> {self.output!r}: {self.dimension} maps)"


def _coordinates(flat: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Index along every axis of flat positions (those outside, -1, read as 0)."""
    return [np.asarray(v) for v in np.unravel_index(np.maximum(flat, 0), shape)] if shape else []


def _positions(tensor: TensorSpace, block: int) -> np.ndarray:
    """Flat positions of a block's entries in its tensor."""
    return apply_views(
        np.arange(tensor.size).reshape(tensor.shape), tensor.blocks[block].views
    ).reshape(-1)
