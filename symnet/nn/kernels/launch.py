"""Launches of the kernels: the fused forward step and its backward, on groups of equal blocks.

What they compute is written out in plain torch in ``tests/nn/test_kernels.py``; what they move in
bytes, and that they are unmeasured on a GPU, in ``docs/theory/gpu.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from symnet.errors import ShapeError
from symnet.nn.kernels.backend import check_device
from symnet.nn.kernels.operands import (
    Activation,
    KernelBlock,
    common,
    five,
    in_groups,
    largest_channels,
    tiles,
)

PROGRAMS = 528  # that share the positions of a gradient: four for each of 132 processors


class Fused(NamedTuple):
    """A block's output, and its sums over the last axis of neurons and over
    the one before, in float32 (or float64).
    """

    output: Tensor  # (batch, *axes, out)
    row_sums: Tensor | None  # (batch, *axes without the last, out)
    column_sums: Tensor | None  # (batch, *axes without the last but one, out)


class FusedGradient(NamedTuple):
    """Derivatives by rows and matrix, and the sums that were asked for."""

    rows: Tensor  # (batch, *axes, in)
    matrix: Tensor  # (in, out), float32 (or float64)
    row_sums: Tensor | None
    column_sums: Tensor | None


def fused_blocks(
    blocks: Sequence[KernelBlock], *, activation: Activation = "none", sums: bool = False
) -> list[Fused]:
    """``activation(rows @ matrix + values)`` of every block, each output
    written once; equal blocks in one launch.

    Products are added up in float32 (float64 for float64). With ``sums`` every output's sums over
    one axis come along, of the entries as they were written, without reading them again;
    deterministic.

    Raises:
        BackendError: tensors that are not on a CUDA device, while Triton's interpreter is off.
        ShapeError: an unknown activation; sums of blocks with fewer than two axes.
    """
    if activation not in ("none", "relu"):
        raise ShapeError(f"activation={activation!r}: the kernels know 'none' and 'relu'.")
    results: list[Fused | None] = [None] * len(blocks)
    for members in in_groups(blocks, KernelBlock.key):
        group = [blocks[number] for number in members]
        for number, result in zip(
            members, _forward(group, activation == "relu", sums), strict=True
        ):
            results[number] = result
    return [result for result in results if result is not None]


def fused_block(
    rows: Tensor,
    matrix: Tensor,
    values: Sequence[Tensor] = (),
    *,
    activation: Activation = "none",
    sums: bool = False,
) -> Fused:
    """``fused_blocks`` of one block: ``rows (batch, *axes, in)``,
    ``matrix (in, out)``, values that broadcast.
    """
    (result,) = fused_blocks(
        [KernelBlock(rows, matrix, tuple(values))], activation=activation, sums=sums
    )
    return result


def _forward(group: Sequence[KernelBlock], relu: bool, sums: bool) -> list[Fused]:
    from symnet.nn.kernels.programs import forward_program

    first = group[0]
    _check(first, sums)
    outputs = [first.rows.new_empty(first.shape) for _ in group]
    batch, outer, size_i, size_j, width = five(outputs[0], first.shape).shape
    height = first.matrix.shape[0]
    accumulated = _accumulator(first.rows.dtype)
    sizes = tiles("forward", first)
    of_i, of_j = sizes["BI"], sizes["BJ"]
    strips_of_i = math.ceil(size_i / of_i)
    strips = batch * outer * strips_of_i
    # Few strips (small batches) are cut along j as well.
    chunks = max(1, min(math.ceil(size_j / of_j), PROGRAMS // max(1, strips * len(group))))
    chunk = max(1, math.ceil(math.ceil(size_j / of_j) / chunks)) * of_j
    chunks = max(1, math.ceil(size_j / chunk))
    count = len(group)
    empty = first.rows.new_empty(0, dtype=accumulated)
    # Every entry is written by a program; without entries none runs, and sums over nothing are
    # zero.
    row_sums = empty.new_empty(count, chunks, batch * outer, size_i, width) if sums else empty
    columns = empty.new_empty(count, strips, size_j, width) if sums else empty
    if outputs[0].numel():
        _launch(
            forward_program,
            (strips * chunks, math.ceil(width / sizes["BN"]), count),
            ys=tuple(outputs),
            xs=tuple(five(block.rows, first.shape) for block in group),
            ws=tuple(block.matrix for block in group),
            rows=row_sums,
            columns=columns,
            x_strides=five(first.rows, first.shape).stride()[:-1],
            w_strides=first.matrix.stride(),
            **{
                "strips": strips,
                "strips_of_i": strips_of_i,
                "NP": outer,
                "NI": size_i,
                "NJ": size_j,
            },
            **{
                "K": height,
                "N": width,
                "chunks": chunks,
                "chunk": chunk,
                "RELU": relu,
                "SUMS": sums,
            },
            **sizes,
            **common(group, first.shape),
        )
    else:
        row_sums.zero_()
    if not sums:
        return [Fused(output, None, None) for output in outputs]
    shape = (batch, outer, size_i, size_j, width)
    return [
        Fused(output, *_second_stage(row_sums[number], columns[number], shape, first.shape))
        for number, output in enumerate(outputs)
    ]


def _second_stage(
    rows: Tensor, columns: Tensor, shape: tuple[int, ...], like: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Sums of the partial sums: ``rows (chunks, batch * P, I, C)``, ``columns (strips, J, C)``."""
    batch, outer, _, size_j, width = shape
    by_row = rows.sum(0) if rows.shape[0] > 1 else rows[0]
    strips_of_i = columns.shape[0] // max(1, batch * outer)
    by_column = columns.view(batch * outer, strips_of_i, size_j, width).sum(1)
    return by_row.reshape(*like[:-2], width), by_column.reshape(*like[:-3], like[-2], width)


