"""The family of linear maps that a layer can express, in the coordinates of the orbits of index pairs.

Where a group mixes neurons there are no orbits; the coordinates between such tensors are the coefficients of the diagrams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TooLargeError, VerificationError
from symnet.graph import Space
from symnet.sharing import EquivariantMaps, SharingPattern
from symnet.verify.comparison import largest

Features = dict[str, Tensor]
ENTRY_LIMIT = 2**30  # entries of all matrices of a family together
_STEP = 1e-2  # of the differences for layers that are not linear in their parameters


class Coordinates:
    """Coordinates of linear maps between two spaces: their means over the orbits of index pairs, or diagrams' coefficients.

    Args:
        inputs, outputs: the spaces.

    ``frames[s, t]``: the coordinates between two tensors; ``patterns[s, t]`` and ``offsets[s, t]``, where they begin.
    """

    def __init__(self, inputs: Space, outputs: Space) -> None:
        self.inputs, self.outputs = inputs, outputs
        maps = EquivariantMaps(inputs, outputs)
        self.patterns: dict[tuple[str, str], SharingPattern] = {
            (s, t): maps.between(s, t) for s in outputs for t in inputs
        }
        self.frames = {pair: frame_of(pattern) for pair, pattern in self.patterns.items()}
        self.offsets: dict[tuple[str, str], int] = {}
        self.dimension = 0
        for pair, pattern in self.patterns.items():
            self.offsets[pair] = self.dimension
            self.dimension += pattern.dimension
        self.dimension_by_burnside = maps.dimension_by_burnside

    def project(self, matrices: Mapping[tuple[str, str], Tensor]) -> tuple[np.ndarray, dict[tuple[str, str], float]]:
        """Coordinates ``(dimension, c_in * c_out)``, and for every pair the largest deviation from the map that they are.

        Args:
            matrices: for every pair ``(output, input)`` a matrix ``(size of s, size of t, c_in * c_out)``.
        """
        means, deviations = [], {}
        for pair, frame in self.frames.items():
            entries = matrices[pair]
            coordinates, expected = frame.fit(entries.reshape(frame.size, -1))
            off = (entries.reshape(expected.shape) - expected).abs()
            deviations[pair] = float(off.max()) if off.numel() else 0.0
            means.append(coordinates.numpy())
        return np.concatenate(means) if means else np.zeros((0, 1)), deviations

    def diagrams(self) -> np.ndarray:
        """Every map of the diagram basis in these coordinates: ``(maps, dimension)``."""
        found = np.zeros((self.dimension, self.dimension))
        for pair, frame in self.frames.items():
            offset, count = self.offsets[pair], self.patterns[pair].dimension
            found[offset : offset + count, offset : offset + count] = frame.diagrams()
        return found


class OrbitFrame:
    """Coordinates of maps between two tensors by their means over orbits.

    Entries that must vanish (label -1, under signs and scales) deviate by what they are.
    """

    def __init__(self, pattern: SharingPattern) -> None:
        self.pattern = pattern
        self.labels = torch.from_numpy(pattern.labels())

    @property
    def size(self) -> int:
        return self.labels.numel()

    def fit(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates of matrices ``(entries, channels)``, and the equivariant ones that have these."""
        flat = self.labels.reshape(-1)
        free = flat >= 0
        count = torch.bincount(flat[free], minlength=self.pattern.dimension).to(entries)
        total = entries.new_zeros(len(count), entries.shape[1]).index_add_(0, flat[free], entries[free])
        mean = total / count[:, None]
        return mean, torch.cat([mean, mean.new_zeros(1, mean.shape[1])])[flat]  # -1 reads the zero at the end

    def diagrams(self) -> np.ndarray:
        """The diagrams' coordinates: 0 or 1, ``(maps, orbits)``."""
        labels, pattern = self.labels.numpy(), self.pattern
        found = np.zeros((pattern.dimension, pattern.dimension))
        orbits_found, first = np.unique(labels, return_index=True)
        first = first[orbits_found >= 0]
        rows, columns = np.divmod(first, max(labels.shape[1], 1))
        for placed in pattern.diagrams:
            parameter = pattern.evaluate(placed, rows, columns)
            orbits = np.flatnonzero(parameter >= 0)
            found[parameter[orbits], orbits] = 1
        return found


