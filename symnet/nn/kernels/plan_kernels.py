"""The output step of a plan by kernels: what of it they cover, and their operands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from symnet.nn.compiled_plan import CompiledBlock, CompiledPlan, CompiledSlot
from symnet.nn.gathering import Gathered, StatisticsAhead
from symnet.nn.kernels.launch import Fused, fused_backward, fused_blocks, is_narrow
from symnet.nn.kernels.operands import MOST_AXES, Activation, KernelBlock


def products(
    plan: CompiledPlan, slot: CompiledSlot, rows: list[tuple[int, Tensor]], matrix: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """The products whose sum a direct slot is: rows, and their part of the table's matrix."""
    table = plan.tables[slot.table]
    channels_in, channels_out = matrix.shape[0] // table.height, matrix.shape[1] // table.width
    columns = matrix.narrow(1, slot.start * channels_out, slot.folded_size * channels_out)
    for start, row in rows:
        alone = row.shape[1] == matrix.shape[0]  # the usual case: no part to cut out
        yield row, columns if alone else columns.narrow(0, start * channels_in, row.shape[1])


class RowProduct(NamedTuple):
    """One product of a block. ``inputs``: what the forward step multiplied,
    where its matrix' derivative is wanted too.
    """

    table: int
    rows: Tensor  # (batch, *the block's axes, in)
    matrix: Tensor  # (in, out)
    inputs: Tensor | None  # (batch, *the block's axes, out)


class Kernels:
    """Runs a plan's output step; in a backward pass, with the forward step's rows, it
    differentiates by matrices as well.

    by_matrix: the derivatives that were found on the way, by number of table.
    """

    def __init__(self, rows: Gathered | None = None) -> None:
        self.rows = rows
        self.by_matrix: dict[int, Tensor] = {}

    def run(
        self,
        plan: CompiledPlan,
        blocks: Sequence[CompiledBlock],
        values: Sequence[Sequence[Tensor]],
        gathered: Gathered,
        matrices: Sequence[Tensor],
        relu: bool,
        ahead: StatisticsAhead | None = None,
    ) -> dict[int, Tensor]:
        """Finished values, by the block's number, of blocks with products, at
        most three axes and nothing on diagonals.

        A block with several products (recurrent weights and their transpose) is written once for
        each.

        Args:
            ahead: given the means over one axis that the layer after takes, as the kernels emit
                them.
        """
        covered = {
            number: self._products(plan, block, gathered, matrices)
            for number, block in enumerate(blocks)
            if block.direct
            and len(block.sizes) <= MOST_AXES
            and not any(slot.diagonals for slot in block.small)
        }
        results: dict[int, Tensor] = {}
        for turn in range(max(map(len, covered.values()), default=0)):
            now = {number: own[turn] for number, own in covered.items() if turn < len(own)}
            steps = {
                number: KernelBlock(
                    own.rows, own.matrix, tuple(values[number]) if turn == 0 else (results[number],)
                )
                for number, own in now.items()
            }
            both = [n for n, own in now.items() if own.inputs is not None and is_narrow(steps[n])]
            last = [n for n in now if n not in both and turn == len(covered[n]) - 1]
            rest = [n for n in now if n not in both and n not in last]
            emitted = _emitted(plan, last, ahead.plan) if ahead else {}
            activation: Activation = "relu" if relu else "none"
            results.update(_write({n: steps[n] for n in last if n not in emitted}, activation))
            results.update(_write({n: steps[n] for n in rest}, "none"))
            if ahead and emitted:
                results.update(
                    _write_and_emit({n: steps[n] for n in emitted}, activation, emitted, ahead)
                )
            inputs = [own.inputs for n in both if (own := now[n]).inputs is not None]
            for n, gradient in zip(
                both, fused_backward([steps[n] for n in both], inputs), strict=True
            ):
                results[n] = gradient.rows
                self.by_matrix[now[n].table] = gradient.matrix.to(steps[n].matrix.dtype)
        return results

    def _products(
        self,
        plan: CompiledPlan,
        block: CompiledBlock,
        gathered: Gathered,
        matrices: Sequence[Tensor],
    ) -> list[RowProduct]:
        """A block's products. A table that is one product in both directions has
        its matrix' derivative taken with it.
        """
        terms = []
        for slot in block.direct:
            forward = self.rows[slot.table] if self.rows is not None else []
            single = len(forward) == len(gathered[slot.table]) == 1
            inputs = _on_axes(plan, slot, forward[0][1]) if single else None
            for row, part in products(plan, slot, gathered[slot.table], matrices[slot.table]):
                terms.append(RowProduct(slot.table, _on_axes(plan, slot, row), part, inputs))
        return terms


def _write(blocks: Mapping[int, KernelBlock], activation: Activation) -> dict[int, Tensor]:
    results = fused_blocks(list(blocks.values()), activation=activation)
    return {number: result.output for number, result in zip(blocks, results, strict=True)}


def _emitted(
    plan: CompiledPlan, blocks: Sequence[int], after: CompiledPlan
) -> dict[int, list[int]]:
    """Of blocks that are whole tensors, the means over one of the two
    last axes that the plan after takes.
    """
    tensors, number = {}, 0
    for tensor, output in enumerate(plan.outputs):
        if len(output.blocks) == 1:
            tensors[number] = tensor
        number += len(output.blocks)
    emitted = {}
    for block in blocks:
        axes = len(plan.outputs[tensors[block]].blocks[0].sizes) if block in tensors else 0
        if axes < 2:
            continue
        means = [
            number
            for number in after.full_reads[tensors[block]]
            if after.statistics[number].averaged in ((axes,), (axes - 1,))
            and not after.statistics[after.view_of(number)].diagonals
        ]
        if means:
            emitted[block] = means
    return emitted


def _write_and_emit(
    blocks: Mapping[int, KernelBlock],
    activation: Activation,
    emitted: Mapping[int, Sequence[int]],
    ahead: StatisticsAhead,
) -> dict[int, Tensor]:
    """Finished values, the means for the layer after kept."""
    results = dict(
        zip(
            blocks,
            fused_blocks(list(blocks.values()), activation=activation, sums=True),
            strict=True,
        )
    )
    for block, means in emitted.items():
        for number in means:
            ahead.taken[number] = _mean_of(
                results[block], ahead.plan.statistics[number].averaged[0]
            )
    return {number: result.output for number, result in results.items()}


def _mean_of(result: Fused, axis: int) -> Tensor:
    sums = result.row_sums if axis == result.output.dim() - 2 else result.column_sums
    assert sums is not None
    return sums / result.output.shape[axis]


def _on_axes(plan: CompiledPlan, slot: CompiledSlot, rows: Tensor) -> Tensor:
    """A view of a table's rows ``(batch * positions, channels)`` as
    ``(batch, *the block's axes, channels)``.
    """
    table = plan.tables[slot.table]
    array = rows.view(rows.shape[0] // table.positions, *table.sizes, rows.shape[1])
    return array if slot.permutation is None else array.permute(slot.permutation)
