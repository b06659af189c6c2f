"""A network with a random state and random inputs: what a symmetry must be checked on to be noticed.

At their usual initialisation (zero biases, unit norms, equal variances) networks hide up to two thirds of wrong
symmetries, so every floating-point entry of the state is drawn anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.nn import features
from symnet.tracing.differentials import POSITIVE
from symnet.tracing.examples import copy_model
from symnet.verify.comparison import flatten


def double_copy(model: nn.Module) -> nn.Module:
    """A copy in float64 and eval mode whose parameters record no gradients."""
    if not isinstance(model, nn.Module):
        raise ShapeError(
            f"verify.network got a {type(model).__name__}; pass a torch.nn.Module. For a function of weights there is "
            "verify.equivariance."
        )
    with torch.no_grad():  # scripted modules make new parameters
        result = copy_model(model).double()
    for parameter in result.parameters():
        parameter.requires_grad_(False)
    return result


def check_state(model: nn.Module, graph: NeuronGraph) -> None:
    """Check that the graph covers the state dict, and declares tied tensors alike.

    Raises:
        ShapeError: entries are missing, unknown, misshapen, complex, or tied and declared with different axes.
    """
    state = model.state_dict(keep_vars=True)
    if complex_ones := [name for name, value in state.items() if isinstance(value, Tensor) and value.is_complex()]:
        raise ShapeError(
            f"The state holds complex entries ({', '.join(complex_ones)}), on which symnet does not act. Store them as real "
            "and imaginary parts with an axis of size 2."
        )
    features(model, graph)  # names everything missing, unknown or misshapen
    first: dict[int, str] = {}
    for name, value in state.items():
        key = graph.aliases.get(name, name)
        if key not in graph.weights:
            continue
        other = first.setdefault(id(value), key)
        if graph.tensors[other] != graph.tensors[key]:
            raise ShapeError(
                f"'{other}' and '{name}' are one tied tensor, but are declared as '{graph.tensors[other]}' and "
                f"'{graph.tensors[key]}'. Declare it once, with aliases={{'{name}': '{other}'}}."
            )


def random_state(
    model: nn.Module, graph: NeuronGraph, generator: torch.Generator, positive: Collection[str] = ()
) -> dict[str, Tensor]:
    """The graph's tensors, every finite entry drawn anew; matrices keep their gain, vectors stay near where they were.

    Args:
        model: float64 network whose own state gives the scales.
        positive: further tensors whose entries must stay positive.
    """
    state = model.state_dict()
    return {name: _draw(name, state[name], generator, name in positive) for name in graph.weights}


def _draw(name: str, own: Tensor, generator: torch.Generator, positive: bool) -> Tensor:
    # Drawn on the CPU, so that a seed means the same on every device.
    noise = torch.randn(own.shape, generator=generator, dtype=torch.float64).to(own)
    finite = own.isfinite()
    if positive or name.rsplit(".", 1)[-1] in POSITIVE:
        drawn = 0.5 + noise.abs()
    elif own.ndim >= 2:
        rms = float(torch.where(finite, own, 0.0).square().mean().sqrt()) if own.numel() else 0.0
        drawn = noise * max(rms, own[0].numel() ** -0.5 if own.numel() else 0.0)
    else:
        drawn = torch.where(finite, own, 0.0) + 0.5 * noise
    return torch.where(finite, drawn, own)  # masks of minus infinity stay


def load(model: nn.Module, graph: NeuronGraph, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors into a network's state, under their aliases as well."""
    state = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, value in state.items():
            key = graph.aliases.get(name, name)
            if key in tensors:
                value.copy_(tensors[key])


def to_double(value: Any) -> Any:
    """Inputs with their floating-point tensors in float64, nested containers included."""
    return change_tensors(value, lambda _, x: x.detach().double() if x.is_floating_point() else x)


def fresh(value: Any, generator: torch.Generator, batch: tuple[int, int] | None = None) -> Any:
    """Random inputs of the same shapes: normal with the given mean and spread (not negative where none was), whole
    numbers in the given range, truth values as they are; with ``batch=(old, new)`` first dims of size old become new.
    """

    def draw(_: str, x: Tensor) -> Tensor:
        size = list(x.shape)
        if batch is not None and size and size[0] == batch[0]:
            size[0] = batch[1]
        if x.dtype == torch.bool or not x.numel():
            rows = torch.arange(size[0]) % x.shape[0] if size and x.shape[0] else torch.arange(0)
            return x[rows.to(x.device)] if size and x.shape[0] else x
        if not x.is_floating_point() and not x.is_complex():
            return torch.randint(int(x.min()), int(x.max()) + 1, size, generator=generator).to(x)
        spread = float(x.real.std(correction=0)) or 1.0
        drawn = torch.randn(size, generator=generator, dtype=torch.float64) * spread + float(x.real.mean())
        return (drawn.abs() if not x.is_complex() and bool((x >= 0).all()) and bool((x > 0).any()) else drawn).to(x)

    return change_tensors(value, draw)


def first_size(value: Any) -> int | None:
    """Size of the first dim of the first input tensor that has dims: the batch, in most networks."""
    return next((tensor.shape[0] for tensor in flatten(value).values() if tensor.ndim), None)


def change_tensors(value: Any, change: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """The same containers with every tensor replaced by ``change(path, tensor)``; paths as in ``flatten``."""
    if isinstance(value, Tensor):
        return change(path, value)

    def below(key: object, item: Any) -> Any:
        return change_tensors(item, change, f"{path}.{key}" if path else str(key))

    if isinstance(value, dict):
        return {key: below(key, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(below(k, item) for k, item in enumerate(value)))
    if isinstance(value, tuple | list):
        return type(value)(below(k, item) for k, item in enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{name: below(name, getattr(value, name)) for name in names})
    return value
