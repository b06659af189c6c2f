"""Classifiers that read a SIREN's weights: a network of NF-Layers, and MLPs on the flattened weights to compare it with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

import symnet as sn
from symnet.data import Sine
from symnet.graph import SpaceLike

__all__ = ["FlatReader", "NeuronReader", "Standardize"]

Features = dict[str, Tensor]  # name -> (batch, *axes, 1)


class Standardize(nn.Module):
    """Every tensor divided by its standard deviation over the training networks; one number a tensor, so equivariant."""

    spread: Tensor

    def __init__(self, training: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(training)
        spread = torch.stack([training[name].std() for name in self.names])
        self.register_buffer("spread", spread.clamp_min(1e-6))

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        return {
            name: x[name] / spread for name, spread in zip(self.names, self.spread, strict=True)
        }


class NeuronReader(nn.Module):
    """Logits `(batch, classes)` from the weights of SIRENs with two hidden layers, invariant under permuting neurons.

    Five NF-Layers, derived from the graph, with sines and products between them, as in the networks that are read:

    1. every neuron of the first hidden layer gets a code, sines of its weights and bias: its wave, seen at learned places;
    2. for every weight between the hidden layers, and every neuron of the second, a map of the codes is multiplied by a
       map of all weights, so that a weight acts on a code, as it does in the network that is read;
    3. sines of these products, summed at each neuron of the second layer, times a map of all weights: the same once more;
    4. the invariants of codes, products, and results go to an MLP.

    Args:
        graph: of the SIRENs, `sn.catalogue.mlp([2, n, m, 1])`.
        training: weights `{name: (count, *axes, 1)}` that set the scale of each tensor.
        codes: channels of the neurons of both layers.
        products: channels of the products.
        hidden: width of the MLP.
    """

    def __init__(
        self,
        graph: sn.NeuronGraph,
        training: Mapping[str, Tensor],
        *,
        codes: int = 64,
        products: int = 32,
        hidden: int = 128,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.standardize = Standardize(training)
        first, between, second = {"code": "h1"}, {"weight": "h2 h1", "neuron": "h2"}, {"code": "h2"}
        self.encode = _wave_encoder(graph, 1, codes, ["0.weight", "0.bias"], first)
        self.wave = sn.nn.Pointwise(Sine(1.0))
        self.from_codes = sn.nn.Linear(graph, codes, products, inputs=first, outputs=between)
        self.from_weights = sn.nn.Linear(graph, 1, products, outputs=between)
        self.encode_sums = _wave_encoder(graph, products, codes, between, second)
        self.weigh_sums = sn.nn.Linear(graph, 1, codes, outputs=second)
        pools = [sn.nn.Pool(graph, inputs=space) for space in (first, between, second)]
        pooled = sum(
            c * pool.dimension for c, pool in zip((codes, products, codes), pools, strict=True)
        )
        self.pools = nn.ModuleList(pools)
        self.classify = nn.Sequential(
            nn.BatchNorm1d(pooled), nn.Linear(pooled, hidden), nn.GELU(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        x = self.standardize(x)
        codes = self.wave(self.encode({name: x[name] for name in self.encode.inputs}))
        products = _times(self.from_codes(codes), self.from_weights(x))
        results = _times(self.wave(self.encode_sums(products)), self.weigh_sums(x))
        read = zip(self.pools, (codes, products, results), strict=True)
        return self.classify(torch.cat([pool(values) for pool, values in read], 1))

    def layers(self) -> dict[str, sn.nn.Linear]:
        """The derived layers by what they do."""
        return {
            "encode neurons": self.encode,
            "codes to products": self.from_codes,
            "weights to products": self.from_weights,
            "encode sums": self.encode_sums,
            "weigh sums": self.weigh_sums,
        }


def _wave_encoder(
    graph: sn.NeuronGraph, c_in: int, c_out: int, inputs: SpaceLike, outputs: SpaceLike
) -> sn.nn.Linear:
    """A layer to be followed by a sine: wide enough to go round it, from phases that start anywhere."""
    layer = sn.nn.Linear(graph, c_in, c_out, inputs=inputs, outputs=outputs, gain=1.5)
    assert layer.bias is not None
    nn.init.uniform_(layer.bias, -math.pi, math.pi)
    return layer


def _times(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Features:
    return {name: left[name] * right[name] for name in left}


class FlatReader(nn.Module):
    """Logits `(batch, classes)` of an MLP on the flattened weights: what one does without symmetry.

    It gets the same scales as :class:`NeuronReader`, so that the two are told the same.
    """

    def __init__(
        self, training: Mapping[str, Tensor], *, hidden: int = 128, classes: int = 10
    ) -> None:
        super().__init__()
        self.standardize = Standardize(training)
        size = sum(tensor[0].numel() for tensor in training.values())
        self.classify = nn.Sequential(
            nn.Linear(size, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.classify(
            torch.cat([tensor.flatten(1) for tensor in self.standardize(x).values()], 1)
        )
