"""The steps of a layer: statistics taken of the inputs, tables that
mix them, slots that the outputs read.

A table stands for one set of axes (one neuron, a pair of neurons, none). Every statistic that lives
on these axes is a row of it, every output term that is broadcast from them is a slot, and one
matrix takes rows to slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from symnet.sharing.dims import BlockDims
from symnet.sharing.patterns import Pattern, Signature, Term


@dataclass(frozen=True, eq=False)
class Statistic:
    """An average of a diagonal of one input block: axes
    ``(*kept parts, F, channels)``, F the folded positions.

    Args:
        tensor, block: where it is read.
        dims: the block's dims.
        pattern: the diagonal that is taken (none, if it is the finest pattern).
        kept: parts that stay as axes, in the pattern's order; the others are averaged over.
        source: number of the statistic that it is computed from by averaging; None: from the block
            itself.
    """

    tensor: str
    block: int
    dims: BlockDims
    pattern: Pattern
    kept: tuple[int, ...]
    source: int | None

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.pattern.parts[k].size for k in self.kept)

    @property
    def folded_size(self) -> int:
        return self.dims.folded_size

    @property
    def size(self) -> int:
        return math.prod(self.sizes) * self.folded_size


@dataclass(frozen=True, eq=False)
class TableRow:
    """A statistic as it enters a table: ``order[a]`` is the axis of the
    statistic that becomes the table's axis a.
    """

    statistic: int
    order: tuple[int, ...]
    term: Term
    # first row of the table's matrix; as many follow as the statistic has folded positions
    start: int


@dataclass(frozen=True, eq=False)
class Slot:
    """An output term that a table fills: broadcast over the parts it
    lacks, written on the pattern's diagonal.

    ``order[a]`` is the part of the pattern that the table's axis a becomes.
    """

    tensor: str
    block: int
    dims: BlockDims
    order: tuple[int, ...]
    term: Term
    start: int  # first column of the table's matrix

    @property
    def pattern(self) -> Pattern:
        return self.term.pattern

    @property
    def is_whole(self) -> bool:
        """Whether it fills its output block entry by entry, without broadcasting or diagonals."""
        return self.pattern.is_finest and len(self.order) == len(self.pattern.parts)


def _count(index: np.ndarray | None, entries: int) -> int:
    """Number of parameters that an index names; without one, every entry has its own."""
    return entries if index is None else int(index.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class Table:
    """Rows mixed into slots along the same axes.

    Args:
        sizes: the table's axes.
        index: parameter of every entry, int64 ``(rows, columns)``, -1 for none; None when every
            entry has its own.
        bias_index: for the table without axes: parameter of every column's bias, int64
            ``(columns,)``, or None as above.

    Counted once, when made: ``torch.compile`` cannot look into numpy's maxima.
    """

    signature: Signature
    sizes: tuple[int, ...]
    rows: tuple[TableRow, ...]
    slots: tuple[Slot, ...]
    height: int
    width: int
    index: np.ndarray | None
    bias_index: np.ndarray | None = None
    parameters: int = field(init=False)  # per channel pair
    # per output channel; only the table without axes has any
    bias_parameters: int = field(init=False)

    def __post_init__(self) -> None:
        biases = 0 if self.sizes else _count(self.bias_index, self.width)
        object.__setattr__(self, "parameters", _count(self.index, self.height * self.width))
        object.__setattr__(self, "bias_parameters", biases)

    @property
    def positions(self) -> int:
        return math.prod(self.sizes)

    @property
    def name(self) -> str:
        """The axes in words: 'h2,h1'; 'global' without axes."""
        return ",".join(self.symbols) or "global"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol of every axis."""
        first = self.slots[0]
        return tuple(first.pattern.parts[k].symbol for k in first.order)
