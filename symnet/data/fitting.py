"""Fitting a SIREN to every image of a batch at once: one optimizer, thousands of independent networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from symnet.data.sirens import evaluate, initial_weights, psnr
from symnet.errors import SymnetError

__all__ = ["FitRecipe", "fit_images"]


@dataclass(frozen=True, slots=True)
class FitRecipe:
    """What determines a fit: architecture, start, optimizer, seed. Equal recipes and images give equal networks.

    The defaults give about 42 dB on the 8 x 8 digits and weights from which the digit can be read. For that the weight
    decay matters: 140 steps of it take a network far enough from its random start. Without it the fits gain 20 dB, and
    readers lose accuracy (symnet/tasks/what_mattered.py).

    Raises:
        SymnetError: a number that is out of range.
    """

    widths: tuple[int, ...] = (2, 16, 16, 1)
    omega: float = 5.0
    steps: int = 140
    learning_rate: float = 0.03
    weight_decay: float = 0.5  # AdamW's: each step shrinks weights by learning_rate * weight_decay
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if (
            len(self.widths) < 3
            or min(self.widths) < 1
            or self.widths[0] != 2
            or self.widths[-1] != 1
        ):
            raise SymnetError(
                f"widths={self.widths}: an image's SIREN maps 2 coordinates to 1 grey value; give (2, ..., 1), all positive."
            )
        for name in ("omega", "steps", "learning_rate"):
            if not getattr(self, name) > 0:
                raise SymnetError(f"{name}={getattr(self, name)} of a fit must be positive.")

    def as_dict(self) -> dict[str, object]:
        """Plain values for a file's header."""
        return asdict(self) | {"widths": list(self.widths)}


def fit_images(
    images: Tensor,
    grid: Tensor,
    recipe: FitRecipe,
    *,
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """A SIREN for every image, `{name: (n, *axes)}`, and their reconstruction PSNR in decibels, `(n,)`.

    Args:
        images: `(n, pixels)`, grey values in [-1, 1].
        grid: `(pixels, 2)`, where they are.
        recipe: how to fit.
        seed: of the random starts, on top of the recipe's own.
        on_step: called after each optimizer step, for a progress bar.
    """
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + seed)
    start = initial_weights(recipe.widths, len(images), omega=recipe.omega, generator=generator)
    weights = {name: tensor.requires_grad_() for name, tensor in start.items()}
    optimizer = torch.optim.AdamW(
        weights.values(), lr=1.0, betas=(0.9, 0.95), weight_decay=recipe.weight_decay, fused=True
    )
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * _shape((step + 0.5) / recipe.steps)
        # The sum over networks: every network gets the gradient of its own mean square, whatever the batch.
        loss = (evaluate(weights, grid, recipe.omega) - images).square().mean(-1).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_step is not None:
            on_step()
    fitted = {name: tensor.detach() for name, tensor in weights.items()}
    return fitted, psnr(evaluate(fitted, grid, recipe.omega), images)


def _shape(progress: float, rise: float = 0.1) -> float:
    """Learning rate relative to its peak: half a cosine up over the first tenth, half a cosine down to zero."""
    if progress < rise:
        return 0.5 * (1.0 - math.cos(math.pi * progress / rise))
    return 0.5 * (1.0 + math.cos(math.pi * (progress - rise) / (1.0 - rise)))
