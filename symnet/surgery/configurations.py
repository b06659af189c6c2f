"""Configurations of transformers: the one, if there is one, that makes a model of the new sizes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from symnet.surgery.numbers import Changes, configs_of
from symnet.tracing.execution import random_numbers

Shapes = Mapping[str, tuple[int, ...]]
# Fields that are None where the code computes them from others.
_COMPUTED = ("n_inner", "head_dim")
_TRIES = 300  # models made without memory while a configuration is sought


class Configured:
    """A search over the fields of a configuration, by the shapes of
    the model that each choice makes.
    """

    def __init__(self, model: nn.Module, shapes: Shapes, changes: Changes) -> None:
        self.model, self.shapes = model, shapes
        self.fields = [
            (path, name, options)
            for path, config in configs_of(model)
            for name, options in _options(config, changes)
        ]

    def fits(self) -> list[tuple[Any, nn.Module]]:
        """Configurations, each with a model on the meta device, that have the new shapes, change
        no more fields than that takes, and no factor of the computation. Several may have the
        same shapes: 3 heads of 4, and 4 heads of 3.
        """
        fitting: list[dict[int, Any]] = []
        for changed in itertools.islice(self._choices(), _TRIES):
            if any(fit.items() <= changed.items() for fit in fitting):
                continue
            made = self.make(self.config(changed))
            if made is not None and self._has_shapes(made):
                fitting.append(changed)
        models = [(config := self.config(changed), self.make(config)) for changed in fitting]
        return [
            (c, made)
            for c, made in models
            if made is not None and not _other_factors(self.model, made)
        ]

    def _choices(self) -> Iterator[dict[int, Any]]:
        """New values by the number of their field, fewest first."""
        for count in range(len(self.fields) + 1):
            for which in itertools.combinations(range(len(self.fields)), count):
                for values in itertools.product(*(self.fields[k][2] for k in which)):
                    yield dict(zip(which, values, strict=True))

    def config(self, changed: Mapping[int, Any]) -> Any:
        """A copy of the configuration with other values in some fields."""
        holder = nn.Module()
        holder.config = copy.deepcopy(self.model.config)
        configs = dict(configs_of(holder))
        for number, value in changed.items():
            path, name, _ = self.fields[number]
            setattr(configs[path], name, copy.copy(value))
        return holder.config

    def make(self, config: Any) -> nn.Module | None:
        """The model of a configuration, on the meta device; None if
        its code refuses the numbers.
        """
        try:
            with random_numbers(), torch.device("meta"):
                return type(self.model)(config)
        except Exception:  # whatever a model's code raises on sizes that do not fit
            return None

    def _has_shapes(self, made: nn.Module) -> bool:
        shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
        return shapes.keys() == self.shapes.keys() and all(
            shapes[name] == s for name, s in self.shapes.items()
        )


def _options(config: Any, changes: Changes) -> list[tuple[str, list[Any]]]:
    """Fields that may hold a size that has changed, with the values that they may take instead."""
    options: list[tuple[str, list[Any]]] = []
    for name, value in vars(config).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, int) and (changed := sorted(changes.get(value, set()) - {value})):
            options.append((name, list(changed)))
        elif value is None and name in _COMPUTED:
            options.append(
                (
                    name,
                    sorted(
                        {
                            n
                            for old, news in changes.items()
                            for n in news
                            if n != old or name == "head_dim"
                        }
                    ),
                )
            )
        elif isinstance(value, list) and value and all(type(n) is int for n in value):
            changed_list = [min(changes.get(n, {n}) - {n} or {n}) for n in value]
            if changed_list != value:
                options.append((name, [changed_list]))
    return options


def _other_factors(old: nn.Module, new: nn.Module) -> bool:
    """Whether some module of the new model computes with another factor than before
    (``head_dim ** -0.5`` of a cut head): its function would not be that of the masked model.
    """
    before = dict(old.named_modules())
    return any(
        isinstance(value, float) and vars(before[path]).get(name, value) != value
        for path, module in new.named_modules()
        if path in before
        for name, value in vars(module).items()
    )


def adopt(model: nn.Module, config: Any, made: nn.Module) -> None:
    """Writes a configuration, and the numbers of the modules that it makes,
    into a model of the same structure.
    """
    model.config.__dict__.update(config.__dict__)
    source = dict(made.named_modules())
    for path, module in model.named_modules():
        if path not in source:
            continue
        for name, value in vars(source[path]).items():
            if isinstance(value, (int, tuple)) and not name.startswith("_") and name != "training":
                setattr(module, name, value)


def fitting_configuration(
    folder: Path, architectures: object, shapes: Shapes, changes: Changes
) -> tuple[str | None, str]:
    """The text of a ``config.json`` that makes a model of these shapes, or why there is none.

    Args:
        folder: holds the old ``config.json``.
        architectures: its field of that name: the class of the model.
    """
    try:
        import transformers
    except ImportError:
        return None, "transformers is not installed"
    name = architectures[0] if isinstance(architectures, list) and architectures else None
    kind = getattr(transformers, name, None) if isinstance(name, str) else None
    if kind is None:
        return None, f"transformers has no class {name!r}"
    config = transformers.AutoConfig.from_pretrained(folder)
    with random_numbers(), torch.device("meta"):
        model = kind(config)
    state = {n: tuple(t.shape) for n, t in model.state_dict().items()}
    fits = Configured(
        model, {n: shapes.get(n, shape) for n, shape in state.items()}, changes
    ).fits()
    if len(fits) != 1:
        why = (
            "makes these sizes (do its layers differ?)"
            if not fits
            else "is the only one of these shapes"
        )
        return None, f"no configuration of {type(config).__name__} {why}"
    return fits[0][0].to_json_string(), ""
