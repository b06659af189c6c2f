"""Dims: the dimensions of a block as the solver sees them, with everything trivial taken away.

Three kinds are left. ``sym``: neurons under all permutations (with signs or without), solved in closed form. ``fixed``: neurons that
may be told apart, which are channels. ``generic``: any other group, solved by its generators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from symnet.graph.blocks import Block
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import PermutationGroup, SignedSymmetric, Symmetric, is_signed, is_trivial


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension of a block.

    ``parents`` maps every ancestor that the symbol has copies over to the dim its value is read from;
    ancestors of one neuron make no copies and are left out, and a fixed dim has no copies to tell apart.
    """

    symbol: str | None
    size: int
    group: PermutationGroup | None  # None: fixed
    parents: tuple[tuple[str, int], ...] = ()

    @property
    def kind(self) -> str:
        if self.group is None:
            return "fixed"
        return "sym" if isinstance(self.group, Symmetric | SignedSymmetric) else "generic"

    @property
    def signed(self) -> bool:
        return is_signed(self.group)


@dataclass(frozen=True)
class BlockDims:
    """The dims of one block, split into those kept as axes (``sym``) and those folded into channels.

    Worked out once, when made: ``torch.compile`` cannot look into a cached property.
    """

    dims: tuple[Dim, ...]
    sym: tuple[int, ...] = field(init=False, repr=False, compare=False)
    folded: tuple[int, ...] = field(init=False, repr=False, compare=False)
    folded_size: int = field(init=False, repr=False, compare=False)  # positions of the folded dims together

    def __post_init__(self) -> None:
        object.__setattr__(self, "sym", tuple(k for k, dim in enumerate(self.dims) if dim.kind == "sym"))
        object.__setattr__(self, "folded", tuple(k for k, dim in enumerate(self.dims) if dim.kind != "sym"))
        object.__setattr__(self, "folded_size", math.prod(self.dims[k].size for k in self.folded))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(dim.size for dim in self.dims)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def is_plain(self) -> bool:
        """Whether every folded dim is fixed and no sym dim has copies over a folded one."""
        return all(self.dims[k].kind == "fixed" for k in self.folded) and all(
            self.dims[place].kind == "sym" for k in self.sym for _, place in self.dims[k].parents
        )

    def __add__(self, other: BlockDims) -> BlockDims:
        """Both blocks side by side, the other's parents renumbered."""
        shift = len(self.dims)
        moved = tuple(
            Dim(dim.symbol, dim.size, dim.group, tuple((name, k + shift) for name, k in dim.parents))
            for dim in other.dims
        )
        return BlockDims(self.dims + moved)


def dims_of(block: Block, neurons: Mapping[str, NeuronSet]) -> BlockDims:
    """The dims of a block."""
    found = []
    for instance in block.instances:
        group = None if instance.symbol is None else neurons[instance.symbol].group
        if group is None or is_trivial(group):
            found.append(Dim(instance.symbol, instance.size, None))
        else:
            parents = tuple((name, k) for name, k in instance.parents if neurons[name].size > 1)
            found.append(Dim(instance.symbol, instance.size, group, parents))
    return BlockDims(tuple(found))


def topological(dims: BlockDims) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Symbols that are not fixed, parents before children, each with its dims."""
    places: dict[str, list[int]] = {}
    for k, dim in enumerate(dims.dims):
        if dim.symbol is not None and dim.group is not None:
            places.setdefault(dim.symbol, []).append(k)
    # A set's ancestors are all listed, so a child always has more of them than its parent has.
    depth = {name: len(dims.dims[where[0]].parents) for name, where in places.items()}
    return tuple((name, tuple(places[name])) for name in sorted(places, key=lambda name: depth[name]))
