"""NetworkSet: networks of one architecture with what is known about each, wherever they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from symnet.data.splits import known_rows, split_rows
from symnet.errors import StateFileError, SymnetError
from symnet.graph import NeuronGraph

__all__ = ["NetworkSet", "OnError", "collect_networks", "fitting"]

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
        notes: what was done to the files so that they could be read.

    Raises:
        SymnetError: tensors or columns that do not fit the graph or each other.
    """

    graph: NeuronGraph
    weights: Mapping[str, Tensor]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    forward: str = ""
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
        return {name: t[number] for name, t in self.weights.items()}, {
            k: v[number] for k, v in self.columns.items()
        }

    def select(self, rows: Sequence[int] | np.ndarray) -> NetworkSet:
        """The networks of these numbers; splits are those of the whole, and do not come along."""
        index = np.asarray(rows, dtype=np.int64)
        weights = {name: tensor[torch.from_numpy(index)] for name, tensor in self.weights.items()}
        columns = {name: values[index] for name, values in self.columns.items()}
        return replace(self, weights=weights, columns=columns, parts={})

    def split(self, *, by: str | None = None, seed: int = 0, **shares: float) -> NetworkSet:
        """The same networks in parts: the shares that are named, and the rest in the part `train`.

        Args:
            by: a column; networks of one value stay together, such as several fits of one image or one run's checkpoints.
            seed: of the draw.
            shares: as in `validation=0.2, test=0.2`.

        Raises:
            SymnetError: shares that leave nothing to learn from or a part empty, or no such column.

        Example:
            >>> from symnet.graph import catalogue
            >>> graph = catalogue.mlp([2, 1])
            >>> weights = {name: torch.zeros(10, *shape) for name, shape in graph.shapes.items()}
            >>> networks = NetworkSet(graph, weights, {"image": np.arange(10) // 2})
            >>> parts = networks.split(test=0.4, by="image").parts
            >>> {name: len(rows) for name, rows in parts.items()}
            {'train': 6, 'test': 4}
        """
        return replace(self, parts=split_rows(len(self), shares, self.columns, by, seed))

    def loader(self, batch: int = 64, *, shuffle: bool = True, seed: int = 0) -> DataLoader[Any]:
        """torch's loader: batches of weights `{name: (batch, *axes)}` and of columns; texts come as lists."""
        generator = torch.Generator().manual_seed(seed)
        sampler = BatchSampler(
            RandomSampler(self, generator=generator) if shuffle else SequentialSampler(self),
            batch,
            drop_last=False,
        )
        return DataLoader(_Rows(self), sampler=sampler, batch_size=None)

    def known(self, column: str) -> NetworkSet:
        """The networks whose value in a column is known; the others are named in `skipped`.

        Raises:
            SymnetError: there is no such column, or no value in it.
        """
        kept, without = known_rows(self.columns, column)
        if not len(without):
            return self
        return replace(self.select(kept), skipped=(*self.skipped, *without))

    def part(self, name: str) -> NetworkSet:
        """One of the source's splits."""
        if name not in self.parts:
            raise SymnetError(
                f"There is no part '{name}'; this set has {', '.join(self.parts) or 'no splits'}."
            )
        return self.select(self.parts[name])

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"NetworkSet({len(self)} networks, {self.graph.weights.size} weights each, columns {list(self.columns)}{left})"


class _Rows(Dataset[Any]):
    """Batches of a set by their rows: one look-up a tensor, where torch would put a batch together network by network."""

    def __init__(self, networks: NetworkSet) -> None:
        self.networks = networks

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, rows: list[int]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        chosen = self.networks.select(rows)
        columns = {
            name: values.tolist() if values.dtype.kind in "OSU" else torch.from_numpy(values)
            for name, values in chosen.columns.items()
        }
        return dict(chosen.weights), columns


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
        raise SymnetError(
            f"No network could be read{f'; first: {skipped[0]}' if skipped else ': there are no files'}."
        )
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
            given = (
                tuple(state[name].shape)
                if name in state
                else f"missing (there are {', '.join(list(state)[:8])})"
            )
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
            raise StateFileError(
                f"{where}: tensor '{name}' has entries that are not finite, as float32."
            )
    return found
