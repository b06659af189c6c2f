"""Patterns: which dims of a block are demanded to hold one neuron, and
which of the parts a map carries over.

The diagram ``D_pi`` of a pair of blocks demands equalities within the parts of ``pi`` and nothing
else. Seen from one side it is a pattern of that block and the parts kept, the axes that both sides
share. Terms with one signature can be joined: that is all that couples an input to an output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from symnet.errors import TooLargeError
from symnet.sharing.dims import BlockDims, topological
from symnet.sharing.set_partitions import bell, classes, refinements

DIAGRAM_LIMIT = 100_000  # diagrams listed for one pair of blocks

# Of every kept part its symbol (marked with its charge, if it has one), and for every sym ancestor
# the position of the part of its parent.
Signature = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


@dataclass(frozen=True, slots=True)
class PatternPart:
    """Sym dims of a block that hold one neuron: one axis once their diagonal is taken.

    ``charge`` is the sum of their degrees as the group sees it; ``linear`` says whether the group
    mixes neurons, so that a block has two dims at most.
    """

    symbol: str
    size: int
    dims: tuple[int, ...]
    parents: tuple[tuple[str, int], ...]  # sym ancestor -> position among the pattern's parts
    charge: int = 0
    linear: bool = False

    @property
    def may_be_dropped(self) -> bool:
        """Whether it is an allowed block by itself: of others the mean over the group is zero."""
        return self.charge == 0

    @property
    def may_be_kept(self) -> bool:
        """Whether it can be a block together with dims of the map's other side."""
        return not self.is_pair

    @property
    def is_pair(self) -> bool:
        """Whether it contracts two strands of a set that mixes neurons: a trace
        of an input, a unit matrix in an output.
        """
        return self.linear and len(self.dims) > 1


@dataclass(frozen=True, slots=True)
class Pattern:
    """A partition of a block's sym dims into parts, parents before children."""

    parts: tuple[PatternPart, ...]

    @property
    def is_finest(self) -> bool:
        """Whether no two dims are demanded equal."""
        return all(len(part.dims) == 1 for part in self.parts)


@dataclass(frozen=True, slots=True)
class Term:
    """One side of a diagram: a pattern and the parts kept, in the order of the shared axes."""

    pattern: Pattern
    kept: tuple[int, ...]
    signature: Signature

    @property
    def dropped(self) -> tuple[int, ...]:
        """Parts that the other side does not have: averaged over
        (input) or broadcast over (output).
        """
        return tuple(k for k in range(len(self.pattern.parts)) if k not in self.kept)

    @property
    def kept_sizes(self) -> tuple[int, ...]:
        return tuple(self.pattern.parts[k].size for k in self.kept)

    @property
    def dropped_size(self) -> int:
        """Number of entries averaged (input side) for one entry of the statistic."""
        return math.prod(self.pattern.parts[k].size for k in self.dropped)


def patterns(dims: BlockDims) -> tuple[Pattern, ...]:
    """All patterns of a block, the finest (no equalities) first."""
    return _patterns(dims)


