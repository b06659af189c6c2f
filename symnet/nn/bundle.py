"""A network over weights in one file: its graph, its configuration, its parameters. Reading it executes no code.

The file is a safetensors file (numbers and a JSON header); graph and configuration stand in the header as text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import SymnetError
from symnet.files import open_tensor_file, write_tensor_file
from symnet.graph import NeuronGraph, parse
from symnet.nn.baselines import FlatNetwork, PointwiseNetwork, StatisticsNetwork
from symnet.nn.builders import EquivariantNetwork, InvariantNetwork
from symnet.tracing.execution import random_numbers

FORMAT = 2  # since 2 networks hold the scales of their inputs
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        InvariantNetwork,
        EquivariantNetwork,
        StatisticsNetwork,
        PointwiseNetwork,
        FlatNetwork,
    )
}


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network to one file, whole or not at all.

    Args:
        model: an ``InvariantNetwork``, ``EquivariantNetwork`` or one of the baselines.
        path: a file that is replaced if there is one.

    Raises:
        SymnetError: the model is of another class, or the file cannot be written.

    Example:
        >>> import symnet as sn, tempfile
        >>> net = sn.nn.InvariantNetwork(sn.catalogue.mlp([2, 8, 3]), 16, outputs=10)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sn.nn.save(net, f"{folder}/net.safetensors")
        ...     again = sn.nn.load(f"{folder}/net.safetensors")
        >>> again.graph == net.graph, again.config == net.config
        (True, True)
    """
    described, state = describe(model)
    write_tensor_file(path, state, {"symnet": json.dumps(described)})


def describe(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A network as plain values and tensors, from which :func:`rebuild` makes it anew.

    Raises:
        SymnetError: the model is of another class.
    """
    if type(model) not in KINDS.values():
        raise SymnetError(
            f"sn.nn.save writes {', '.join(KINDS)}, which it can build anew; this is a {type(model).__name__}. "
            "Keep its state_dict() yourself, with the code that makes it."
        )
    described = {
        "format": FORMAT,
        "kind": type(model).__name__,
        "graph": str(model.graph),
        "config": model.config,
    }
    state = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    return described, state


def load(path: str | Path, *, module: nn.Module | None = None) -> Any:
    """The network in a file that :func:`save` wrote, on the CPU, in eval mode, its parameters of the dtypes they had.

    Args:
        module: where the network was made with a module (its product along the network, its probes), one of the same architecture:
            code is not in the file.

    Raises:
        SymnetError: the file is missing, damaged, of a later version, or not such a file; says what is wrong.
    """
    path = Path(path)
    return rebuild(path, *_open(path), module)


def rebuild(
    path: Path, described: Any, state: dict[str, Tensor], module: nn.Module | None = None
) -> Any:
    """The network of a description and its tensors; `path` is for messages, errors are those of :func:`load`."""
    kind, graph = _check_header(path, described)
    config: dict[str, Any] = dict(described["config"])
    try:
        if "example" in config:
            config |= _with_module(path, config.pop("example"), module)
        with random_numbers():  # initial values, which the file's replace
            model = KINDS[kind](graph, **config)
    except (TypeError, ValueError, SymnetError) as error:
        raise SymnetError(
            f"{path}: no {kind} can be made from what the file describes: {error}"
        ) from error
    if described["format"] < 2 and isinstance(getattr(model, "scale", None), nn.Module):
        state.setdefault("scale.deviation", model.scale.deviation)
    _fill(path, model, state)
    return model.eval()


def _with_module(path: Path, example: Any, module: nn.Module | None) -> dict[str, Any]:
    """The options that a file cannot hold."""
    if module is None:
        raise SymnetError(
            "it runs a module of the networks that it reads. Pass one: sn.nn.load(path, module=module)."
        )
    shape, dtype = example
    return {"module": module, "example": torch.zeros(shape, dtype=getattr(torch, dtype))}


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors of a file."""
    file = open_tensor_file(path)
    try:
        described = json.loads(file.metadata["symnet"])
    except (KeyError, ValueError, RecursionError) as error:
        raise SymnetError(
            f"{path} is a safetensors file, but not one of sn.nn.save: its header describes no network."
        ) from error
    return described, dict(file)


def _check_header(path: Path, described: Any) -> tuple[str, NeuronGraph]:
    """The kind of network and its graph."""
    keys = {"format": int, "kind": str, "graph": str, "config": dict}
    if not isinstance(described, dict):
        raise SymnetError(f"{path}: its description is {described!r:.40} instead of a dict.")
    if wrong := [key for key, kind in keys.items() if not isinstance(described.get(key), kind)]:
        raise SymnetError(
            f"{path}: {', '.join(wrong)} of its description is missing or of a wrong type."
        )
    if described["format"] > FORMAT:
        raise SymnetError(
            f"{path} has format {described['format']}; this symnet reads up to {FORMAT}. Install a newer one."
        )
    if described["kind"] not in KINDS:
        raise SymnetError(
            f"{path} holds a {described['kind']!r:.60}; known are {', '.join(KINDS)}."
        )
    try:
        return described["kind"], parse(described["graph"])
    except SymnetError as error:
        raise SymnetError(f"{path}: its graph cannot be read: {error}") from error


def _fill(path: Path, model: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the file's tensors into a new model."""
    expected = model.state_dict()
    problems = [f"'{name}' is missing" for name in expected if name not in state]
    problems += [f"'{name}' is not a part of it" for name in state if name not in expected]
    for name in expected:
        if name in state and state[name].shape != expected[name].shape:
            problems.append(
                f"'{name}' is {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
            )
        elif (
            name in state
            and expected[name].is_floating_point()
            and not state[name].is_floating_point()
        ):
            problems.append(f"'{name}' is {state[name].dtype}")
    if problems:
        raise SymnetError(
            f"{path}: its tensors do not fit its {type(model).__name__}: {'; '.join(problems[:8])}."
        )
    model.load_state_dict(state, assign=True)
