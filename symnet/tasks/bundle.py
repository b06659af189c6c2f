"""A trained model in one file: its parameters and all that is needed to build it anew. Reading it executes no code."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn
from symnet.errors import SymnetError
from symnet.tasks.configuration import Configuration, Sizes
from symnet.tasks.models import MODELS, build_model
from symnet.tasks.permuting import order_neurons
from symnet.tasks.problem import Problem
from symnet.tasks.training import write_atomically

__all__ = ["Bundle", "load_model", "save_model"]

FORMAT = 1


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


def save_model(path: Path, model: nn.Module, name: str, problem: Problem, configuration: Configuration) -> None:
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
    write_atomically(path, lambda scratch: torch.save({"described": json.dumps(described), "state": state}, scratch))


def load_model(path: str | Path) -> Bundle:
    """The model in a file that `symnet train` wrote.

    Raises:
        SymnetError: the file is missing, damaged, or no such file.
    """
    path = Path(path)
    try:
        content = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
        described, state = json.loads(content["described"]), content["state"]
        graph = sn.parse(described["graph"])
        scales = {name: torch.ones(2, *shape) for name, shape in graph.shapes.items()}  # the real ones are in the state
        with torch.random.fork_rng(devices=[]):
            model = build_model(
                described["name"], graph, described["outputs"], Sizes.model_validate(described["sizes"]), scales
            )
        model.load_state_dict(state)
    except FileNotFoundError as error:
        raise SymnetError(
            f"There is no file {path}. `symnet train TASK -o FOLDER` writes FOLDER/TASK/trainings/*/model.pt."
        ) from error
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, UnpicklingError) as error:
        raise SymnetError(
            f"{path} holds no model of `symnet train`, or a damaged one ({type(error).__name__})."
        ) from error
    return Bundle(model.eval(), described["name"], described["task"], graph, described["corpus"])
