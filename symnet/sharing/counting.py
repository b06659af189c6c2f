"""How many equivariant maps there are, without making any: two independent counts.

Both walk down the order of neuron sets. At every set they choose which of its dims hold equal neurons
(within one copy, so only where the parents' neurons are equal), and weigh the choice:

- by orbits: with the number of orbits of the group on tuples of that many different neurons;
- by Burnside's lemma ``dim = 1/|G| sum_g fix_s(g) fix_t(g)``: with the mean number of such tuples that a
  group element fixes, from the group's cycle types.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from symnet.errors import TooLargeError
from symnet.groups import Fixed, PermutationGroup, is_signed
from symnet.sharing.dims import BlockDims, topological
from symnet.sharing.set_partitions import bell, classes, even_stirling, refinements, stirling
from symnet.sharing.tuple_orbits import distinct_tuple_orbits, mean_fixed_tuples

PATTERN_LIMIT = 200_000  # equality patterns walked through for one pair of blocks

Weight = Callable[[PermutationGroup, int], int | Fraction]

# One symbol of a canonical description: its group, its dims, for every dim the (ancestor, dim) it hangs on,
# and whether some other symbol hangs on it.
_Symbol = tuple[PermutationGroup, tuple[int, ...], tuple[tuple[int, ...], ...], bool]


def count_orbits(dims: BlockDims) -> int:
    """Number of orbits of index tuples, one entry per dim: the number of equivariant maps."""
    return int(_count(_describe(dims), distinct_tuple_orbits)) * math.prod(dims.dims[k].size for k in _lone_fixed(dims))


def count_burnside(dims: BlockDims) -> int:
    """The same number by Burnside's lemma; for groups that are given by generators it lists their elements."""
    total = Fraction(_count(_describe(dims), mean_fixed_tuples))
    for k in _lone_fixed(dims):
        total *= mean_fixed_tuples(Fixed(dims.dims[k].size), 1)
    assert total.denominator == 1, total
    return int(total)


def _lone_fixed(dims: BlockDims) -> list[int]:
    """Fixed dims on which no other dim hangs: each of their positions stands for itself."""
    parents = {place for dim in dims.dims for _, place in dim.parents}
    return [k for k, dim in enumerate(dims.dims) if dim.kind == "fixed" and k not in parents]


def _describe(dims: BlockDims) -> tuple[_Symbol, ...]:
    """The dims with symbols and ancestors numbered by first occurrence, so that alike blocks share one count."""
    order = topological(dims)
    renamed: dict[int, int] = {}
    for _, places in order:
        for place in places:
            renamed[place] = len(renamed)
    described: list[_Symbol] = []
    needed = {place for dim in dims.dims for _, place in dim.parents}
    # A Fixed parent's neurons may be equal or not like any others': it is a symbol of its own here.
    fixed_parents: dict[str | None, list[int]] = {}
    for place in sorted(needed):
        if dims.dims[place].group is None:
            renamed.setdefault(place, len(renamed))
            fixed_parents.setdefault(dims.dims[place].symbol, []).append(place)
    for places_list in fixed_parents.values():
        size = dims.dims[places_list[0]].size
        described.append((Fixed(size), tuple(renamed[p] for p in places_list), ((),) * len(places_list), True))
    for _, places in order:
        first = dims.dims[places[0]]
        assert first.group is not None
        hangs = tuple(tuple(renamed[p] for _, p in dims.dims[place].parents) for place in places)
        described.append((first.group, tuple(renamed[p] for p in places), hangs, bool(needed & set(places))))
    return tuple(described)


@lru_cache(maxsize=65536)
def _count(described: tuple[_Symbol, ...], weight: Weight) -> int | Fraction:
    patterns = math.prod(bell(len(places), group.degree) for group, places, _, inner in described if inner)
    if patterns > PATTERN_LIMIT:
        raise TooLargeError(
            f"Counting would walk through {patterns} equality patterns of the neuron sets that others are over "
            f"(they occur {[len(places) for _, places, _, inner in described if inner]} times); the limit is {PATTERN_LIMIT}."
        )

    def walk(position: int, block_of: dict[int, tuple[int, int]]) -> int | Fraction:
        if position == len(described):
            return 1
        group, places, hangs, inner = described[position]
        copies = classes(places, [tuple(block_of[place] for place in hang) for hang in hangs])
        if not inner:
            here = math.prod(_moment(group, len(copy), weight) for copy in copies)
            return here * walk(position + 1, block_of) if here else 0
        total: int | Fraction = 0
        for chosen in refinements(copies, group.degree):
            if is_signed(group) and any(len(block) % 2 for blocks in chosen for block in blocks):
                continue  # the orbit meets its own negative
            here = math.prod(weight(group, len(blocks)) for blocks in chosen)
            if here:
                named = {place: (position, block[0]) for blocks in chosen for block in blocks for place in block}
                total += here * walk(position + 1, block_of | named)
        return total

    return walk(0, {})


@lru_cache(maxsize=65536)
def _moment(group: PermutationGroup, k: int, weight: Weight) -> int | Fraction:
    """Orbits on all k-tuples: equality patterns into b blocks, times the orbits on b different points.

    With signs an odd number of equal neurons changes sign with them: such an orbit is its own negative, and vanishes.
    """
    patterns = even_stirling if is_signed(group) else stirling
    return sum(patterns(k, blocks) * weight(group, blocks) for blocks in range(min(k, group.degree) + 1))
