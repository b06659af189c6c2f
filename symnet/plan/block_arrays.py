"""Blocks as arrays: the axes of a block's sym dims first, folded dims
after them, and back into tensors.

These functions take numpy arrays and torch tensors alike: they only reshape, transpose, index and
concatenate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from symnet.graph.action import apply_views
from symnet.graph.blocks import Block, Pick, Range, Unflatten, View
from symnet.sharing.dims import BlockDims
from symnet.sharing.patterns import Pattern

Array = Any


def read_block(
    array: Array, block: Block, dims: BlockDims, permute: Callable[[Array, tuple[int, ...]], Array]
) -> Array:
    """A block of ``(batch, *axes, channels)`` as ``(batch, *sym dims, F * channels)``."""
    array = apply_views(array, block.views, offset=1)
    if not dims.folded:  # the usual case: nothing to move
        return array
    order = (*dims.sym, *dims.folded)
    if order != tuple(range(len(order))):
        array = permute(array, (0, *(k + 1 for k in order), len(order) + 1))
    sizes = tuple(dims.dims[k].size for k in dims.sym)
    # Never -1: a batch of 0 leaves it undetermined.
    return array.reshape(array.shape[0], *sizes, dims.folded_size * array.shape[-1])


def restore_block(
    array: Array, dims: BlockDims, permute: Callable[[Array, tuple[int, ...]], Array]
) -> Array:
    """The reverse of ``read_block``, up to the block's views: ``(batch, *dims, channels)``."""
    if not dims.folded:
        return array
    order = (*dims.sym, *dims.folded)
    channels = array.shape[-1] // dims.folded_size
    array = array.reshape(array.shape[0], *(dims.dims[k].size for k in order), channels)
    if order != tuple(range(len(order))):
        back = sorted(range(len(order)), key=lambda position: order[position])
        array = permute(array, (0, *(k + 1 for k in back), len(order) + 1))
    return array


def assemble(
    blocks: Sequence[Block],
    arrays: Sequence[Array],
    concatenate: Callable[[list[Array], int], Array],
) -> Array:
    """A tensor from the arrays of its blocks, each
    ``(batch, *block dims, channels)``: the views undone, last first.
    """
    return _assemble(
        [(block.views, array) for block, array in zip(blocks, arrays, strict=True)], concatenate
    )


def _assemble(
    parts: list[tuple[tuple[View, ...], Array]], concatenate: Callable[[list[Array], int], Array]
) -> Array:
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1]
    step = parts[0][0][0]
    if isinstance(step, Unflatten):  # a split is shared by all blocks that come after it
        whole = _assemble([(views[1:], array) for views, array in parts], concatenate)
        shape, axis = tuple(whole.shape), step.axis + 1
        merged = math.prod(step.sizes)
        return whole.reshape((*shape[:axis], merged, *shape[axis + len(step.sizes) :]))
    # Ranges of an axis are laid one after another; so are its single positions, once they have an
    # axis again.
    by_place: dict[Range | Pick, list[tuple[tuple[View, ...], Array]]] = {}
    for views, array in parts:
        assert isinstance(views[0], Range | Pick)
        by_place.setdefault(views[0], []).append((views[1:], array))
    axis = step.axis + 1
    pieces = [(place, _assemble(group, concatenate)) for place, group in by_place.items()]
    return concatenate(
        [
            piece.reshape((*tuple(piece.shape)[:axis], 1, *tuple(piece.shape)[axis:]))
            if isinstance(place, Pick)
            else piece
            for place, piece in pieces
        ],
        axis,
    )


def sym_positions(dims: BlockDims, pattern: Pattern) -> list[list[int]]:
    """For every part of a pattern, the positions of its dims among the block's sym dims."""
    place = {dim: number for number, dim in enumerate(dims.sym)}
    return [[place[dim] for dim in part.dims] for part in pattern.parts]
