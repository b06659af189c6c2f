"""The family of linear maps that a layer can express, in the
coordinates of the orbits of index pairs.

Where a group mixes neurons there are no orbits; the coordinates between such tensors are the
coefficients of the diagrams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TooLargeError, VerificationError
from symnet.graph import Space
from symnet.sharing import EquivariantMaps, SharingPattern
from symnet.tracing.execution import double_precision
from symnet.verify.comparison import largest

Features = dict[str, Tensor]
ENTRY_LIMIT = 2**30  # entries of all matrices of a family together
_STEP = 1e-2  # of the differences for layers that are not linear in their parameters


class Coordinates:
    """Coordinates of linear maps between two spaces: their means over the orbits
    of index pairs, or diagrams' coefficients.

    Args:
        inputs, outputs: the spaces.

    ``frames[s, t]``: the coordinates between two tensors; ``patterns[s, t]`` and ``offsets[s, t]``,
    where they begin.
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

    def project(
        self, matrices: Mapping[tuple[str, str], Tensor]
    ) -> tuple[np.ndarray, dict[tuple[str, str], float]]:
        """Coordinates ``(dimension, c_in * c_out)``, and for every pair the
        largest deviation from the map that they are.

        Args:
            matrices: for every pair ``(output, input)`` a matrix
                ``(size of s, size of t, c_in * c_out)``.
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
        matrix = np.zeros((self.dimension, self.dimension))
        for pair, frame in self.frames.items():
            offset, count = self.offsets[pair], self.patterns[pair].dimension
            matrix[offset : offset + count, offset : offset + count] = frame.diagrams()
        return matrix


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
        """The coordinates of matrices ``(entries, channels)``, and the
        equivariant ones that have these.
        """
        flat = self.labels.reshape(-1)
        free = flat >= 0
        count = torch.bincount(flat[free], minlength=self.pattern.dimension).to(entries)
        total = entries.new_zeros(len(count), entries.shape[1]).index_add_(
            0, flat[free], entries[free]
        )
        mean = total / count[:, None]
        # -1 reads the zero at the end
        return mean, torch.cat([mean, mean.new_zeros(1, mean.shape[1])])[flat]

    def diagrams(self) -> np.ndarray:
        """The diagrams' coordinates: 0 or 1, ``(maps, orbits)``."""
        labels, pattern = self.labels.numpy(), self.pattern
        matrix = np.zeros((pattern.dimension, pattern.dimension))
        orbits_found, first = np.unique(labels, return_index=True)
        first = first[orbits_found >= 0]
        rows, columns = np.divmod(first, max(labels.shape[1], 1))
        for placed in pattern.diagrams:
            parameter = pattern.evaluate(placed, rows, columns)
            orbits = np.flatnonzero(parameter >= 0)
            matrix[parameter[orbits], orbits] = 1
        return matrix


