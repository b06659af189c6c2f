"""A run: every model of a configuration trained from every seed, then judged, drawn and described in one folder.

configuration.toml          what was asked for
results.json, results.md    what was found: every training, and the table of means
card.md                     what the models are, what they were made from and for, and what they cannot do
pictures/                   curves, and what the task has to show
predictions/                of every model for every test network, as .npz
trainings/MODEL-seed-N/     the model's file, its checkpoint, TensorBoard's files
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from symnet.files import write_arrays, write_file
from symnet.learn.engine import Engine, Outcome, make_fabric
from symnet.learn.permuting import permuter
from symnet.learn.problem import Problem, both
from symnet.learn.threads import one_thread
from symnet.tasks.accuracy import load_accuracy
from symnet.tasks.bundle import save_model
from symnet.tasks.card import write_card
from symnet.tasks.classification import load_classification
from symnet.tasks.configuration import Configuration
from symnet.tasks.editing import load_editing
from symnet.tasks.models import MODELS, build_model, find_model
from symnet.tasks.outcome import Found, Row, table, write_found
from symnet.tasks.pictures import write_pictures
from symnet.tasks.tickets import load_tickets

__all__ = ["LOADERS", "Run"]

LOADERS: dict[str, Callable[[Configuration, Path, Console | None], Callable[[int], Problem]]] = {
    "accuracy": load_accuracy,
    "classification": load_classification,
    "editing": load_editing,
    "tickets": load_tickets,
}


@dataclass
class Run:
    """One configuration in one folder; a killed run goes on in the same folder, with the same command.

    Args:
        configuration: what to do.
        folder: for all that is found.
        corpora: where corpora are kept, for all runs that use them (default: beside the folder).
        console: where to print; nothing is printed without one.
        accelerator: "cpu", "gpu" or "auto", as Fabric calls them.
    """

    configuration: Configuration
    folder: Path
    corpora: Path | None = None
    console: Console | None = None
    accelerator: str = "cpu"

    is_first: bool = True  # whether this process is the one that writes

    def go(self) -> Found:
        """Trains what is not trained yet, and writes everything.

        Raises:
            TrainingError: a training had to stop; says where and what to do.
            SymnetError: a model that there is not, or not for this task.
        """
        training = self.configuration.training
        for name in (*self.configuration.models, *training.learning_rates, *training.steps_of):
            find_model(name)
        started, worked = time.perf_counter(), time.process_time()
        fabric = make_fabric(self.configuration.training.precision, self.accelerator)
        corpora = self.corpora or self.folder.parent / "corpora"
        self.is_first = fabric.is_global_zero
        if not self.is_first:
            self.console = None
        with fabric.rank_zero_first():  # the first process makes the corpus, the others read it
            problem_of = LOADERS[self.configuration.task](self.configuration, corpora, self.console)
        corpus_seconds = time.perf_counter() - started
        with one_thread():
            rows, problem, predictions = self._train_all(problem_of, fabric)
            references = self._references(problem_of)
        found = Found(
            task=self.configuration.task,
            size=self.configuration.size,
            metric=problem.metric,
            rows=tuple(rows),
            references=references,
            networks=(
                len(problem.parts.train),
                len(problem.parts.validation),
                len(problem.parts.test),
            ),
            corpus_seconds=corpus_seconds,
            seconds=time.perf_counter() - started,
            processor_seconds=time.process_time() - worked,
            machine=f"{platform.machine()}, {fabric.world_size} process(es) on {fabric.device.type}, torch {torch.__version__}",
        )
        if fabric.is_global_zero:
            self._write(found, problem, predictions)
        return found

    def _train_all(
        self, problem_of: Callable[[int], Problem], fabric: Fabric
    ) -> tuple[list[Row], Problem, dict[str, Tensor]]:
        """Rows of all trainings, the first seed's problem, and every model's predictions for its test networks."""
        rows, predictions, first = [], dict[str, Tensor](), None
        ordered: dict[str, Tensor] | None = None
        with self._progress() as progress:
            for seed in self.configuration.seeds:
                problem = problem_of(seed)
                first = first or problem
                for name in self.configuration.models:
                    used = problem
                    if MODELS[name].order:
                        ordered = ordered or problem.ordered().weights  # once, for all seeds
                        used = replace(problem, weights=ordered)
                    outcome, found = self._train(name, seed, used, fabric, progress)
                    rows.append(Row.model_validate(asdict(outcome)))
                    if seed == self.configuration.seeds[0]:
                        predictions[name] = found
        assert first is not None
        return rows, first, predictions

    def _train(
        self, name: str, seed: int, problem: Problem, fabric: Fabric, progress: Progress
    ) -> tuple[Outcome, Tensor]:
        recipe = self.configuration.training_of(name)
        bar = progress.add_task(f"{name}, seed {seed}", total=1.0, loss="")
        training = problem.take(problem.parts.train).weights
        engine = Engine(
            problem,
            lambda: build_model(
                name, problem.graph, problem.outputs, self.configuration.network, training
            ),
            recipe,
            self.folder / "trainings" / f"{name}-seed-{seed}",
            name=name,
            seed=seed,
            key=self.configuration.model_dump(mode="json", include={"task", "corpus", "network"}),
            augment=both(
                problem.augment, permuter(problem.graph) if MODELS[name].permute else None
            ),
            fabric=fabric,
            on_progress=lambda share, loss: progress.update(
                bar, completed=share, loss=f"loss {loss:.4f}"
            ),
        )
        outcome = engine.train()
        progress.update(bar, completed=1.0)
        if fabric.is_global_zero:
            save_model(
                engine.folder / "model.pt", engine.best_model, name, problem, self.configuration
            )
            place = self.folder / "predictions" / f"{name}-seed-{seed}.npz"
            arrays = {
                "networks": problem.parts.test.numpy(),
                "predictions": engine.predictions.numpy(),
            }
            write_arrays(place, arrays, compressed=True)
        return outcome, engine.predictions

    def _references(
        self, problem_of: Callable[[int], Problem]
    ) -> dict[str, tuple[dict[str, float], ...]]:
        every = [problem_of(seed).references() for seed in self.configuration.seeds]
        return {name: tuple(one[name] for one in every) for name in every[0]}

    def _write(self, found: Found, problem: Problem, predictions: Mapping[str, Tensor]) -> None:
        text = table(found, {name: model.description for name, model in MODELS.items()})
        write_found(found, self.folder / "results.json")
        write_file(self.folder / "results.md", text)
        write_pictures(found, problem, predictions, self.folder / "pictures")
        write_card(found, self.configuration, problem, text, self.folder / "card.md")

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=self.console is None,
        )
