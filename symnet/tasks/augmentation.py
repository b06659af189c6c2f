"""Augmentations of fitted images that act on the weights alone: moving the image, renumbering the neurons."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["move_images", "permute_neurons"]

Weights = dict[str, Tensor]  # name -> (batch, *axes)


def move_images(
    weights: Weights,
    generator: torch.Generator,
    *,
    motion: float = 1.0,
    turn: float = 0.15,
    shear: float = 0.1,
    stretch: float = 0.08,
    shift: float = 0.12,
) -> Weights:
    """The networks of the same images, each a little turned, sheared, stretched and shifted at random.

    This is exact, and no network is fitted again: if `f` has first layer `W x + b`, then `x -> f(A x + t)` has `W A` and
    `W t + b`. The four last numbers are standard deviations, to be multiplied by `motion`: radians, shear,
    relative size, and coordinates in [-1, 1].
    """
    first = weights["0.weight"]
    count = first.shape[0]

    def normal(*shape: int) -> Tensor:
        return motion * torch.randn(count, *shape, generator=generator, dtype=first.dtype)

    angle = turn * normal()
    cosine, sine = angle.cos(), angle.sin()
    rotation = torch.stack([cosine, -sine, sine, cosine], -1).view(count, 2, 2)
    slant = torch.eye(2, dtype=first.dtype).repeat(count, 1, 1)
    slant[:, 0, 1] = shear * normal()
    sizes = 1 + stretch * normal(1, 2)
    offset = shift * normal(2, 1)
    moved = {
        "0.weight": first @ (rotation @ slant * sizes),
        "0.bias": weights["0.bias"] + (first @ offset).squeeze(-1),
    }
    return {**weights, **moved}


def permute_neurons(weights: Weights, generator: torch.Generator) -> Weights:
    """The same functions with the neurons of every hidden layer renumbered, each network by a draw of its own.

    Faster than `graph.act` on one element a network, since a new batch is permuted at every training step; a test
    compares the two.
    """
    layers = len(weights) // 2
    moved = dict(weights)
    for layer in range(layers - 1):
        rows, columns = f"{2 * layer}.weight", f"{2 * layer + 2}.weight"
        order = torch.rand(weights[f"{2 * layer}.bias"].shape, generator=generator).argsort(
            1
        )  # (batch, width)
        moved[rows] = moved[rows].gather(1, order.unsqueeze(2).expand_as(moved[rows]))
        moved[f"{2 * layer}.bias"] = moved[f"{2 * layer}.bias"].gather(1, order)
        moved[columns] = moved[columns].gather(2, order.unsqueeze(1).expand_as(moved[columns]))
    return moved
