"""A problem that trains in seconds, for the laws of the engine; run as a file, it trains in a folder until it is done or killed."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import symnet as sn
from symnet.learn.engine import Engine, make_fabric
from symnet.learn.problem import Batch, Parts, Problem
from symnet.learn.settings import TrainingConfiguration

RECIPE = TrainingConfiguration(
    steps=60,
    batch=8,
    evaluate_every=10,
    checkpoint_every=5,
    learning_rate=0.01,
    precision="64-true",
)


@dataclass(frozen=True)
class Norms(Problem):
    """The mean square of a network's first weights."""

    @property
    def metric(self) -> str:
        return "error"

    @property
    def larger_is_better(self) -> bool:
        return False

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return (model(batch.features).squeeze(-1) - batch.targets["norm"]).square().mean()

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch.features).squeeze(-1)

    def measure(self, predictions: Tensor, targets: dict[str, Tensor]) -> dict[str, float]:
        return {"error": float((predictions - targets["norm"]).square().mean())}


def make_problem(count: int = 61) -> Norms:
    graph = sn.catalogue.mlp([2, 5, 1])
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: torch.randn(count, *shape, generator=generator, dtype=torch.float64)
        for name, shape in graph.shapes.items()
    }
    rows = torch.arange(count)
    parts = Parts(rows[: count - 20], rows[count - 20 : count - 10], rows[count - 10 :])
    return Norms(graph, weights, {"norm": weights["0.weight"].square().mean((1, 2))}, parts)


class Reader(nn.Module):
    """Dropout and a batch's order matter to it: what is not restored shows."""

    def __init__(self, graph: sn.NeuronGraph, dropout: float = 0.2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            sn.nn.Linear(graph, 1, 4),
            sn.nn.Pointwise(nn.GELU()),
            sn.nn.Pool(graph),
            nn.Dropout(dropout),
        )
        self.head = nn.Linear(4 * sn.nn.Pool(graph).dimension, 1)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        found: Tensor = self.head(self.body(x))
        return found


def make_engine(
    folder: Path, *, recipe: TrainingConfiguration = RECIPE, dropout: float = 0.2, **options
) -> Engine:
    problem = options.pop("problem", None) or make_problem()
    options.setdefault("fabric", make_fabric(recipe.precision))
    return Engine(problem, lambda: Reader(problem.graph, dropout), recipe, folder, **options)


def write_outcome(folder: Path, pause: float, dropout: float) -> None:
    """Trains, a pause after every step, and writes what was found and the parameters."""
    torch.set_num_threads(1)
    problem = make_problem()
    recipe = RECIPE if dropout else RECIPE.model_copy(update={"steps": 12})

    def jitter(weights: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {
            n: t + 0.01 * torch.randn(t.shape, generator=generator, dtype=t.dtype)
            for n, t in weights.items()
        }

    engine = make_engine(
        folder,
        recipe=recipe,
        dropout=dropout,
        problem=problem,
        augment=jitter,
        on_progress=lambda share, loss: time.sleep(pause),
    )
    outcome = engine.train()
    if engine.fabric.is_global_zero:
        found = {k: v for k, v in asdict(outcome).items() if k != "seconds"}
        found["parameters"] = {k: v.tolist() for k, v in engine.best_model.state_dict().items()}
        (folder / "outcome.json").write_text(json.dumps(found))


if __name__ == "__main__":
    write_outcome(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
