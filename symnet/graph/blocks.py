"""Blocks: a tensor with concatenated axes is a direct sum of blocks,
each a plain product of symbols.

A block is reached from its tensor by views alone (split an axis into its factors, take a range of
an axis), so reading one costs nothing and writing one writes into the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from symnet.errors import GraphError, TooLargeError
from symnet.graph.notation import (
    Alternatives,
    Anonymous,
    Axes,
    Axis,
    Composite,
    Concatenation,
    Interleaving,
    Symbol,
    print_axis,
    product,
)

AXES_LIMIT = 64  # of a tensor; numpy's arrays have no more
BLOCKS_LIMIT = 100_000  # of a tensor: the product, over its axes, of the numbers of their parts


@dataclass(frozen=True, slots=True)
class Unflatten:
    """View step: axis ``axis`` becomes axes of these sizes, row-major."""

    axis: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """View step: of axis ``axis`` keep ``start .. start + size``."""

    axis: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Pick:
    """View step: of axis ``axis`` keep the one position ``position``; the axis is gone."""

    axis: int
    position: int


View = Unflatten | Range | Pick


@dataclass(frozen=True, slots=True)
class Instance:
    """One occurrence of a symbol in a block: a dimension of the block.

    ``parents`` maps every ancestor set to the dimension that its value is read from; ``degree`` is
    the strand's.
    """

    symbol: str | None  # None: an anonymous Fixed axis
    size: int
    parents: tuple[tuple[str, int], ...] = ()
    degree: int = 1


@dataclass(frozen=True, slots=True)
class Block:
    """A summand of a tensor: dimensions, each an instance of one
    symbol, and the views that reach it.
    """

    views: tuple[View, ...]
    instances: tuple[Instance, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(instance.size for instance in self.instances)


def axes_of_dims(block: Block, axes: int) -> tuple[int, ...]:
    """For every dimension of a block, which of its tensor's axes it comes from."""
    origins = list(range(axes))
    for view in block.views:
        match view:
            case Unflatten(axis, sizes):
                origins[axis : axis + 1] = [origins[axis]] * len(sizes)
            case Pick(axis):
                del origins[axis]
            case Range():
                pass
            case _:
                assert_never(view)
    return tuple(origins)


def product_of_blocks(left: Block, right: Block) -> Block:
    """The block of the products of all entries: dimensions of the
    left one, then of the right one.
    """
    shift = len(left.instances)  # the left one's views come first, and leave so many axes
    views: list[View] = list(left.views)
    for view in right.views:
        match view:
            case Unflatten(axis, sizes):
                views.append(Unflatten(axis + shift, sizes))
            case Range(axis, start, size):
                views.append(Range(axis + shift, start, size))
            case Pick(axis, position):
                views.append(Pick(axis + shift, position))
            case _:
                assert_never(view)
    moved = (
        replace(one, parents=tuple((name, place + shift) for name, place in one.parents))
        for one in right.instances
    )
    return Block(tuple(views), (*left.instances, *moved))


def axis_size(axis: Axis, sizes: Mapping[str, int]) -> int:
    """Number of positions along an axis."""
    match axis:
        case Symbol(name):
            return sizes[name]
        case Anonymous(size):
            return size
        case Composite(factors):
            return math.prod(axis_size(factor, sizes) for factor in factors)
        case Concatenation(parts):
            return sum(axis_size(part, sizes) for part in parts)
        case Interleaving(parts):
            return len(parts) * _one_size(axis, sizes)
        case Alternatives():
            return _one_size(axis, sizes)
        case _:
            assert_never(axis)


def _one_size(axis: Interleaving | Alternatives, sizes: Mapping[str, int]) -> int:
    """The size of all parts of an axis whose parts have one size.

    Raises:
        GraphError: they have several.
    """
    positions = [axis_size(part, sizes) for part in axis.parts]
    if len(set(positions)) > 1:
        raise GraphError(
            f"Axis '{print_axis(axis)}' has parts of {', '.join(map(str, positions))} positions; "
            "parts that are interleaved, or stand for one another, have one size. Join parts of "
            "several sizes with '+'."
        )
    return positions[0]


# A partly read block: the views so far, and the block's dimensions, each still an Axis and the
# number of the tensor axis that it came from.
_Partial = tuple[tuple[View, ...], tuple[tuple[Axis, int], ...]]


def split_blocks(
    axes: Axes,
    sizes: Mapping[str, int],
    ancestors: Mapping[str, tuple[str, ...]],
    where: str,
) -> tuple[Block, ...]:
    """The blocks of a tensor with these axes, in the order in which their parts are written.

    Args:
        sizes: number of neurons by the name of the set.
        where: names the tensor in errors.

    Raises:
        GraphError: a child's parent value cannot be read, or could be read in two ways.
        TooLargeError: the tensor has more axes, or is made of more blocks, than are read.
    """
    # nearly all tensors
    if len(axes) <= AXES_LIMIT and all(isinstance(axis, Symbol | Anonymous) for axis in axes):
        dims = tuple((axis, number) for number, axis in enumerate(axes))
        return (Block((), _instances(dims, sizes, ancestors, where)),)
    _check_count(axes, where)
    todo: list[_Partial] = [((), tuple((axis, number) for number, axis in enumerate(axes)))]
    done: list[_Partial] = []
    while todo:
        views, dims = todo.pop(0)
        position = next(
            (
                k
                for k, (axis, _) in enumerate(dims)
                if not isinstance(axis, Symbol | Anonymous | Alternatives)
            ),
            None,
        )
        if position is None:
            done.append((views, dims))
        else:
            todo = [*_expand(views, dims, position, sizes), *todo]
    return tuple(Block(views, _instances(dims, sizes, ancestors, where)) for views, dims in done)


