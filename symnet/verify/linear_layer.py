"""A linear layer whose maps are read from its values at unit features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TooLargeError, VerificationError
from symnet.graph import Space
from symnet.tracing.execution import double_precision
from symnet.verify.comparison import largest
from symnet.verify.map_coordinates import Coordinates, OrbitFrame

Features = dict[str, Tensor]


ENTRY_LIMIT = 2**30  # entries of all matrices of a family together


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
        """Sets the parameters, and lets a module that caches what it
        makes of them make it again.
        """
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
