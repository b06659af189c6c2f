"""The group acting on tensors: ``(g.x)[g(i)] = x[i]``, one
index_select per independent group of axes.

Signs and scales multiply along an axis before it is permuted, and matrices mix its neurons."""

from __future__ import annotations

import math
from typing import Any, assert_never

import numpy as np

from symnet.errors import ShapeError
from symnet.graph.blocks import Block, Pick, Range, Unflatten, View
from symnet.graph.elements import GroupElement
from symnet.graph.space import TensorSpace

# Arrays are numpy arrays or torch tensors; torch is never imported here, its tensors bring their
# methods.
Array = Any


def apply_views(array: Array, views: tuple[View, ...], offset: int = 0) -> Array:
    """A block of a tensor as a view, its axes starting after ``offset`` leading dims.

    Splitting one strided axis never copies, so writing into the result writes into ``array``.
    """
    for view in views:
        axis = view.axis + offset
        match view:
            case Unflatten(sizes=sizes):
                shape = tuple(array.shape)
                array = array.reshape(shape[:axis] + sizes + shape[axis + 1 :])
            case Range(start=start, size=size):
                array = array[(slice(None),) * axis + (slice(start, start + size),)]
            case Pick(position=position):
                array = array[(slice(None),) * axis + (position,)]
            case _:
                assert_never(view)
    return array


def act_on_tensor(element: GroupElement, tensor: TensorSpace, array: Array, offset: int) -> Array:
    """``g.x`` for one tensor whose axes start after ``offset`` dims;
    further trailing dims are channels.
    """
    moved = [name for name in tensor.symbols if element.moves(name)]
    if not moved:
        return array
    if len(tensor.blocks) == 1:
        block = tensor.blocks[0]
        result = _act_on_block(element, block, apply_views(array, block.views, offset), offset)
        return result.reshape(tuple(array.shape))
    empty = np.empty_like(array) if isinstance(array, np.ndarray) else array.new_empty(array.shape)
    for block in tensor.blocks:
        source = apply_views(array, block.views, offset)
        apply_views(empty, block.views, offset)[...] = _act_on_block(element, block, source, offset)
    return empty


def _act_on_block(element: GroupElement, block: Block, array: Array, offset: int) -> Array:
    for cluster in clusters(block):
        names = {block.instances[k].symbol for k in cluster}
        if not any(name is not None and element.moves(name) for name in names):
            continue
        # Multipliers and matrices are kept where a copy comes from: they act before it moves.
        for k in cluster:
            array = _multiply(element, block, k, array, offset)
            array = _mix(element, block, k, array, offset)
        gather = np.argsort(cluster_images(element, block, cluster))
        array = _permute(array, [k + offset for k in cluster], gather)
    return array


def _multiply(element: GroupElement, block: Block, dim: int, array: Array, offset: int) -> Array:
    """An array multiplied along one dim by signs or scales, to the power of the strand's degree."""
    instance = block.instances[dim]
    if (
        instance.symbol is None
        or instance.degree == 0
        or element.multipliers(instance.symbol) is None
    ):
        return array
    cluster = sorted({dim, *(place for _, place in instance.parents)})
    sizes = [block.instances[k].size for k in cluster]
    grid = dict(zip(cluster, np.indices(sizes, sparse=True), strict=True))
    values = {name: grid[place] for name, place in instance.parents} | {instance.symbol: grid[dim]}
    factors = np.asarray(element.multiplier(instance.symbol, values))
    if factors.dtype != np.int64:
        factors = factors.astype(np.float64) ** instance.degree
    shape = [block.instances[k].size if k in cluster else 1 for k in range(len(block.instances))]
    factors = np.broadcast_to(factors, sizes).reshape(
        (1,) * offset + tuple(shape) + (1,) * (array.ndim - offset - len(shape))
    )
    return array * _numbers_like(array, factors, instance.symbol)


