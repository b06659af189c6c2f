"""Configurations of transformers: the one, if there is one, that makes a model of the new sizes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from symnet.surgery.numbers import Changes, configs_of

Shapes = Mapping[str, tuple[int, ...]]
# Fields that are None where the code computes them from others.
_COMPUTED = ("n_inner", "head_dim", "ffn_dim", "intermediate_size", "num_key_value_heads")
_TRIES = 400  # models made without memory while a configuration is sought


class Configured:
    """A search over the fields of a configuration, by the shapes of the model that each choice makes."""

    def __init__(self, model: nn.Module, shapes: Shapes, changes: Changes) -> None:
        self.model, self.shapes, self.tries = model, shapes, 0
        self.fields = [
            (path, name, options) for path, config in configs_of(model) for name, options in _options(config, changes)
        ]

    def search(self) -> tuple[Any, nn.Module] | None:
        """A configuration with a model on the meta device that has the new shapes; None if none is found."""
        best = {field[:2]: field[2][0] for field in self.fields}
        start = {field[:2]: field[2][-1] for field in self.fields}
        best = min((best, start), key=self.mismatches)
        improved = True
        while improved and self.mismatches(best):
            improved = False
            for path, name, options in self.fields:
                for option in options:
                    other = best | {(path, name): option}
                    if self.tries < _TRIES and self.mismatches(other) < self.mismatches(best):
                        best, improved = other, True
        if self.mismatches(best):
            return None
        return self._minimal(best)

    def _minimal(self, choice: dict[tuple[str, str], Any]) -> tuple[Any, nn.Module] | None:
        """The choice with every field as it was that the shapes do not ask to change."""
        for path, name, options in self.fields:
            other = choice | {(path, name): options[-1]}
            if choice[path, name] != options[-1] and not self.mismatches(other):
                choice = other
        config = self.config(choice)
        made = self.make(config)
        return None if made is None or _other_factors(self.model, made) else (config, made)

    def config(self, choice: Mapping[tuple[str, str], Any]) -> Any:
        holder = nn.Module()
        holder.config = copy.deepcopy(self.model.config)
        for path, config in configs_of(holder):
            for (where, name), value in choice.items():
                if where == path:
                    setattr(config, name, copy.copy(value))
        return holder.config

    def make(self, config: Any) -> nn.Module | None:
        """The model of a configuration, on the meta device; None if its code refuses the numbers."""
        self.tries += 1
        try:
            with torch.random.fork_rng(devices=[]), torch.device("meta"):
                return type(self.model)(config)
        except Exception:  # whatever a model's code raises on sizes that do not fit
            return None

    def mismatches(self, choice: Mapping[tuple[str, str], Any]) -> float:
        """In how many entries of the state the model of a choice differs from the wanted shapes."""
        key = repr(sorted(choice.items()))
        known = self.__dict__.setdefault("_known", {})
        if key not in known:
            made = self.make(self.config(choice))
            shapes = {} if made is None else {n: tuple(t.shape) for n, t in made.state_dict().items()}
            wrong = sum(shapes.get(name) != shape for name, shape in self.shapes.items())
            known[key] = float("inf") if made is None else wrong + len(shapes.keys() - self.shapes.keys())
        return float(known[key])


def _options(config: Any, changes: Changes) -> list[tuple[str, list[Any]]]:
    """Fields that may hold a size that has changed, with their values: changed ones first, the old one last."""
    found: list[tuple[str, list[Any]]] = []
    for name, value in vars(config).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, int) and (changed := sorted(changes.get(value, set()) - {value})):
            found.append((name, [*changed, value]))
        elif value is None and name in _COMPUTED:
            found.append((name, [*sorted({new for news in changes.values() for new in news}), value]))
        elif isinstance(value, list) and value and all(type(n) is int for n in value):
            changed_list = [min(changes.get(n, {n}) - {n} or {n}) for n in value]
            if changed_list != value:
                found.append((name, [changed_list, value]))
    return found


def _other_factors(old: nn.Module, new: nn.Module) -> bool:
    """Whether some module of the new model computes with another factor than before (``head_dim ** -0.5`` of a cut head):
    its function would not be that of the masked model."""
    before = dict(old.named_modules())
    return any(
        isinstance(value, float) and vars(before[path]).get(name, value) != value
        for path, module in new.named_modules()
        if path in before
        for name, value in vars(module).items()
    )


def adopt(model: nn.Module, config: Any, made: nn.Module) -> None:
    """Writes a configuration, and the numbers of the modules that it makes, into a model of the same structure."""
    model.config.__dict__.update(config.__dict__)
    source = dict(made.named_modules())
    for path, module in model.named_modules():
        if path not in source:
            continue
        for name, value in vars(source[path]).items():
            if isinstance(value, (int, tuple)) and not name.startswith("_") and name != "training":
                setattr(module, name, value)
