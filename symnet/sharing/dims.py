"""Dims: the dimensions of a block as the solver sees them, with everything trivial taken away.

Three kinds are left. ``sym``: neurons whose group has a rule which strands may share a block
(``groups/block_rules.py``), solved in closed form. ``fixed``: neurons that may be told apart, which
are channels. ``generic``: any other group, solved by its generators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from symnet.graph.blocks import Block
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import Group, is_trivial


@dataclass(frozen=True, slots=True)
class Dim:
    """A dimension of a block.

    ``parents`` maps every ancestor that the symbol has copies over to the dim its value is read
    from; ancestors of one neuron make no copies and are left out, and a fixed dim has no copies to
    tell apart. ``degree`` is the strand's as far as the group sees it: always 0 for permutations.
    """

    symbol: str | None
    size: int
    group: Group | None  # None: fixed
    parents: tuple[tuple[str, int], ...] = ()
    degree: int = 0

    @property
    def kind(self) -> str:
        if self.group is None:
            return "fixed"
        return "generic" if self.group.rule is None else "sym"

    def seen_from_input(self, shift: int) -> Dim:
        """The dim as one of a map's input, which counts with the opposite
        degree; its parents are renumbered.
        """
        degree = self.degree
        if degree:
            assert self.group is not None and self.group.rule is not None
            degree = self.group.rule.charge([-degree])
        parents = tuple((name, k + shift) for name, k in self.parents)
        return Dim(self.symbol, self.size, self.group, parents, degree)


@dataclass(frozen=True)
class BlockDims:
    """The dims of one block, split into those kept as axes (``sym``)
    and those folded into channels.

    Worked out once, when made: ``torch.compile`` cannot look into a cached property.
    """

    dims: tuple[Dim, ...]
    sym: tuple[int, ...] = field(init=False, repr=False, compare=False)
    folded: tuple[int, ...] = field(init=False, repr=False, compare=False)
    # positions of the folded dims together
    folded_size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "sym", tuple(k for k, dim in enumerate(self.dims) if dim.kind == "sym")
        )
        object.__setattr__(
            self, "folded", tuple(k for k, dim in enumerate(self.dims) if dim.kind != "sym")
        )
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
        """The dims of a map's output, then those of its input: with opposite
        degrees, and parents renumbered.
        """
        shift = len(self.dims)
        return BlockDims(self.dims + tuple(dim.seen_from_input(shift) for dim in other.dims))


def dims_of(block: Block, neurons: Mapping[str, NeuronSet]) -> BlockDims:
    """The dims of a block."""
    dims = []
    for instance in block.instances:
        group = None if instance.symbol is None else neurons[instance.symbol].group
        if group is None or is_trivial(group):
            dims.append(Dim(instance.symbol, instance.size, None))
        else:
            parents = tuple((name, k) for name, k in instance.parents if neurons[name].size > 1)
            degree = 0 if group.rule is None else group.rule.charge([instance.degree])
            dims.append(Dim(instance.symbol, instance.size, group, parents, degree))
    return BlockDims(tuple(dims))


def topological(dims: BlockDims) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Symbols that are not fixed, parents before children, each with its dims."""
    places: dict[str, list[int]] = {}
    for k, dim in enumerate(dims.dims):
        if dim.symbol is not None and dim.group is not None:
            places.setdefault(dim.symbol, []).append(k)
    # A set's ancestors are all listed, so a child always has more of them than its parent has.
    depth = {name: len(dims.dims[where[0]].parents) for name, where in places.items()}
    return tuple(
        (name, tuple(places[name])) for name in sorted(places, key=lambda name: depth[name])
    )
