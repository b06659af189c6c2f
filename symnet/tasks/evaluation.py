"""Trained models put to the test again, and asked about networks of one's own."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from symnet.data import NetworkSet, read_folder
from symnet.errors import SymnetError
from symnet.files import check_outputs, place_outputs, write_file, write_state_file
from symnet.learn.problem import Problem
from symnet.learn.threads import one_thread
from symnet.tasks.bundle import Bundle, load_model
from symnet.tasks.configuration import read
from symnet.tasks.models import MODELS
from symnet.tasks.outcome import read_found
from symnet.tasks.recipe import LOADERS

__all__ = ["Checked", "measure_again", "predict_folder"]

# Between processors, sums are rounded otherwise, and a prediction on the edge falls the other way.
TOLERANCE = 5e-3
GIVES_NETWORKS = ("editing", "tickets")  # the tasks whose answer is a network, not a number


@dataclass(frozen=True, slots=True)
class Checked:
    """One trained model's measures, as reported and measured anew."""

    model: str
    seed: int
    reported: dict[str, float]
    measured: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether all measures are as reported, up to rounding."""
        return self.reported.keys() == self.measured.keys() and all(
            math.isclose(self.measured[name], value, abs_tol=TOLERANCE)
            for name, value in self.reported.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"agrees": self.agrees}

    def __str__(self) -> str:
        pairs = ", ".join(
            f"{name} {value:.4f} ({self.reported.get(name, math.nan):.4f})"
            for name, value in self.measured.items()
        )
        return f"{self.model}, seed {self.seed}: {pairs}{'' if self.agrees else '  DIFFERS'}"


def measure_again(folder: Path, corpora: Path, console: Console | None = None) -> list[Checked]:
    """Every model of a run's folder on its test networks.

    Raises:
        SymnetError: the folder holds no finished run, or a model's file is missing or damaged.
    """
    found = read_found(folder / "results.json")
    configuration = read(folder / "configuration.toml")
    problem_of = LOADERS[configuration.task](configuration, corpora, console)
    checked = []
    with one_thread():
        for row in found.rows:
            bundle = load_model(folder / "trainings" / f"{row.model}-seed-{row.seed}" / "model.pt")
            measured = _measure(bundle, problem_of(row.seed))
            checked.append(Checked(row.model, row.seed, row.test, measured))
    return checked


def _measure(bundle: Bundle, problem: Problem) -> dict[str, float]:
    rows = problem.parts.test
    used = problem
    if MODELS[bundle.name].order:
        used = problem.ordered(rows)
    return problem.report(used.predictions(bundle.model, rows), problem.known(rows))


def predict_folder(
    where: Path, networks: Path, out: Path | None, console: Console | None = None
) -> dict[str, Any]:
    """A model's answers about the checkpoints of a folder, by file name.

    Numbers for tasks 1 and 2 (a predicted accuracy; a class and its probability); for tasks 3 and 4 the files that were written
    to `out`, a state dict each: the changed weights, or the scores.

    Raises:
        SymnetError: no such model, no networks, or files that do not fit the model's graph; names them.
    """
    bundle = load_model(_choose(where))
    own = read_folder(networks, bundle.graph)
    assert isinstance(own, NetworkSet)  # of one graph
    names, weights = [str(path) for path in own.columns["path"]], dict(own.weights)
    places: dict[str, Path] = {}
    if bundle.task in GIVES_NETWORKS:
        if out is None:
            raise SymnetError(
                f"The task {bundle.task!r} gives new tensors for every network: say where to, with -o FOLDER."
            )
        places = place_outputs(names, networks, out)
    elif out is not None:
        check_outputs({"the table": out}, [networks / name for name in names])
    answer = bundle(weights)
    if isinstance(answer, dict):
        return _write_networks(bundle, places, weights, answer)
    answers = {name: _say(bundle.task, row) for name, row in zip(names, answer, strict=True)}
    if out is not None:
        write_file(out, _as_csv(answers))
    return answers


def _choose(where: Path) -> Path:
    """The model's file: the one named, or that of the equivariant model of a run's folder."""
    if where.is_dir():
        for pattern in ("trainings/equivariant-seed-*/model.pt", "trainings/*/model.pt"):
            if found := sorted(where.glob(pattern)):
                return found[0]
    return where


def _say(task: str, answer: Tensor) -> dict[str, float]:
    if task == "accuracy":
        return {"accuracy": round(float(answer.sigmoid()[0]), 4)}
    chances = answer.softmax(-1)
    return {"class": int(chances.argmax()), "probability": round(float(chances.max()), 4)}


def _as_csv(answers: dict[str, dict[str, float]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["network", *next(iter(answers.values()))])
    writer.writerows([name, *answer.values()] for name, answer in answers.items())
    return text.getvalue()


def _write_networks(
    bundle: Bundle, places: dict[str, Path], weights: dict[str, Tensor], answer: dict[str, Tensor]
) -> dict[str, str]:
    change = bundle.task == "editing"
    for k, place in enumerate(places.values()):
        state = {
            key: (weights[key][k] if change else 0) + answer[key][k].squeeze(-1) for key in weights
        }
        place.parent.mkdir(parents=True, exist_ok=True)
        write_state_file(place, state)
    return {name: str(place) for name, place in places.items()}
