"""Coordinates of equivariant maps: the orbits, or the diagrams, of every pair of tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from symnet.graph import Space
from symnet.sharing import EquivariantMaps, SharingPattern


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
