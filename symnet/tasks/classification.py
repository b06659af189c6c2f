"""Task 2: the class of an image, from the weights of one network that was fitted to it.

Source: Zhou et al., *Permutation Equivariant Neural Functionals*, NeurIPS 2023, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from symnet.learn.problem import Augment, Batch, Problem, Weights
from symnet.tasks.augmentation import move_images
from symnet.tasks.configuration import ClassificationConfiguration, Configuration
from symnet.tasks.fitted import fitted_images

__all__ = ["Classification", "load_classification"]

CLASSES = 10


@dataclass(frozen=True)
class Classification(Problem):
    """Targets: `class`, and `image`, by which the networks of one image vote."""

    motion: float = 0.0

    @property
    def metric(self) -> str:
        return "accuracy"

    @property
    def outputs(self) -> int:
        return CLASSES

    @property
    def augment(self) -> Augment | None:
        """The same image a little moved: exact, by the first layer's weights alone."""
        if not self.motion:
            return None

        def move(weights: Weights, generator: torch.Generator) -> Weights:
            return move_images(weights, generator, motion=self.motion)

        return move

    def references(self) -> dict[str, dict[str, float]]:
        classes = self.targets["class"]
        largest = classes[self.parts.train].bincount(minlength=CLASSES).argmax()
        share = float((classes[self.parts.test] == largest).float().mean())
        return {"most frequent class": {"accuracy": share, "vote": share}}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return cross_entropy(model(batch.features), batch.targets["class"], label_smoothing=0.1)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Log-probabilities, `(batch, classes)`."""
        return cast(Tensor, model(batch.features)).float().log_softmax(-1)

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """`accuracy` of single networks, and of the `vote` of each image's networks (their log-probabilities' sum)."""
        classes = targets["class"]
        images, place = targets["image"].unique(return_inverse=True)
        total = predictions.new_zeros(len(images), CLASSES).index_add_(0, place, predictions)
        truth = torch.empty_like(images).scatter_(0, place, classes)
        return {
            "accuracy": float((predictions.argmax(-1) == classes).float().mean()),
            "vote": float((total.argmax(-1) == truth).float().mean()),
        }


def load_classification(
    configuration: Configuration, folder: Path, console: Console | None = None
) -> Callable[[int], Classification]:
    """The problem of every seed, on one corpus.

    Args:
        configuration: of the task.
        folder: where corpora are kept.
        console: for progress bars.
    """
    assert isinstance(configuration, ClassificationConfiguration)
    fitted = fitted_images(configuration.corpus, folder, console)
    targets = {"class": fitted.classes, "image": fitted.image}
    motion = configuration.corpus.motion
    return lambda seed: Classification(
        fitted.graph, fitted.weights, targets, fitted.parts(seed), motion
    )
