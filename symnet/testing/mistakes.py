"""Nearly right layers: derived, then changed in a single entry that the group does not leave alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor, nn

from symnet.graph import NeuronGraph, Space
from symnet.nn import Linear
from symnet.sharing import EquivariantMaps, SharingPattern
from symnet.tracing.execution import random_numbers


class WrongLayer(nn.Module):
    """A linear layer that is equivariant but for one entry of its matrix, or one of its bias.

    right: the layer without the mistake; where: the mistake in words; tensor: the output that it shows in.
    """

    def __init__(
        self, right: Linear, output: str, row: int, source: str | None, column: int
    ) -> None:
        super().__init__()
        self.right, self.tensor, self.row, self.source, self.column = (
            right,
            output,
            row,
            source,
            column,
        )

    @property
    def where(self) -> str:
        """The mistake in words."""
        begin = "a bias" if self.source is None else f"entry {self.column} of '{self.source}'"
        return f"{begin} added to entry {self.row} of '{self.tensor}' alone"

    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        y = self.right(x)
        changed = y[self.tensor].clone()
        flat = changed.view(changed.shape[0], -1, changed.shape[-1])
        if self.source is None:
            flat[:, self.row] += 1.0
        else:
            source = x[self.source]
            flat[:, self.row] += source.reshape(source.shape[0], -1, source.shape[-1])[
                :, self.column, :1
            ]
        return {**y, self.tensor: changed}

    def extra_repr(self) -> str:
        return self.where


@st.composite
def wrong_layers(draw: st.DrawFn, graph: NeuronGraph, channels: int = 1) -> WrongLayer:
    """A layer on a graph's weights that a verifier must reject: an untied weight, a bias on one neuron.

    The entry that is changed lies in an orbit of two or more, or must be zero. Graphs without such entries (a group of
    one element) are discarded.

    Example:
        >>> import symnet as sn
        >>> from hypothesis import find
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> layer = find(wrong_layers(graph), lambda layer: layer.source is not None)
        >>> layer.where
        "entry 0 of '0.weight' added to entry 0 of '0.weight' alone"
        >>> sn.verify.equivariance(layer.double(), graph, seed=0).passed
        False
        >>> sn.verify.equivariance(layer.right.double(), graph, seed=0).passed
        True
    """
    space = graph.space()
    bias = draw(st.booleans())
    inputs = Space(space.neurons, {"constant": ""}) if bias else space
    output = draw(st.sampled_from(list(space)))
    source = draw(st.sampled_from(list(inputs)))
    wrong = _wrong_entries(EquivariantMaps(inputs, space).between(output, source))
    assume(len(wrong))
    row, column = wrong[draw(st.integers(0, len(wrong) - 1))].tolist()
    with random_numbers():
        right = Linear(graph, channels, channels, dtype=torch.float64)
    return WrongLayer(right, output, row, None if bias else source, column)


def _wrong_entries(pattern: SharingPattern) -> np.ndarray:
    """Row and column of every matrix entry that is no equivariant map by itself."""
    if pattern.has_orbits:
        labels = pattern.labels()
        sizes = np.bincount(labels[labels >= 0], minlength=1)
        return np.argwhere((labels < 0) | (sizes[labels] > 1))
    shape = pattern.output.size, pattern.input.size
    # One entry alone is a map exactly if it lies in the span of the diagrams.
    maps = [
        pattern.entries(placed) == placed.offset + k
        for placed in pattern.diagrams
        for k in range(placed.count)
    ]
    flat = np.array(maps, dtype=float).reshape(len(maps), shape[0] * shape[1])
    basis, values, _ = np.linalg.svd(flat.T, full_matrices=False)
    inside = (
        (basis[:, values > 1e-9] ** 2).sum(1).reshape(shape)
    )  # squared length of the projection
    return np.argwhere(inside < 1 - 1e-9)