def fused_backward(
    blocks: Sequence[KernelBlock],
    rows: Sequence[Tensor],
    *,
    masked: bool = False,
    sums: Literal["none", "result", "gradient"] = "none",
) -> list[FusedGradient]:
    """Both derivatives of ``Y = X @ W``, X and dY read once; equal blocks in one launch.

    Args:
        blocks: the adjoint's: ``KernelBlock(dY, W.t(), values)``, whose output
            ``dY @ W^T + values`` is the derivative by X.
        rows: X, ``(batch, *axes, in)``.
        masked: X is the output of a ReLU, and its derivative is zero where X is: what the layer
            below needs.
        sums: ``"result"``: sums of the derivative by X over one axis, the statistics that the layer
            below starts from; ``"gradient"``: of dY.

    The derivative by W is added up by a fixed number of programs, and then over these:
    deterministic.

    Raises:
        ShapeError: more than 128 channels (64 in float64); then take ``fused_blocks(blocks)`` and a
            product for W, which read dY twice.
        BackendError: as in ``fused_blocks``.
    """
    if sums not in ("none", "result", "gradient"):
        raise ShapeError(f"sums={sums!r}: 'none', 'result' or 'gradient'.")
    pairs = list(zip(blocks, rows, strict=True))
    for block, x in pairs:
        if x.shape != block.shape or x.dtype != block.rows.dtype or x.device != block.rows.device:
            raise ShapeError(
                f"rows are {tuple(x.shape)}, {x.dtype}, on {x.device}; the block's derivative by "
                f"them would be {block.shape}, {block.rows.dtype}, on {block.rows.device}."
            )
    results: list[FusedGradient | None] = [None] * len(pairs)
    for members in in_groups(
        pairs, lambda pair: (pair[0].key(), pair[1].stride(), pair[1].data_ptr() % 16)
    ):
        group = [pairs[number] for number in members]
        for number, result in zip(members, _backward(group, masked, sums), strict=True):
            results[number] = result
    return [result for result in results if result is not None]


def _backward(
    group: Sequence[tuple[KernelBlock, Tensor]], masked: bool, sums: str
) -> list[FusedGradient]:
    from symnet.nn.kernels.programs import backward_program

    first, x = group[0]
    _check(first, sums != "none")
    width, height = first.matrix.shape
    if not is_narrow(first):
        raise ShapeError(
            f"{height} and {width} channels: the backward kernel holds "
            f"{largest_channels(x.dtype)} at most. Take fused_blocks(blocks) for the derivative "
            "by the rows and a matrix product for the other."
        )
    outputs = [first.rows.new_empty(first.shape) for _ in group]
    batch, outer, size_i, size_j, _ = five(outputs[0], first.shape).shape
    sizes = tiles("backward", first)
    strips_of_i = math.ceil(size_i / sizes["BI"])
    strips = batch * outer * strips_of_i
    programs = max(1, min(strips, PROGRAMS // len(group)))
    empty = first.rows.new_empty(0, dtype=_accumulator(first.rows.dtype))
    emitted = height if sums == "result" else width
    row_sums = (
        empty.new_empty(len(group), 1, batch * outer, size_i, emitted) if sums != "none" else empty
    )
    columns = empty.new_empty(len(group), strips, size_j, emitted) if sums != "none" else empty
    partials = empty.new_zeros(len(group), programs, height, width)
    if x.numel():
        gradients = [five(block.rows, block.rows.shape) for block, _ in group]
        _launch(
            backward_program,
            (programs, len(group), 1),
            dxs=tuple(outputs),
            dys=tuple(gradients),
            xs=tuple(five(rows, first.shape) for _, rows in group),
            ws=tuple(block.matrix for block, _ in group),
            partials=partials,
            rows=row_sums,
            columns=columns,
            dy_strides=gradients[0].stride()[:-1],
            x_strides=five(x, first.shape).stride()[:-1],
            w_strides=first.matrix.stride()[::-1],
            **{"strips": strips, "strips_of_i": strips_of_i, "programs": programs, "NP": outer},
            **{"NI": size_i, "NJ": size_j, "K": height, "N": width, "MASKED": masked},
            **{"SUMS": {"none": 0, "result": 1, "gradient": 2}[sums]},
            # of W; the block holds its transpose
            **{**sizes, "BK": sizes["BN"], "BN": sizes["BK"]},
            **common([block for block, _ in group], first.shape),
        )
    else:
        row_sums.zero_()
    by_matrix = partials.sum(1)
    if sums == "none":
        return [
            FusedGradient(output, by_matrix[number], None, None)
            for number, output in enumerate(outputs)
        ]
    shape, like = (batch, outer, size_i, size_j, emitted), (*first.shape[:-1], emitted)
    return [
        FusedGradient(
            output,
            by_matrix[number],
            *_second_stage(row_sums[number], columns[number], shape, like),
        )
        for number, output in enumerate(outputs)
    ]


def is_narrow(block: KernelBlock) -> bool:
    """Whether the backward kernel can hold this block's channels."""
    return max(block.matrix.shape) <= largest_channels(block.rows.dtype)


def _check(block: KernelBlock, sums: bool) -> None:
    check_device(block.rows.device)
    if sums and len(block.shape) < 4:
        raise ShapeError(
            f"Sums over one of two axes were asked for, but the block has shape {block.shape}."
        )


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _launch(program: Any, grid: tuple[int, int, int], **arguments: Any) -> None:
    import triton.language as tl

    output = (arguments.get("ys") or arguments["dxs"])[0]
    accumulated = tl.float64 if output.dtype == torch.float64 else tl.float32
    with torch.cuda.device(output.device) if output.is_cuda else nullcontext():
        program[grid](**arguments, ACC=accumulated)