class DiagramFrame:
    """Coordinates of maps between two tensors by the coefficients of
    the diagrams that come closest.
    """

    def __init__(self, pattern: SharingPattern) -> None:
        self.size = pattern.output.size * pattern.input.size
        placed = [(d, pattern.entries(d)) for d in pattern.diagrams]
        maps = [
            (entries == d.offset + k).reshape(-1) for d, entries in placed for k in range(d.count)
        ]
        self.maps = torch.from_numpy(np.array(maps, dtype=np.float64).reshape(len(maps), self.size))
        self.inverse = torch.linalg.pinv(self.maps)

    def fit(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        """The coordinates of matrices ``(entries, channels)``, and the
        equivariant ones that have these.
        """
        coefficients = self.inverse.T.to(entries) @ entries
        return coefficients, self.maps.T.to(entries) @ coefficients

    def diagrams(self) -> np.ndarray:
        """The diagrams' coordinates: each is its own."""
        return np.eye(len(self.maps))


def frame_of(pattern: SharingPattern) -> OrbitFrame | DiagramFrame:
    """The coordinates of maps between two tensors."""
    return OrbitFrame(pattern) if pattern.has_orbits else DiagramFrame(pattern)


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


def _places(coordinates: Coordinates) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """For every pair of tensors, row and column of one entry of every orbit.

    Raises:
        NotImplementedError: a group mixes neurons, so that there are no orbits.
    """
    places = {}
    for pair, frame in coordinates.frames.items():
        if not isinstance(frame, OrbitFrame):
            raise NotImplementedError("no orbits")
        places[pair] = _representatives(frame.labels, coordinates.patterns[pair].dimension)
    return places


def _representatives(labels: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """Row and column of the first index pair of every orbit."""
    _, first = np.unique(
        np.append(labels.reshape(-1).numpy(), np.arange(-1, dimension)), return_index=True
    )
    rows, columns = np.divmod(first[1:], max(labels.shape[1], 1))
    return torch.from_numpy(rows), torch.from_numpy(columns)


class LinearLayer:
    """A layer run on unit vectors: its matrix and its bias at any values of its parameters.

    ``fn`` returns a dict of outputs, or one tensor ``(batch, ...)`` of invariant features, the
    channels of an output ``""``.
    """

    def __init__(
        self,
        fn: Callable[[Features], Any],
        module: nn.Module | None,
        inputs: Space,
        channels: int,
        seed: int,
    ) -> None:
        self.fn, self.module, self.inputs, self.channels = fn, module, inputs, channels
        named = module.named_parameters() if module is not None else ()
        self.parameters = {
            name: p for name, p in named if p.requires_grad and p.is_floating_point()
        }
        self.is_invariant = False
        self.generator = torch.Generator().manual_seed(seed)

    def run(self, x: Features) -> Features:
        with torch.no_grad(), double_precision():
            result = self.fn(x)
        self.is_invariant = isinstance(result, Tensor)
        if isinstance(result, Tensor):
            return {"": result.reshape(result.shape[0], -1)}
        return {name: tensor.detach() for name, tensor in result.items()}

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Sets the parameters, and lets a module that caches what it makes of them make it anew."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])
        if self.module is not None:
            self.module.train().eval()

    def entries(self, coordinates: Coordinates, constants: Coordinates) -> tuple[Tensor, Tensor]:
        """One entry of every orbit of the map and of the bias, by channels,
        with gradients: what ``Point`` has flat.
        """
        places = _places(coordinates)
        columns = {
            t: sorted({int(j) for (_, u), (_, js) in places.items() if u == t for j in js})
            for t in self.inputs
        }
        x, first = self.units(columns)
        with torch.enable_grad(), double_precision():
            y = self.fn(x)
            named = {"": y.reshape(len(y), -1)} if isinstance(y, Tensor) else y
            maps, biases = [], []
            for (s, t), (rows, js) in places.items():
                flat = named[s].reshape(len(named[s]), coordinates.outputs[s].size, -1)
                samples = (
                    first[t]
                    + torch.tensor([columns[t].index(int(j)) for j in js], dtype=torch.int64)
                    * self.channels
                )
                picked = [flat[samples + c, rows] - flat[-1, rows] for c in range(self.channels)]
                maps.append(torch.stack(picked, 1).reshape(-1))  # (orbits, c_in, c_out)
            for (s, _), (rows, _) in _places(constants).items():
                flat = named[s].reshape(len(named[s]), coordinates.outputs[s].size, -1)
                biases.append(flat[-1, rows].reshape(-1))
        return torch.cat(maps), torch.cat(biases)

    def units(self, columns: Mapping[str, Sequence[int]]) -> tuple[Features, dict[str, int]]:
        """Unit vectors of these entries, every channel, as one batch that ends
        with zero; and where each input's begin.
        """
        count = sum(map(len, columns.values())) * self.channels + 1
        x = {
            name: torch.zeros(count, tensor.size, self.channels, dtype=torch.float64)
            for name, tensor in self.inputs.items()
        }
        first, place = {}, 0
        for name, numbers in columns.items():
            first[name] = place
            for number in numbers:
                for channel in range(self.channels):
                    x[name][place, number, channel] = 1
                    place += 1
        return {
            name: entries.reshape(count, *self.inputs[name].shape, self.channels)
            for name, entries in x.items()
        }, first

    def draw(self, batch: int) -> Features:
        return {
            name: self.normal((batch, *t.shape, self.channels)) for name, t in self.inputs.items()
        }

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Random numbers from the layer's own seed."""
        return torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64)

    def check_size(self, outputs: Space) -> None:
        """Check that the matrices for all parameters fit.

        Raises:
            TooLargeError: they would hold too many entries.
        """
        count = sum(p.numel() for p in self.parameters.values())
        entries = (count + 1) * self.inputs.size * outputs.size * self.channels
        if entries > ENTRY_LIMIT:
            raise TooLargeError(
                f"certify would run the layer for {count:,} parameters on {self.inputs.size:,} "
                f"inputs and {outputs.size:,} outputs, {entries:,} matrix entries; the limit is "
                f"{ENTRY_LIMIT:,}. Certify the same layer on a narrower architecture, with one "
                "channel."
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
            if not largest(difference) < 1e-8 * (1 + largest(left)) or not bool(
                difference[name].isfinite().all()
            ):
                raise VerificationError(
                    f"certify is for linear layers, but output '{name}' is not linear in the "
                    f"features (off by {largest(difference):.2g}). For any other function use "
                    "verify.equivariance."
                )

    def matrices(
        self, space: Space
    ) -> tuple[dict[tuple[str, str], Tensor], dict[tuple[str, str], Tensor], int]:
        """For every pair the matrix ``(size of s, size of t, c_in * c_out)``; the biases
        ``(size of s, 1, c_out)``; and c_out.
        """
        sizes = {name: tensor.size * self.channels for name, tensor in self.inputs.items()}
        eye = torch.eye(sum(sizes.values()), dtype=torch.float64)
        x, start = {}, 0
        for name, size in sizes.items():
            x[name] = eye[:, start : start + size].reshape(
                -1, *self.inputs[name].shape, self.channels
            )
            start += size
        zero = self.run({name: torch.zeros_like(tensor[:1]) for name, tensor in x.items()})
        result = {name: tensor - zero[name] for name, tensor in self.run(x).items()}
        biases, matrices, channels = {}, {}, 1
        for s, tensor in space.items():
            biases[s, ""] = zero[s].reshape(tensor.size, 1, -1)
            channels = biases[s, ""].shape[-1]
            start = 0
            for t, size in sizes.items():
                part = result[s][start : start + size].reshape(
                    -1, self.channels, tensor.size, channels
                )
                matrices[s, t] = part.permute(2, 0, 1, 3).reshape(
                    tensor.size, -1, self.channels * channels
                )
                start += size
        return matrices, biases, channels


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
