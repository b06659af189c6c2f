"""Weights as features: modules or state dicts in, batches of tensors keyed like a state dict out, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph, Space
from symnet.groups import is_signed

Features = dict[str, Tensor]
Source = nn.Module | Mapping[str, Tensor]


def features(sources: Source | Iterable[Source], graph: NeuronGraph) -> Features:
    """The weights of networks as features ``{name: (batch, *axes, 1)}``.

    Args:
        sources: modules or state dicts of the graph's architecture (one, or any number).
        graph: the architecture; entries that are no floating-point numbers (step counters) are ignored.

    Raises:
        ShapeError: entries are missing, not in the graph, or misshapen; all are named in one message.
    """
    single = isinstance(sources, nn.Module | Mapping)
    many = [sources] if single else list(sources)  # type: ignore[arg-type]
    states = [_state(source, number) for number, source in enumerate(many)]
    for number, state in enumerate(states):
        _check_state(state, graph, f"network {number} of {len(states)}" if len(states) > 1 else "the network")
    if not states:
        return {name: torch.zeros(0, *shape, 1) for name, shape in graph.shapes.items()}
    return {name: torch.stack([state[name] for state in states]).unsqueeze(-1) for name in graph.shapes}


def state_dicts(batch: Mapping[str, Tensor], graph: NeuronGraph) -> list[Features]:
    """The networks of a batch of features with one channel: a state dict each, aliases included.

    Raises:
        ShapeError: a tensor is missing or misshapen, or there is more than one channel.
    """
    check_features(batch, graph.weights, "state_dicts got", channels=1)
    size = next(iter(batch.values())).shape[0] if batch else 0
    kept = [{name: batch[name][number, ..., 0] for name in graph.shapes} for number in range(size)]
    return [state | {alias: state[name] for alias, name in graph.aliases.items()} for state in kept]


def _state(source: object, number: int) -> Mapping[str, Tensor]:
    if isinstance(source, nn.Module):
        return source.state_dict()
    if isinstance(source, Mapping):
        return source
    raise ShapeError(f"Network {number} is a {type(source).__name__}; features takes modules or state dicts.")


def _check_state(state: Mapping[str, Tensor], graph: NeuronGraph, which: str) -> None:
    problems = []
    for name, shape in graph.shapes.items():
        if name not in state:
            problems.append(f"'{name}' {shape} is missing")
        elif tuple(state[name].shape) != shape:
            problems.append(
                f"'{name}' has axes '{graph.tensors[name]}' of sizes {shape}, but is {tuple(state[name].shape)}"
            )
    for name, tensor in state.items():
        known = name in graph.shapes or name in graph.aliases
        if not known and isinstance(tensor, Tensor) and tensor.is_floating_point():
            problems.append(f"'{name}' {tuple(tensor.shape)} is not in the graph")
    if problems:
        raise ShapeError(
            f"The state of {which} does not fit the graph: {'; '.join(problems)}. "
            "Pass networks of this architecture, or trace or declare the graph of theirs."
        )


def check_features(batch: Mapping[str, Tensor], space: Space, who: str, channels: int | None = None) -> None:
    """Check features ``(batch, *axes, channels)`` against a space.

    Raises:
        ShapeError: with every tensor that is missing, unknown or misshapen.
    """
    if not isinstance(batch, Mapping):
        raise ShapeError(f"{who} a {type(batch).__name__}; expected a dict of tensors named {', '.join(space)}.")
    problems = [f"'{name}' is not among them" for name in batch if name not in space]
    size: int | None = None
    for name, tensor in space.items():
        if name not in batch:
            problems.append(f"'{name}' is missing")
            continue
        shape = tuple(batch[name].shape)
        if len(shape) != len(tensor.shape) + 2 or shape[1:-1] != tensor.shape:
            problems.append(
                f"'{name}' must be (batch, {', '.join(map(str, (*tensor.shape, 'channels')))}), but is {shape}"
            )
            continue
        if channels is not None and shape[-1] != channels:
            problems.append(f"'{name}' has {shape[-1]} channels instead of {channels}")
        if size is not None and shape[0] != size:
            problems.append(f"'{name}' has a batch of {shape[0]}, others of {size}")
        size = shape[0] if size is None else size
    if problems:
        raise ShapeError(
            f"{who} features that do not fit the space of {len(space)} tensors: {'; '.join(problems[:8])}."
        )


def refuse_signs(space: Space, what: str) -> None:
    """Refuse tensors whose entries may change their sign, for modules that do not commute with that.

    Raises:
        GraphError: a tensor has an axis of a signed neuron set.
    """
    for tensor in space.values():
        if signed := [name for name in tensor.symbols if is_signed(space.neurons[name].group)]:
            raise GraphError(
                f"{what}, which do not change sign with the neurons of '{signed[0]}' in '{tensor.name}'. Leave such tensors "
                "out of inputs=, or use odd functions alone, for instance Pointwise(torch.nn.RMSNorm(channels))."
            )
