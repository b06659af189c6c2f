"""Task 3: changing the weights of a network so that the image it shows is changed: dilated, or with more contrast.

The loss is in image space, through the forward function of the changed network.
Source: Zhou et al., *Permutation Equivariant Neural Functionals*, NeurIPS 2023, section 3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from scipy.ndimage import grey_dilation
from torch import Tensor, nn
from torch.func import functional_call, vmap

from symnet.learn.problem import Batch, Problem, Weights
from symnet.tasks.configuration import Configuration, EditingConfiguration
from symnet.tasks.fitted import fitted_images

__all__ = ["Editing", "contrasted", "dilated", "load_editing", "shown_by"]

Show = Callable[[Weights], Tensor]  # {name: (networks, *axes)} -> images (networks, pixels)


@dataclass(frozen=True)
class Editing(Problem):
    """Targets: `edited`, the image that the changed network shall show, `(pixels,)`."""

    show: Show = field(kw_only=True)

    @property
    def metric(self) -> str:
        return "mse"

    @property
    def larger_is_better(self) -> bool:
        return False

    @property
    def outputs(self) -> str:
        return "change"

    def references(self) -> dict[str, dict[str, float]]:
        test = self.take(self.parts.test)
        return {"no change": self.measure(self.show(test.weights), test.targets)}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (self._edited(model, batch) - batch.targets["edited"]).square().mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """The images that the changed networks show, `(batch, pixels)`."""
        return self._edited(model, batch)

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """`mse`: mean square of the difference in grey values, which go from -1 to 1."""
        return {"mse": float((predictions - targets["edited"]).square().mean())}

    def _edited(self, model: nn.Module, batch: Batch) -> Tensor:
        change = model(batch.features)
        return self.show(
            {name: tensor + change[name].squeeze(-1) for name, tensor in batch.weights.items()}
        )


def shown_by(network: nn.Module, grid: Tensor) -> Show:
    """The images that networks of any architecture show on a grid, through `torch.func`: differentiable in their weights.

    Example:
        >>> show = shown_by(nn.Linear(2, 1), torch.zeros(4, 2))
        >>> show({"weight": torch.ones(3, 1, 2), "bias": torch.arange(3.0)[:, None]})[:, 0].tolist()
        [0.0, 1.0, 2.0]
    """

    def one(weights: Mapping[str, Tensor]) -> Tensor:
        values: Tensor = functional_call(network, dict(weights), (grid,))
        return values.squeeze(-1)

    return vmap(one)


def dilated(images: Tensor, side: int) -> Tensor:
    """Every pixel the brightest of its 3 x 3 neighbourhood: `(image, side * side)` to the same."""
    stacked = images.view(-1, side, side).numpy()
    return torch.from_numpy(grey_dilation(stacked, size=(1, 3, 3))).reshape(images.shape)


def contrasted(images: Tensor, strength: float = 2.0) -> Tensor:
    """Grey values pushed away from each image's mean, and cut off at -1 and 1."""
    mean = images.mean(-1, keepdim=True)
    return (mean + strength * (images - mean)).clamp(-1.0, 1.0)


def load_editing(
    configuration: Configuration, folder: Path, console: Console | None = None
) -> Callable[[int], Editing]:
    """The problem of every seed, on one corpus; arguments as for the other tasks."""
    assert isinstance(configuration, EditingConfiguration)
    fitted = fitted_images(configuration.corpus, folder, console)
    images = fitted.images()
    side = round(images.shape[1] ** 0.5)
    targets = {
        "edited": dilated(images, side)
        if configuration.corpus.edit == "dilate"
        else contrasted(images)
    }
    # The batched form of shown_by(siren(...), grid), twice as fast.
    return lambda seed: Editing(
        fitted.graph, fitted.weights, targets, fitted.parts(seed), show=fitted.show
    )
