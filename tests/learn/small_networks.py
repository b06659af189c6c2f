"""Small networks with something to learn about them; run as a file, it loads a reader and prints what it predicts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import symnet as sn

GRAPH = sn.catalogue.mlp([2, 5, 2])


def make_networks(
    count: int = 60, seed: int = 0, graph: sn.NeuronGraph = GRAPH
) -> sn.data.NetworkSet:
    """Random networks; `size` is told by their statistics, `large` is whether it is above the median."""
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 + torch.rand(count, generator=generator)
    weights = {
        name: torch.randn(count, *shape, generator=generator) * scale.view(-1, *[1] * len(shape))
        for name, shape in graph.shapes.items()
    }
    columns = {
        "path": np.array([f"{k}.pt" for k in range(count)]),
        "size": scale.numpy(),
        "large": np.where(scale > scale.median(), "large", "small"),
        "family": np.arange(count) // 4,
    }
    return sn.data.NetworkSet(graph, weights, columns)


def make_mixed(count: int = 40) -> sn.data.MixedNetworks:
    """Networks of three architectures."""
    graphs = (GRAPH, sn.catalogue.mlp([2, 7, 2]), sn.catalogue.mlp([2, 4, 4, 2]))
    return sn.data.MixedNetworks(
        tuple(make_networks(count, seed, graph) for seed, graph in enumerate(graphs))
    )


def said(model: Any, kind: str) -> list[list[float]] | list[str]:
    """What a reader says of some networks."""
    networks = make_mixed(5) if kind == "mixed" else make_networks(9, seed=5)
    found = model.predict_proba(networks) if kind == "classifier" else model.predict(networks)
    if isinstance(found, sn.data.NetworkSet):
        found = torch.cat([tensor.flatten(1) for tensor in found.weights.values()], dim=1).numpy()
    return np.asarray(found).reshape(len(networks), -1).tolist()


def moved(networks: sn.data.NetworkSet, seed: int = 3) -> sn.data.NetworkSet:
    """The same networks, all neurons renumbered by one element."""
    graph = networks.graph
    weights: dict[str, Tensor] = graph.act(
        graph.random_element(seed=seed), dict(networks.weights), batch_dims=1
    )
    return sn.data.NetworkSet(graph, weights, networks.columns)


if __name__ == "__main__":
    print(
        json.dumps(
            {
                path.name: said(sn.learn.load(path), path.name)
                for path in sorted(Path(sys.argv[1]).iterdir())
            }
        )
    )
