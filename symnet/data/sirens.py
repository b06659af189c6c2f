"""Many small SIRENs at once: their weights as one dict of batched tensors, and the functions that these compute.

A SIREN (Sitzmann et al., *Implicit Neural Representations with Periodic Activation Functions*, NeurIPS 2020) is an MLP
`f(x) = W_L sin(omega (W_{L-1} ... sin(omega (W_1 x + b_1)) ...)) + b_L` from coordinates to grey values. A batch of n of them is a plain
dict keyed like the `state_dict` of :func:`siren`, every tensor with a leading axis of size n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Sine", "evaluate", "initial_weights", "psnr", "siren"]


class Sine(nn.Module):
    """`sin(omega * x)`, elementwise."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * x)

    def extra_repr(self) -> str:
        return f"omega={self.omega}"


def siren(widths: Sequence[int], omega: float) -> nn.Sequential:
    """One SIREN as a module: linear layers at 0, 2, 4, ..., sines between them, as `symnet.catalogue.mlp` names an MLP.

    Example:
        >>> list(siren([2, 16, 1], omega=5.0).state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(fan_in, fan_out), Sine(omega)]
    return nn.Sequential(*layers[:-1])


def initial_weights(
    widths: Sequence[int], count: int, *, omega: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Random starts of `count` SIRENs, every one a draw of its own: `{name: (count, *axes)}`.

    Weights are uniform within `1 / fan_in` in the first layer and `sqrt(6 / fan_in) / omega` in later ones (Sitzmann et al.,
    section 3.2). The first layer's biases, its phases, are uniform within `1 / fan_in`; the others start at zero.
    """
    weights = {}
    for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
        bound = 1.0 / fan_in if layer == 0 else math.sqrt(6.0 / fan_in) / omega
        weights[f"{2 * layer}.weight"] = _uniform((count, fan_out, fan_in), bound, generator)
        weights[f"{2 * layer}.bias"] = _uniform(
            (count, fan_out), bound if layer == 0 else 0.0, generator
        )
    return weights


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (2.0 * torch.rand(shape, generator=generator) - 1.0) * bound


def evaluate(weights: dict[str, Tensor], points: Tensor, omega: float) -> Tensor:
    """The values of n SIRENs with one output at the same points: weights (n, ...), points (point, 2) -> (n, point).

    Written with batched matrix products; it agrees with `torch.func.vmap(functional_call)` of :func:`siren` (tests/data/test_sirens.py), and
    the gradient of a sum over the batch is every network's own gradient.
    """
    layers = len(weights) // 2
    hidden = points.T.expand(weights["0.weight"].shape[0], -1, -1)  # (n, 2, point)
    for layer in range(layers):
        hidden = torch.baddbmm(
            weights[f"{2 * layer}.bias"].unsqueeze(-1), weights[f"{2 * layer}.weight"], hidden
        )
        if layer < layers - 1:
            hidden = torch.sin(omega * hidden)
    return hidden.squeeze(1)


def psnr(values: Tensor, targets: Tensor, *, value_range: float = 2.0) -> Tensor:
    """Peak signal-to-noise ratio in decibels of every image: (n, pixel), (n, pixel) -> (n,)."""
    mean_square = (values - targets).square().mean(-1).clamp_min(1e-12)
    return 10.0 * torch.log10(value_range**2 / mean_square)
