"""The members of a fitted reader: one for each fold, trained on the networks of the others, judged on its own.

Every network is judged by the member that has not seen it, so that the score uses all networks; the fitted reader answers with the mean of
its members, which is a little better than the score says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from symnet.learn.candidates import Candidate
from symnet.learn.engine import Engine
from symnet.learn.kinds import KindReader
from symnet.learn.problem import Parts, Weights
from symnet.learn.questions import ClassQuestion, NumberQuestion
from symnet.learn.readings import Head, TakenReadings, WithChannel, calibrate
from symnet.learn.settings import TrainingConfiguration
from symnet.nn import InvariantNetwork

__all__ = ["Folds", "Member", "Members", "train_members", "training_of"]

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True)
class Folds:
    """Numbers of the networks by fold, `(networks,)`; of a network that no member is judged on, -1."""

    numbers: np.ndarray
    count: int

    def rows(self, fold: int) -> tuple[Tensor, Tensor]:
        """The networks that a fold's member learns from, and those that it is judged on."""
        held = self.numbers == fold
        return torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))


@dataclass(frozen=True)
class Member:
    """A trained reader, and the unit and origin of the numbers that it gives."""

    reader: nn.Module
    centre: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True)
class Members:
    """All members of a candidate, and what they say of the networks that they have not seen."""

    members: tuple[Member, ...]
    held_out: Tensor  # (networks, ...); nan where no member was judged
    parameters: int
    seconds: float  # of training steps


def training_of(steps: int, batch: int) -> TrainingConfiguration:
    """The engine's settings: the last step counts, so that no look at the held-out networks chooses anything."""
    return TrainingConfiguration(
        steps=steps, batch=batch, learning_rate=3e-3, weight_decay=0.1, evaluate_every=steps,
        checkpoint_every=max(50, steps // 4),
    )  # fmt: skip


def train_members(
    candidate: Candidate,
    taken: TakenReadings,
    target: Tensor,
    classes: int,
    folds: Folds,
    folder: Path,
    fabric: Fabric,
    *,
    steps: int,
    batch: int,
    seed: int,
    key: Mapping[str, Any],
    on_progress: OnProgress | None,
) -> Members:
    """Trains one member a fold; a folder that has some of them goes on with the rest.

    Args:
        target: `(networks,)`, numbers, or numbers of classes.
        classes: how many; 0 for numbers.
        steps, batch, seed: of each training.
        key: what tells this fit from others.
    """
    members, seconds = [], 0.0
    held_out = torch.full((len(target), classes) if classes else (len(target),), torch.nan)
    for fold in range(folds.count):
        rows, held = folds.rows(fold)
        centre, spread = _scale(target[rows]) if not classes else (0.0, 1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + fold)
            reader = candidate.build(max(classes, 1))
        readings = (
            {}
            if isinstance(reader, InvariantNetwork) and reader.readings is None
            else taken.of(reader)
        )
        calibrate(reader, rows, readings, taken.sets[0])
        model, weights = _trained_part(reader, readings, taken)
        kind = ClassQuestion if classes else NumberQuestion
        values = target if classes else ((target - centre) / spread).float()
        half = max(len(held) // 2, 1)
        parts = Parts(rows, held[:half], held[half:])
        problem = kind(taken.sets[0].graph, weights, {"target": values}, parts)
        engine = Engine(
            problem, lambda model=model: model, training_of(steps, min(batch, len(rows))),  # type: ignore[misc]
            folder / f"{candidate.name}-fold-{fold}", name=candidate.name, seed=1000 * seed + fold, key=key, fabric=fabric,
            on_progress=_share_of(on_progress, candidate.name, fold, folds.count), log=False,
        )  # fmt: skip
        outcome = engine.train()
        best = engine.best_model
        answers = problem.predictions(best, held)
        held_out[held] = answers if classes else answers * spread + centre
        seconds += outcome.seconds
        members.append(Member(_whole(best), centre, spread))
    return Members(tuple(members), held_out, outcome.parameters, seconds)


def _scale(target: Tensor) -> tuple[float, float]:
    spread = float(target.double().std(correction=0))
    return float(target.double().mean()), spread if spread > 0 else 1.0


def _trained_part(
    reader: InvariantNetwork | KindReader, readings: Mapping[str, Tensor], taken: TakenReadings
) -> tuple[nn.Module, Weights]:
    """The module that is trained, and what it reads."""
    if isinstance(reader, KindReader):
        return reader, dict(readings)
    if reader.body is None:
        return Head(reader), dict(readings)
    return WithChannel(reader), dict(taken.sets[0].weights)


def _whole(trained: nn.Module) -> nn.Module:
    """The reader that the trained module is a part of."""
    reader = trained.network if isinstance(trained, Head | WithChannel) else trained
    assert isinstance(reader, nn.Module)
    return reader.eval()


def _share_of(
    on_progress: OnProgress | None, name: str, fold: int, folds: int
) -> Callable[[float, float], None] | None:
    if on_progress is None:
        return None
    return lambda share, loss: on_progress(name, (fold + share) / folds)
