"""Weights of many networks, filled in one by one: in memory, or in a file on the disk where they would take too much of it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from symnet.errors import FileError
from symnet.files import reason

__all__ = ["GrowingWeights"]


class GrowingWeights:
    """Tensors `{name: (networks, *axes)}`, float32, into which networks are written one after another.

    Above `most_memory` bytes they lie in a file without a name in the folder for temporary files (`TMPDIR`), mapped into
    memory: what is not looked at takes none, and the file goes with the last tensor.

    Args:
        shapes: of one network.
        capacity: the most networks that may come; those that do not come take no room.
        most_memory: bytes.

    Raises:
        FileError: the disk is full.

    Example:
        >>> grown = GrowingWeights({"a": (2,)}, capacity=3, most_memory=0)
        >>> grown.append({"a": torch.tensor([1.0, 2.0])})
        >>> grown.weights()["a"]
        tensor([[1., 2.]])
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], capacity: int, most_memory: int
    ) -> None:
        self.count = 0
        size = 4 * capacity * sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values())
        self.on_disk = size > most_memory and capacity > 0
        self._tensors = {name: self._empty((capacity, *shape)) for name, shape in shapes.items()}

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        if not self.on_disk or 0 in shape:
            return torch.empty(shape)
        try:
            with tempfile.TemporaryFile(prefix="symnet-weights-") as file:
                return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))
        except OSError as error:
            raise FileError(
                f"Weights of shape {shape} cannot be kept in {tempfile.gettempdir()}: {reason(error)}. "
                "Set TMPDIR to a folder with room, or raise most_memory=."
            ) from error

    def append(self, state: Mapping[str, Tensor]) -> None:
        """Write the next network."""
        for name, tensor in self._tensors.items():
            tensor[self.count] = state[name]
        self.count += 1

    def keep(self, rows: Sequence[int]) -> None:
        """Keep these networks alone, numbered in rising order."""
        for tensor in self._tensors.values():
            for place, row in enumerate(rows):
                if place != row:
                    tensor[place] = tensor[row]
        self.count = len(rows)

    def weights(self) -> dict[str, Tensor]:
        """The networks so far; of tensors in memory no more is kept than they fill."""
        used = {name: tensor[: self.count] for name, tensor in self._tensors.items()}
        full = all(len(tensor) == self.count for tensor in self._tensors.values())
        return (
            used
            if self.on_disk or full
            else {name: tensor.clone() for name, tensor in used.items()}
        )
