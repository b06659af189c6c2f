"""The family of linear maps that a layer can express, in the
coordinates of the orbits of index pairs.

Where a group mixes neurons there are no orbits; the coordinates between such tensors are the
coefficients of the diagrams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from symnet.verify.linear_layer import LinearLayer
from symnet.verify.map_coordinates import Coordinates

_STEP = 1e-2  # of the differences for layers that are not linear in their parameters


@dataclass(frozen=True)
class MapFamily:
    """What a layer expresses: for every parameter a map, and a bias.

    names: of the parameters, ``weight[0, 2]``.
    maps: orbit coordinates ``(parameters, dimension * c_in * c_out)`` of the derivative by every
    parameter. biases: orbit coordinates ``(parameters, bias dimension * c_out)`` of the same for
    the constant term. fixed: orbit coordinates ``(1, ...)`` of the map and the bias at parameters
    zero. deviations: for every pair (output, input) how far matrix entries of one orbit differ;
    input ``""`` for biases.
    """

    names: tuple[str, ...]
    maps: np.ndarray
    biases: np.ndarray
    fixed: tuple[np.ndarray, np.ndarray]
    deviations: dict[tuple[str, str], float]
    channels: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def pairs(self) -> int:
        """Pairs of channels."""
        return self.channels[0] * self.channels[1]


def without_parameters(family: MapFamily, dimension: int, is_invariant: bool) -> MapFamily:
    """A family of what the layer computes whatever its parameters: one map,
    or one for every invariant feature.
    """
    maps, biases = family.fixed
    c_in, c_out = family.channels
    if not is_invariant:
        note = "without parameters: a single map, which is its whole family."
        return MapFamily(
            (), maps, biases, family.fixed, family.deviations, family.channels, (note,)
        )
    maps = maps.reshape(dimension, c_in, c_out).transpose(2, 0, 1).reshape(c_out, -1)
    names = tuple(f"feature {k}" for k in range(c_out))
    note = "each feature of the output counts as a parameter."
    return MapFamily(
        names, maps, np.zeros((c_out, 1)), family.fixed, family.deviations, (c_in, 1), (note,)
    )


def express(layer: LinearLayer, coordinates: Coordinates, constants: Coordinates) -> MapFamily:
    """The family of a layer: its derivatives by every parameter, in orbit coordinates.

    By autograd at one entry of every orbit; whether the entries of an orbit agree is seen on whole
    matrices, at random parameters. A layer without derivatives (weights cached or computed outside
    of torch) is run with one parameter changed at a time.
    """
    parameters = {name: p.detach().clone() for name, p in layer.parameters.items()}

    def at(values: Mapping[str, Tensor]) -> Point:
        layer.write(values)
        return Point.of(layer, coordinates, constants)

    try:
        start = at({name: torch.zeros_like(p) for name, p in parameters.items()})
        random = {name: layer.normal(p.shape).to(p) for name, p in parameters.items()}
        drawn, other = (
            at({name: layer.normal(p.shape).to(p) for name, p in parameters.items()}),
            at(random),
        )
        derivative = _by_autograd(layer, coordinates, constants)
        if derivative is None:
            derivative = _by_differences(at, start, random)
        maps, biases = derivative
        weights = (
            np.concatenate([random[name].reshape(-1).numpy() for name in parameters])
            if parameters
            else np.zeros(0)
        )
        is_linear = _close(other.maps, start.maps + weights @ maps) and _close(
            other.biases, start.biases + weights @ biases
        )
    finally:
        layer.write(parameters)
    deviations = {
        pair: max(error, drawn.deviations[pair], other.deviations[pair])
        for pair, error in start.deviations.items()
    }
    notes = []
    if parameters and np.abs(start.maps).max(initial=0) > 1e-10:
        notes.append(
            "a fixed map is added that no parameter changes; the family is what the parameters "
            "change."
        )
    if not is_linear:
        notes.append(
            "not linear in its parameters: ranks are those of the derivative at random parameters."
        )
    names = tuple(_names(parameters))
    fixed = (start.maps[None], start.biases[None])
    return MapFamily(
        names, maps, biases, fixed, deviations, (layer.channels, start.channels), tuple(notes)
    )


@dataclass(frozen=True)
class Point:
    """A layer's map and bias at some parameters, in orbit coordinates, and how
    far they are from those of their orbits.
    """

    maps: np.ndarray
    biases: np.ndarray
    deviations: dict[tuple[str, str], float]
    channels: int

    @classmethod
    def of(cls, layer: LinearLayer, coordinates: Coordinates, constants: Coordinates) -> Point:
        matrices, biases, channels = layer.matrices(coordinates.outputs)
        maps, off = coordinates.project(matrices)
        bias, bias_off = constants.project({(s, t): biases[s, ""] for s, t in constants.patterns})
        deviations = off | {(s, ""): error for (s, _), error in bias_off.items()}
        return cls(maps.reshape(-1), bias.reshape(-1), deviations, channels)


def _by_autograd(
    layer: LinearLayer, coordinates: Coordinates, constants: Coordinates
) -> tuple[np.ndarray, np.ndarray] | None:
    """Derivatives ``(parameters, coordinates)`` of map and bias at one entry of
    every orbit; none where there are none.
    """
    parameters = list(layer.parameters.values())
    try:
        maps, biases = layer.entries(coordinates, constants)
        rows = [_jacobian(values, parameters) for values in (maps, biases)]
    except (RuntimeError, NotImplementedError):
        return None  # a step without a derivative
    if parameters and not any(row.any() for row in rows):
        return None
    return rows[0], rows[1]


def _jacobian(values: Tensor, parameters: list[nn.Parameter]) -> np.ndarray:
    """Derivatives ``(parameters, values)``, many backward passes at
    once where all steps can be batched.
    """
    count = sum(p.numel() for p in parameters)
    if not parameters or not len(values) or not values.requires_grad:
        return np.zeros((count, len(values)))
    try:
        parts = [_gradients(part, parameters, batched=True) for part in values.split(256)]
    # Custom functions know no batches; where warnings are errors, slow ones neither.
    except (RuntimeError, Warning):
        parts = [_gradients(part, parameters, batched=False) for part in values.split(256)]
    return torch.cat(parts).T.numpy()


def _gradients(values: Tensor, parameters: list[nn.Parameter], batched: bool) -> Tensor:
    """Rows ``(values, parameters)``."""
    units = torch.eye(len(values), dtype=values.dtype)
    runs = [units] if batched else list(units)
    rows = []
    for unit in runs:
        gradients = torch.autograd.grad(
            values, parameters, unit, retain_graph=True, allow_unused=True, is_grads_batched=batched
        )
        height = len(values) if batched else 1
        flat = [
            values.new_zeros(height, p.numel()) if g is None else g.detach().reshape(height, -1)
            for g, p in zip(gradients, parameters, strict=True)
        ]
        rows.append(torch.cat(flat, 1))
    return torch.cat(rows)


def _by_differences(
    at: Callable[[Mapping[str, Tensor]], Point], start: Point, point: Mapping[str, Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Differences by every parameter at one point, exact for polynomials of the fourth degree."""
    maps, biases = [], []
    for unit in _units(point):
        total, shift = np.zeros_like(start.maps), np.zeros_like(start.biases)
        for steps, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved = at(
                {k: v + steps * _STEP * unit.get(k, torch.zeros(())) for k, v in point.items()}
            )
            total, shift = total + weight * moved.maps, shift + weight * moved.biases
        maps.append(total / (12 * _STEP))
        biases.append(shift / (12 * _STEP))
    return np.array(maps).reshape(-1, len(start.maps)), np.array(biases).reshape(
        -1, len(start.biases)
    )


def _names(parameters: Mapping[str, Tensor]) -> Iterator[str]:
    """The name of every single parameter, ``weight[0, 2]``."""
    for name, parameter in parameters.items():
        for index in np.ndindex(*parameter.shape):
            yield f"{name}[{', '.join(map(str, index))}]" if index else name


def _units(parameters: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """For every single parameter the tensor that is one there and zero elsewhere, by its name."""
    for name, parameter in parameters.items():
        for index in np.ndindex(*parameter.shape):
            unit = torch.zeros_like(parameter)
            unit[index] = 1
            yield {name: unit}


def _close(left: np.ndarray, right: np.ndarray) -> bool:
    scale = 1 + np.abs(right).max(initial=0)
    return bool(
        np.isfinite(left).all()
        and np.isfinite(right).all()
        and np.abs(left - right).max(initial=0) < 1e-8 * scale
    )
