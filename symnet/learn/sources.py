"""What estimators take for networks: sets, files, modules, state dicts; and what they take for targets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.data import MixedNetworks, NetworkSet, read_folder
from symnet.data.configured_graphs import Build
from symnet.errors import ShapeError, SymnetError
from symnet.graph import NeuronGraph
from symnet.nn import features

__all__ = ["Networks", "as_sets", "digest_of", "names_of", "target_values"]

Networks = (
    NetworkSet | MixedNetworks | str | Path | nn.Module | Mapping[str, Tensor] | Sequence[Any]
)


def as_sets(
    networks: Networks,
    graph: NeuronGraph | None,
    *,
    build: Build | None = None,
    shapes_only: bool = False,
) -> tuple[NetworkSet, ...]:
    """Networks as sets, one for each architecture.

    Args:
        networks: a set; a path of a file or folder; modules or state dicts, one or several.
        graph: of the networks, where it is known.
        build, shapes_only: for paths, as in `symnet.data.read_folder`.

    Raises:
        SymnetError: networks of another graph, or of none where one is needed.
    """
    match networks:
        case NetworkSet():
            sets: tuple[NetworkSet, ...] = (networks,)
        case MixedNetworks():
            sets = networks.sets
        case str() | Path():
            return as_sets(
                read_folder(networks, graph, build=build, shapes_only=shapes_only), graph
            )
        case _:
            sets = (_from_states(networks, graph),)
    if graph is not None and (len(sets) > 1 or sets[0].graph != graph):
        raise ShapeError(
            f"These networks are of {len(sets)} architecture(s), the first with tensors {dict(sets[0].graph.shapes)!s:.200}; "
            f"expected those of the graph with {dict(graph.shapes)!s:.200}."
        )
    return sets


def _from_states(networks: Any, graph: NeuronGraph | None) -> NetworkSet:
    if not isinstance(networks, nn.Module | Mapping | Iterable):
        raise SymnetError(
            f"{networks!r:.60} is no network; give a path, a set of sn.data.read_folder, modules, or state dicts."
        )
    if graph is None:
        raise SymnetError(
            "Modules and state dicts need a graph: Regressor(graph), with graph = sn.trace(module, inputs)."
        )
    weights = {
        name: tensor[..., 0].detach().float().cpu()
        for name, tensor in features(networks, graph).items()
    }
    return NetworkSet(graph, weights)


def target_values(sets: Sequence[NetworkSet], target: Any) -> np.ndarray:
    """One value for each network: of a column, or those that are given.

    Raises:
        SymnetError: no such column in some set, not as many values as networks, or values that are missing.
    """
    count = sum(map(len, sets))
    if isinstance(target, str):
        for networks in sets:
            if target not in networks.columns:
                raise SymnetError(
                    f"There is no column '{target}'; there are {', '.join(networks.columns) or 'none'}. "
                    "Join a table: sn.data.read_folder(..., labels='labels.csv')."
                )
        values = np.concatenate([networks.columns[target] for networks in sets])
    else:
        values = target.detach().cpu().numpy() if isinstance(target, Tensor) else np.asarray(target)
    if values.shape != (count,):
        raise ShapeError(
            f"There are {count} networks and targets of shape {values.shape}; give one for each network."
        )
    missing = (
        values == "" if values.dtype.kind in "OSU" else ~np.isfinite(values.astype(np.float64))
    )
    if missing.any():
        names = [names_of(sets)[row] for row in np.flatnonzero(missing)[:4]]
        raise SymnetError(
            f"{int(missing.sum())} of {count} networks have no value to learn ({', '.join(names)}, ...); leave them out, with "
            "networks.known(column)."
        )
    return values


def names_of(sets: Sequence[NetworkSet]) -> list[str]:
    """A name for each network: its path, or its number."""
    names: list[str] = []
    for networks in sets:
        numbers = range(len(names), len(names) + len(networks))
        names += [str(name) for name in networks.columns.get("path", numbers)]
    return names


def digest_of(sets: Sequence[NetworkSet], values: np.ndarray) -> str:
    """Tells one fit's networks and targets from another's, by all targets and names and the weights of some networks."""
    digest = hashlib.sha256(
        json.dumps([names_of(sets), [str(networks.graph) for networks in sets]]).encode()
    )
    digest.update(json.dumps(values.tolist()).encode())
    for networks in sets:
        rows = torch.linspace(0, len(networks) - 1, min(len(networks), 16)).long()
        for tensor in networks.weights.values():
            digest.update(tensor[rows].contiguous().numpy().tobytes())
    return digest.hexdigest()
