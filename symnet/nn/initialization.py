"""Initial coefficients that keep the variance of features through depth, from the orbits' sizes.

Diagrams overlap: the total mean of a tensor is part of its row means, and these are part of the
tensor. So draws that are independent diagram by diagram would let means grow with every layer,
faster the wider the network. We draw independently for *centred* diagrams instead: a statistic
minus its own averages (the components of an analysis of variance), which are uncorrelated. Every
component lambda of an output then has a variance of its own,

    v_out(lambda) = sum over rows of the same axes  a * c_in * v_in(row),

and coefficients of variance ``a = v*_out(lambda) / (c_in * sum_rows v*_in)`` make ``v*`` a fixed
point of the layer. The shares ``v*`` of a tensor are proportional to the square roots of those that
independent weights have (1 for its own entries, 1/n for a mean over n), and sum to 1. Finally these
coefficients are written in the diagrams that layers use (``diagram_bases``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from symnet.nn.diagram_bases import from_centred, from_disjoint
from symnet.nn.table_matrices import stored_shape
from symnet.plan import LayerPlan
from symnet.sharing.dims import BlockDims
from symnet.sharing.patterns import Pattern, terms


def draw_matrices(
    plan: LayerPlan, in_channels: int, out_channels: int, gain: float = 1.0
) -> list[Tensor]:
    """Parameters for every table: ``(height, c_in, width, c_out)``, or
    ``(parameters, c_in, c_out)`` where entries are tied.

    Drawn with torch's default generator, in float32 on the CPU, whatever the default device is.
    """
    with torch.device("cpu"):
        drawn = _draw_centred(plan, in_channels, out_channels, gain)
        return from_disjoint(plan, from_centred(plan, drawn))


def _draw_centred(
    plan: LayerPlan, in_channels: int, out_channels: int, gain: float
) -> list[Tensor]:
    """Coefficients of the centred diagrams."""
    columns, rows = _column_shares(plan), _row_shares(plan)
    drawn = []
    for number, table in enumerate(plan.tables):
        valid = (
            np.ones((table.height, table.width))
            if table.index is None
            else (table.index >= 0).astype(float)
        )
        weight = rows[number] @ valid  # of every column, the input variance that reaches it
        deviation = gain * np.sqrt(columns[number] / (in_channels * np.maximum(weight, 1e-30)))
        noise = torch.randn(*stored_shape(table, in_channels, out_channels))
        if table.index is None:
            drawn.append(noise * torch.from_numpy(deviation).float()[:, None])
            continue
        per_parameter = np.zeros(table.parameters)
        _, places = np.nonzero(table.index >= 0)
        np.maximum.at(per_parameter, table.index[table.index >= 0], deviation[places])
        drawn.append(noise * torch.from_numpy(per_parameter).float()[:, None, None])
    return drawn


# ---- shares of variance --------------------------------------------------------------------------
def _share(pattern: Pattern, kept: tuple[int, ...]) -> float:
    """Variance of the centred component that keeps these parts, for
    independent entries of variance 1.

    A part that a kept child hangs on is not centred: the child's mean already is the parent's
    component. Nor is a part that no map drops (signs, scales, rotations) or that has one neuron
    (which is its own mean).
    """
    inner = {parent for number in kept for _, parent in pattern.parts[number].parents}
    share = 1.0
    for number, part in enumerate(pattern.parts):
        if number not in kept:
            share /= part.size
        elif number not in inner and part.may_be_dropped and part.size > 1:
            share *= 1 - 1 / part.size
    return share


def _coverage(pattern: Pattern) -> float:
    """Fraction of a block's entries that lie on the diagonal of a pattern."""
    return math.prod(part.size ** (1 - len(part.dims)) for part in pattern.parts)


Shares = dict[tuple[Pattern, frozenset[int]], float]


def _normalized(keys: Iterable[tuple[Pattern, tuple[int, ...]]]) -> Shares:
    """Shares of the variance of a block, 1 in the mean over its entries."""
    roots = {(pattern, frozenset(kept)): math.sqrt(_share(pattern, kept)) for pattern, kept in keys}
    total = sum(root * _coverage(pattern) for (pattern, _), root in roots.items())
    return {key: root / total for key, root in roots.items()}


def _column_shares(plan: LayerPlan) -> list[np.ndarray]:
    """For every table and column, the variance that this term shall have in its output."""
    column_shares = [np.zeros(table.width) for table in plan.tables]
    for slots in plan.slots.values():
        shares = _normalized((slot.pattern, slot.order) for _, slot in slots)
        for table, slot in slots:
            share = shares[slot.pattern, frozenset(slot.order)]
            column_shares[table][slot.start : slot.start + slot.dims.folded_size] = share
    return column_shares


def _row_shares(plan: LayerPlan) -> list[np.ndarray]:
    """For every table and row, the variance of the centred statistic,
    of a tensor made by such a layer.
    """
    return [
        np.concatenate(
            [
                np.zeros(0),
                *(
                    np.full(
                        statistic.folded_size,
                        _statistic_shares(statistic.dims)[
                            statistic.pattern, frozenset(statistic.kept)
                        ],
                    )
                    for statistic in (plan.statistics[row.statistic] for row in table.rows)
                ),
            ]
        )
        for table in plan.tables
    ]


@lru_cache(maxsize=1024)
def _statistic_shares(dims: BlockDims) -> Shares:
    """Variances of a block's centred statistics."""
    return _normalized((term.pattern, term.kept) for term in terms(dims))
