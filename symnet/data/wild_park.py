"""Checkpoints of many architectures, each with its configuration: grouped by the graph that is read off each of them.

The layout is that of the CNN Wild Park (Kofinas et al. 2024): files `{"model": state dict, "config": plain values, ...}`, whose configurations say
how many layers of which widths a network has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.data.network_set import NetworkSet, OnError, fitting
from symnet.errors import StateFileError, SymnetError
from symnet.files import TORCH_SUFFIXES, read_content, shown, state_in
from symnet.graph import NeuronGraph
from symnet.tracing import trace

__all__ = ["read_wild_park"]

Build = Callable[[Mapping[str, Any]], tuple[nn.Module, tuple[Any, ...]]]


def read_wild_park(
    folder: str | Path, build: Build, *, on_error: OnError = "raise"
) -> list[NetworkSet]:
    """The networks in a folder, one set for each architecture; architectures are traced, never guessed from shapes.

    Args:
        folder: searched for `.pt` and `.pth` files with all folders in it.
        build: from a file's configuration the module that its weights belong to, and example inputs. It is your code; nothing
            from the files is executed.
        on_error: what to do with files that are damaged, do not fit their module, or are not finite.

    Returns:
        sets in order of their first file, with the column `path` and one for every number that all files of the set have in
        their configuration or beside it (an accuracy, say; `last_result.acc` where it stands in a mapping `last_result`).

    Raises:
        SymnetError: a file that cannot be used, or no file at all.
    """
    root = Path(folder)
    graphs: dict[str, NeuronGraph] = {}
    groups: dict[NeuronGraph, list[tuple[dict[str, Tensor], dict[str, Any]]]] = {}
    skipped: list[str] = []
    paths = sorted(path for path in root.rglob("*") if path.suffix in TORCH_SUFFIXES)
    for path in paths:
        try:
            state, config, facts = _read(path)
            key = _key(config, path)
            if key not in graphs:
                graphs[key] = _traced(build, config, path)
            row = {"path": str(path.relative_to(root)), **facts}
            groups.setdefault(graphs[key], []).append((fitting(state, graphs[key], str(path)), row))
        except SymnetError as error:
            if on_error == "raise":
                raise
            skipped.append(str(error))
    if not groups:
        raise SymnetError(
            f"{root} holds no checkpoints that can be used{f'; first: {skipped[0]}' if skipped else ''}."
        )
    return [_as_set(graph, members, tuple(skipped)) for graph, members in groups.items()]


def _read(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any], dict[str, float]]:
    content = read_content(path)
    if not isinstance(content, Mapping) or not all(
        isinstance(content.get(k), Mapping) for k in ("model", "config")
    ):
        raise StateFileError(
            f"{path} is no checkpoint with 'model' and 'config'; it holds {_outline(content)}."
        )
    if not all(isinstance(name, str) for name in (*content, *content["config"])):
        raise StateFileError(f"{path}: a name in its configuration or beside it is no text.")
    return (
        state_in(content["model"], path),
        content["config"],
        dict(
            _numbers(
                {
                    **content["config"],
                    **{name: value for name, value in content.items() if name != "model"},
                }
            )
        ),
    )


def _key(config: Mapping[str, Any], path: Path) -> str:
    """The configuration as a text, the same for equal ones."""
    try:
        return json.dumps(config, sort_keys=True, default=str)
    except (TypeError, ValueError) as error:
        raise StateFileError(
            f"{path}: its configuration cannot be told from others ({error})."
        ) from error


def _outline(content: Any) -> str:
    return (
        ", ".join(shown(str(name), 30) for name in list(content)[:6])
        if isinstance(content, Mapping)
        else type(content).__name__
    )


def _numbers(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by name, those of mappings inside by `outer.inner`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(
                OverflowError
            ):  # a whole number of hundreds of digits is no measure of a network
                yield f"{above}{name}", float(value)


def _traced(build: Build, config: Mapping[str, Any], path: Path) -> NeuronGraph:
    try:
        model, inputs = build(config)
    except (KeyError, TypeError, ValueError) as error:
        raise StateFileError(
            f"{path}: no module could be built from its configuration {dict(config)!s:.200} ({error!r:.200})."
        ) from error
    return trace(model, *inputs)


def _as_set(
    graph: NeuronGraph,
    members: list[tuple[dict[str, Tensor], dict[str, Any]]],
    skipped: tuple[str, ...],
) -> NetworkSet:
    states, rows = zip(*members, strict=True)
    weights = {name: torch.stack([state[name] for state in states]) for name in graph.shapes}
    shared = [name for name in rows[0] if all(name in row for row in rows)]
    columns = {name: np.array([row[name] for row in rows]) for name in shared}
    return NetworkSet(
        graph,
        weights,
        columns,
        forward="the module that was built from each configuration",
        skipped=skipped,
    )
