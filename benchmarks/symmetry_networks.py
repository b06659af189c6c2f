"""Networks to read, natural and moved: small classifiers of three activations, and LoRA
adapters, all trained at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import symnet as sn

Features = dict[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sine": lambda x: torch.sin(2 * x),
}
INPUTS, HIDDEN, CLASSES = 6, 16, 4


@dataclass(frozen=True)
class Networks:
    """Weights by tensor ``(networks, *axes, 1)``, their graph with its whole group, and what is
    asked of each.
    """

    weights: Features
    graph: sn.NeuronGraph
    targets: Tensor  # (networks, columns): a number to predict, then perhaps a class

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, index: Tensor) -> Networks:
        return Networks(
            {n: w[index] for n, w in self.weights.items()}, self.graph, self.targets[index]
        )

    def moved(self, seed: int) -> Networks:
        """Every network moved by an element of its own."""
        rng = np.random.default_rng(seed)
        parts = [
            self.graph.act(
                self.graph.random_element(rng), {n: w[k] for n, w in self.weights.items()}
            )
            for k in range(len(self))
        ]
        return Networks(
            {n: torch.stack([p[n] for p in parts]) for n in self.weights}, self.graph, self.targets
        )


def own_graph(activation: str) -> sn.NeuronGraph:
    group = sn.Scaled(HIDDEN) if activation == "relu" else sn.SignedSymmetric(HIDDEN)
    return sn.NeuronGraph(
        {"in": sn.Fixed(INPUTS), "h": group, "out": sn.Fixed(CLASSES)},
        {"0.weight": "h in", "0.bias": "h", "2.weight": "out h*", "2.bias": "out"},
    )


def classifiers(activation: str, count: int, seed: int) -> Networks:
    """Classifiers of warped clusters, trained all at once: learning rates, steps, label noise and
    start differ; target: accuracy.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    centres, mixing = normal(3 * CLASSES, INPUTS) * 1.2, normal(INPUTS, INPUTS) / INPUTS**0.5

    def draw(size: int) -> tuple[Tensor, Tensor]:
        which = torch.randint(3 * CLASSES, (size,), generator=generator)
        points = centres[which] + 0.8 * normal(size, INPUTS)
        return torch.tanh(points @ mixing) * 2, which % CLASSES

    scale = uniform(math.log(0.5), math.log(2)).exp()[:, None, None]
    weights = {
        "0.weight": normal(count, HIDDEN, INPUTS) * scale / INPUTS**0.5,
        "0.bias": 0.1 * normal(count, HIDDEN),
        "2.weight": normal(count, CLASSES, HIDDEN) / HIDDEN**0.5,
        "2.bias": torch.zeros(count, CLASSES),
    }
    rates, lengths = (
        uniform(math.log(0.01), math.log(0.5)).exp(),
        uniform(math.log(5), math.log(300)).exp(),
    )
    noise = uniform(0, 0.7)

    def outputs(x: Tensor) -> Tensor:
        hidden = ACTIVATIONS[activation](x @ weights["0.weight"].mT + weights["0.bias"][:, None])
        return hidden @ weights["2.weight"].mT + weights["2.bias"][:, None]

    for step in range(300):
        x, y = draw(64)
        wrong = torch.rand(count, 64, generator=generator) < noise[:, None]
        labels = torch.where(wrong, torch.randint(CLASSES, (count, 64), generator=generator), y)
        for tensor in weights.values():
            tensor.requires_grad_(True)
        loss = (
            F.cross_entropy(outputs(x).flatten(0, 1), labels.flatten(), reduction="none")
            .view(count, 64)
            .mean(1)
            .sum()
        )
        gradients = torch.autograd.grad(loss, list(weights.values()))
        rate = torch.where(step < lengths, rates, 0.0)
        weights = {
            name: (w - rate.view(-1, *[1] * (w.ndim - 1)) * g).detach()
            for (name, w), g in zip(weights.items(), gradients, strict=True)
        }
    x, y = draw(4000)
    accuracy = (outputs(x).argmax(-1) == y).float().mean(1)
    return Networks(
        {n: w.unsqueeze(-1) for n, w in weights.items()}, own_graph(activation), accuracy[:, None]
    )


def adapters(count: int, seed: int, rank: int = 4) -> Networks:
    """Rank-4 adapters of both layers of one digits classifier, each trained on turned digits;
    targets: accuracy, and the turn.
    """
    digits = sn.data.digits()
    images = torch.as_tensor(digits.images).float().reshape(-1, 8, 8)
    images = images / images.max()
    labels = torch.as_tensor(digits.classes).long()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    train, test = order[:1200], order[1200:]
    base = _base_network(images[train].flatten(1), labels[train], generator)
    turns = torch.randint(4, (count,), generator=generator)
    turned = torch.stack([torch.rot90(images, k, (1, 2)).flatten(1) for k in range(4)])
    sizes = {"0": (32, rank, 64), "2": (10, rank, 32)}
    factors = {
        f"{n}.lora_A": torch.randn(count, rank, i, generator=generator) / i**0.5
        for n, (_, _, i) in sizes.items()
    }
    factors |= {f"{n}.lora_B": torch.zeros(count, o, rank) for n, (o, _, _) in sizes.items()}

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    rates, lengths = (
        uniform(math.log(0.02), math.log(0.3)).exp(),
        uniform(math.log(5), math.log(200)).exp(),
    )
    noise = uniform(0, 0.8)

    def outputs(x: Tensor) -> Tensor:
        for name in ("0", "2"):
            x = (
                x @ base[f"{name}.weight"].mT
                + base[f"{name}.bias"]
                + x @ factors[f"{name}.lora_A"].mT @ factors[f"{name}.lora_B"].mT
            )
            x = torch.relu(x) if name == "0" else x
        return x

    for step in range(200):
        chosen = train[torch.randint(len(train), (count, 32), generator=generator)]
        x, y = turned[turns[:, None], chosen], labels[chosen]
        wrong = torch.rand(count, 32, generator=generator) < noise[:, None]
        y = torch.where(wrong, torch.randint(10, (count, 32), generator=generator), y)
        for tensor in factors.values():
            tensor.requires_grad_(True)
        loss = (
            F.cross_entropy(outputs(x).flatten(0, 1), y.flatten(), reduction="none")
            .view(count, 32)
            .mean(1)
            .sum()
        )
        gradients = torch.autograd.grad(loss, list(factors.values()))
        rate = torch.where(step < lengths, rates, 0.0).view(-1, 1, 1)
        factors = {
            n: (w - rate * g).detach() for (n, w), g in zip(factors.items(), gradients, strict=True)
        }
    held = test[:300]
    accuracy = (outputs(turned[turns][:, held]).argmax(-1) == labels[held]).float().mean(1)
    graph = sn.catalogue.lora(sizes)
    finite = torch.stack([f.isfinite().flatten(1).all(1) for f in factors.values()]).all(
        0
    )  # a few diverge
    found = Networks(
        {n: factors[n].unsqueeze(-1) for n in graph.tensors},
        graph,
        torch.stack([accuracy, turns.float()], 1),
    )
    return found.at(finite.nonzero()[:, 0])


def _base_network(x: Tensor, y: Tensor, generator: torch.Generator) -> Features:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(400):
        chosen = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}
