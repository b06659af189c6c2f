"""What the estimators ask of networks, as problems of the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from symnet.learn.metrics import classification_measures, regression_measures
from symnet.learn.problem import Batch, Problem, Weights

__all__ = ["ClassQuestion", "EditQuestion", "NumberQuestion", "Question", "Show"]

Show = Callable[[Weights], Tensor]


@dataclass(frozen=True)
class Question(Problem):
    """A question whose models read `weights` as they are: batches of readings, or of features with channels."""

    @property
    def metric(self) -> str:
        return "loss"

    @property
    def larger_is_better(self) -> bool:
        return False

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        return {"loss": float((predictions - targets["target"]).square().mean())}


@dataclass(frozen=True)
class NumberQuestion(Question):
    """A number for each network; the target is standardised."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (model(batch.weights).squeeze(-1) - batch.targets["target"]).square().mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        answer: Tensor = model(batch.weights).squeeze(-1)
        return answer

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        return {
            **super().measure(predictions, targets),
            **regression_measures(predictions, targets["target"]),
        }


@dataclass(frozen=True)
class ClassQuestion(Question):
    """A class for each network, by its number."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return cross_entropy(model(batch.weights), batch.targets["target"], label_smoothing=0.05)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        answer: Tensor = model(batch.weights).softmax(-1)
        return answer

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        measures = classification_measures(predictions, targets["target"])
        return {"loss": -measures["certainty"], **measures}


@dataclass(frozen=True)
class EditQuestion(Question):
    """Other weights for each network, judged by what these show.

    Args:
        show: from weights `{name: (networks, *axes)}` to what is compared with the targets, `(networks, ...)`.
    """

    show: Show

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (self.show(model(batch.weights)) - batch.targets["target"]).square().mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return self.show(model(batch.weights))
