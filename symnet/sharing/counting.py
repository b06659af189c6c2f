"""How many equivariant maps there are, without making any: two independent counts.

Both walk down the order of neuron sets. At every set they choose which of its dims hold equal
neurons (within one copy, so only where the parents' neurons are equal), and weigh the choice:

- by orbits: with the number of orbits of the group on tuples of that many different neurons;
- by Burnside's lemma ``dim = 1/|G| sum_g fix_s(g) fix_t(g)``: with the mean number of such tuples
  that a group element fixes, from the group's cycle types.

Where the group changes more than the order of neurons, only patterns whose degrees sum to zero in
every block count. Sets whose group mixes neurons have no tuples; their invariants are counted by
diagrams, and by the mean of a product of traces.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from symnet.errors import TooLargeError
from symnet.groups import Fixed, Group, LinearGroup, PermutationGroup, Scaled
from symnet.sharing.dims import BlockDims, topological
from symnet.sharing.matchings import count_matchings, mean_of_traces
from symnet.sharing.set_partitions import bell, classes, neutral_stirling, refinements, stirling
from symnet.sharing.tuple_orbits import distinct_tuple_orbits, mean_fixed_tuples

PATTERN_LIMIT = 200_000  # equality patterns walked through for one pair of blocks


class Route(NamedTuple):
    """One of the two counts: of tuples of different neurons, and of
    invariants of groups that mix neurons.
    """

    tuples: Callable[[PermutationGroup | Scaled, int], int | Fraction]
    matchings: Callable[[LinearGroup, tuple[int, ...]], int]


BY_ORBITS = Route(distinct_tuple_orbits, count_matchings)
BY_MEANS = Route(mean_fixed_tuples, mean_of_traces)


class _Symbol(NamedTuple):
    """One symbol of a canonical description."""

    group: Group
    places: tuple[int, ...]
    parents: tuple[tuple[int, ...], ...]  # for every dim the dims of its parents
    inner: bool  # whether some other symbol is over it
    degrees: tuple[int, ...]


def count_orbits(dims: BlockDims) -> int:
    """Number of orbits of index tuples, one entry per dim: the number of equivariant maps."""
    return int(_count(_describe(dims), BY_ORBITS)) * math.prod(
        dims.dims[k].size for k in _lone_fixed(dims)
    )


def count_burnside(dims: BlockDims) -> int:
    """The same number by Burnside's lemma; for groups that are given by
    generators it lists their elements.
    """
    total = Fraction(_count(_describe(dims), BY_MEANS))
    for k in _lone_fixed(dims):
        total *= mean_fixed_tuples(Fixed(dims.dims[k].size), 1)
    assert total.denominator == 1, total
    return int(total)


def _lone_fixed(dims: BlockDims) -> list[int]:
    """Fixed dims that are no parents of other dims: each of their positions stands for itself."""
    parents = {place for dim in dims.dims for _, place in dim.parents}
    return [k for k, dim in enumerate(dims.dims) if dim.group is None and k not in parents]


def _describe(dims: BlockDims) -> tuple[_Symbol, ...]:
    """The dims with symbols and ancestors numbered by first occurrence, so
    that alike blocks share one count.
    """
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
        count = len(places_list)
        renamed_places = tuple(renamed[p] for p in places_list)
        described.append(_Symbol(Fixed(size), renamed_places, ((),) * count, True, (0,) * count))
    for _, places in order:
        first = dims.dims[places[0]]
        assert first.group is not None
        parents = tuple(tuple(renamed[p] for _, p in dims.dims[place].parents) for place in places)
        degrees = tuple([dims.dims[place].degree for place in places])
        inner = bool(needed & set(places))
        described.append(
            _Symbol(first.group, tuple(renamed[p] for p in places), parents, inner, degrees)
        )
    return tuple(described)


@lru_cache(maxsize=65536)
def _count(described: tuple[_Symbol, ...], route: Route) -> int | Fraction:
    patterns = math.prod(
        bell(len(symbol.places), symbol.group.degree) for symbol in described if symbol.inner
    )
    if patterns > PATTERN_LIMIT:
        raise TooLargeError(
            f"Counting would walk through {patterns} equality patterns of the neuron sets that "
            "others are over (they occur "
            f"{[len(symbol.places) for symbol in described if symbol.inner]} times); the limit "
            f"is {PATTERN_LIMIT}."
        )

    def walk(position: int, block_of: dict[int, tuple[int, int]]) -> int | Fraction:
        if position == len(described):
            return 1
        group, places, parents, inner, degrees = described[position]
        copies = classes(
            places, [tuple(block_of[place] for place in parent_places) for parent_places in parents]
        )
        degree = dict(zip(places, degrees, strict=True))
        # A set that no other is over: which of its neurons are equal matters to nobody after it, so
        # that the sum over its patterns is one number. Walking through them instead makes the count
        # grow with the Bell numbers of all sets, not only of those that others are over.
        if not inner:
            weight = math.prod(
                _moment(group, tuple(sorted(degree[k] for k in copy)), route) for copy in copies
            )
            return weight * walk(position + 1, block_of) if weight else 0
        assert not isinstance(group, LinearGroup)  # a graph lets none be over these
        rule = group.rule
        total: int | Fraction = 0
        for chosen in refinements(copies, group.degree):
            if rule and any(
                rule.charge([degree[k] for k in block]) for blocks in chosen for block in blocks
            ):
                continue  # no such block is allowed
            weight = math.prod(route.tuples(group, len(blocks)) for blocks in chosen)
            if weight:
                named = {
                    place: (position, block[0])
                    for blocks in chosen
                    for block in blocks
                    for place in block
                }
                total += weight * walk(position + 1, block_of | named)
        return total

    return walk(0, {})


@lru_cache(maxsize=65536)
def _moment(group: Group, degrees: tuple[int, ...], route: Route) -> int | Fraction:
    """Invariants in a tensor with strands of these degrees.

    Orbits on tuples: equality patterns into b allowed blocks, times the orbits on b different
    points. In a block that is not allowed some element multiplies an entry by another number than
    1, so that it vanishes.
    """
    if isinstance(group, LinearGroup):
        return route.matchings(group, degrees)
    rule = group.rule
    most = range(min(len(degrees), group.degree) + 1)
    if rule is None or rule.modulus == 1:
        return sum(stirling(len(degrees), blocks) * route.tuples(group, blocks) for blocks in most)
    counts = tuple(sorted(Counter(degrees).items()))
    return sum(
        neutral_stirling(counts, blocks, rule.modulus) * route.tuples(group, blocks)
        for blocks in most
    )
