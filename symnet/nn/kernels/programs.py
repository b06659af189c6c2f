"""The Triton programs. Import this file only where Triton is installed;
``launch`` prepares their operands.

Arrays are ``(batch, NP, NI, NJ, channels)``: up to three axes of neurons, numbered p, i, j. A
program walks over a strip: ``BI`` values of i, all (or a chunk) of j, for one network and one p. So
the sums over j are complete when it ends, what does not depend on j is loaded once, and of the sums
over i only one partial value in ``BI`` goes through memory. Nothing is added by atomics: the same
inputs give the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _pick(tensors, group, START: tl.constexpr, STEP: tl.constexpr, GROUPS: tl.constexpr):
    """The pointer ``tensors[START + STEP * group]``: a tuple can be indexed by constants only."""
    chosen = tensors[START]
    for k in tl.static_range(1, GROUPS):
        chosen = tl.where(group == k, tensors[START + STEP * k], chosen)
    return chosen


@triton.jit
def _load(pointer, offsets, mask, INTERPRETED: tl.constexpr, ACC: tl.constexpr):
    """A tile. The interpreter holds bfloat16 as raw bits and would
    multiply these: it gets numbers.
    """
    tile = tl.load(pointer + offsets, mask=mask, other=0.0)
    if INTERPRETED:
        tile = tile.to(ACC)
    return tile


@triton.jit
def _terms(
    terms, strides, group, network, p, i, j, n, mask,
    GROUPS: tl.constexpr, VARIES: tl.constexpr, OF_J: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """The sum of the broadcast terms that depend on j (``OF_J``), or of those that do not."""
    COUNT: tl.constexpr = len(VARIES)
    total = tl.zeros((BM, BN), dtype=ACC)
    for t in tl.static_range(COUNT):
        if VARIES[t] == OF_J:
            pointer = _pick(terms, group, t, COUNT, GROUPS)
            offsets = (
                network * strides[4 * t]
                + p * strides[4 * t + 1]
                + i * strides[4 * t + 2]
                + j * strides[4 * t + 3]
            )
            total += tl.load(pointer + offsets[:, None] + n[None, :], mask=mask, other=0.0).to(ACC)
    return total


@triton.jit
def _store_columns(
    columns, tile, group, strip, strips, j0, stop, NJ, n, N,
    BI: tl.constexpr, BJ: tl.constexpr, BN: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Partial sums over the strip's i, ``columns (groups, strips, NJ, N)``."""
    j = j0 + tl.arange(0, BJ)
    sums = tl.sum(tl.reshape(tile, (BI, BJ, BN)), axis=0)
    start = (group * strips + strip).to(tl.int64) * NJ
    tl.store(
        columns + (start + j)[:, None] * N + n[None, :],
        sums,
        mask=(j < stop)[:, None] & (n < N)[None, :],
    )


@triton.jit
def _store_rows(rows, sums, start, first, NI, n, N, BI: tl.constexpr):
    """Sums over j of a strip's i, at ``rows[start + i]``."""
    i = first + tl.arange(0, BI)
    tl.store(
        rows + (start * NI + i)[:, None] * N + n[None, :],
        sums,
        mask=(i < NI)[:, None] & (n < N)[None, :],
    )


