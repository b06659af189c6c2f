"""Batch norms whose running statistics have gradients: what a symmetry
does to them shows in derivatives, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class StatisticsWithGradients(TorchFunctionMode):
    """Batch norms by their formula: in eval mode torch gives their
    running statistics no gradient.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.batch_norm:
            names = ("x", "mean", "variance", "weight", "bias", "training", "momentum", "eps")
            by_name = dict(zip(names, args, strict=False)) | {
                _BATCH_NORM_KEYWORDS.get(k, k): v for k, v in kwargs.items()
            }
            if by_name["mean"] is not None and not by_name.get("training", False):
                return normalise_by_statistics(
                    by_name["x"],
                    by_name["mean"],
                    by_name["variance"],
                    by_name.get("weight"),
                    by_name.get("bias"),
                    by_name.get("eps", 1e-5),
                )
        return function(*args, **kwargs)


_BATCH_NORM_KEYWORDS = {"input": "x", "running_mean": "mean", "running_var": "variance"}


def normalise_by_statistics(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
) -> Tensor:
    """Batch norm in eval mode as a formula, which is differentiable in its running statistics too.

    Args:
        x: ``(batch, channels, ...)``; the others ``(channels,)``.
    """
    shape = (1, -1, *[1] * (x.dim() - 2))
    result = (x - mean.reshape(shape)) / torch.sqrt(variance.reshape(shape) + epsilon)
    result = result if weight is None else result * weight.reshape(shape)
    return result if bias is None else result + bias.reshape(shape)
