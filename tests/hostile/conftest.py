"""What the hostile tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import symnet as sn
from symnet.learn.problem import Problem
from symnet.tasks.bundle import save_model
from symnet.tasks.configuration import built_in, read
from symnet.tasks.models import build_model


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of `symnet train classification`, saved untrained."""
    configuration = read(built_in("classification", "quick"))
    graph = sn.catalogue.mlp([2, 4, 1])
    scales = {name: torch.ones(2, *shape) for name, shape in graph.shapes.items()}
    model = build_model("equivariant", graph, 10, configuration.network, scales)
    problem = type("Given", (), {"graph": graph, "outputs": 10})()
    assert not isinstance(problem, Problem)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, model, "equivariant", problem, configuration)  # type: ignore[arg-type]
    return path
