"""NetworkSet: networks of one architecture with what is known about each, wherever they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from symnet.errors import StateFileError, SymnetError
from symnet.files import STATE_SUFFIXES, read_state_file
from symnet.graph import NeuronGraph

__all__ = ["NetworkSet", "OnError", "collect_networks", "read_folder"]

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class NetworkSet:
    """Networks of one architecture; a data set for torch, whose items are pairs of weights and columns.

    Args:
        graph: their architecture.
        weights: `{name: (networks, *axes)}`.
        columns: what is known about each network, `{name: (networks, ...)}`: labels, accuracies, file names.
        parts: numbers of networks by split, `{"train": (n,) int64}`, where the source has splits.
        forward: what function the weights are of, in words.
        skipped: what was left out, and why.

    Raises:
        SymnetError: tensors or columns that do not fit the graph or each other.
    """

    graph: NeuronGraph
    weights: Mapping[str, Tensor]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    forward: str = ""
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(tensor) for name, tensor in self.weights.items()}
        lengths |= {name: len(values) for name, values in self.columns.items()}
        shapes = {name: tuple(tensor.shape[1:]) for name, tensor in self.weights.items()}
        if shapes != dict(self.graph.shapes) or len(set(lengths.values())) > 1:
            raise SymnetError(
                f"A set of networks with tensors {shapes} and lengths {lengths} does not fit its graph, whose tensors are "
                f"{dict(self.graph.shapes)}: give {{name: (networks, *axes)}} for every tensor, and as many entries in every column."
            )

    def __len__(self) -> int:
        return len(next(iter(self.weights.values()), ()))

    def __getitem__(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"network {number} of {len(self)}")
        return {name: t[number] for name, t in self.weights.items()}, {k: v[number] for k, v in self.columns.items()}

    def select(self, rows: Sequence[int] | np.ndarray) -> NetworkSet:
        """The networks of these numbers; splits are those of the whole, and do not come along."""
        index = np.asarray(rows, dtype=np.int64)
        weights = {name: tensor[torch.from_numpy(index)] for name, tensor in self.weights.items()}
        columns = {name: values[index] for name, values in self.columns.items()}
        return NetworkSet(self.graph, weights, columns, forward=self.forward, skipped=self.skipped)

    def part(self, name: str) -> NetworkSet:
        """One of the source's splits."""
        if name not in self.parts:
            raise SymnetError(f"There is no part '{name}'; this set has {', '.join(self.parts) or 'no splits'}.")
        return self.select(self.parts[name])

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"NetworkSet({len(self)} networks, {self.graph.weights.size} weights each, columns {list(self.columns)}{left})"


def collect_networks(
    paths: Iterable[Path],
    graph: NeuronGraph,
    read: Callable[[Path], tuple[dict[str, Tensor], dict[str, Any]]],
    *,
    on_error: OnError = "raise",
    forward: str = "",
) -> NetworkSet:
    """One network a file; a file that cannot be used is refused by name, or left out and named in `skipped`.

    Args:
        read: weights by the graph's keys, and the file's row of the columns.
        on_error: what to do with a file that is damaged, of another architecture, or has entries that are not finite.

    Raises:
        SymnetError: such a file with `on_error="raise"`, or none that can be used.
    """
    states, rows, skipped = [], [], []
    for path in paths:
        try:
            state, row = read(path)
            states.append(fitting(state, graph, str(path)))
            rows.append(row)
        except SymnetError as error:
            if on_error == "raise":
                raise
            skipped.append(str(error))
    if not states:
        raise SymnetError(f"No network could be read{f'; first: {skipped[0]}' if skipped else ': there are no files'}.")
    weights = {name: torch.stack([state[name] for state in states]) for name in graph.shapes}
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return NetworkSet(graph, weights, columns, forward=forward, skipped=tuple(skipped))


def fitting(state: Mapping[str, Tensor], graph: NeuronGraph, where: str) -> dict[str, Tensor]:
    """The graph's tensors of a state dict, float32.

    Raises:
        StateFileError: one is missing, misshapen, complex, or not finite.
    """
    found = {}
    for name, shape in graph.shapes.items():
        if name not in state or tuple(state[name].shape) != shape:
            given = tuple(state[name].shape) if name in state else f"missing (there are {', '.join(list(state)[:8])})"
            raise StateFileError(
                f"{where}: tensor '{name}' should be {shape} and is {given}; is it another architecture?"
            )
        if state[name].is_complex():
            raise StateFileError(
                f"{where}: tensor '{name}' is complex, and networks are read as real numbers: its imaginary part would be "
                "lost. Save real and imaginary parts as two tensors, and declare both."
            )
        found[name] = state[name].detach().float()
        if not bool(found[name].isfinite().all()):
            raise StateFileError(f"{where}: tensor '{name}' has entries that are not finite, as float32.")
    return found


def read_folder(folder: str | Path, graph: NeuronGraph, *, on_error: OnError = "raise") -> NetworkSet:
    """The networks in a folder of one's own checkpoints (.pt, .pth, .safetensors), in order of their paths.

    Args:
        folder: searched with all folders in it.
        graph: of the networks; further entries of the state dicts are left alone.
        on_error: "raise", or "skip" what cannot be used.

    Raises:
        SymnetError: a file that cannot be used, or no file at all.

    Example:
        >>> import tempfile
        >>> from symnet.graph import catalogue
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for seed in range(3):
        ...         torch.save(torch.nn.Sequential(torch.nn.Linear(2, 1)).state_dict(), f"{place}/{seed}.pt")
        ...     read_folder(place, catalogue.mlp([2, 1]))
        NetworkSet(3 networks, 3 weights each, columns ['path'])
    """
    root = Path(folder)
    paths = sorted(path for path in root.rglob("*") if path.suffix in STATE_SUFFIXES)
    if not paths:
        raise SymnetError(f"{root} holds no checkpoints (.pt, .pth, .safetensors); save networks' state_dict() there.")
    return collect_networks(
        paths, graph, lambda path: (read_state_file(path), {"path": str(path.relative_to(root))}), on_error=on_error
    )