@triton.jit
def forward_program(
    ys, xs, ws, terms, rows, columns,
    x_strides, w_strides, term_strides,
    strips, strips_of_i, NP, NI, NJ, K, N, chunks, chunk,
    GROUPS: tl.constexpr, VARIES: tl.constexpr, RELU: tl.constexpr, SUMS: tl.constexpr,
    BI: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """``Y[b,p,i,j,:] = act(X[b,p,i,j,:] @ W + terms)``, with Y's
    sums over j and, partial, over i.
    """
    BM: tl.constexpr = BI * BJ
    strip, part = tl.program_id(0) // chunks, tl.program_id(0) % chunks
    group = tl.program_id(2)
    outer = (strip // strips_of_i).to(tl.int64)
    network, p = outer // NP, outer % NP
    first = (strip % strips_of_i) * BI
    m = tl.arange(0, BM)
    i = (first + m // BJ).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    x, w, y = (
        _pick(xs, group, 0, 1, GROUPS),
        _pick(ws, group, 0, 1, GROUPS),
        _pick(ys, group, 0, 1, GROUPS),
    )
    inside = (i < NI)[:, None] & (n < N)[None, :]
    fixed = _terms(
        terms,
        term_strides,
        group,
        network,
        p,
        i,
        i * 0,
        n,
        inside,
        GROUPS,
        VARIES,
        False,
        BM,
        BN,
        ACC,
    )
    w_offsets = k[:, None] * w_strides[0] + n[None, :] * w_strides[1]
    matrix = _load(w, w_offsets, (k < K)[:, None] & (n < N)[None, :], INTERPRETED, ACC)
    sums = tl.zeros((BI, BN), dtype=ACC)
    stop = tl.minimum(NJ, (part + 1) * chunk)
    for j0 in range(part * chunk, stop, BJ):
        j = (j0 + m % BJ).to(tl.int64)
        is_entry = (i < NI) & (j < stop)
        mask = is_entry[:, None] & (n < N)[None, :]
        x_offsets = network * x_strides[0] + p * x_strides[1] + i * x_strides[2] + j * x_strides[3]
        tile = _load(
            x,
            x_offsets[:, None] + k[None, :],
            is_entry[:, None] & (k < K)[None, :],
            INTERPRETED,
            ACC,
        )
        value = tl.dot(tile, matrix, fixed, input_precision=PRECISION, out_dtype=ACC)
        for k0 in range(BK, K, BK):  # never, where the matrix's rows fit a tile
            more = k0 + k
            tile = _load(
                x,
                x_offsets[:, None] + more[None, :],
                is_entry[:, None] & (more < K)[None, :],
                INTERPRETED,
                ACC,
            )
            w_mask = (more < K)[:, None] & (n < N)[None, :]
            block = _load(w, w_offsets + k0 * w_strides[0], w_mask, INTERPRETED, ACC)
            value = tl.dot(tile, block, value, input_precision=PRECISION, out_dtype=ACC)
        value += _terms(
            terms, term_strides, group, network, p, i, j, n, mask, GROUPS, VARIES, True, BM, BN, ACC
        )
        if RELU:
            value = tl.where(value < 0, 0.0, value)  # NaN stays NaN
        written = value.to(y.dtype.element_ty)
        tl.store(y + ((outer * NI + i) * NJ + j)[:, None] * N + n[None, :], written, mask=mask)
        if SUMS:  # of what was written, so that they are the sums of Y
            kept = tl.where(mask, written.to(ACC), 0.0)
            sums += tl.sum(tl.reshape(kept, (BI, BJ, BN)), axis=1)
            _store_columns(columns, kept, group, strip, strips, j0, stop, NJ, n, N, BI, BJ, BN, ACC)
    if SUMS:
        start = (group * chunks + part).to(tl.int64) * (strips // strips_of_i) + outer
        _store_rows(rows, sums, start, first, NI, n, N, BI)


@triton.jit
def backward_program(
    dxs, dys, xs, ws, terms, partials, rows, columns,
    dy_strides, x_strides, w_strides, term_strides,
    strips, strips_of_i, programs, NP, NI, NJ, K, N,
    GROUPS: tl.constexpr, VARIES: tl.constexpr, MASKED: tl.constexpr, SUMS: tl.constexpr,
    BI: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """``dX = dY @ W^T + terms`` (zero where ``MASKED`` and X <= 0),
    ``dW = X^T dY`` in partial sums, sums of dX or dY.

    ``SUMS``: 0 none, 1 of dX, 2 of dY. W is ``(K, N)``; dX and the terms have K channels.
    """
    BM: tl.constexpr = BI * BJ
    group = tl.program_id(1)
    m, k, n = tl.arange(0, BM), tl.arange(0, BK), tl.arange(0, BN)
    x, dy = _pick(xs, group, 0, 1, GROUPS), _pick(dys, group, 0, 1, GROUPS)
    w, dx = _pick(ws, group, 0, 1, GROUPS), _pick(dxs, group, 0, 1, GROUPS)
    w_offsets = n[:, None] * w_strides[1] + k[None, :] * w_strides[0]
    transposed = _load(w, w_offsets, (n < N)[:, None] & (k < K)[None, :], INTERPRETED, ACC)
    gram = tl.zeros((BK, BN), dtype=ACC)
    for strip in range(tl.program_id(0), strips, programs):
        outer = (strip // strips_of_i).to(tl.int64)
        network, p = outer // NP, outer % NP
        first = (strip % strips_of_i) * BI
        i = (first + m // BJ).to(tl.int64)
        inside = (i < NI)[:, None] & (k < K)[None, :]
        fixed = _terms(
            terms,
            term_strides,
            group,
            network,
            p,
            i,
            i * 0,
            k,
            inside,
            GROUPS,
            VARIES,
            False,
            BM,
            BK,
            ACC,
        )
        sums = tl.zeros((BI, BN if SUMS == 2 else BK), dtype=ACC)
        for j0 in range(0, NJ, BJ):
            j = (j0 + m % BJ).to(tl.int64)
            is_entry = (i < NI) & (j < NJ)
            mask = is_entry[:, None] & (k < K)[None, :]
            x_offsets = (
                network * x_strides[0] + p * x_strides[1] + i * x_strides[2] + j * x_strides[3]
            )
            dy_offsets = (
                network * dy_strides[0] + p * dy_strides[1] + i * dy_strides[2] + j * dy_strides[3]
            )
            tile = _load(x, x_offsets[:, None] + k[None, :], mask, INTERPRETED, ACC)
            slope = _load(
                dy,
                dy_offsets[:, None] + n[None, :],
                is_entry[:, None] & (n < N)[None, :],
                INTERPRETED,
                ACC,
            )
            gram = tl.dot(tl.trans(tile), slope, gram, input_precision=PRECISION, out_dtype=ACC)
            value = tl.dot(slope, transposed, fixed, input_precision=PRECISION, out_dtype=ACC)
            value += _terms(
                terms,
                term_strides,
                group,
                network,
                p,
                i,
                j,
                k,
                mask,
                GROUPS,
                VARIES,
                True,
                BM,
                BK,
                ACC,
            )
            if MASKED:
                value = tl.where(tile.to(ACC) <= 0, 0.0, value)
            written = value.to(dx.dtype.element_ty)
            tl.store(dx + ((outer * NI + i) * NJ + j)[:, None] * K + k[None, :], written, mask=mask)
            if SUMS == 1:
                kept = tl.where(mask, written.to(ACC), 0.0)
                sums += tl.sum(tl.reshape(kept, (BI, BJ, BK)), axis=1)
                _store_columns(
                    columns, kept, group, strip, strips, j0, NJ, NJ, k, K, BI, BJ, BK, ACC
                )
            if SUMS == 2:
                sums += tl.sum(tl.reshape(slope.to(ACC), (BI, BJ, BN)), axis=1)
                _store_columns(
                    columns, slope.to(ACC), group, strip, strips, j0, NJ, NJ, n, N, BI, BJ, BN, ACC
                )
        start = group.to(tl.int64) * (strips // strips_of_i) + outer
        if SUMS == 1:
            _store_rows(rows, sums, start, first, NI, k, K, BI)
        if SUMS == 2:
            _store_rows(rows, sums, start, first, NI, n, N, BI)
    start = (group * programs + tl.program_id(0)).to(tl.int64) * K
    tl.store(
        partials + (start + k)[:, None] * N + n[None, :],
        gram,
        mask=(k < K)[:, None] & (n < N)[None, :],
    )
