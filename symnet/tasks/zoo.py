"""A zoo of small CNNs, trained in as many ways as there are networks, with the accuracy of each.

The architecture is that of the Small CNN Zoo (Unterthiner et al. 2020): three convolutions of 16 filters of 3 x 3 with stride 2,
mean over the positions, one linear layer. The images are the 8 x 8 digits.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import cross_entropy, unfold

import symnet as sn
from symnet.data import digits
from symnet.errors import SymnetError
from symnet.tasks.configuration import ZooCorpus
from symnet.tasks.fitted import corpus_folder
from symnet.tasks.problem import Parts, Weights
from symnet.tasks.training import one_thread, write_atomically

__all__ = ["Zoo", "classify", "load_zoo"]

CHANNELS = (1, 16, 16, 16)
CLASSES = 10
CHUNK = 100  # networks trained together: their activations stay in the cache
BATCH = 64
LEAST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Zoo:
    """Networks and what they reach."""

    graph: sn.NeuronGraph
    weights: Weights  # name -> (networks, *axes)
    accuracy: Tensor  # (networks,) on images that they were not trained on

    def parts(self, seed: int) -> Parts:
        """Three fifths to learn from, a fifth each to choose by and to report on."""
        order = torch.randperm(len(self.accuracy), generator=torch.Generator().manual_seed(2000 + seed))
        fifth = len(order) // 5
        return Parts(order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])


@dataclass(frozen=True, slots=True)
class _Ways:
    """How every network of a chunk is trained; tensors are `(networks,)`."""

    activation: Callable[[Tensor], Tensor]
    adam: bool
    learning_rate: Tensor
    weight_decay: Tensor
    scale: Tensor  # of the start
    dropout: Tensor
    share: Tensor  # of the training images that it sees
    noise: Tensor  # share of wrong labels
    steps: Tensor


def _draw_ways(count: int, number: int, most_steps: int, generator: torch.Generator) -> _Ways:
    def between(low: float, high: float, logarithmic: bool = False) -> Tensor:
        place = torch.rand(count, generator=generator)
        if logarithmic:
            return torch.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        return low + place * (high - low)

    adam = number % 2 == 0
    return _Ways(
        activation=torch.relu if number % 4 < 2 else torch.tanh,
        adam=adam,
        learning_rate=between(5e-4, 3e-2, True) * (1 if adam else 30),
        weight_decay=between(1e-4, 0.3, True),
        scale=between(0.3, 1.6, True),
        dropout=between(0.0, 0.5),
        share=between(0.05, 1.0),
        noise=between(0.0, 0.5).square() * 2,
        steps=between(LEAST_STEPS, most_steps, True),
    )


def _start(ways: _Ways, generator: torch.Generator) -> Weights:
    found = {}
    names = [f"{2 * layer}" for layer in range(len(CHANNELS) - 1)]
    for name, fan_in, fan_out in zip(names, CHANNELS, CHANNELS[1:], strict=False):
        normal = torch.randn(len(ways.scale), fan_out, fan_in, 3, 3, generator=generator)
        found[f"{name}.weight"] = normal * (2.0 / (9 * fan_in)) ** 0.5 * ways.scale[:, None, None, None, None]
        found[f"{name}.bias"] = torch.zeros(len(ways.scale), fan_out)
    last = torch.randn(len(ways.scale), CLASSES, CHANNELS[-1], generator=generator)
    found["head.weight"] = last * CHANNELS[-1] ** -0.5 * ways.scale[:, None, None]
    found["head.bias"] = torch.zeros(len(ways.scale), CLASSES)
    return found


def classify(
    weights: Weights, images: Tensor, activation: Callable[[Tensor], Tensor], dropped: Tensor | None = None
) -> Tensor:
    """Logits `(network, image, classes)` for images `(network or 1, image, 1, 8, 8)`; `dropped` scales the last features."""
    count = len(weights["head.bias"])
    hidden = images.expand(count, *images.shape[1:])
    for layer in range(len(CHANNELS) - 1):
        weight, bias = weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"]
        side = (hidden.shape[-1] + 1) // 2
        patches = unfold(hidden.flatten(0, 1), 3, padding=1, stride=2)  # (network * image, c_in * 9, positions)
        rows = patches.unflatten(0, (count, -1)).transpose(2, 3).flatten(1, 2)
        values = torch.baddbmm(bias.unsqueeze(1), rows, weight.flatten(2).mT)
        hidden = activation(values).view(count, -1, side * side, weight.shape[1])
        if layer < len(CHANNELS) - 2:
            hidden = hidden.transpose(2, 3).unflatten(-1, (side, side))
    features = hidden.mean(2)
    if dropped is not None:
        features = features * dropped
    return torch.baddbmm(weights["head.bias"].unsqueeze(1), features, weights["head.weight"].mT)


def _train(ways: _Ways, weights: Weights, images: Tensor, classes: Tensor, generator: torch.Generator) -> Weights:
    """The networks trained; each stops at its own step. AdamW, or momentum with as decoupled a weight decay."""
    count, names = len(ways.steps), list(weights)
    first = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    second = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    wrong = torch.rand(count, len(images), generator=generator) < ways.noise[:, None]
    labels = torch.where(wrong, torch.randint(CLASSES, (count, len(images)), generator=generator), classes)
    for step in range(int(ways.steps.max())):
        rows = (torch.rand(count, BATCH, generator=generator) * ways.share[:, None] * len(images)).long()
        kept = torch.rand(count, 1, CHANNELS[-1], generator=generator) >= ways.dropout[:, None, None]
        leaves = {name: tensor.requires_grad_() for name, tensor in weights.items()}
        logits = classify(leaves, images[rows], ways.activation, kept / (1 - ways.dropout[:, None, None]))
        loss = cross_entropy(logits.flatten(0, 1), labels.gather(1, rows).flatten(), reduction="sum") / BATCH
        gradients = dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        rate = torch.where(step < ways.steps, ways.learning_rate, 0.0)
        weights = {
            name: _updated(tensor.detach(), gradients[name], first[name], second[name], rate, ways, step)
            for name, tensor in weights.items()
        }
    return weights


def _updated(
    weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, rate: Tensor, ways: _Ways, step: int
) -> Tensor:
    shape = (-1, *(1 for _ in weight.shape[1:]))
    first.mul_(0.9).add_(gradient, alpha=0.1)
    if ways.adam:
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        change = first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8)
    else:
        change = first
    rate = rate.view(shape)
    return weight * (1 - rate * ways.weight_decay.view(shape)) - rate * change


def load_zoo(corpus: ZooCorpus, folder: Path, console: Console | None = None) -> Zoo:
    """The zoo, trained or read.

    Raises:
        SymnetError: a source that is not there.
    """
    if corpus.source != "digits":
        raise SymnetError(f"corpus.source={corpus.source!r} is read by symnet.data; see docs/how-to/corpora.md.")
    where = corpus_folder(folder, "zoo", corpus.model_dump(mode="json", exclude={"networks", "path"}))
    count = -(-corpus.networks // CHUNK)
    # A thread a core, each with one thread of torch: the tensors are too small to be shared out.
    with one_thread(), ThreadPoolExecutor(max(1, os.cpu_count() or 1), initializer=_one_thread) as pool:
        made = pool.map(lambda number: _chunk(where / f"{number:04d}.npz", corpus, number), range(count))
        found = list(track(made, "training CNNs", total=count, console=console, disable=console is None))
    every = {name: torch.cat([chunk[name] for chunk in found])[: corpus.networks] for name in found[0]}
    accuracy = every.pop("accuracy")
    finite = torch.stack([tensor.flatten(1).isfinite().all(1) for tensor in every.values()]).all(0)
    graph = sn.catalogue.cnn(list(CHANNELS), kernel_size=3, classes=CLASSES, io="fixed")
    names = dict(zip(every, graph.shapes, strict=True))
    return Zoo(graph, {names[name]: tensor[finite] for name, tensor in every.items()}, accuracy[finite])


def _one_thread() -> None:
    torch.set_num_threads(1)


def _chunk(path: Path, corpus: ZooCorpus, number: int) -> Weights:
    if not path.exists():
        data = digits()
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(corpus.seed))
        train, test = order[:1200], order[1200:]
        images = data.images.view(-1, 1, 8, 8)
        generator = torch.Generator().manual_seed(corpus.seed * 1_000_003 + number)
        ways = _draw_ways(CHUNK, number, corpus.steps, generator)
        weights = _train(ways, _start(ways, generator), images[train], data.classes[train], generator)
        with torch.no_grad():
            found = classify(weights, images[test].unsqueeze(0), ways.activation).argmax(-1)
        accuracy = (found == data.classes[test]).float().mean(-1)
        arrays = {name: tensor.numpy() for name, tensor in {**weights, "accuracy": accuracy}.items()}
        write_atomically(path, lambda scratch: _write(scratch, arrays))
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