def _expand(
    views: tuple[View, ...],
    dims: tuple[tuple[Axis, int], ...],
    position: int,
    sizes: Mapping[str, int],
) -> Iterator[_Partial]:
    """A partly read block with one dimension taken apart: its factors,
    or one block for each of its parts.
    """
    axis, origin = dims[position]
    before, after = dims[:position], dims[position + 1 :]
    match axis:
        case Composite(factors):
            split = Unflatten(position, tuple(axis_size(factor, sizes) for factor in factors))
            yield (*views, split), (*before, *((factor, origin) for factor in factors), *after)
        case Concatenation(parts):
            start = 0
            for number, part in enumerate(parts):
                size = axis_size(part, sizes)
                chosen = _choose((*before, (part, origin), *after), number, len(parts))
                yield (*views, Range(position, start, size)), chosen
                start += size
        case Interleaving(parts):
            # Rows of one position of every part: a part is a column.
            rows = Unflatten(position, (axis_size(axis, sizes) // len(parts), len(parts)))
            for number, part in enumerate(parts):
                yield (*views, rows, Pick(position + 1, number)), (*before, (part, origin), *after)


def _choose(
    dims: tuple[tuple[Axis, int], ...], number: int, count: int
) -> tuple[tuple[Axis, int], ...]:
    """The dimensions with what alternatives stand for at one part of an
    axis joined of ``count`` parts.
    """
    return tuple((_chosen(axis, number, count), origin) for axis, origin in dims)


def _chosen(axis: Axis, number: int, count: int) -> Axis:
    if isinstance(axis, Alternatives) and len(axis.parts) == count:
        return axis.parts[number]
    if isinstance(axis, Composite):
        return product([_chosen(factor, number, count) for factor in axis.factors])
    return axis


def _check_count(axes: Axes, where: str) -> None:
    """Each sum multiplies the number of blocks by that of its parts; a short
    text can ask for more than fit anywhere.
    """
    if len(axes) > AXES_LIMIT:
        raise TooLargeError(
            f"{where:.200} has {len(axes):,} axes; up to {AXES_LIMIT} are read, as many as an "
            "array has."
        )
    blocks = math.prod(map(_count_blocks, axes))
    if blocks > BLOCKS_LIMIT:
        raise TooLargeError(
            f"{where:.200} is made of {blocks:,} blocks; up to {BLOCKS_LIMIT:,} are read."
        )


def _count_blocks(axis: Axis) -> int:
    match axis:
        case Symbol() | Anonymous():
            return 1
        case Composite(factors):
            return math.prod(map(_count_blocks, factors))
        case Concatenation(parts) | Interleaving(parts):
            return sum(map(_count_blocks, parts))
        case Alternatives(parts):  # one of them in each block
            return max(map(_count_blocks, parts))
        case _:
            assert_never(axis)


def _instances(
    dims: tuple[tuple[Axis, int], ...],
    sizes: Mapping[str, int],
    ancestors: Mapping[str, tuple[str, ...]],
    where: str,
) -> tuple[Instance, ...]:
    instances = []
    for axis, origin in dims:
        if isinstance(axis, Alternatives):
            raise GraphError(
                f"{where}: '{print_axis(axis)}' says what {len(axis.parts)} parts have each, but "
                "no other axis is joined of so many parts with '+'. Write as many alternatives "
                "as that axis has parts."
            )
        if isinstance(axis, Anonymous):
            instances.append(Instance(None, axis.size))
            continue
        assert isinstance(axis, Symbol)
        parents = []
        for ancestor in ancestors[axis.name]:
            occurrences = [
                k
                for k, (other, _) in enumerate(dims)
                if isinstance(other, Symbol) and other.name == ancestor
            ]
            same_axis = [k for k in occurrences if dims[k][1] == origin]
            chosen = same_axis or occurrences
            if len(chosen) != 1:
                raise GraphError(_parent_problem(axis.name, ancestor, len(chosen), where))
            parents.append((ancestor, chosen[0]))
        instances.append(Instance(axis.name, sizes[axis.name], tuple(parents), axis.degree))
    # An ancestor reached through two routes must be read from one place on both.
    for instance in instances:
        if not instance.parents:
            continue
        parent_places = dict(instance.parents)
        for ancestor, k in instance.parents:
            for further, place in instances[k].parents:
                if parent_places[further] != place:
                    raise GraphError(
                        f"{where}: '{instance.symbol}' reads its '{further}' from another axis "
                        f"than its parent '{ancestor}' does. Write '{further}' into the same "
                        "axis as both."
                    )
    return tuple(instances)


def _parent_problem(child: str, parent: str, count: int, where: str) -> str:
    if count == 0:
        return (
            f"{where}: '{child}' is over '{parent}', but '{parent}' does not occur beside it, so "
            f"there is nothing to say which copy of '{child}' is meant. Write '({parent} "
            f"{child})', or declare '{child}' without over='{parent}'."
        )
    return (
        f"{where}: '{child}' is over '{parent}', which occurs {count} times where its value "
        f"could be read. Write the '{parent}' that is meant into the same axis: '({parent} "
        f"{child})'."
    )
