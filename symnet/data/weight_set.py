"""Weights of many networks of one architecture, with what is known about each: what every loader of `symnet.data` returns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from symnet.data.state_files import StateFileError, read_state_file, write_state_file
from symnet.errors import ShapeError, SymnetError
from symnet.graph import NeuronGraph, parse

__all__ = ["Card", "WeightSet"]

_CARD, _WEIGHTS = "card.json", "networks.safetensors"


@dataclass(frozen=True, slots=True)
class Card:
    """What a corpus is: for people, and for the programs that evaluate its networks."""

    name: str
    architecture: str
    forward: str  # what a network computes from its weights
    training: str  # how the networks came about
    splits: str  # how they are parted, and what two parts never share
    constants: Mapping[str, float] = field(default_factory=dict)  # numbers in `forward`: omega, shift
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column of numbers -> what 0, 1, ... mean

    def to_markdown(self) -> str:
        """The card as a page.

        Example:
            >>> print(Card("demo", "2-3-1", "W x + b", "by hand", "none").to_markdown().splitlines()[0])
            # demo
        """
        parts = [f"# {self.name}"]
        for title in ("architecture", "forward", "training", "splits"):
            parts.append(f"**{title.capitalize()}.** {getattr(self, title)}")
        parts += [f"- `{name}` = {value:g}" for name, value in self.constants.items()]
        parts += [
            f"- `{name}`: " + ", ".join(f"{number} {word}" for number, word in enumerate(words))
            for name, words in self.categories.items()
        ]
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, eq=False)
class WeightSet(Dataset[tuple[dict[str, Tensor], dict[str, Tensor]]]):
    """Networks of one architecture; item `i` is the weights and the columns of network `i`.

    Args:
        graph: the architecture.
        weights: `{name: (networks, *axes)}`, the names and axes of the graph.
        columns: what is known about every network, `{name: (networks, ...)}`.
        splits: numbers of networks by the part's name; no network is in two parts.
        card: what the corpus is.
        names: where every network came from, if that is known.
        skipped: what was left out when reading, and why.

    Raises:
        ShapeError: tensors that do not fit the graph or each other, or parts that overlap.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([2, 3, 1])
        >>> weights = {name: torch.zeros(5, *shape) for name, shape in graph.shapes.items()}
        >>> card = Card("zeros", "2-3-1", "MLP", "none", "none")
        >>> nets = WeightSet(graph, weights, {"score": torch.arange(5.0)}, {"test": torch.tensor([3, 4])}, card)
        >>> len(nets), nets.part("test").columns["score"].tolist(), nets.features["0.weight"].shape
        (5, [3.0, 4.0], torch.Size([5, 3, 2, 1]))
    """

    graph: NeuronGraph
    weights: dict[str, Tensor]
    columns: dict[str, Tensor]
    splits: dict[str, Tensor]
    card: Card
    names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [*self._misshapen(), *self._misplaced()]
        if problems:
            raise ShapeError(f"A WeightSet of {len(self)} networks does not fit together: {'; '.join(problems[:6])}.")

    def _misshapen(self) -> Iterable[str]:
        shapes, count = self.graph.shapes, len(self)
        if self.weights.keys() != shapes.keys():
            differing = sorted(self.weights.keys() ^ shapes.keys())
            yield f"the weights and the graph differ in {', '.join(differing[:4])}"
            return
        for name, tensor in self.weights.items():
            if tuple(tensor.shape) != (count, *shapes[name]):
                yield f"'{name}' must be {(count, *shapes[name])}, but is {tuple(tensor.shape)}"
        for name, column in self.columns.items():
            if column.dim() < 1 or len(column) != count:
                yield f"column '{name}' has {len(column) if column.dim() else 'no'} rows instead of {count}"
        if self.names and len(self.names) != count:
            yield f"there are {len(self.names)} names"

    def _misplaced(self) -> Iterable[str]:
        every = torch.cat([torch.zeros(0, dtype=torch.int64), *self.splits.values()])
        if len(every) and not 0 <= int(every.min()) <= int(every.max()) < len(self):
            yield f"the parts name networks {int(every.min())} to {int(every.max())}"
        if len(every.unique()) < len(every):
            yield f"the parts {', '.join(self.splits)} share networks"

    def __len__(self) -> int:
        return len(next(iter(self.weights.values()))) if self.weights else 0

    def __getitem__(self, item: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if not -len(self) <= item < len(self):
            raise IndexError(f"network {item} of {len(self)}")
        return tuple({name: t[item] for name, t in part.items()} for part in (self.weights, self.columns))  # type: ignore[return-value]

    @property
    def features(self) -> dict[str, Tensor]:
        """The weights with one channel, `{name: (networks, *axes, 1)}`: what layers take."""
        return {name: tensor.unsqueeze(-1) for name, tensor in self.weights.items()}

    def take(self, rows: Tensor) -> WeightSet:
        """Some of the networks, in this order and without parts: `rows` are numbers, or one yes or no for each."""
        rows = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        return replace(
            self,
            weights={name: tensor[rows] for name, tensor in self.weights.items()},
            columns={name: column[rows] for name, column in self.columns.items()},
            splits={},
            names=tuple(self.names[row] for row in rows.tolist()) if self.names else (),
        )

    def part(self, name: str) -> WeightSet:
        """The networks of one part.

        Raises:
            SymnetError: there is no such part.
        """
        if name not in self.splits:
            raise SymnetError(f"'{self.card.name}' has no part '{name}', but {', '.join(self.splits) or 'none at all'}.")
        return self.take(self.splits[name])

    def save(self, folder: str | Path) -> None:
        """Writes the networks as safetensors and all else as JSON.

        Raises:
            StateFileError: a folder that cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        groups = {"weights": self.weights, "columns": self.columns, "splits": self.splits}
        tensors = {f"{group}/{name}": t for group, content in groups.items() for name, t in content.items()}
        write_state_file(folder / _WEIGHTS, tensors)
        text = {"graph": str(self.graph), "card": asdict(self.card), "names": self.names, "skipped": self.skipped}
        (folder / _CARD).write_text(json.dumps(text, indent=1), encoding="utf-8")

    @staticmethod
    def load(folder: str | Path) -> WeightSet:
        """What `save` wrote; nothing in the files is executed.

        Raises:
            StateFileError: files that are missing or damaged.
            ShapeError: files that do not fit each other.
        """
        folder = Path(folder)
        try:
            text: dict[str, Any] = json.loads((folder / _CARD).read_text(encoding="utf-8"))
            categories = {name: tuple(words) for name, words in text["card"]["categories"].items()}
            card = Card(**{**text["card"], "categories": categories})
            graph, names, skipped = parse(text["graph"]), tuple(text["names"]), tuple(text["skipped"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateFileError(f"{folder / _CARD} cannot be read ({type(error).__name__}: {error}).") from error
        tensors = read_state_file(folder / _WEIGHTS)
        groups: dict[str, dict[str, Tensor]] = {"weights": {}, "columns": {}, "splits": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        weights = {name: groups["weights"].get(name, torch.zeros(0)) for name in graph.shapes}
        return WeightSet(graph, weights, groups["columns"], groups["splits"], card, names, skipped)

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(rows)} {name}" for name, rows in self.splits.items())
        return (
            f"WeightSet({self.card.name!r}: {len(self)} networks of {len(self.graph.shapes)} tensors"
            f"{f'; {parts}' if parts else ''}; columns {', '.join(self.columns) or 'none'}"
            f"{f'; {len(self.skipped)} skipped' if self.skipped else ''})"
        )
