"""Training a reader of weights: so many steps, a curve, and finished trainings kept on disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from symnet.files import read_json, read_state_file, write_file

__all__ = [
    "Batch",
    "Trained",
    "TrainingRecipe",
    "load_trained",
    "save_trained",
    "train",
]

Weights = dict[str, Tensor]  # name -> (batch, *axes)
Batch = tuple[Weights, Tensor]  # weights and classes


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What every reader is trained with."""

    batch: int = 128
    motion: float = 1.0  # how far training images are moved, relative to the defaults of `move_images`; 0 leaves them
    learning_rate: float = 0.008
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    warm_up: float = 0.08  # share of the training in which the learning rate rises
    clip: float = 1.0  # largest norm of the gradient


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training: what it took, and accuracies on held-out images (shares, 0 to 1)."""

    reader: str
    seed: int
    accuracy: float  # of single networks of test images
    vote: float  # of test images, by the sum of the log-probabilities of all their networks
    train_accuracy: float  # of single networks of training images (a sample)
    parameters: int
    seconds: float
    steps: int
    curve: tuple[
        tuple[float, float, float], ...
    ]  # (seconds, mean training loss, test accuracy); chooses nothing


def train(
    model: nn.Module,
    draw: Callable[[int], Batch],
    evaluate: Callable[[nn.Module], float],
    recipe: TrainingRecipe,
    steps: int,
    *,
    on_progress: Callable[[float, float], None] | None = None,
    points: int = 8,
) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """Seconds, and the curve of a training that leaves `model` trained.

    Args:
        model: from features `{name: (batch, *axes, 1)}` to logits.
        draw: a random batch of training networks of a given size.
        evaluate: a model's accuracy on test networks, `points` times; its time is not counted and it decides nothing.
        steps: of the optimizer; the schedule of the learning rate spans them.
        on_progress: called with the share that is over and the smoothed loss.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    curve: list[tuple[float, float, float]] = []
    seconds, loss_sum, loss_count, shown = 0.0, 0.0, 0, math.nan
    for step in range(steps):
        progress = step / steps
        if progress >= (len(curve) + 1) / points:
            curve.append((seconds, loss_sum / loss_count, evaluate(model)))
            loss_sum, loss_count = 0.0, 0
        started = time.perf_counter()
        loss = _step(model, optimizer, draw(recipe.batch), recipe, progress)
        seconds += time.perf_counter() - started
        loss_sum, loss_count = loss_sum + loss, loss_count + 1
        shown = loss if math.isnan(shown) else 0.98 * shown + 0.02 * loss
        if on_progress is not None:
            on_progress(progress, shown)
    curve.append((seconds, loss_sum / max(loss_count, 1), evaluate(model)))
    return seconds, tuple(curve)


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    recipe: TrainingRecipe,
    progress: float,
) -> float:
    """The loss of one optimizer step; linear warm-up, then half a cosine down to zero."""
    rising = min(1.0, (progress + 1e-3) / recipe.warm_up)
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * rising * 0.5 * (1.0 + math.cos(math.pi * progress))
    model.train()
    weights, classes = batch
    logits = model({name: tensor.unsqueeze(-1) for name, tensor in weights.items()})
    loss = cross_entropy(logits, classes, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimizer.step()
    return float(loss.detach())


def save_trained(folder: Path, trained: Trained, model: nn.Module, key: dict[str, object]) -> None:
    """Keep a finished training: its parameters, then its record, which says that both are there."""
    stem = f"{trained.reader.replace(' ', '-')}-seed-{trained.seed}"
    write_file(
        folder / f"{stem}.pt", lambda file: torch.save(model.state_dict(), file), folders=True
    )
    write_file(
        folder / f"{stem}.json", json.dumps({"key": key, "trained": asdict(trained)}, indent=1)
    )


def load_trained(
    folder: Path, reader: str, seed: int, model: nn.Module, key: dict[str, object]
) -> Trained | str:
    """A finished training, its parameters put into `model`; or why there is none (empty if there never was one)."""
    stem = f"{reader.replace(' ', '-')}-seed-{seed}"
    if not (folder / f"{stem}.json").exists():
        return ""
    try:
        record = read_json(folder / f"{stem}.json")
        if record["key"] != key:
            return f"{stem} was trained otherwise"
        model.load_state_dict(read_state_file(folder / f"{stem}.pt"))
        fields = record["trained"]
        return Trained(**{**fields, "curve": tuple(tuple(point) for point in fields["curve"])})
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        return f"{stem} cannot be read ({type(error).__name__})"
