"""A problem: networks in three parts, what is asked of their weights, and how an answer is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError, SymnetError
from symnet.graph import NeuronGraph
from symnet.learn.permuting import order_neurons

__all__ = ["Augment", "Batch", "Parts", "Problem", "TrainingError", "Weights", "both"]

Weights = dict[str, Tensor]  # name -> (network, *axes)
Augment = Callable[[Weights, torch.Generator], Weights]


def both(first: Augment | None, second: Augment | None) -> Augment | None:
    """One after the other, where there are two."""
    if first is None or second is None:
        return first or second
    return lambda weights, generator: second(first(weights, generator), generator)


class TrainingError(SymnetError):
    """A training that had to stop; says where, why, and what the last good checkpoint is."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Numbers of the networks to learn from, to choose by, and to report on; no network is in two of them.

    Raises:
        ShapeError: a part is empty, or two share a network.
    """

    train: Tensor  # (networks,) int64
    validation: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        every = torch.cat([self.train, self.validation, self.test])
        if not all(map(len, (self.train, self.validation, self.test))) or len(every.unique()) < len(
            every
        ):
            raise ShapeError(
                f"Parts of {len(self.train)}, {len(self.validation)} and {len(self.test)} networks: each needs at least "
                "one, and none may be in two parts."
            )


@dataclass(frozen=True, slots=True)
class Batch:
    """Some networks and what is known about them."""

    weights: Weights  # name -> (batch, *axes)
    targets: dict[str, Tensor]  # name -> (batch, ...)

    @property
    def features(self) -> dict[str, Tensor]:
        """The weights with one channel, `{name: (batch, *axes, 1)}`: what models take."""
        return {name: tensor.unsqueeze(-1) for name, tensor in self.weights.items()}

    def __len__(self) -> int:
        return len(next(iter(self.weights.values())))


@dataclass(frozen=True)
class Problem(ABC):
    """What is learnt: the subclasses are the tasks.

    A model is any module from features `{name: (batch, *axes, 1)}` to a tensor `(batch, outputs)` or to features.
    """

    graph: NeuronGraph
    weights: Weights
    targets: dict[str, Tensor]
    parts: Parts

    @property
    @abstractmethod
    def metric(self) -> str:
        """The name of the measure by which the best step is chosen, on the validation networks."""

    @property
    def larger_is_better(self) -> bool:
        """Whether the metric grows with quality."""
        return True

    @property
    def outputs(self) -> int | str:
        """How many numbers a model gives for a network; or one for each of its weights: its "change" or its "score"."""
        return 1

    @property
    def augment(self) -> Augment | None:
        """Other weights with the same targets, which all models train on; None: there are none to be had."""
        return None

    def references(self) -> dict[str, dict[str, float]]:
        """The measures, on the test networks, of what needs no training: by its name."""
        return {}

    def report(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """The measures of a finished model: those of `measure`, and what would take too long while training."""
        return self.measure(predictions, targets)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, a scalar: of two halves of a batch it is the mean of their losses."""

    @abstractmethod
    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model says of every network, `(batch, ...)`."""

    @abstractmethod
    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """Every measure of predictions for some networks, the metric among them."""

    def take(self, rows: Tensor) -> Batch:
        """Some of the networks."""
        return Batch(
            {name: tensor[rows] for name, tensor in self.weights.items()},
            {name: tensor[rows] for name, tensor in self.targets.items()},
        )

    def predictions(
        self, model: nn.Module, rows: Tensor, *, device: Any = "cpu", most: int = 250
    ) -> Tensor:
        """What a model in evaluation mode says of these networks, on the CPU, `(rows, ...)`; its mode is left as it was."""
        before = model.training
        model.eval()
        try:
            with torch.no_grad():
                found = [
                    self.predict(model, _moved(self.take(part), device)).cpu()
                    for part in rows.split(most)
                ]
        finally:
            model.train(before)
        return torch.cat(found).float()

    def judge(self, model: nn.Module, rows: Tensor, *, device: Any = "cpu") -> dict[str, float]:
        """Every measure of a model on these networks."""
        return self.measure(self.predictions(model, rows, device=device), self.known(rows))

    def ordered(self, rows: Tensor | None = None) -> Self:
        """The same problem with the neurons of these networks (default: of all) in an order of their own."""
        rows = torch.arange(len(next(iter(self.weights.values())))) if rows is None else rows
        found = order_neurons(
            self.graph, {name: tensor[rows] for name, tensor in self.weights.items()}
        )
        return replace(
            self,
            weights={
                name: self.weights[name].index_copy(0, rows, tensor)
                for name, tensor in found.items()
            },
        )

    def known(self, rows: Tensor) -> dict[str, Tensor]:
        """The targets of some networks."""
        return {name: tensor[rows] for name, tensor in self.targets.items()}


def _moved(batch: Batch, device: Any) -> Batch:
    return Batch(
        *(
            {name: tensor.to(device) for name, tensor in part.items()}
            for part in (batch.weights, batch.targets)
        )
    )
