"""What stands for operations in a linear program (see ``symnet.nn.linearization``): to first
order, with nothing known of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import TraceError


def same(x: Tensor) -> Tensor:
    return x


def as_real_as(constant: Tensor, x: Tensor) -> Tensor:
    return (
        constant.to(x.dtype)
        if isinstance(constant, Tensor) and constant.is_floating_point()
        else constant
    )


def on_channels(perturbation: Tensor, dims: int) -> Tensor:
    return perturbation.reshape(-1, *(1,) * dims)


def means(x: Tensor, channels_last: bool, size: int) -> Tensor:
    rows = (
        x.reshape(-1, size)
        if channels_last
        else x.reshape(-1, size, x[0, 0].numel() if x.dim() > 2 else 1)
    )
    return rows.mean(0) if channels_last else rows.mean((0, 2))


def equal_weights(scores: Tensor, dim: int) -> Tensor:
    """Weights of scores that are all alike; those that a mask forbids stay forbidden."""
    forbidden = scores.detach().isneginf() | (scores.detach() < -1e30)
    return torch.zeros_like(scores).masked_fill(forbidden, -torch.inf).softmax(dim)


def layer_norm(
    x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    centred = x - x.mean(tuple(range(-len(shape), 0)), keepdim=True)
    return centred if weight is None else centred * weight


def rms_norm(x: Tensor, shape: list[int], weight: Tensor | None = None, *rest: Any) -> Tensor:
    return x if weight is None else x * weight


def group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    n: int,
    c: int,
    hw: int,
    groups: int,
    eps: float,
) -> Tensor:
    rows = x.reshape(n, groups, -1)
    centred = (rows - rows.mean(2, keepdim=True)).reshape(x.shape)
    return centred if weight is None else centred * along_channels(weight, x)


NORMS: dict[str, Callable[..., Any]] = {
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
}


def along_channels(weight: Tensor, x: Tensor) -> Tensor:
    return weight.reshape(1, -1, *(1,) * (x.dim() - 2))


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor,
    eps: float,
) -> Tensor:
    # A variance is at least 0; features of other channels, which stand in its place, may not be.
    scale = (variance.abs() + eps).rsqrt()
    return x * along_channels(scale if weight is None else scale * weight, x)


def centred_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Any, variance: Any, eps: float
) -> Tensor:
    centred = x - x.mean((0, *range(2, x.dim())), keepdim=True)
    return centred if weight is None else centred * along_channels(weight, x)


def mean_pool(
    name: str,
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil: bool = False,
) -> Tensor:
    pool = {
        "1": nn.functional.avg_pool1d,
        "2": nn.functional.avg_pool2d,
        "3": nn.functional.avg_pool3d,
    }[name[8]]
    if any(step != 1 for step in ([dilation] if isinstance(dilation, int) else dilation)):
        raise TraceError("Dilated maximum pooling has no mean pooling to stand for it.")
    return pool(x, kernel, stride or kernel, padding, ceil, False)


def adaptive_mean_pool(name: str, x: Tensor, size: Any) -> Tensor:
    functional = nn.functional
    pools = {
        "1": functional.adaptive_avg_pool1d,
        "2": functional.adaptive_avg_pool2d,
        "3": functional.adaptive_avg_pool3d,
    }
    return pools[name[17]](x, size)


def mean_over(x: Tensor, dims: Any, keepdim: bool, name: str) -> Tensor:
    return x.mean(dims, keepdim=keepdim)
