"""Plans run in torch: statistics once, one product per table, every output written once.

Two routes to the same values. ``run`` is made of differentiable operations and is what torch's
transforms see (vmap, func.grad, compile, autocast). ``PlanFunction`` runs the same steps in place,
saves little more than the inputs, and has a backward of its own: the adjoint plan, which is a plan
again (``symnet.plan.adjoint``), so it can be differentiated any number of times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.gathering import (
    Gathered,
    StatisticsAhead,
    TakenStatistics,
    gather,
    read_ahead,
)
from symnet.nn.kernels.backend import route
from symnet.nn.kernels.plan_kernels import Kernels
from symnet.nn.scattering import run, scatter


def apply_plan(
    plan: CompiledPlan,
    tensors: Sequence[Tensor],
    matrices: Sequence[Tensor],
    bias: Tensor | None,
    *,
    relu: bool = False,
    taken: Mapping[int, Tensor] | None = None,
    ahead: StatisticsAhead | None = None,
) -> list[Tensor]:
    """``run``, by the fastest route that the present torch transforms allow.

    Args:
        taken: statistics of the inputs that the layer before has taken.
        ahead: filled for the layer after.
    """
    if is_recorded(tensors[0].device):
        return run(plan, tensors, matrices, bias, relu=relu)
    options = RunOptions(relu, route(tensors[0].device) == "triton", taken, ahead)
    return list(PlanFunction.apply(plan, options, bias, *tensors, *matrices))


def is_recorded(device: torch.device) -> bool:
    """Whether a torch transform looks into the operations: then they
    are run one by one, by ``run``.
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
    ):
        return True
    dual = torch.autograd.forward_ad._current_level >= 0  # forward derivatives are torch's own
    return dual or (device.type != "meta" and torch.is_autocast_enabled(device.type))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a plan runs, as ``apply_plan`` was asked to: what is the same for
    all tensors, and has no derivative.
    """

    relu: bool
    kernels: bool
    taken: Mapping[int, Tensor] | None
    ahead: StatisticsAhead | None


# the place of the bias among the arguments of ``PlanFunction``; inputs and matrices follow it
_BIAS = 2


class PlanFunction(torch.autograd.Function):
    """A plan as one operation, with the ReLU after it if there is one.

    Saves inputs, matrices and the rows of small tables; with a ReLU also the outputs, which the
    next layer saves anyway.
    """

    @staticmethod
    def forward(
        ctx: Any,
        plan: CompiledPlan,
        options: RunOptions,
        bias: Tensor | None,
        *arguments: Tensor,
    ) -> tuple[Tensor, ...]:
        count = len(plan.plan.inputs)
        tensors, matrices = arguments[:count], arguments[count:]
        gathered = gather(plan, tensors, options.taken)
        outputs = scatter(
            plan,
            gathered,
            matrices,
            bias,
            tensors[0].shape[0],
            in_place=True,
            relu=options.relu,
            kernels=Kernels() if options.kernels else None,
            ahead=options.ahead,
        )
        # Views may not be changed in place when there are several outputs
        # (Pointwise(ReLU(inplace=True))): these are none.
        outputs = [output.data for output in outputs]
        kept = [
            None if table.is_direct else rows[0][1]
            for table, rows in zip(plan.tables, gathered, strict=True)
        ]
        ctx.plan, ctx.count, ctx.has_bias = plan, count, bias is not None
        ctx.relu, ctx.kernels = options.relu, options.kernels
        ctx.save_for_backward(*tensors, *matrices, *kept, *(outputs if options.relu else ()))
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        plan, count = ctx.plan, ctx.count
        saved = ctx.saved_tensors
        ends = [count, count + len(plan.tables), count + 2 * len(plan.tables)]
        tensors, matrices, kept = (
            saved[: ends[0]],
            saved[ends[0] : ends[1]],
            saved[ends[1] : ends[2]],
        )
        taken: TakenStatistics = {}
        if ctx.relu:
            gradients = _masked(plan, gradients, saved[ends[2] :], taken)
        first = _BIAS + 1
        needs_tensors = any(ctx.needs_input_grad[first : first + count])
        needs_matrices = any(ctx.needs_input_grad[first + count :])
        # A backward that is itself differentiated, or runs for many gradients at once
        # (is_grads_batched).
        differentiable = torch.is_grad_enabled() or any(map(_is_batched, gradients))
        columns = gather(plan.adjoint, gradients, taken)
        rows: Gathered | None = None
        if needs_matrices:
            rows = gather(plan, tensors) if differentiable else _rows_again(plan, tensors, kept)
        kernels = Kernels(rows) if ctx.kernels and not differentiable else None
        by_tensor: Sequence[Tensor | None] = [None] * count
        if needs_tensors:
            transposed = [
                _transpose(plan, number, matrix) for number, matrix in enumerate(matrices)
            ]
            batch, in_place = tensors[0].shape[0], not differentiable
            by_tensor = scatter(
                plan.adjoint, columns, transposed, None, batch, in_place=in_place, kernels=kernels
            )
        by_matrix: list[Tensor | None] = [None] * len(matrices)
        if rows is not None:
            for number, matrix in enumerate(matrices):
                product = kernels.by_matrix.get(number) if kernels else None
                by_matrix[number] = (
                    _gram(plan, number, rows[number], columns[number], matrix)
                    if product is None
                    else product
                )
        by_bias = (
            _bias_gradient(plan, columns) if ctx.has_bias and ctx.needs_input_grad[_BIAS] else None
        )
        return None, None, by_bias, *by_tensor, *by_matrix


def _is_batched(tensor: Tensor) -> bool:
    """Whether vmap runs over this tensor: then nothing may be added to others in place."""
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def _masked(
    plan: CompiledPlan,
    gradients: Sequence[Tensor],
    outputs: Sequence[Tensor],
    taken: TakenStatistics,
) -> tuple[Tensor, ...]:
    """Gradients, zero where the ReLU was; what the adjoint takes of them is taken at once."""
    masked = []
    for number, (gradient, output) in enumerate(zip(gradients, outputs, strict=True)):
        masked.append(torch.ops.aten.threshold_backward(gradient, output, 0))
        read_ahead(plan.adjoint, number, masked[-1], taken)
    return tuple(masked)


def _rows_again(
    plan: CompiledPlan, tensors: Sequence[Tensor], kept: Sequence[Tensor | None]
) -> Gathered:
    """The rows of all tables: those saved, and the large ones, which are views of the inputs."""
    if all(table is not None for table in kept):
        return [[(0, table)] for table in kept if table is not None]
    fresh = gather(plan, tensors, only_direct=True)
    return [
        [(0, saved)] if saved is not None else fresh[number] for number, saved in enumerate(kept)
    ]


def _scale(
    plan: CompiledPlan, table: int, like: Tensor, channels: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Kept on the device after the first call: CUDA graphs cannot hold a copy from the host."""
    key = table, like.dtype, like.device, channels
    if (scales := plan.scales_on_device.get(key)) is not None:
        return scales
    averaged, broadcast = (
        torch.as_tensor(sizes, dtype=like.dtype, device=like.device).repeat_interleave(count)
        for sizes, count in zip(plan.scales[table], channels, strict=True)
    )
    # layers share the plan: a fake tensor of one would reach the others
    if type(averaged) is Tensor:
        plan.scales_on_device[key] = averaged, broadcast
    return averaged, broadcast


