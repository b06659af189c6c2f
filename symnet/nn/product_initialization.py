"""Initial matrices of products: outputs of one variance, from the moments of products."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from symnet.nn.table_matrices import stored_shape
from symnet.plan.product_plan import ProductPlan
from symnet.plan.steps import Statistic


def draw_product_matrices(
    plan: ProductPlan, left_channels: int, right_channels: int, out_channels: int, channels: str
) -> list[Tensor]:
    """Parameters for every table, so that outputs have second moment 1
    for independent normal inputs.

    An entry of a statistic is a mean of N products of independent entries: its second moment is 1 /
    N, or about 1 where the two factors are the same entry (a square has a mean). Diagrams get
    shares proportional to the square roots of these, as those of ``Linear`` do.
    """
    pairs = left_channels if channels == "same" else left_channels * right_channels
    moments = [
        _second_moments(plan, number, (left_channels, right_channels), channels)
        for number in range(len(plan.contractions))
    ]
    rows = [np.concatenate([moments[row.statistic] for row in table.rows]) for table in plan.tables]
    totals: dict[tuple[str, int], np.ndarray] = {}
    for (tensor, block), slots in plan.layer.slots.items():
        for number, slot in slots:
            covered = math.prod(part.size ** (1 - len(part.dims)) for part in slot.pattern.parts)
            weight = np.sqrt(rows[number]).reshape(-1, pairs).sum(1) @ _valid(
                plan, number, slot.start, slot.dims.folded_size
            )
            totals[tensor, block] = totals.get((tensor, block), 0.0) + covered * weight
    drawn = []
    with torch.device("cpu"):
        for number, table in enumerate(plan.tables):
            total = np.concatenate([totals[slot.tensor, slot.block] for slot in table.slots])
            # share of a row: sqrt(moment) / total; its coefficient's variance: that over the moment
            by_row = (1 / np.sqrt(rows[number])).reshape(table.height, pairs)
            variance = by_row[:, :, None] / np.maximum(total, 1e-30)[None, None, :]
            deviation = torch.from_numpy(np.sqrt(variance)).float()
            noise = torch.randn(*stored_shape(table, pairs, out_channels))
            if table.index is None:
                drawn.append(noise * deviation[..., None])
                continue
            places, columns = np.nonzero(table.index >= 0)
            by_parameter = np.zeros((table.parameters, pairs))
            np.maximum.at(
                by_parameter, table.index[places, columns], deviation.numpy()[places, :, columns]
            )
            drawn.append(noise * torch.from_numpy(by_parameter).float()[:, :, None])
    return drawn


def _valid(plan: ProductPlan, table: int, start: int, size: int) -> np.ndarray:
    """Which entries of a table's columns have a parameter, ``(height, size)``."""
    index = plan.tables[table].index
    return (
        np.ones((plan.tables[table].height, size))
        if index is None
        else (index[:, start : start + size] >= 0) * 1.0
    )


def _second_moments(
    plan: ProductPlan, number: int, counts: tuple[int, int], channels: str
) -> np.ndarray:
    """Second moment of every feature of a statistic,
    ``(left folded * right folded * products of channels,)``.
    """
    statistic, step = plan.layer.statistics[number], plan.contractions[number]
    left, right = plan.left.statistics[step.left], plan.right.statistics[step.right]
    folded = left.folded_size, right.folded_size
    products = (counts[0],) if channels == "same" else counts
    spread = 1 / statistic_size(statistic)
    moments = np.full((*folded, *products), spread)
    if _is_square(plan, statistic, left, right):
        same = np.eye(folded[0])
        both = (
            same[..., None] * np.ones(counts[0])
            if channels == "same"
            else same[..., None, None] * np.eye(counts[0])
        )
        moments = moments + both * (1 + spread)
    return moments.reshape(-1)


def statistic_size(statistic: Statistic) -> int:
    """How many products an entry of a statistic is the mean of."""
    parts = statistic.pattern.parts
    return math.prod(part.size for k, part in enumerate(parts) if k not in statistic.kept)


def _is_square(plan: ProductPlan, statistic: Statistic, left: Statistic, right: Statistic) -> bool:
    """Whether both factors are the same entries of one tensor, where
    the two arguments are the same.
    """
    if plan.left is not plan.right or (left.tensor, left.block) != (right.tensor, right.block):
        return False
    split = len(left.dims.dims)
    return all(
        {d - split for d in part.dims if d >= split} == {d for d in part.dims if d < split}
        for part in statistic.pattern.parts
    )
