"""The numbers in a module's attributes that stand for sizes, and what
they may become when sizes change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from torch import nn

from symnet.graph import NeuronGraph
from symnet.graph.blocks import axis_size
from symnet.graph.notation import (
    Alternatives,
    Anonymous,
    Axis,
    Composite,
    Concatenation,
    Interleaving,
    Symbol,
)
from symnet.surgery.layer_sizes import is_torch_layer, part_counts

# an old size -> what it has become; itself if it has stayed somewhere
Changes = dict[int, set[int]]


@dataclass(frozen=True)
class Number:
    """A whole number of a module (or of its configuration) that may be a size:
    where it stands, and what it may become.
    """

    path: str  # of the module, or "config"
    name: str
    owner: Any
    old: int
    options: tuple[int, ...]  # changed values first, the old one last

    def __str__(self) -> str:
        return f"{self.path}.{self.name} = {self.old}".lstrip(".")

    @property
    def signature(self) -> tuple[str, str, int, tuple[int, ...]]:
        """What numbers of repeated layers have in common: they change alike."""
        return type(self.owner).__name__, self.name, self.old, self.options

    def write(self, value: int) -> None:
        setattr(self.owner, self.name, value)


def changes_of(old: NeuronGraph, new: NeuronGraph, tensors: Iterable[str]) -> Changes:
    """What sizes become on the axes of some tensors: of whole axes, of their
    factors, and of factors side by side.
    """
    before = {name: s.size for name, s in old.neurons.items()}
    after = {name: s.size for name, s in new.neurons.items()}
    changes: Changes = {}
    for tensor in tensors:
        for axis in old.weights[tensor].axes:
            for part in _parts(axis):
                changes.setdefault(axis_size(part, before), set()).add(axis_size(part, after))
    return changes


def _parts(axis: Axis) -> Iterator[Axis]:
    """An axis, its factors and parts, and every run of neighbouring factors."""
    yield axis
    match axis:
        case Composite(factors):
            for start in range(len(factors)):
                for stop in range(start + 2, len(factors) + 1):
                    yield Composite(factors[start:stop])
            for factor in factors:
                yield from _parts(factor)
        case Concatenation(parts) | Interleaving(parts) | Alternatives(parts):
            for part in parts:
                yield from _parts(part)
        case Symbol() | Anonymous():
            return
        case _:
            assert_never(axis)


def numbers_in(
    model: nn.Module, by_tensor: Mapping[str, Changes], everything: Changes
) -> list[Number]:
    """Every number that may be a size that has changed.

    Args:
        by_tensor: what sizes become, by tensor.
        everything: what sizes become anywhere: for modules without tensors, and configurations.
    """
    numbers: list[Number] = []
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        inside = [changes for name, changes in by_tensor.items() if name.startswith(prefix)]
        changes = _united(inside) if inside else everything
        names = part_counts(module) if is_torch_layer(module) else tuple(vars(module))
        numbers += _numbers_of(module, path, names, changes)
    for path, config in configs_of(model):
        numbers += _numbers_of(config, path, tuple(vars(config)), everything)
    return numbers


def _numbers_of(owner: Any, path: str, names: Iterable[str], changes: Changes) -> Iterator[Number]:
    for name in names:
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, bool) or not isinstance(value, int):
            continue
        changed = tuple(sorted(changes.get(value, set()) - {value}))
        if changed:
            yield Number(path, name, owner, value, (*changed, value))


def _united(several: Iterable[Changes]) -> Changes:
    united: Changes = {}
    for changes in several:
        for old, new in changes.items():
            united.setdefault(old, set()).update(new)
    return united


def configs_of(model: nn.Module) -> list[tuple[str, Any]]:
    """The configuration of a transformers model, and those inside it; empty for other modules."""
    config = getattr(model, "config", None)
    if config is None or not hasattr(config, "to_dict"):
        return []
    configs = [("config", config)]
    for name, value in vars(config).items():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            configs.append((f"config.{name}", value))
    return configs
