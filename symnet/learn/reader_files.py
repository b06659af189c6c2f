"""A fitted reader in one file: safetensors, with graph, configuration and scales in its header. Reading it executes no code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import SymnetError
from symnet.files import write_tensor_file
from symnet.learn.comparison import Comparison
from symnet.learn.kinds import KindReader
from symnet.nn.bundle import describe, rebuild

__all__ = ["FORMAT", "PLAIN", "describe_member", "rebuild_member", "save_reader"]

FORMAT = 1
PLAIN = (
    "reader",
    "folds",
    "steps",
    "channels",
    "layers",
    "seed",
    "verbose",
)  # parameters that a file holds


def save_reader(estimator: Any, path: str | Path) -> None:
    """Writes a fitted estimator; `estimator.save(path)` calls it.

    Raises:
        SymnetError: it has not been fitted, or the file cannot be written.
    """
    if not hasattr(estimator, "members_"):
        raise SymnetError(
            f"This {type(estimator).__name__} has not learned anything: call fit(networks, target) first."
        )
    described, tensors = [], dict[str, Tensor]()
    for number, member in enumerate(estimator.members_):
        values, state = describe_member(member.reader)
        described.append(values)
        tensors |= {f"{number}.{name}": tensor for name, tensor in state.items()}
        scale = [member.centre, member.spread]
        tensors[f"{number}:scale"] = torch.tensor(scale, dtype=torch.float64)
    comparison: Comparison = estimator.comparison_
    header = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "parameters": {
            name: getattr(estimator, name) for name in PLAIN if hasattr(estimator, name)
        },
        "target": estimator.target_,
        "kept": estimator.reader_,
        "graph": None if estimator.graph_ is None else str(estimator.graph_),
        "classes": estimator.classes_.tolist() if hasattr(estimator, "classes_") else None,
        "comparison": asdict(comparison),
        "members": described,
    }
    write_tensor_file(path, tensors, {"symnet reader": json.dumps(header)})


def describe_member(reader: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A member as plain values and tensors."""
    if isinstance(reader, KindReader):
        state = {
            name: tensor.detach().cpu().clone() for name, tensor in reader.state_dict().items()
        }
        return {"kind": "KindReader", "config": reader.config}, state
    return describe(reader)


def rebuild_member(
    path: Path, described: dict[str, Any], state: dict[str, Tensor], module: nn.Module | None
) -> nn.Module:
    """The member of a description and its tensors; errors as for `symnet.nn.load`."""
    if described["kind"] == "KindReader":
        with torch.random.fork_rng(devices=[]):
            reader = KindReader(**described["config"])
        reader.load_state_dict(state)
        return reader.eval()
    found: nn.Module = rebuild(path, described, state, module)
    return found
