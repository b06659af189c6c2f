"""Task 4: sparse networks that learn as well as dense ones, proposed from the random start alone.

A model sees the weights of a network that was not trained yet, and scores each: the largest are kept. It learns from the masks that
iterative magnitude pruning found for other starts (the "winning tickets" of Frankle and Carbin 2019); what its masks
are worth is the accuracy of the masked networks after training.
Source: Zhou et al., *Permutation Equivariant Neural Functionals*, NeurIPS 2023, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import symnet as sn
from symnet.data import digits
from symnet.files import read_arrays, write_arrays
from symnet.learn.problem import Batch, Parts, Problem, Weights
from symnet.tasks.configuration import Configuration, TicketCorpus, TicketsConfiguration
from symnet.tasks.fitted import corpus_folder
from symnet.tasks.tickets_training import (
    accuracies,
    kept_largest,
    prune_iteratively,
    start_weights,
    train_masked,
)

__all__ = ["Images", "Tickets", "load_tickets"]

CHUNK = 40  # networks that are trained together


@dataclass(frozen=True, slots=True)
class Images:
    """What the networks learn: digits in two parts."""

    train: Tensor  # (images, 64)
    train_classes: Tensor  # (images,)
    test: Tensor
    test_classes: Tensor
    steps: int  # of training a masked network


@dataclass(frozen=True)
class Tickets(Problem):
    """Targets: `mask` and `start` of all matrices, `(entries,)`, one matrix after another."""

    images: Images = field(kw_only=True)

    @property
    def metric(self) -> str:
        return "overlap"

    @property
    def outputs(self) -> str:
        return "score"

    @property
    def matrices(self) -> dict[str, tuple[int, ...]]:
        """The tensors that are made sparse, with their shapes."""
        return {name: shape for name, shape in self.graph.shapes.items() if len(shape) == 2}

    def references(self) -> dict[str, dict[str, float]]:
        known = self.known(self.parts.test)
        chance = torch.rand(known["start"].shape, generator=torch.Generator().manual_seed(1))
        pruned = {"accuracy": self._accuracy(known, known["mask"]), "overlap": 1.0}
        scores = {"magnitude at the start": known["start"].abs(), "random": chance}
        return {
            "dense": {"accuracy": self._accuracy(known, None)},
            "iterative pruning": pruned,
            **{name: self.report(score, known) for name, score in scores.items()},
        }

    def keep(self, scores: Tensor) -> Tensor:
        """The masks (1: kept) of the largest scores of each matrix, `(network, entries)` to the same.

        Each matrix keeps as large a share as in the training masks. Over both matrices together, small differences between
        their scores would decide how the kept weights are shared out: paths need weights in both.
        """
        masks = self.targets["mask"][self.parts.train].split(self._sizes, dim=1)
        parts = zip(scores.split(self._sizes, dim=1), masks, strict=True)
        return torch.cat(
            [kept_largest({"": part}, 1 - float(mask.mean()))[""] for part, mask in parts], 1
        )

    @property
    def _sizes(self) -> list[int]:
        return [rows * columns for rows, columns in self.matrices.values()]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        mask = batch.targets["mask"]
        return binary_cross_entropy_with_logits(self._scores(model, batch), mask)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of all entries of the matrices, `(batch, entries)`."""
        return self._scores(model, batch)

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """`overlap`: the share of what iterative pruning keeps that is among the largest scores."""
        mask = targets["mask"]
        kept = self.keep(predictions)
        return {"overlap": float((kept * mask).sum() / mask.sum())}

    def report(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        """`accuracy` of the masked networks after training, on digits that they were not trained on; and the overlap."""
        return {
            "accuracy": self._accuracy(targets, self.keep(predictions)),
            **self.measure(predictions, targets),
        }

    def _accuracy(self, targets: dict[str, Tensor], kept: Tensor | None) -> float:
        start = self._unflatten(targets["start"])
        start |= {
            name: torch.zeros(len(targets["start"]), *shape)
            for name, shape in self.graph.shapes.items()
            if name not in start
        }
        start = {name: start[name] for name in self.graph.shapes}
        masks = {} if kept is None else self._unflatten(kept)
        trained = train_masked(
            start,
            masks,
            self.images.train,
            self.images.train_classes,
            steps=self.images.steps,
            generator=torch.Generator().manual_seed(5),
        )
        return float(accuracies(trained, self.images.test, self.images.test_classes).mean())

    def _scores(self, model: nn.Module, batch: Batch) -> Tensor:
        found = model(batch.features)
        return torch.cat([found[name].flatten(1) for name in self.matrices], 1)

    def _unflatten(self, flat: Tensor) -> Weights:
        parts = flat.split(self._sizes, dim=1)
        return {
            name: part.unflatten(1, shape)
            for (name, shape), part in zip(self.matrices.items(), parts, strict=True)
        }


def load_tickets(
    configuration: Configuration, folder: Path, console: Console | None = None
) -> Callable[[int], Tickets]:
    """The problem of every seed, on one corpus; arguments as for the other tasks."""
    assert isinstance(configuration, TicketsConfiguration)
    corpus = configuration.corpus
    data = digits()
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(corpus.seed))
    train, test = order[: 2 * len(data) // 3], order[2 * len(data) // 3 :]
    images = Images(
        data.images[train], data.classes[train], data.images[test], data.classes[test], corpus.steps
    )
    graph = sn.catalogue.mlp([images.train.shape[1], corpus.hidden, 10])
    weights, masks = _starts_and_masks(corpus, images, folder, console)
    matrices = [name for name, tensor in weights.items() if tensor.dim() == 3]
    targets = {
        "mask": torch.cat([masks[name].flatten(1) for name in matrices], 1),
        "start": torch.cat([weights[name].flatten(1) for name in matrices], 1),
    }

    def problem(seed: int) -> Tickets:
        return Tickets(graph, weights, targets, _parts(corpus.networks, seed), images=images)

    return problem


def _parts(count: int, seed: int) -> Parts:
    """Three fifths to learn from, a fifth each to choose by and to report on."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1000 + seed))
    fifth = max(1, count // 5)
    return Parts(order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])


def _starts_and_masks(
    corpus: TicketCorpus, images: Images, folder: Path, console: Console | None
) -> tuple[Weights, Weights]:
    """Random starts and the masks that pruning finds for them, made chunk by chunk and kept."""
    where = corpus_folder(folder, "tickets", corpus.model_dump(mode="json", exclude={"networks"}))
    starts, masks = [], []
    for number in range(-(-corpus.networks // CHUNK)):
        generator = torch.Generator().manual_seed(corpus.seed * 1_000_003 + number)
        start = start_weights((images.train.shape[1], corpus.hidden, 10), CHUNK, generator)
        path = where / f"{number:04d}.npz"
        if not path.exists():
            if console is not None:
                console.print(
                    f"pruning networks {number * CHUNK} to {(number + 1) * CHUNK} of {corpus.networks}",
                    highlight=False,
                )
            found = prune_iteratively(
                start,
                images.train,
                images.train_classes,
                sparsity=corpus.sparsity,
                rounds=corpus.rounds,
                steps=corpus.steps,
                generator=generator,
            )
            write_arrays(
                path, {name: mask.bool().numpy() for name, mask in found.items()}, compressed=True
            )
        starts.append(start)
        masks.append(
            {name: torch.from_numpy(mask).float() for name, mask in read_arrays(path).items()}
        )
    return tuple(  # type: ignore[return-value]
        {name: torch.cat([one[name] for one in many])[: corpus.networks] for name in many[0]}
        for many in (starts, masks)
    )