@lru_cache(maxsize=4096)
def _patterns(dims: BlockDims) -> tuple[Pattern, ...]:
    order = [
        (name, places) for name, places in topological(dims) if dims.dims[places[0]].kind == "sym"
    ]
    size = math.prod(bell(len(places)) for _, places in order)
    if size > DIAGRAM_LIMIT:
        repeats = ", ".join(
            f"'{name}' {len(places)} times" for name, places in order if len(places) > 3
        )
        raise TooLargeError(
            f"A tensor with {repeats} among its axes has up to {size} diagrams, more than the "
            f"{DIAGRAM_LIMIT} that can be listed. Its dimension can still be counted; no layer "
            "can be made for it."
        )
    partitions: list[tuple[PatternPart, ...]] = [()]
    for name, places in order:
        longer = []
        for parts in partitions:
            part_of = {dim: number for number, part in enumerate(parts) for dim in part.dims}
            parents = [_sym_parents(dims, place, part_of) for place in places]
            # With copies over a folded parent the neurons may lie in different copies: any number
            # of parts can occur.
            folded_parent = len(parents[0]) < len(dims.dims[places[0]].parents)
            group = dims.dims[places[0]].group
            assert group is not None and group.rule is not None
            rule = group.rule
            linear = rule.most is not None
            most = None if folded_parent or linear else group.degree
            by_dim = dict(zip(places, parents, strict=True))
            for chosen in refinements(classes(places, parents), most, rule.most):
                new = [part for copy in chosen for part in copy]
                charges = [rule.charge([dims.dims[k].degree for k in part]) for part in new]
                if linear and any(c and len(p) > 1 for c, p in zip(charges, new, strict=True)):
                    continue  # neither allowed by itself nor together with others
                longer.append(
                    parts
                    + tuple(
                        PatternPart(name, group.degree, part, by_dim[part[0]], charge, linear)
                        for part, charge in zip(new, charges, strict=True)
                    )
                )
        partitions = longer
    result = [Pattern(parts) for parts in partitions]
    return tuple(sorted(result, key=lambda pattern: -len(pattern.parts)))


def _sym_parents(
    dims: BlockDims, place: int, part_of: dict[int, int]
) -> tuple[tuple[str, int], ...]:
    return tuple((name, part_of[dim]) for name, dim in dims.dims[place].parents if dim in part_of)


@lru_cache(maxsize=4096)
def terms(dims: BlockDims) -> tuple[Term, ...]:
    """Every pattern with every set of kept parts (a part only with its
    parents), in one canonical order each.
    """
    return tuple(
        next(orderings(pattern, kept))
        for pattern in patterns(dims)
        for kept in _closed_sets(pattern)
    )


@lru_cache(maxsize=4096)
def all_orderings(dims: BlockDims) -> tuple[Term, ...]:
    """As ``terms``, with every order of the kept parts that has the canonical signature.

    Joined with the canonical terms of another block these give every one-to-one match of kept parts
    once.
    """
    return tuple(
        term
        for pattern in patterns(dims)
        for kept in _closed_sets(pattern)
        for term in orderings(pattern, kept)
    )


def _closed_sets(pattern: Pattern) -> Iterator[tuple[int, ...]]:
    count = len(pattern.parts)
    for size in range(count, -1, -1):
        for kept in itertools.combinations(range(count), size):
            if not all(
                p.may_be_kept if k in kept else p.may_be_dropped
                for k, p in enumerate(pattern.parts)
            ):
                continue
            if all(parent in kept for k in kept for _, parent in pattern.parts[k].parents):
                yield kept


def orderings(pattern: Pattern, kept: tuple[int, ...]) -> Iterator[Term]:
    """Terms that keep these parts, in every order that gives the least signature."""
    by_symbol: dict[tuple[int, str], list[int]] = {}
    for k in kept:
        by_symbol.setdefault((len(pattern.parts[k].parents), pattern.parts[k].symbol), []).append(k)
    groups = [by_symbol[key] for key in sorted(by_symbol)]
    best: Signature | None = None
    orders: list[tuple[int, ...]] = []
    for arrangement in itertools.product(*(itertools.permutations(group) for group in groups)):
        order = tuple(itertools.chain.from_iterable(arrangement))
        signature = _signature(pattern, order)
        if best is None or signature < best:
            best, orders = signature, []
        if signature == best:
            orders.append(order)
    assert best is not None
    for order in orders:
        yield Term(pattern, order, best)


def _kind(part: PatternPart) -> str:
    """The symbol and the charge: a part can only be joined with one of the same charge."""
    return f"{part.symbol} (degree {part.charge})" if part.charge else part.symbol


def _signature(pattern: Pattern, order: tuple[int, ...]) -> Signature:
    position = {k: number for number, k in enumerate(order)}
    return tuple(
        (
            _kind(pattern.parts[k]),
            tuple((name, position[parent]) for name, parent in pattern.parts[k].parents),
        )
        for k in order
    )
