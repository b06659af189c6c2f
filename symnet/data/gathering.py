"""From untrusted files to stacked weights: every network is checked against the graph, and a bad one is refused or skipped by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from symnet.errors import SymnetError
from symnet.graph import NeuronGraph
from symnet.nn.features import features

__all__ = ["BrokenNetworkError", "Gatherer", "OnError", "read_json"]

OnError = Literal["raise", "skip"]
Weights = dict[str, Tensor]  # one network: name -> (*axes)


class BrokenNetworkError(SymnetError):
    """A file, or a row of one, that holds no network that can be used; names it and says why."""


def read_json(path: Path) -> Any:
    """What a JSON file says.

    Raises:
        BrokenNetworkError: no such file, or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BrokenNetworkError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error


@dataclass
class Gatherer:
    """Collects networks of one graph, one after another.

    Args:
        graph: what they must fit.
        on_error: whether a network that does not fit stops the reading, or is left out and noted in `skipped`.

    Raises:
        SymnetError: `on_error` is neither.
    """

    graph: NeuronGraph
    on_error: OnError = "raise"
    names: list[str] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _found: list[Weights] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            raise SymnetError(f"on_error={self.on_error!r}: it is 'raise' or 'skip'.")

    def add(self, name: str, read: Callable[[], Mapping[str, Tensor]], row: Mapping[str, float]) -> None:
        """One network: its name, how its weights are read, and its columns.

        Raises:
            BrokenNetworkError: it cannot be used, and `on_error` is "raise".
        """
        try:
            weights = self._checked(read())
        except SymnetError as error:
            text = str(error) if name in str(error) else f"{name}: {error}"
            if self.on_error == "raise":
                raise BrokenNetworkError(f"{text} Remove it, or pass on_error='skip'.") from error
            self.skipped.append(text)
            return
        self.names.append(name)
        self.rows.append(dict(row))
        self._found.append(weights)

    def _checked(self, state: Mapping[str, Tensor]) -> Weights:
        one = {name: tensor[0, ..., 0].float() for name, tensor in features(state, self.graph).items()}
        if bad := [name for name, tensor in one.items() if not tensor.isfinite().all()]:
            raise BrokenNetworkError(f"'{bad[0]}' holds numbers that are not finite.")
        return one

    def stacked(self, where: Path) -> Weights:
        """All of them, `{name: (networks, *axes)}` in float32.

        Raises:
            BrokenNetworkError: there are none.
        """
        if not self._found:
            why = f"all {len(self.skipped)} were skipped; the first: {self.skipped[0]}" if self.skipped else "none is there"
            raise BrokenNetworkError(f"{where} holds no network that can be used: {why}.")
        return {name: torch.stack([weights[name] for weights in self._found]) for name in self.graph.shapes}

    def columns(self) -> dict[str, Tensor]:
        """The columns: whole numbers as int64, others as float32."""
        return {name: column([row[name] for row in self.rows]) for name in (self.rows[0] if self.rows else ())}


def column(values: Iterable[float]) -> Tensor:
    """Numbers as a tensor: int64 if all are Python's whole numbers, float32 otherwise.

    Example:
        >>> column([1, 2]).dtype, column([1, 2.5]).dtype
        (torch.int64, torch.float32)
    """
    values = list(values)
    whole = all(isinstance(value, int) for value in values)
    return torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
