"""Which pointwise functions commute with which groups, decided by trying: in
float64, on random entries and random elements.

Every entry of a tensor is multiplied by the signs and scales of its strands, so a function of
entries has to be odd where signs show, and positively homogeneous of degree 1 where scales do.
Where a group mixes entries only linear functions of the channels commute. Strands of permutations,
and those of degree 0, allow any function.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError
from symnet.graph import Space
from symnet.graph.notation import strands_in
from symnet.groups import Group, Scaled, is_charged, is_linear
from symnet.tracing.execution import random_numbers

PROBES = 48  # entries that a function is tried on
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Demand:
    """What a tensor's strand asks of functions of its entries."""

    law: str  # "odd", "homogeneous" or "linear"
    group: Group
    neurons: str
    tensor: str

    @property
    def instead(self) -> str:
        """What to use where a function does not obey the law."""
        match self.law:
            case "odd":
                return (
                    "an odd function (torch.nn.Tanh(), torch.nn.RMSNorm(channels), "
                    "torch.nn.Linear(..., bias=False))"
                )
            case "homogeneous":
                return (
                    "a positively homogeneous one (torch.nn.ReLU(), torch.nn.Linear(..., "
                    "bias=False))"
                )
            case _:
                return "torch.nn.Linear(..., bias=False)"


def demands(space: Space) -> tuple[Demand, ...]:
    """What the tensors of a space ask of pointwise functions: each law
    once, with the first strand that asks it.
    """
    by_law: dict[str, Demand] = {}
    for tensor in space.values():
        for strand in (strand for axis in tensor.axes for strand in strands_in(axis)):
            group = space.neurons[strand.name].group
            if is_charged(group, strand.degree):
                law = (
                    "linear"
                    if is_linear(group)
                    else "homogeneous"
                    if isinstance(group, Scaled)
                    else "odd"
                )
                by_law.setdefault(law, Demand(law, group, strand.name, tensor.name))
    return tuple(by_law.values())


def refuse_pointwise(module: nn.Module, space: Space, channels: int) -> None:
    """Refuse a module that does not commute with what the group does to the entries of a space.

    Raises:
        GraphError: it breaks a law that a tensor asks for; names the set, the tensor and the
            function.
    """
    for demand in demands(space):
        if (error := _error(module, demand.law, channels)) > TOLERANCE:
            raise GraphError(
                f"Pointwise({module!r:.60}) does not commute with {demand.group!r} of "
                f"'{demand.neurons}' in '{demand.tensor}': it is not {_LAWS[demand.law]} (off by "
                f"{error:.2g}). Use {demand.instead}, sn.nn.Gate, or strands of degree 0."
            )


_LAWS = {
    "odd": "odd, f(-x) = -f(x)",
    "homogeneous": "positively homogeneous, f(s x) = s f(x) for s > 0",
    "linear": "linear, f(A x) = A f(x)",
}


def _error(module: nn.Module, law: str, channels: int) -> float:
    """How far the module is from a law at random parameters, relative to its values."""
    private = copy.deepcopy(module).to(device="cpu", dtype=torch.float64)
    generator = np.random.default_rng(0)  # numpy's: inside vmap torch draws nothing
    with torch.no_grad():
        # a shift that happens to be zero yet would be learnt
        for parameter in private.parameters():
            parameter.copy_(torch.from_numpy(generator.standard_normal(tuple(parameter.shape))))
    x = torch.from_numpy(generator.standard_normal((PROBES, channels)))
    matrix = {
        "odd": -torch.eye(PROBES, dtype=torch.float64),
        "homogeneous": torch.diag(torch.from_numpy(np.exp(generator.uniform(-1, 1, PROBES)))),
        "linear": torch.from_numpy(generator.standard_normal((PROBES, PROBES))) / PROBES**0.5,
    }[law]

    def run(values: Tensor) -> Tensor:
        with random_numbers(), torch.no_grad():  # what is random is drawn alike
            return private(values)

    expected, actual = matrix @ run(x), run(matrix @ x)
    scale = max(float(expected.abs().max()), float(actual.abs().max()), 1e-300)
    return float((expected - actual).abs().max()) / scale


def channels_of(module: nn.Module) -> int | None:
    """Channels that a module takes, where it says so."""
    for part in module.modules():
        for name in ("in_features", "normalized_shape", "num_features", "num_channels"):
            value = getattr(part, name, None)
            value = value[-1] if isinstance(value, tuple) and value else value
            if isinstance(value, int) and value > 0:
                return value
    return None
