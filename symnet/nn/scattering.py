"""The writing half of a plan in torch: tables mixed, and their slots put into the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from symnet.nn.compiled_plan import CompiledBlock, CompiledPlan, CompiledSlot
from symnet.nn.gathering import (
    Gathered,
    StatisticsAhead,
    diagonal,
    flat,
    gather,
)
from symnet.nn.kernels.plan_kernels import Kernels, products
from symnet.plan.block_arrays import assemble, restore_block


def run(
    plan: CompiledPlan,
    tensors: Sequence[Tensor],
    matrices: Sequence[Tensor],
    bias: Tensor | None,
    *,
    relu: bool = False,
) -> list[Tensor]:
    """The layer's outputs, in the order of ``plan.outputs``.

    Args:
        tensors: inputs in the order of ``plan.inputs``: ``(batch, *axes, in_channels)``.
        matrices: one a table, ``(height * in_channels, width * out_channels)``.
        bias: ``(columns * out_channels,)`` of the tables without axes.
        relu: whether the outputs' negative entries are set to zero.
    """
    return scatter(
        plan, gather(plan, tensors), matrices, bias, tensors[0].shape[0], in_place=False, relu=relu
    )


def scatter(
    plan: CompiledPlan,
    gathered: Gathered,
    matrices: Sequence[Tensor],
    bias: Tensor | None,
    batch: int,
    *,
    in_place: bool,
    relu: bool = False,
    kernels: Kernels | None = None,
    ahead: StatisticsAhead | None = None,
) -> list[Tensor]:
    """The outputs from the rows. ``in_place``, ``kernels`` and ``ahead`` only
    where nothing records the operations.
    """
    mixed: list[tuple[Tensor, ...]] = []  # a table's slots
    for table, rows, matrix in zip(plan.tables, gathered, matrices, strict=True):
        if table.is_direct:
            mixed.append(())
            continue
        ((_, joined),) = rows
        if table.sizes or bias is None:
            product = joined @ matrix
        else:
            start = table.bias_start * (matrix.shape[1] // table.width)
            product = torch.addmm(bias.narrow(0, start, matrix.shape[1]), joined, matrix)
        channels = matrix.shape[1] // table.width
        by_position = product.view(batch, *table.sizes, matrix.shape[1])
        mixed.append(by_position.split([size * channels for size in table.folded_sizes], dim=-1))
    blocks = [block for tensor in plan.outputs for block in tensor.blocks]
    small = [_small_terms(block, mixed, in_place) for block in blocks]
    written: dict[int, Tensor] = {}
    if kernels:
        plain = [terms for terms, _ in small]
        written = kernels.run(plan, blocks, plain, gathered, matrices, relu, ahead)
    outputs: list[Tensor] = []
    number = 0
    for tensor in plan.outputs:
        arrays = []
        for block in tensor.blocks:
            value = written.get(number)
            if value is None:
                value = _value(plan, block, small[number], gathered, matrices, batch, in_place)
                if relu:
                    value = value.relu_() if in_place else value.relu()
            arrays.append(restore_block(value, block.dims, torch.permute))
            number += 1
        single = len(arrays) == 1
        whole = (
            arrays[0].reshape(batch, *tensor.space.shape, arrays[0].shape[-1]) if single else None
        )
        outputs.append(
            assemble(tensor.space.blocks, arrays, torch.cat)
            if whole is None
            else whole.contiguous()
        )
        if ahead is not None:
            ahead.read(len(outputs) - 1, outputs[-1])
    return outputs


# Terms of a block that tables hold: those without diagonals, and the others with the diagonals they
# are written on.
SmallTerms = tuple[list[Tensor], list[tuple[CompiledSlot, Tensor]]]


def _small_terms(
    block: CompiledBlock, mixed: Sequence[Sequence[Tensor]], in_place: bool
) -> SmallTerms:
    """The terms of a block that tables hold, after small ones were added into larger ones."""
    values = []
    for slot in block.small:
        value = mixed[slot.table][slot.number]
        value = value if slot.permutation is None else value.permute(slot.permutation)
        for position in slot.missing:
            value = value.unsqueeze(position)
        values.append(value)
    for number, into in enumerate(block.into):
        if into is not None:
            values[into] = (
                values[into].add_(values[number]) if in_place else values[into] + values[number]
            )
    roots = [number for number, into in enumerate(block.into) if into is None]
    plain = [values[number] for number in roots if not block.small[number].diagonals]
    return plain, [
        (block.small[number], values[number]) for number in roots if block.small[number].diagonals
    ]


def _value(
    plan: CompiledPlan,
    block: CompiledBlock,
    small: SmallTerms,
    gathered: Gathered,
    matrices: Sequence[Tensor],
    batch: int,
    in_place: bool,
) -> Tensor:
    """A block's sum: terms that are broadcast, terms on diagonals, products of direct tables."""
    plain, on_diagonals = small
    value = _broadcast_sum(plain, block, matrices, plan, batch)
    for slot, term in on_diagonals:
        if in_place:
            diagonal(value, slot.diagonals).add_(term)
        else:
            value = _added_on_diagonal(value, slot.diagonals, term)
    for slot in block.direct:
        value = _add_products(
            plan, slot, value, gathered[slot.table], matrices[slot.table], in_place
        )
    return value


def _added_on_diagonal(value: Tensor, steps: Sequence[tuple[int, int]], term: Tensor) -> Tensor:
    """A new tensor: the value, with a term added on diagonals (see
    ``diagonal``). vmap may batch the term alone.
    """
    if not steps:
        return value + term
    (first, second), rest = steps[0], steps[1:]
    changed = _added_on_diagonal(diagonal(value, steps[:1]), rest, term)
    return torch.diagonal_scatter(value, changed.movedim(first, -1), dim1=first, dim2=second)


def _broadcast_sum(
    values: list[Tensor],
    block: CompiledBlock,
    matrices: Sequence[Tensor],
    plan: CompiledPlan,
    batch: int,
) -> Tensor:
    """A new tensor of the block's full size: the values' sum, zeros if there are none."""
    if not values:
        channels = matrices[0].shape[1] // plan.tables[0].width
        return matrices[0].new_zeros(batch, *block.sizes, block.dims.folded_size * channels)
    total = values[0]
    for value in values[1:]:
        total = total + value
    if tuple(total.shape[1:-1]) != block.sizes:
        total = total.expand(batch, *block.sizes, total.shape[-1])
    return total.contiguous()


def _add_products(
    plan: CompiledPlan,
    slot: CompiledSlot,
    value: Tensor,
    rows: list[tuple[int, Tensor]],
    matrix: Tensor,
    in_place: bool,
) -> Tensor:
    """A block's value and the products of a direct table: large rows, multiplied where they lie."""
    table = plan.tables[slot.table]
    for row, part in products(plan, slot, rows, matrix):
        if in_place and slot.permutation is None:
            flat(value).addmm_(row, part)
            continue
        product = (row @ part).view(value.shape[0], *table.sizes, part.shape[1])
        product = product if slot.permutation is None else product.permute(slot.permutation)
        value = value.add_(product) if in_place else value + product
    return value
