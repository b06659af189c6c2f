"""A trained model in one file: its parameters and all that is needed to build it anew. Reading it executes no code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn
from symnet.errors import SymnetError
from symnet.files import parse_json, read_archive, reason, shown, write_file
from symnet.learn.permuting import order_neurons
from symnet.learn.problem import Problem
from symnet.tasks.configuration import Configuration, Sizes
from symnet.tasks.models import MODELS, build_model

__all__ = ["Bundle", "load_model", "save_model"]

FORMAT = 1
FIELDS: dict[str, type | tuple[type, ...]] = {
    "format": int, "name": str, "task": str, "graph": str, "outputs": (int, str), "sizes": dict, "corpus": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundle:
    """A trained model with what it is for."""

    model: nn.Module  # in evaluation mode
    name: str
    task: str
    graph: sn.NeuronGraph
    corpus: dict[str, Any]  # as in the configuration

    def __call__(self, weights: dict[str, Tensor]) -> Any:
        """The model's answer for networks `{name: (count, *axes)}`: `(count, outputs)`, or features."""
        if MODELS[self.name].order:
            weights = order_neurons(self.graph, weights)
        with torch.no_grad():
            return self.model({name: tensor.unsqueeze(-1) for name, tensor in weights.items()})


def save_model(
    path: Path, model: nn.Module, name: str, problem: Problem, configuration: Configuration
) -> None:
    """Writes a model, whole or not at all."""
    described = {
        "format": FORMAT,
        "name": name,
        "task": configuration.task,
        "graph": str(problem.graph),
        "outputs": problem.outputs,
        "sizes": configuration.network.model_dump(mode="json"),
        "corpus": configuration.model_dump(mode="json").get("corpus", {}),
    }
    state = {key: tensor.detach().cpu() for key, tensor in model.state_dict().items()}
    content = {"described": json.dumps(described), "state": state}
    write_file(path, lambda file: torch.save(content, file), folders=True)


def load_model(path: str | Path) -> Bundle:
    """The model in a file that `symnet train` wrote.

    Raises:
        SymnetError: the file is missing, damaged, or no such file.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise SymnetError(
            f"There is no file {shown(path)}. `symnet train TASK -o FOLDER` writes FOLDER/TASK/trainings/*/model.pt."
        )
    described, state = _open(path)
    try:
        graph = sn.parse(described["graph"])
        scales = {
            name: torch.ones(2, *shape) for name, shape in graph.shapes.items()
        }  # the real ones are in the state
        with torch.random.fork_rng(devices=[]):
            model = build_model(
                described["name"],
                graph,
                described["outputs"],
                Sizes.model_validate(described["sizes"]),
                scales,
            )
        model.load_state_dict(state)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise SymnetError(
            f"{path} holds no model of `symnet train`, or a damaged one ({type(error).__name__}: {reason(error)})."
        ) from error
    return Bundle(model.eval(), described["name"], described["task"], graph, described["corpus"])


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description, with all its fields, and finite parameters."""
    content = read_archive(path)
    try:
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}")
        described, state = parse_json(content["described"]), dict(content["state"])
        wrong = [key for key, kind in FIELDS.items() if not isinstance(described[key], kind)]
        broken = [name for name, tensor in state.items() if not bool(tensor.isfinite().all())]
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        raise SymnetError(
            f"{path} holds no model of `symnet train`, or a damaged one ({type(error).__name__}: {reason(error)})."
        ) from error
    if wrong or described["format"] != FORMAT or described["name"] not in MODELS:
        raise SymnetError(
            f"{path}: {', '.join(wrong) or 'format and name'} of its description do not fit; this symnet reads format "
            f"{FORMAT} of the models {', '.join(MODELS)}, and found {described['format']!r:.20} of {described['name']!r:.40}."
        )
    if broken:
        raise SymnetError(
            f"{path}: parameter '{broken[0]}' has entries that are not finite; the file is damaged."
        )
    return described, state
