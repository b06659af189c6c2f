"""The reading half of a plan in torch: statistics once, put side by side as the rows of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from symnet.nn.compiled_plan import CompiledPlan, CompiledStatistic
from symnet.plan.block_arrays import read_block

# For every table its rows as matrices (batch * positions, features), each with the first row of the
# table's matrix: one matrix if the rows were put side by side, one each if they are too large for
# that.
Gathered = list[list[tuple[int, Tensor]]]

# Statistics by their number in a plan, taken before its inputs are read.
TakenStatistics = dict[int, Tensor]


@dataclass(eq=False)
class StatisticsAhead:
    """The statistics that the next layer starts from, taken of each
    tensor when it has just been written.
    """

    plan: CompiledPlan  # of the layer after
    taken: TakenStatistics = field(default_factory=dict)

    def read(self, tensor: int, values: Tensor) -> None:
        """Take the statistics of one of the outputs, which has just been written."""
        read_ahead(self.plan, tensor, values, self.taken)


def gather(
    plan: CompiledPlan,
    tensors: Sequence[Tensor],
    taken: Mapping[int, Tensor] | None = None,
    *,
    only_direct: bool = False,
) -> Gathered:
    """The rows of every table, or of the direct ones only."""
    statistics = take_statistics(plan, tensors, taken, only_direct=only_direct)
    return put_side_by_side(plan, statistics, tensors[0], only_direct=only_direct)


def take_statistics(
    plan: CompiledPlan,
    tensors: Sequence[Tensor],
    taken: Mapping[int, Tensor] | None = None,
    *,
    only_direct: bool = False,
) -> list[Tensor]:
    """The plan's statistics, ``(batch, *axes, features)``, or those that direct tables need."""
    statistics: list[Tensor] = []
    for number, step in enumerate(plan.statistics):
        if only_direct and number not in plan.direct_statistics:
            statistics.append(tensors[0])  # not looked at
        elif taken is not None and number in taken:
            statistics.append(taken[number])
        elif step.source is None:
            statistics.append(mean_over(_view(step, tensors[step.tensor]), step.averaged))
        else:
            statistics.append(mean_over(statistics[step.source], step.averaged))
    return statistics


def put_side_by_side(
    plan: CompiledPlan, statistics: Sequence[Tensor], like: Tensor, *, only_direct: bool = False
) -> Gathered:
    """The rows of tables from the statistics, with the batch and the dtype of ``like``."""
    return [
        gather_rows(plan, statistics, number, like, only_direct=only_direct)
        for number in range(len(plan.tables))
    ]


def gather_rows(
    plan: CompiledPlan,
    statistics: Sequence[Tensor],
    number: int,
    like: Tensor,
    *,
    only_direct: bool = False,
) -> list[tuple[int, Tensor]]:
    """The rows of one table, with the batch and the dtype of ``like``."""
    table = plan.tables[number]
    rows: list[tuple[int, Tensor]] = []
    for row in table.rows if table.is_direct or not only_direct else ():
        array = statistics[row.statistic]
        rows.append(
            (row.start, array if row.permutation is None else array.permute(row.permutation))
        )
    if not table.rows:  # an output that nothing is adjacent to: its bias is left
        return [(0, like.new_zeros(like.shape[0] * table.positions, 0))]
    if table.is_direct or len(rows) < 2:
        return [(start, flat(array.to(like.dtype))) for start, array in rows]
    joined = torch.cat([array for _, array in rows], dim=-1)
    return [(0, flat(joined.to(like.dtype)))]


def entries_of(plan: CompiledPlan, number: int, tensors: Sequence[Tensor]) -> Tensor:
    """The entries that a statistic is the mean of:
    ``(batch, *kept axes, averaged entries, features)``.
    """
    step = plan.statistics[number]
    first = step
    while first.source is not None:
        first = plan.statistics[first.source]
    view = _view(first, tensors[step.tensor])
    kept = _kept_axes(plan, number)
    averaged = [axis for axis in range(1, view.dim() - 1) if axis not in kept]
    moved = view.permute(0, *kept, *averaged, view.dim() - 1)
    count = math.prod(view.shape[axis] for axis in averaged)
    return moved.reshape(*moved.shape[: 1 + len(kept)], count, moved.shape[-1])


def _kept_axes(plan: CompiledPlan, number: int) -> list[int]:
    """Axes of a statistic's first view, before anything was averaged, that it keeps."""
    step = plan.statistics[number]
    kept = [] if step.source is None else _kept_axes(plan, step.source)
    if step.source is None:
        parts = len(plan.plan.statistics[number].pattern.parts)
        kept = list(range(1, parts + 1))
    return [axis for position, axis in enumerate(kept, 1) if position not in step.averaged]


def read_ahead(plan: CompiledPlan, tensor: int, values: Tensor, taken: TakenStatistics) -> None:
    """Add to ``taken`` the statistics that ``plan`` takes over a whole input:
    called when the input has just been written.

    A tensor is then read while it is in cache, not once more when its layer runs.
    """
    views: dict[int, Tensor] = {}
    for number in plan.full_reads[tensor]:
        if number in taken:
            continue
        view = plan.view_of(number)
        if view not in views:
            views[view] = _view(plan.statistics[view], values)
        taken[number] = mean_over(views[view], plan.statistics[number].averaged)


def _view(step: CompiledStatistic, values: Tensor) -> Tensor:
    return diagonal(read_block(values, step.block, step.dims, torch.permute), step.diagonals)


def mean_over(array: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Means of half-precision features are kept in float32 until they meet
    their matrix: means are taken of means.
    """
    if not axes:
        return array
    half = array.dtype in (torch.bfloat16, torch.float16)
    return array.mean(dim=axes, dtype=torch.float32 if half else array.dtype)


def flat(array: Tensor) -> Tensor:
    """``(..., channels)`` as a matrix."""
    # Not Size.numel(), which would fix the batch of an exported program; flatten has no rule under
    # vmap.
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def diagonal(array: Tensor, steps: Sequence[tuple[int, int]]) -> Tensor:
    """A view of the diagonals: pairs of axes merged one after another."""
    for first, second in steps:
        array = array.diagonal(dim1=first, dim2=second).movedim(-1, first)
    return array
