"""The models that a task compares, by name: each from any graph, all with the same scales of the tensors.

A model takes features `{name: (batch, *axes, 1)}` and gives `(batch, outputs)`, or features like those it got.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn
from symnet.data import Sine
from symnet.errors import SymnetError
from symnet.nn.baselines import Statistics
from symnet.tasks.configuration import Sizes
from symnet.tasks.readers import FlatReader, NeuronReader, Standardize

__all__ = ["MODELS", "Change", "Model", "build_model", "find_model"]

Features = dict[str, Tensor]  # name -> (batch, *axes, channels)


ENCODING = 8  # channels that tell the neurons of a set apart, learned


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model by its name."""

    description: str
    uses_symmetry: bool  # whether its answer takes account of the group, if only in part
    permute: bool = False  # trained on random numberings of the neurons
    order: bool = False  # gets every network with its neurons in an order of their own


MODELS = {
    "equivariant": Model("derived NF-Layers", True),
    "attention": Model("neural functional attention (Zhou et al. 2023b)", True),
    "statistics": Model(
        "MLP on means, variances and quantiles of each tensor (Unterthiner et al. 2020)", True
    ),
    "pointwise": Model("one MLP on every weight by itself", True),
    "flat": Model("MLP on the flattened weights", False),
    "flat-permuted": Model(
        "the same, trained on random numberings of the neurons", False, permute=True
    ),
    "flat-ordered": Model("the same, neurons put in order by their weights", False, order=True),
}


def find_model(name: str) -> Model:
    """A model's description.

    Raises:
        SymnetError: no such model; names those there are.
    """
    if name not in MODELS:
        raise SymnetError(f"There is no model {name!r}. Models: {', '.join(MODELS)}.")
    return MODELS[name]


def build_model(
    name: str,
    graph: sn.NeuronGraph,
    outputs: int | str,
    sizes: Sizes,
    training: Mapping[str, Tensor],
) -> nn.Module:
    """A new model.

    Args:
        name: one of `MODELS`.
        graph: of the networks that it reads.
        outputs: numbers per network; or one per weight, as features: its "change" or its "score".
        sizes: channels, layers, hidden neurons, dropout.
        training: weights `{name: (count, *axes)}` that set the scale of each tensor.

    Raises:
        SymnetError: no such model, or not for this kind of answer.
    """
    find_model(name)
    if isinstance(outputs, str):
        return _rewriting(name, graph, outputs, sizes, training)
    if name == "equivariant":
        if _is_siren(graph):
            return NeuronReader(
                graph,
                training,
                codes=4 * sizes.channels,
                products=2 * sizes.channels,
                hidden=sizes.hidden,
                classes=outputs,
            )
        return _reading(graph, outputs, sizes, training)
    if name == "attention":
        network = sn.nn.InvariantNetwork(
            graph, outputs=outputs, hidden=sizes.hidden, **_attention(sizes)
        )
        return nn.Sequential(Standardize(training), network)
    if name == "statistics":
        return nn.Sequential(
            Standardize(training),
            Statistics(graph),
            _head(7 * len(training), sizes.hidden, outputs, sizes.dropout),
        )
    if name == "pointwise":
        return _pointwise_reading(graph, outputs, sizes, training)
    return FlatReader(training, hidden=sizes.hidden, classes=outputs)


def _is_siren(graph: sn.NeuronGraph) -> bool:
    """Whether this is the graph of image networks with two hidden layers, for which there is a reader of its own."""
    widths = [graph.neurons[name].size for name in ("h1", "h2") if name in graph.neurons]
    return len(widths) == 2 and graph == sn.catalogue.mlp([2, *widths, 1])


def _layers(graph: sn.NeuronGraph, c_in: int, sizes: Sizes, sines: bool = False) -> list[nn.Module]:
    """NF-Layers from all weights to all weights, each followed by a nonlinearity and dropout."""
    found: list[nn.Module] = []
    for number in range(sizes.layers):
        channels = sizes.channels
        layer = sn.nn.Linear(
            graph, c_in if number == 0 else channels, channels, gain=1.5 if sines else 1.0
        )
        if sines and layer.bias is not None:
            # Wide enough to go round the sine, from phases that start anywhere.
            nn.init.uniform_(layer.bias, -math.pi, math.pi)
        found += [layer, sn.nn.Pointwise(Sine(1.0) if sines else nn.GELU())]
        if sizes.dropout:
            found.append(sn.nn.Dropout(sizes.dropout))
    return found


def _blocks(
    graph: sn.NeuronGraph, training: Mapping[str, Tensor], c_in: int, sizes: Sizes
) -> list[nn.Module]:
    """An MLP on every weight by itself, then blocks that add what an NF-Layer finds around it.

    A layer's output shares its variance among all its maps, of which "the weight itself" is one of dozens: without the sum, what is
    learned of single weights is drowned at the start.
    """
    channels = sizes.channels
    found: list[nn.Module] = [EachWeight(training, [c_in, 2 * channels, channels])]
    for _ in range(sizes.layers):
        inner = [sn.nn.Linear(graph, channels, channels), sn.nn.Pointwise(nn.GELU())]
        inner += [sn.nn.Dropout(sizes.dropout)] if sizes.dropout else []
        found.append(sn.nn.Residual(*inner, EachWeight(training, [channels, channels])))
    return found


def _reading(
    graph: sn.NeuronGraph, outputs: int, sizes: Sizes, training: Mapping[str, Tensor]
) -> nn.Module:
    permuted, encoding, c_in = _encoded(graph, sizes)
    pool = sn.nn.Pool(permuted)
    head = _head(pool.dimension * sizes.channels, sizes.hidden, outputs, sizes.dropout)
    blocks = _blocks(permuted, training, c_in, sizes)
    return nn.Sequential(Standardize(training), *_compressed(sizes), *encoding, *blocks, pool, head)