def _mix(element: GroupElement, block: Block, dim: int, array: Array, offset: int) -> Array:
    """An array multiplied along one dim by the matrix of the copy that its other dims name."""
    instance = block.instances[dim]
    if (
        instance.symbol is None
        or (matrices := element.matrices(instance.symbol, instance.degree)) is None
    ):
        return array
    # in the order of the matrices' axes
    parents = [place + offset for _, place in instance.parents]
    target = dim + offset
    others = [k for k in range(array.ndim) if k not in (*parents, target)]
    order = [*parents, target, *others]
    numbers = _numbers_like(array, matrices, instance.symbol)
    front = np.transpose(array, order) if isinstance(array, np.ndarray) else array.permute(order)
    shape = tuple(front.shape)
    mixed = numbers @ front.reshape(
        *shape[: len(parents) + 1], math.prod(shape[len(parents) + 1 :])
    )
    mixed = mixed.reshape(shape)
    back = [order.index(k) for k in range(len(order))]
    return np.transpose(mixed, back) if isinstance(mixed, np.ndarray) else mixed.permute(back)


def _numbers_like(array: Array, numbers: np.ndarray, name: str) -> Array:
    """Signs, scales or matrices as an array of the kind that they multiply.

    Raises:
        ShapeError: the array holds whole numbers, which cannot be scaled.
    """
    whole = numbers.dtype == np.int64
    if isinstance(array, np.ndarray):
        if not whole and not np.issubdtype(array.dtype, np.inexact):
            raise ShapeError(
                f"The group scales or mixes the neurons of '{name}': it acts on floating-point "
                f"numbers, not {array.dtype}."
            )
        return numbers.astype(array.dtype)
    if not whole and not (array.is_floating_point() or array.is_complex()):
        raise ShapeError(
            f"The group scales or mixes the neurons of '{name}': it acts on floating-point "
            f"numbers, not {array.dtype}."
        )
    return _index_like(array, numbers).to(array.dtype)


def clusters(block: Block) -> list[list[int]]:
    """Dims that must be permuted together: a child with the dims its ancestors are read from."""
    group = list(range(len(block.instances)))
    for k, instance in enumerate(block.instances):
        for _, parent in instance.parents:
            old, new = group[k], group[parent]
            group = [new if g == old else g for g in group]
    return [[k for k, g in enumerate(group) if g == wanted] for wanted in dict.fromkeys(group)]


def cluster_images(element: GroupElement, block: Block, cluster: list[int]) -> np.ndarray:
    """Images of the flattened positions of some dims of a block, a
    permutation of ``range(product of sizes)``.
    """
    sizes = [block.instances[k].size for k in cluster]
    grid = dict(zip(cluster, np.indices(sizes, sparse=True), strict=True))
    flat: np.ndarray = np.zeros((1,) * len(cluster), dtype=np.int64)
    for k, size in zip(cluster, sizes, strict=True):
        instance = block.instances[k]
        values = {name: grid[place] for name, place in instance.parents}
        image = (
            grid[k]
            if instance.symbol is None
            else element.image(instance.symbol, values | {instance.symbol: grid[k]})
        )
        flat = flat * size + image
    return np.broadcast_to(flat, sizes).reshape(-1)


def _permute(array: Array, dims: list[int], gather: np.ndarray) -> Array:
    """The array with the flattened positions of ``dims`` taken in the order ``gather``."""
    shape = tuple(array.shape)
    if isinstance(array, np.ndarray):
        if len(dims) == 1:
            return np.take(array, gather, axis=dims[0])
        front = np.moveaxis(array, dims, range(len(dims)))
        taken = front.reshape(len(gather), -1)[gather].reshape(front.shape)
        return np.moveaxis(taken, range(len(dims)), dims)
    index = _index_like(array, gather)
    if len(dims) == 1:
        return array.index_select(dims[0], index)
    front = array.movedim(dims, list(range(len(dims))))
    rest = tuple(size for k, size in enumerate(shape) if k not in dims)
    flat = front.reshape(math.prod(shape[k] for k in dims), *rest)
    return flat.index_select(0, index).reshape(front.shape).movedim(list(range(len(dims))), dims)


def _index_like(array: Array, indices: np.ndarray) -> Array:
    # only to make an index on the tensor's device; whoever passes a torch tensor has it loaded
    import torch

    return torch.tensor(indices).to(array.device)  # a copy: torch warns of read-only arrays
