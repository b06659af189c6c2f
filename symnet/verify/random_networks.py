"""A network with a random state: what a symmetry must be checked on to be noticed.

At their usual initialisation (zero biases, unit norms, equal variances) networks hide up to two
thirds of wrong symmetries, so every floating-point entry of the state is drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.nn.features import check_state as check_state_dict
from symnet.tracing.differentials import POSITIVE
from symnet.tracing.examples import copy_model

# Entries above which random numbers are drawn in float32.
_LARGE_TENSOR = 10_000


class RandomState:
    """Random entries of a network's state, one tensor at a time, each with
    the scale and the signs of its own.

    The entries of a tensor depend on the seed, its place in the graph, and the number of the trial
    alone, so that they can be made when they are read and forgotten after.

    Args:
        state: the network's own state dict, whose tensors are only looked at; on the device
            ``meta`` they have no values.
        positive: further tensors whose entries must stay positive.
        nearby: stay within a tenth of the network's own entries, for functions that are not defined
            elsewhere.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        graph: NeuronGraph,
        seed: int,
        positive: Collection[str] = (),
        nearby: bool = False,
    ) -> None:
        self.state, self.seed, self.nearby = state, seed, nearby
        self.positive = {
            name for name in graph.weights if name.rsplit(".", 1)[-1] in POSITIVE
        } | set(positive)
        self.numbers = {name: number for number, name in enumerate(graph.weights)}

    def entries(self, name: str, trial: int) -> Tensor:
        """A tensor's entries in a trial, in double precision, on the device of its own."""
        entry = self.state[name].detach()
        words = np.random.SeedSequence([self.seed, trial + 1, self.numbers[name]]).generate_state(1)
        generator = torch.Generator().manual_seed(int(words[0]))
        shape = (*entry.shape, 2) if entry.is_complex() else entry.shape
        # Drawn on the CPU, so that a seed means the same on every device.
        # Those of large tensors in float32, which takes a third of the time.
        low = entry.numel() > _LARGE_TENSOR
        noise = torch.randn(
            shape, generator=generator, dtype=torch.float32 if low else torch.float64
        ).double()
        if entry.is_meta:
            return _without_values(noise, name in self.positive)
        noise = noise.to(entry.device)
        if entry.is_complex():
            return torch.view_as_complex(
                self.drawn(torch.view_as_real(entry.resolve_conj()).double(), noise, False)
            )
        return self.drawn(entry.double(), noise, name in self.positive)

    def drawn(self, entry: Tensor, noise: Tensor, positive: bool) -> Tensor:
        finite = entry.isfinite()
        every = bool(finite.all())
        values = entry if every else torch.where(finite, entry, 0.0)
        rms = float(values.norm()) / max(entry.numel(), 1) ** 0.5
        if self.nearby:
            drawn = values * (1 + 0.1 * noise) + (0.01 * rms * noise if not positive else 0)
        elif rms and (bool((entry > 0).all()) or bool((entry < 0).all())):
            # variances, norms, rates: each keeps its sign and its scale
            drawn = values * torch.exp(0.5 * noise)
        elif positive:
            drawn = 0.5 + noise.abs()
        elif entry.ndim >= 2:
            drawn = noise * max(rms, entry[0].numel() ** -0.5 if entry.numel() else 0.0)
        else:
            drawn = values + 0.5 * max(rms, 1.0) * noise
        return drawn if every else torch.where(finite, drawn, entry)  # masks of minus infinity stay


def _without_values(noise: Tensor, positive: bool) -> Tensor:
    """Entries for a tensor without values of its own: matrices keep the
    size of what they are multiplied with.
    """
    if noise.ndim < 2 or positive:
        return 0.5 + noise.abs() / 2
    return noise * noise[0].numel() ** -0.5 if noise.numel() else noise


def double_copy(model: nn.Module) -> nn.Module:
    """A copy in float64 and eval mode whose parameters record no gradients."""
    if not isinstance(model, nn.Module):
        raise ShapeError(
            f"verify.network got a {type(model).__name__}; pass a torch.nn.Module. For a "
            "function of weights there is verify.equivariance."
        )
    with torch.no_grad():  # scripted modules make new parameters
        result = copy_model(model).double()
    for parameter in result.parameters():
        parameter.requires_grad_(False)
    return result


def check_state(model: nn.Module, graph: NeuronGraph) -> None:
    """Check that the graph covers the floating-point state, and declares tied tensors alike.

    Raises:
        ShapeError: entries are missing, unknown, misshapen, or tied and declared with different
            axes.
    """
    state = model.state_dict(keep_vars=True)
    check_state_dict(state, graph, "the network")  # names everything missing, unknown or misshapen
    first: dict[int, str] = {}
    for name, value in state.items():
        key = graph.aliases.get(name, name)
        if key not in graph.weights:
            continue
        other = first.setdefault(id(value), key)
        if graph.tensors[other] != graph.tensors[key]:
            raise ShapeError(
                f"'{other}' and '{name}' are one tied tensor, but are declared as "
                f"'{graph.tensors[other]}' and '{graph.tensors[key]}'. Declare it once, with "
                f"aliases={{'{name}': '{other}'}}."
            )


def tensors_left_out(model: nn.Module, graph: NeuronGraph) -> list[str]:
    """Names of tensors that a network may compute with and the graph does not
    describe: complex ones, and those in lists.
    """
    complex_ones = [
        name
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)
        and value.is_complex()
        and graph.aliases.get(name, name) not in graph.weights
    ]
    standard, hidden = set(vars(nn.Module())), []
    for path, module in model.named_modules():
        attributes = {} if isinstance(module, torch.jit.ScriptModule) else vars(module)
        for name, value in attributes.items():
            items = (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list | tuple)
                else [value]
            )
            if name not in standard and any(
                isinstance(x, Tensor) and x.is_floating_point() and x.ndim for x in items
            ):
                hidden.append(f"{path}.{name}".lstrip("."))
    return complex_ones + hidden


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


def change_tensors(value: Any, change: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """The same containers with every tensor replaced by
    ``change(path, tensor)``; paths as in ``flatten``.
    """
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
        return dataclasses.replace(
            value, **{name: below(name, getattr(value, name)) for name in names}
        )
    return value