class DiagramFrame:
    """Coordinates of maps between two tensors by the coefficients of the diagrams that come closest."""

    def __init__(self, pattern: SharingPattern) -> None:
        self.size = pattern.output.size * pattern.input.size
        placed = [(d, pattern.entries(d)) for d in pattern.diagrams]
        maps = [(entries == d.offset + k).reshape(-1) for d, entries in placed for k in range(d.count)]
        self.maps = torch.from_numpy(np.array(maps, dtype=np.float64).reshape(len(maps), self.size))
        self.inverse = torch.linalg.pinv(self.maps)

    def fit(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates of matrices ``(entries, channels)``, and the equivariant ones that have these."""
        coefficients = self.inverse.T.to(entries) @ entries
        return coefficients, self.maps.T.to(entries) @ coefficients

    def diagrams(self) -> np.ndarray:
        """The diagrams' coordinates: each is its own."""
        return np.eye(len(self.maps))


def frame_of(pattern: SharingPattern) -> OrbitFrame | DiagramFrame:
    """The coordinates of maps between two tensors."""
    return OrbitFrame(pattern) if pattern.has_orbits else DiagramFrame(pattern)


@dataclass(frozen=True)
class Family:
    """What a layer expresses: for every parameter a map, and a bias.

    names: of the parameters, ``weight[0, 2]``.
    maps: orbit coordinates ``(parameters, dimension * c_in * c_out)`` of the derivative by every parameter.
    biases: orbit coordinates ``(parameters, bias dimension * c_out)`` of the same for the constant term.
    fixed: orbit coordinates ``(1, ...)`` of the map and the bias at parameters zero.
    deviations: for every pair (output, input) how far matrix entries of one orbit differ; input ``""`` for biases.
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


def without_parameters(family: Family, dimension: int, is_invariant: bool) -> Family:
    """A family of what the layer computes whatever its parameters: one map, or one for every invariant feature."""
    maps, biases = family.fixed
    c_in, c_out = family.channels
    if not is_invariant:
        note = "without parameters: a single map, which is its whole family."
        return Family((), maps, biases, family.fixed, family.deviations, family.channels, (note,))
    maps = maps.reshape(dimension, c_in, c_out).transpose(2, 0, 1).reshape(c_out, -1)
    names = tuple(f"feature {k}" for k in range(c_out))
    note = "each feature of the output counts as a parameter."
    return Family(names, maps, np.zeros((c_out, 1)), family.fixed, family.deviations, (c_in, 1), (note,))


class LinearLayer:
    """A layer run on unit vectors: its matrix and its bias at any values of its parameters.

    ``fn`` returns a dict of outputs, or one tensor ``(batch, ...)`` of invariant features, the channels of an output ``""``.
    """

    def __init__(self, fn: Callable[[Features], Any], module: nn.Module | None, inputs: Space, channels: int) -> None:
        self.fn, self.inputs, self.channels = fn, inputs, channels
        named = module.named_parameters() if module is not None else ()
        self.parameters = {name: p for name, p in named if p.requires_grad and p.is_floating_point()}
        self.is_invariant = False

    def run(self, x: Features) -> Features:
        with torch.no_grad():
            result = self.fn(x)
        self.is_invariant = isinstance(result, Tensor)
        if isinstance(result, Tensor):
            return {"": result.reshape(result.shape[0], -1)}
        return {name: tensor.detach() for name, tensor in result.items()}

    def draw(self, batch: int) -> Features:
        return {name: torch.randn(batch, *t.shape, self.channels) for name, t in self.inputs.items()}

    def check_size(self, outputs: Space) -> None:
        """Check that the matrices for all parameters fit.

        Raises:
            TooLargeError: they would hold too many entries.
        """
        count = sum(p.numel() for p in self.parameters.values())
        entries = (count + 1) * self.inputs.size * outputs.size * self.channels
        if entries > ENTRY_LIMIT:
            raise TooLargeError(
                f"certify would run the layer for {count:,} parameters on {self.inputs.size:,} inputs and {outputs.size:,} outputs, "
                f"{entries:,} matrix entries; the limit is {ENTRY_LIMIT:,}. Certify the same layer on a narrower architecture, with "
                "one channel."
            )

    def check_linear(self) -> None:
        """Check ``f(x + 2y) + 2 f(0) = f(x) + 2 f(y)``.

        Raises:
            VerificationError: it does not hold; names the output.
        """
        x, y = self.draw(2), self.draw(2)
        total = self.run({name: x[name] + 2 * y[name] for name in x})
        zero = self.run({name: torch.zeros_like(x[name]) for name in x})
        left, right = self.run(x), self.run(y)
        for name in total:
            difference = {name: total[name] + 2 * zero[name] - left[name] - 2 * right[name]}
            if not largest(difference) < 1e-8 * (1 + largest(left)) or not bool(difference[name].isfinite().all()):
                raise VerificationError(
                    f"certify is for linear layers, but output '{name}' is not linear in the features (off by "
                    f"{largest(difference):.2g}). For any other function use verify.equivariance."
                )

    def matrices(self, space: Space) -> tuple[dict[tuple[str, str], Tensor], dict[tuple[str, str], Tensor], int]:
        """For every pair the matrix ``(size of s, size of t, c_in * c_out)``; the biases ``(size of s, 1, c_out)``; and c_out."""
        sizes = {name: tensor.size * self.channels for name, tensor in self.inputs.items()}
        eye = torch.eye(sum(sizes.values()))
        x, start = {}, 0
        for name, size in sizes.items():
            x[name] = eye[:, start : start + size].reshape(-1, *self.inputs[name].shape, self.channels)
            start += size
        zero = self.run({name: torch.zeros_like(tensor[:1]) for name, tensor in x.items()})
        result = {name: tensor - zero[name] for name, tensor in self.run(x).items()}
        biases, matrices, channels = {}, {}, 1
        for s, tensor in space.items():
            biases[s, ""] = zero[s].reshape(tensor.size, 1, -1)
            channels = biases[s, ""].shape[-1]
            start = 0
            for t, size in sizes.items():
                part = result[s][start : start + size].reshape(-1, self.channels, tensor.size, channels)
                matrices[s, t] = part.permute(2, 0, 1, 3).reshape(tensor.size, -1, self.channels * channels)
                start += size
        return matrices, biases, channels


def express(layer: LinearLayer, coordinates: Coordinates, constants: Coordinates) -> Family:
    """The family of a layer: one parameter set to one at a time, or by differences where that is not linear."""
    own = {name: p.detach().clone() for name, p in layer.parameters.items()}

    def at(values: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray, dict[tuple[str, str], float], int]:
        _write(layer.parameters, values)
        matrices, biases, channels = layer.matrices(coordinates.outputs)
        maps, off = coordinates.project(matrices)
        bias, bias_off = constants.project({(s, t): biases[s, ""] for s, t in constants.patterns})
        return (
            maps.reshape(-1),
            bias.reshape(-1),
            off | {(s, ""): error for (s, _), error in bias_off.items()},
            channels,
        )

    try:
        zero = {name: torch.zeros_like(p) for name, p in own.items()}
        fixed, constant, deviations, channels = at(zero)
        names, maps, biases = [], [], []
        for name, unit in _units(own):
            plus = at(zero | unit)
            names.append(name)
            maps.append(plus[0] - fixed)
            biases.append(plus[1] - constant)
            deviations = {pair: max(error, plus[2][pair]) for pair, error in deviations.items()}
        random = {name: torch.randn_like(p) for name, p in own.items()}
        drawn = at(random)
        weights = np.concatenate([random[name].reshape(-1).numpy() for name in own]) if own else np.zeros(0)
        is_linear = _close(drawn[0], fixed + _combine(weights, maps, fixed)) and _close(
            drawn[1], constant + _combine(weights, biases, constant)
        )
        if not is_linear:
            names, maps, biases, deviations = _derivatives(at, random, own)
    finally:
        _write(layer.parameters, own)
    notes = []
    if names and np.abs(fixed).max(initial=0) > 1e-10:
        notes.append("a fixed map is added that no parameter changes; the family is what the parameters change.")
    if not is_linear:
        notes.append("not linear in its parameters: ranks are those of the derivative at random parameters.")
    rows, shifts = np.array(maps).reshape(len(names), len(fixed)), np.array(biases).reshape(len(names), len(constant))
    return Family(
        tuple(names), rows, shifts, (fixed[None], constant[None]), deviations, (layer.channels, channels), tuple(notes)
    )


def _derivatives(
    at: Callable[[Mapping[str, Tensor]], Any], point: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[list[str], list[np.ndarray], list[np.ndarray], dict[tuple[str, str], float]]:
    """Differences by every parameter at one point, exact for polynomials of the fourth degree."""
    names, maps, biases = [], [], []
    deviations: dict[tuple[str, str], float] = at(point)[2]
    for name, unit in _units(own):
        total, shift = 0.0, 0.0
        for steps, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            run = at({k: v + steps * _STEP * unit.get(k, torch.zeros(())) for k, v in point.items()})
            total, shift = total + weight * run[0], shift + weight * run[1]
            deviations = {pair: max(error, run[2][pair]) for pair, error in deviations.items()}
        names.append(name)
        maps.append(np.asarray(total / (12 * _STEP)))
        biases.append(np.asarray(shift / (12 * _STEP)))
    return names, maps, biases, deviations


def _units(parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every single parameter's name, and the tensor that is one there and zero elsewhere."""
    for name, parameter in parameters.items():
        for index in np.ndindex(*parameter.shape):
            unit = torch.zeros_like(parameter)
            unit[index] = 1
            yield (f"{name}[{', '.join(map(str, index))}]" if index else name), {name: unit}


def _write(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _combine(weights: np.ndarray, rows: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    return weights @ np.array(rows) if rows else np.zeros_like(like)


def _close(left: np.ndarray, right: np.ndarray) -> bool:
    scale = 1 + np.abs(right).max(initial=0)
    return bool(
        np.isfinite(left).all() and np.isfinite(right).all() and np.abs(left - right).max(initial=0) < 1e-8 * scale
    )
