"""The plan of a product layer: contractions of two inputs by einsum, then
the tables and outputs of a linear layer.

A bilinear layer is a linear layer from products of two tensors. Its statistics are means over
diagonals of a product, and never need the product itself: every factor is first averaged over what
it alone has, then both are contracted over what they share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from symnet.errors import GraphError
from symnet.graph.space import Space
from symnet.plan.layer_plan import Cost, LayerPlan, describe
from symnet.plan.lowering import BlockPlace, add_statistics, irregular_blocks, make_table, places_of
from symnet.plan.steps import Statistic, Table
from symnet.sharing.bilinear_maps import BilinearMaps, term_is_connected
from symnet.sharing.patterns import Pattern, Signature, Term, all_orderings, terms

# of positions in an equation; capitals are batch, folded positions and channels
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, eq=False)
class Contraction:
    """How one statistic of a product is computed: by an einsum of two
    statistics of the factors, or from a larger one.

    Args:
        left, right: numbers of the factors' statistics.
        equation: over their positions, ``"ij,jk->ik"``.
        divisor: how many products an entry is the mean of.
        positions: multiplies for one pair of features.
        source: number of the contraction that it is averaged from; then the factors are not looked
            at.
    """

    left: int
    right: int
    equation: str
    divisor: int
    positions: int
    source: int | None


@dataclass(frozen=True, eq=False)
class ProductPlan:
    """What a product layer computes.

    Args:
        left, right: statistics of the factors (plans without tables); the same where the factors
            are of one space.
        contractions: for every statistic of ``layer``, how it is computed.
        layer: the plan of the linear layer from the products.

    Example:
        >>> import symnet as sn
        >>> from symnet.sharing import derive_bilinear
        >>> graph = sn.catalogue.mlp([2, 8, 4, 1])
        >>> plan = lower_products(
        ...     derive_bilinear(graph, outputs={"p": "h2"}, pairs=[("2.weight", "0.weight")])
        ... )
        >>> [step.equation for step in plan.contractions]
        ['ab,b->a']
    """

    left: LayerPlan
    right: LayerPlan
    contractions: tuple[Contraction, ...]
    layer: LayerPlan

    @property
    def tables(self) -> tuple[Table, ...]:
        return self.layer.tables

    @property
    def outputs(self) -> Space:
        return self.layer.outputs

    @cached_property
    def dimension(self) -> int:
        """Parameters for every pair of input channels and output channel."""
        return self.layer.dimension

    def cost(
        self,
        left_channels: int = 1,
        right_channels: int = 1,
        out_channels: int = 1,
        *,
        paired: bool = False,
    ) -> Cost:
        """The cost of one forward pass for one network; ``paired``: channel k
        is multiplied with channel k alone.
        """
        pairs = left_channels if paired else left_channels * right_channels
        folded = [statistic.folded_size for statistic in self.layer.statistics]
        contracted = sum(
            step.positions * size
            for step, size in zip(self.contractions, folded, strict=True)
            if step.source is None
        )
        mixed = (
            sum(table.positions * table.height * table.width for table in self.tables)
            * out_channels
        )
        return Cost(
            parameters=self.dimension * pairs * out_channels,
            multiplies=(contracted + mixed) * pairs,
            read=self.left.inputs.size * left_channels
            + (0 if self.left is self.right else self.right.inputs.size * right_channels),
            written=self.outputs.size * out_channels,
        )

    def in_words(
        self,
        left_channels: int = 1,
        right_channels: int = 1,
        out_channels: int = 1,
        *,
        paired: bool = False,
    ) -> str:
        """The plan with channels: cost, contractions, tables and outputs."""
        cost = self.cost(left_channels, right_channels, out_channels, paired=paired)
        lines = [
            f"ProductPlan: {len(self.layer.inputs)} pairs of tensors -> {len(self.outputs)} "
            f"tensors, channels {left_channels} {'with' if paired else 'x'} {right_channels} -> "
            f"{out_channels}",
            f"  {self.dimension} maps; {cost.parameters:,} parameters; for each network "
            f"{cost.multiplies:,} multiplies, {cost.bytes():,} bytes (float32)",
            "1. contractions: factors averaged over what they alone have, then multiplied",
        ]
        by_pair: dict[str, list[str]] = {}
        for step, statistic in zip(self.contractions, self.layer.statistics, strict=True):
            by_pair.setdefault(statistic.tensor, []).append(_words(step))
        most = 60
        for name, words in list(by_pair.items())[:most]:
            lines.append(f"     {name}: {', '.join(words)}")
        lines += [f"     ... and {len(by_pair) - most} more pairs"] * (len(by_pair) > most)
        rest = describe(self.layer).split("\n")
        return "\n".join(
            [
                *lines,
                *rest[next(n for n, line in enumerate(rest) if line.startswith("2. tables")) :],
            ]
        )

    def __repr__(self) -> str:
        return self.in_words()


def _words(step: Contraction) -> str:
    if step.source is not None:
        return "mean of a larger one"
    return f"{step.equation}{f' / {step.divisor}' if step.divisor > 1 else ''}"


def lower_products(maps: BilinearMaps) -> ProductPlan:
    """The plan of bilinear maps.

    Raises:
        GraphError: nothing is multiplied, or there are no outputs.
        TooLargeError: a table would not fit; names the tensors.
    """
    if not maps.pairs or not len(maps.outputs):
        what = (
            "pairs of tensors that share a neuron set which can move"
            if not maps.pairs
            else "outputs"
        )
        raise GraphError(
            f"A product layer needs {what}; there are none. Name some with pairs= or outputs=."
        )
    sources, targets = places_of(maps.products), places_of(maps.outputs)
    # An output with permuted axes that no kept part reaches would stand alone.
    connected = maps.diagrams == "connected"
    slot_terms = [
        (term, place)
        for place in targets
        for term in terms(place[2])
        if term.signature or not connected or not term.pattern.parts
    ]
    reachable = {term.signature for term, _ in slot_terms}
    statistics: list[Statistic] = []
    rows: dict[Signature, list[tuple[int, Term, BlockPlace]]] = {}
    for place in sources:
        split = _split(place, maps)
        chosen = [
            term
            for term in all_orderings(place[2])
            if term.signature in reachable
            and (not connected or term_is_connected(term, split, bool(term.signature)))
        ]
        number = add_statistics(place, chosen, statistics)
        for term in chosen:
            rows.setdefault(term.signature, []).append(
                (number[term.pattern, frozenset(term.kept)], term, place)
            )
    slots: dict[Signature, list[tuple[Term, BlockPlace]]] = {}
    for term, place in slot_terms:
        if term.signature in rows:
            slots.setdefault(term.signature, []).append((term, place))
    irregular = irregular_blocks(sources, targets)
    order = sorted(slots, key=lambda signature: (-len(signature), signature))
    tables = tuple(
        make_table(signature, rows[signature], slots[signature], statistics, irregular)
        for signature in order
    )
    layer = LayerPlan(
        maps.products, maps.outputs, tuple(statistics), tuple(t for t in tables if t.parameters)
    )
    assert layer.dimension == maps.dimension, (layer.dimension, maps.dimension)
    return _with_contractions(maps, layer)


def _split(place: BlockPlace, maps: BilinearMaps) -> int:
    """Number of dims of the left factor of a product's block."""
    a, b = maps.factors[place[0]]
    return len(maps.left[a].blocks[place[1] // len(maps.right[b].blocks)].instances)


# ---- contractions --------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Factor:
    """What a statistic of a product needs of one of its factors."""

    tensor: str
    block: int
    pattern: Pattern
    kept: tuple[int, ...]
    letters: tuple[str, ...]  # of the kept parts' axes, in the order of their first dims


def _with_contractions(maps: BilinearMaps, layer: LayerPlan) -> ProductPlan:
    letters = [_letters(statistic.pattern) for statistic in layer.statistics]
    factors = []
    for statistic, names in zip(layer.statistics, letters, strict=True):
        a, b = maps.factors[statistic.tensor]
        one, other = divmod(statistic.block, len(maps.right[b].blocks))
        split = len(maps.left[a].blocks[one].instances)
        left = _factor(statistic, (a, one), range(split), names)
        right = _factor(statistic, (b, other), range(split, len(statistic.dims.dims)), names)
        factors.append((left, right))
    if maps.left == maps.right:
        plan, numbers = _factor_plan(maps.left, [factor for pair in factors for factor in pair])
        plans, places = (plan, plan), (numbers, numbers)
    else:
        first, second = (
            _factor_plan(space, [pair[side] for pair in factors])
            for side, space in ((0, maps.left), (1, maps.right))
        )
        plans, places = (first[0], second[0]), (first[1], second[1])
    steps = []
    for statistic, names, (left, right) in zip(layer.statistics, letters, factors, strict=True):
        steps.append(
            _contraction(
                layer,
                statistic,
                names,
                (left, right),
                (places[0][_key(left)], places[1][_key(right)]),
            )
        )
    return ProductPlan(plans[0], plans[1], tuple(steps), layer)


def _letters(pattern: Pattern) -> dict[int, str]:
    natural = sorted(range(len(pattern.parts)), key=lambda k: pattern.parts[k].dims)
    return {part: LETTERS[position] for position, part in enumerate(natural)}


def _factor(
    statistic: Statistic, where: tuple[str, int], dims: range, letters: Mapping[int, str]
) -> _Factor:
    """The pattern that a product's pattern makes on one factor, and the
    parts that its contraction still needs.
    """
    parts = statistic.pattern.parts
    inside = {
        k: tuple(d - dims.start for d in part.dims if d in dims) for k, part in enumerate(parts)
    }
    order = sorted((k for k in inside if inside[k]), key=lambda k: inside[k])
    position = {k: number for number, k in enumerate(order)}
    shown = tuple(
        replace(
            parts[k],
            dims=inside[k],
            parents=tuple((name, position[p]) for name, p in parts[k].parents),
        )
        for k in order
    )
    needed = [k for k in order if k in statistic.kept or len(inside[k]) < len(parts[k].dims)]
    kept = tuple(position[k] for k in needed)
    return _Factor(*where, Pattern(shown), kept, tuple(letters[k] for k in needed))


def _key(factor: _Factor) -> tuple[str, int, Pattern, frozenset[int]]:
    return factor.tensor, factor.block, factor.pattern, frozenset(factor.kept)


def _factor_plan(
    space: Space, factors: Iterable[_Factor]
) -> tuple[LayerPlan, dict[tuple[str, int, Pattern, frozenset[int]], int]]:
    """A plan without tables that takes the factors' statistics, and the number of each."""
    statistics: list[Statistic] = []
    numbers = {}
    by_place: dict[tuple[str, int], list[Term]] = {}
    for factor in factors:
        by_place.setdefault((factor.tensor, factor.block), []).append(
            Term(factor.pattern, factor.kept, ())
        )
    for tensor, block, dims in places_of(space):
        by_pattern = add_statistics(
            (tensor, block, dims), by_place.get((tensor, block), []), statistics
        )
        numbers.update(
            {
                (tensor, block, pattern, kept): number
                for (pattern, kept), number in by_pattern.items()
            }
        )
    return LayerPlan(space, Space(space.neurons, {}), tuple(statistics), ()), numbers


def _contraction(
    layer: LayerPlan,
    statistic: Statistic,
    letters: Mapping[int, str],
    factors: tuple[_Factor, _Factor],
    numbers: tuple[int, int],
) -> Contraction:
    left, right = factors
    kept = sorted(letters[k] for k in statistic.kept)
    sizes = {letters[k]: part.size for k, part in enumerate(statistic.pattern.parts)}
    present = set(left.letters) | set(right.letters)
    positions = math.prod(sizes[letter] for letter in present)
    divisor = math.prod(sizes[letter] for letter in present if letter not in kept)
    equation = f"{''.join(left.letters)},{''.join(right.letters)}->{''.join(kept)}"
    # The chosen path: the mean of a larger statistic, which is there anyway, where that is less
    # work.
    source = statistic.source
    if source is not None and math.prod(layer.statistics[source].sizes) > positions:
        source = None
    return Contraction(*numbers, equation, divisor, positions, source)