class Compress(nn.Module):
    """The inverse hyperbolic sine of every entry: as it is where small, a logarithm where large, odd."""

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        return {name: tensor.asinh() for name, tensor in x.items()}


def _compressed(sizes: Sizes) -> list[nn.Module]:
    return [Compress()] if sizes.compress else []


def _head(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm1d(inputs),
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )


class EachWeight(nn.Module):
    """One MLP a tensor, on every entry by itself: `{name: (batch, *axes, c)}` to `{name: (batch, *axes, c')}`."""

    def __init__(self, names: Mapping[str, object], widths: list[int]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.mlps = nn.ModuleList(_mlp(widths) for _ in self.names)

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        return {name: mlp(x[name]) for name, mlp in zip(self.names, self.mlps, strict=True)}


def _mlp(widths: list[int]) -> nn.Sequential:
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        modules += [nn.Linear(fan_in, fan_out), nn.GELU()]
    return nn.Sequential(*modules[:-1])


def _pointwise_reading(
    graph: sn.NeuronGraph, outputs: int, sizes: Sizes, training: Mapping[str, Tensor]
) -> nn.Module:
    pool = sn.nn.Pool(graph)
    each = EachWeight(training, [1, *[sizes.channels] * sizes.layers])
    head = _head(pool.dimension * sizes.channels, sizes.hidden, outputs, sizes.dropout)
    return nn.Sequential(Standardize(training), *_compressed(sizes), each, pool, head)


class Change(nn.Module):
    """A change of every weight, in units of its tensor's spread: a body's output times one learned number a tensor.

    The numbers start small, as the first changes should leave a network what it is (Zhou et al. 2023).
    """

    def __init__(self, training: Mapping[str, Tensor], body: nn.Module) -> None:
        super().__init__()
        self.standardize, self.body = Standardize(training), body
        self.size = nn.Parameter(torch.full((len(training),), 0.05))

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        change = self.body(self.standardize(x))
        spread = self.standardize.spread
        return {
            name: change[name] * self.size[k] * spread[k]
            for k, name in enumerate(self.standardize.names)
        }


class FlatChange(nn.Module):
    """An MLP from the flattened weights to as many numbers."""

    def __init__(self, training: Mapping[str, Tensor], hidden: int) -> None:
        super().__init__()
        self.shapes = {name: tensor.shape[1:] for name, tensor in training.items()}
        size = sum(shape.numel() for shape in self.shapes.values())
        self.mlp = _mlp([size, hidden, hidden, size])

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        flat = self.mlp(torch.cat([x[name].flatten(1) for name in self.shapes], 1))
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.unflatten(1, shape).unsqueeze(-1)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def _attention(sizes: Sizes) -> dict[str, Any]:
    """The options of symnet.nn's networks for attention in these sizes."""
    heads = next(count for count in (4, 2, 1) if sizes.channels % count == 0)
    return {
        "channels": sizes.channels, "layers": sizes.layers, "mixing": "attention", "heads": heads,
        "dropout": sizes.dropout, "encode": sizes.encode or "none",
    }  # fmt: skip


def _encoded(graph: sn.NeuronGraph, sizes: Sizes) -> tuple[sn.NeuronGraph, list[nn.Module], int]:
    """The graph with the sets of `sizes.encode` permuted, an encoding that tells their neurons apart, and its channels.

    What follows has the weights of the paper's NP layers, and is equivariant under the sets that are left. With 64
    inputs, layers that tell the inputs apart by weights of their own would have 4,096 times as many.
    """
    if not sizes.encode:
        return graph, [], 1
    if unknown := [name for name in sizes.encode if name not in graph.neurons]:
        raise SymnetError(
            f"network.encode names {unknown}, but the neuron sets are {', '.join(graph.neurons)}."
        )
    permuted = graph.with_groups(
        {name: sn.Symmetric(graph.neurons[name].size) for name in sizes.encode}
    )
    encoding = sn.nn.PositionalEncoding(permuted, sizes.encode, ENCODING, kind="learned")
    return permuted, [encoding], 1 + len(sizes.encode) * ENCODING


def _rewriting(
    name: str, graph: sn.NeuronGraph, kind: str, sizes: Sizes, training: Mapping[str, Tensor]
) -> nn.Module:
    """A model that gives a number for every weight: a change of it, or a score."""
    permuted, encoding, c_in = _encoded(graph, sizes)
    channels = sizes.channels
    body: nn.Module
    if name == "equivariant" and _is_siren(graph):
        layers = _layers(permuted, c_in, sizes, sines=True)
        body = nn.Sequential(*encoding, sn.nn.Network(*layers, sn.nn.Linear(permuted, channels, 1)))
    elif name == "equivariant":
        blocks = _blocks(permuted, training, c_in, sizes)
        body = nn.Sequential(*encoding, *blocks, EachWeight(training, [channels, channels, 1]))
    elif name == "attention":
        body = sn.nn.EquivariantNetwork(graph, **_attention(sizes))
    elif name == "pointwise":
        body = nn.Sequential(
            *encoding, EachWeight(training, [c_in, *[2 * channels] * sizes.layers, 1])
        )
    elif name == "statistics":
        raise SymnetError(
            "The model 'statistics' gives numbers for a network, and this task asks for one for each weight."
        )
    else:
        body = FlatChange(training, sizes.hidden)
    return (
        Change(training, body) if kind == "change" else nn.Sequential(Standardize(training), body)
    )
