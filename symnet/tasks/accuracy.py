"""Task 1: how well a classifier does on new data, from its weights alone.

Source: Unterthiner et al., *Predicting Neural Network Accuracy from Weights*, 2020; Zhou et al., NeurIPS 2023, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from symnet.learn.metrics import regression_measures
from symnet.learn.problem import Batch, Problem
from symnet.tasks.configuration import AccuracyConfiguration, Configuration
from symnet.tasks.zoo import load_zoo

__all__ = ["Accuracy", "load_accuracy"]


@dataclass(frozen=True)
class Accuracy(Problem):
    """Targets: `accuracy`, the share of test images that a network gets right."""

    @property
    def metric(self) -> str:
        return "tau"

    def references(self) -> dict[str, dict[str, float]]:
        truth = self.targets["accuracy"]
        mean = truth[self.parts.train].mean().expand(len(self.parts.test))
        return {"mean of the training networks": self.measure(mean, self.known(self.parts.test))}

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        # As in the paper: the output is the logit of a share, held against the share by the binary cross-entropy.
        logits = model(batch.features).squeeze(-1)
        return binary_cross_entropy_with_logits(logits, batch.targets["accuracy"].to(logits))

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Predicted accuracies, `(batch,)`."""
        return cast(Tensor, model(batch.features)).float().squeeze(-1).sigmoid()

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """`tau`, `r2`, `error`: see `symnet.learn.metrics.regression_measures`."""
        return regression_measures(predictions, targets["accuracy"])


def load_accuracy(
    configuration: Configuration, folder: Path, console: Console | None = None
) -> Callable[[int], Accuracy]:
    """The problem of every seed, on one corpus; arguments as for the other tasks."""
    assert isinstance(configuration, AccuracyConfiguration)
    zoo = load_zoo(configuration.corpus, folder, console)

    def problem(seed: int) -> Accuracy:
        return Accuracy(zoo.graph, zoo.weights, {"accuracy": zoo.accuracy}, zoo.parts(seed))

    return problem