def _channels(plan: CompiledPlan, table: int, matrix: Tensor) -> tuple[int, int]:
    return matrix.shape[0] // plan.tables[table].height, matrix.shape[1] // plan.tables[table].width


def _transpose(plan: CompiledPlan, table: int, matrix: Tensor) -> Tensor:
    """The adjoint's matrix: ``M^T[slot, row] * N_slot / N_row``."""
    averaged, broadcast = _scale(plan, table, matrix, _channels(plan, table, matrix))
    return (matrix * (broadcast / averaged[:, None])).t()


def _gram(
    plan: CompiledPlan,
    table: int,
    rows: list[tuple[int, Tensor]],
    columns: list[tuple[int, Tensor]],
    matrix: Tensor,
) -> Tensor:
    """Gradient of a table's matrix: rows times gradients, summed over batch and positions."""
    blocks = [torch.cat([row.t() @ column for _, column in columns], dim=1) for _, row in rows]
    product = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
    _, broadcast = _scale(plan, table, matrix, _channels(plan, table, matrix))
    return product * broadcast


def _bias_gradient(plan: CompiledPlan, columns: Gathered) -> Tensor:
    parts = []
    for number, table in enumerate(plan.tables):
        if not table.sizes:
            ((_, column),) = columns[number]
            _, broadcast = _scale(plan, number, column, (1, column.shape[1] // table.width))
            parts.append(column.sum(0) * broadcast)
    return torch.cat(parts)
