"""Whether two sets of weights make one architecture compute the same function."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from symnet.errors import VerificationError
from symnet.verify import Check, Report


def same_function(
    model: nn.Module,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    inputs: Sequence[Any],
    action: str,
    tolerance: float,
    seed: int = 0,
) -> Report:
    """A report that compares the outputs of a copy of the model, in float64 and eval mode, with either weights.

    Args:
        model: any module of the architecture; it is not touched.
        before: state dict; entries that are missing are the model's own.
        after: state dict of the weights that should make no difference.
        action: what was done to the weights, for the report.
    """
    double = [_to_double(value) for value in inputs]
    old, new = (_outputs(model, state, double) for state in (before, after))
    if not old:
        raise VerificationError("The model's output holds no tensors; return at least one.")
    checks = []
    for number, (x, y) in enumerate(zip(old, new, strict=True)):
        error = float((x - y).abs().max() / x.abs().max().clamp_min(1e-300)) if x.numel() else 0.0
        checks.append(Check(f"output {number}", None, action, error if error == error else float("inf"), 0))
    return Report(f"{type(model).__name__}, {action}", seed, tolerance, tuple(checks))


def _to_double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _outputs(model: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
    twin = copy.deepcopy(model).double().eval()
    twin.load_state_dict({**twin.state_dict(), **state})
    with torch.no_grad():
        return [leaf.double() for leaf in tree_leaves(twin(*inputs)) if isinstance(leaf, Tensor)]
