"""MixedNetworks: networks of several architectures, a set for each, with their columns in one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from symnet.data.network_set import NetworkSet
from symnet.data.splits import known_rows, split_rows
from symnet.errors import SymnetError
from symnet.graph import NeuronGraph

__all__ = ["MixedNetworks"]


@dataclass(frozen=True, eq=False)
class MixedNetworks:
    """Networks of several architectures, numbered set after set.

    Args:
        sets: one for each architecture.
        parts: numbers of networks by split.
        skipped: what was left out, and why.
        notes: what was done to the files so that they could be read.

    Raises:
        SymnetError: there is no set, or two of one architecture.

    Example:
        >>> from symnet.graph import catalogue
        >>> sets = [
        ...     NetworkSet(graph, {name: torch.zeros(3, *s) for name, s in graph.shapes.items()}, {"label": np.arange(3)})
        ...     for graph in (catalogue.mlp([2, 4, 1]), catalogue.mlp([2, 5, 5, 1]))
        ... ]
        >>> MixedNetworks(tuple(sets))
        MixedNetworks(6 networks of 2 architectures, columns ['label'])
    """

    sets: tuple[NetworkSet, ...]
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        graphs = [each.graph for each in self.sets]
        if not graphs or any(graph in graphs[:number] for number, graph in enumerate(graphs)):
            raise SymnetError(
                f"MixedNetworks got {len(graphs)} sets: give one at least, and each of an architecture of its own."
            )

    @property
    def graphs(self) -> tuple[NeuronGraph, ...]:
        """The architectures."""
        return tuple(each.graph for each in self.sets)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What is known about every network: the columns that all sets have."""
        shared = [
            name for name in self.sets[0].columns if all(name in each.columns for each in self.sets)
        ]
        return {name: np.concatenate([each.columns[name] for each in self.sets]) for name in shared}

    @property
    def architecture(self) -> np.ndarray:
        """Of each network the number of its set, `(networks,)`."""
        return np.repeat(np.arange(len(self.sets)), [len(each) for each in self.sets])

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __getitem__(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"network {number} of {len(self)}")
        ((place, row),) = self._placed([number % len(self)])
        return self.sets[place][row[0]]

    def _placed(self, rows: Sequence[int] | np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Of each set that has some of these networks its number and their numbers in it."""
        index = np.asarray(rows, dtype=np.int64)
        starts = np.cumsum([0, *map(len, self.sets)])
        for number in range(len(self.sets)):
            inside = index[(index >= starts[number]) & (index < starts[number + 1])]
            if len(inside):
                yield number, inside - starts[number]

    def select(self, rows: Sequence[int] | np.ndarray) -> MixedNetworks:
        """The networks of these numbers, set after set; splits are those of the whole, and do not come along."""
        chosen = tuple(self.sets[number].select(inside) for number, inside in self._placed(rows))
        return MixedNetworks(chosen, skipped=self.skipped, notes=self.notes)

    def split(self, *, by: str | None = None, seed: int = 0, **shares: float) -> MixedNetworks:
        """The same networks in parts; see :meth:`NetworkSet.split`."""
        parts = split_rows(len(self), shares, self.columns, by, seed)
        return MixedNetworks(self.sets, parts, self.skipped, self.notes)

    def known(self, column: str) -> MixedNetworks:
        """The networks whose value in a column is known; the others are named in `skipped`.

        Raises:
            SymnetError: there is no such column, or no value in it.
        """
        kept, without = known_rows(self.columns, column)
        if not len(without):
            return self
        return replace(self.select(kept), skipped=(*self.skipped, *without))

    def part(self, name: str) -> MixedNetworks:
        """One of the splits."""
        if name not in self.parts:
            raise SymnetError(
                f"There is no part '{name}'; this set has {', '.join(self.parts) or 'no splits'}."
            )
        return self.select(self.parts[name])

    def batches(
        self, size: int = 64, *, shuffle: bool = True, seed: int = 0
    ) -> Iterator[tuple[NeuronGraph, dict[str, Tensor], dict[str, Any]]]:
        """Every network once: batches of one architecture each, architectures in turn, with graph, weights and columns."""
        rng = np.random.default_rng(seed)
        chunks: list[tuple[int, np.ndarray]] = []
        for number, each in enumerate(self.sets):
            order = rng.permutation(len(each)) if shuffle else np.arange(len(each))
            chunks += [
                (number, order[start : start + size]) for start in range(0, len(order), size)
            ]
        for place in rng.permutation(len(chunks)) if shuffle else range(len(chunks)):
            number, rows = chunks[place]
            chosen = self.sets[number]
            index = torch.from_numpy(rows)
            weights = {name: tensor[index] for name, tensor in chosen.weights.items()}
            yield (
                chosen.graph,
                weights,
                {name: values[rows] for name, values in chosen.columns.items()},
            )

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"MixedNetworks({len(self)} networks of {len(self.sets)} architectures, columns {list(self.columns)}{left})"
