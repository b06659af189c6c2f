"""The neurons of many networks moved at once: each network by its own draw, or into an order of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.groups import Fixed, Symmetric
from symnet.matching import canonicalize

__all__ = ["order_neurons", "permuter"]

Weights = dict[str, Tensor]  # name -> (network, *axes)


def permuter(graph: NeuronGraph) -> Callable[[Weights, torch.Generator], Weights]:
    """A function that moves the neurons of every network of a batch by a uniform element of the graph's group.

    Graphs whose every axis is one neuron set with a symmetric group (MLPs, plain CNNs) are moved by one `gather` an axis, some
    twenty times faster than `graph.act` network by network, which all others get.

    Example:
        >>> import symnet as sn
        >>> graph = sn.catalogue.mlp([1, 4, 1])
        >>> weights = {name: torch.rand(3, *shape) for name, shape in graph.shapes.items()}
        >>> moved = permuter(graph)(weights, torch.Generator().manual_seed(0))
        >>> torch.equal(moved["0.bias"].sort(1).values, weights["0.bias"].sort(1).values), moved["0.bias"].shape
        (True, torch.Size([3, 4]))
    """
    axes = _plain_axes(graph)
    if axes is None:
        return lambda weights, generator: _act_one_by_one(graph, weights, generator)
    sizes = {name: graph.neurons[name].size for row in axes.values() for name in row if name}

    def permute(weights: Weights, generator: torch.Generator) -> Weights:
        count = len(next(iter(weights.values())))
        orders = {
            name: torch.rand(count, size, generator=generator).argsort(1)
            for name, size in sizes.items()
        }
        return {name: _gather(tensor, axes[name], orders) for name, tensor in weights.items()}

    return permute


def _plain_axes(graph: NeuronGraph) -> dict[str, list[str | None]] | None:
    """For every tensor the set that moves each of its axes (None: nothing does), or None if a tensor is not so simple."""
    found: dict[str, list[str | None]] = {}
    for name, tensor in graph.weights.items():
        instances = tensor.blocks[0].instances
        if len(tensor.blocks) > 1 or tuple(tensor.blocks[0].shape) != tuple(tensor.shape):
            return None
        row: list[str | None] = []
        for instance in instances:
            neuron_set = None if instance.symbol is None else graph.neurons[instance.symbol]
            if neuron_set is None or isinstance(neuron_set.group, Fixed) or neuron_set.size == 1:
                row.append(None)
            elif isinstance(neuron_set.group, Symmetric) and not neuron_set.over:
                row.append(instance.symbol)
            else:
                return None
        found[name] = row
    return found


def _gather(tensor: Tensor, axes: list[str | None], orders: dict[str, Tensor]) -> Tensor:
    for dim, name in enumerate(axes, start=1):
        if name is not None:
            shape = [len(tensor), *(1 for _ in axes)]
            shape[dim] = tensor.shape[dim]
            tensor = tensor.gather(dim, orders[name].view(shape).expand_as(tensor))
    return tensor


def _act_one_by_one(graph: NeuronGraph, weights: Weights, generator: torch.Generator) -> Weights:
    count = len(next(iter(weights.values())))
    seeds = torch.randint(2**31, (count,), generator=generator).tolist()
    moved = [
        graph.act(
            graph.random_element(seed=seed), {name: tensor[k] for name, tensor in weights.items()}
        )
        for k, seed in enumerate(seeds)
    ]
    return {name: torch.stack([network[name] for network in moved]) for name in weights}


def order_neurons(graph: NeuronGraph, weights: Weights) -> Weights:
    """Every network with its neurons in the order that `sn.canonicalize` gives them: equal networks become equal tensors.

    About 4 ms a network.

    Raises:
        GraphError: the graph has sets that cannot be put in order; says which.
    """
    count = len(next(iter(weights.values())))
    ordered = [
        canonicalize(
            {name: tensor[k] for name, tensor in weights.items()}, graph, order=True
        ).weights
        for k in range(count)
    ]
    if not ordered:
        raise GraphError("order_neurons got no networks; give at least one.")
    return {name: torch.stack([network[name] for network in ordered]) for name in weights}
