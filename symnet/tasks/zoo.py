"""A zoo of small CNNs, trained in as many ways as there are networks, with the accuracy of each.

The architecture is that of the Small CNN Zoo (Unterthiner et al. 2020): three convolutions of 16 filters of 3 x 3 with stride 2,
mean over the positions, one linear layer. The images are the 8 x 8 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.functional import unfold

import symnet as sn
from symnet.data import digits, read_small_cnn_zoo
from symnet.data.parallel import in_parallel
from symnet.errors import SymnetError
from symnet.files import read_arrays, write_arrays
from symnet.learn.problem import Parts, Weights
from symnet.tasks.configuration import ZooCorpus
from symnet.tasks.fitted import corpus_folder
from symnet.tasks.ways import Ways, draw_ways, train_in_ways
from symnet.tasks.zoo_modules import ManyModules, traced_graph

__all__ = ["Zoo", "classify", "load_zoo"]

CHANNELS = (1, 16, 16, 16)
CLASSES = 10
CHUNK = 100  # networks trained together: their activations stay in the cache


@dataclass(frozen=True, slots=True)
class Zoo:
    """Networks and what they reach."""

    graph: sn.NeuronGraph
    weights: Weights  # name -> (networks, *axes)
    accuracy: Tensor  # (networks,) on images that they were not trained on

    def parts(self, seed: int) -> Parts:
        """Three fifths to learn from, a fifth each to choose by and to report on."""
        order = torch.randperm(
            len(self.accuracy), generator=torch.Generator().manual_seed(2000 + seed)
        )
        fifth = len(order) // 5
        return Parts(order[2 * fifth :], order[:fifth], order[fifth : 2 * fifth])


def _start(ways: Ways, generator: torch.Generator) -> Weights:
    found = {}
    names = [f"{2 * layer}" for layer in range(len(CHANNELS) - 1)]
    for name, fan_in, fan_out in zip(names, CHANNELS, CHANNELS[1:], strict=False):
        normal = torch.randn(len(ways.scale), fan_out, fan_in, 3, 3, generator=generator)
        found[f"{name}.weight"] = (
            normal * (2.0 / (9 * fan_in)) ** 0.5 * ways.scale[:, None, None, None, None]
        )
        found[f"{name}.bias"] = torch.zeros(len(ways.scale), fan_out)
    last = torch.randn(len(ways.scale), CLASSES, CHANNELS[-1], generator=generator)
    found["head.weight"] = last * CHANNELS[-1] ** -0.5 * ways.scale[:, None, None]
    found["head.bias"] = torch.zeros(len(ways.scale), CLASSES)
    return found


def classify(
    weights: Weights,
    images: Tensor,
    activation: Callable[[Tensor], Tensor],
    dropped: Tensor | None = None,
) -> Tensor:
    """Logits `(network, image, classes)` for images `(network or 1, image, 1, 8, 8)`; `dropped` scales the last features."""
    count = len(weights["head.bias"])
    hidden = images.expand(count, *images.shape[1:])
    for layer in range(len(CHANNELS) - 1):
        weight, bias = weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"]
        side = (hidden.shape[-1] + 1) // 2
        patches = unfold(
            hidden.flatten(0, 1), 3, padding=1, stride=2
        )  # (network * image, c_in * 9, positions)
        rows = patches.unflatten(0, (count, -1)).transpose(2, 3).flatten(1, 2)
        values = torch.baddbmm(bias.unsqueeze(1), rows, weight.flatten(2).mT)
        hidden = activation(values).view(count, -1, side * side, weight.shape[1])
        if layer < len(CHANNELS) - 2:
            hidden = hidden.transpose(2, 3).unflatten(-1, (side, side))
    features = hidden.mean(2)
    if dropped is not None:
        features = features * dropped
    return torch.baddbmm(weights["head.bias"].unsqueeze(1), features, weights["head.weight"].mT)


def _train_cnns(
    ways: Ways,
    images: Tensor,
    classes: Tensor,
    test: Tensor,
    generator: torch.Generator,
    on_step: Callable[[], None],
) -> tuple[Weights, Tensor]:
    """Trained CNNs, and their logits for the test images."""

    def logits_of(weights: Weights, images: Tensor) -> Tensor:
        kept = (
            torch.rand(CHUNK, 1, CHANNELS[-1], generator=generator) >= ways.dropout[:, None, None]
        )
        return classify(weights, images, ways.activation, kept / (1 - ways.dropout[:, None, None]))

    weights = train_in_ways(
        ways, _start(ways, generator), logits_of, images, classes, generator, on_step
    )
    with torch.no_grad():
        return weights, classify(weights, test.unsqueeze(0), ways.activation)


def _train_modules(name: str) -> Callable[..., tuple[Weights, Tensor]]:
    """The same for networks of a module; these have no dropout, and activations of their own."""

    def train(
        ways: Ways,
        images: Tensor,
        classes: Tensor,
        test: Tensor,
        generator: torch.Generator,
        on_step: Callable[[], None],
    ) -> tuple[Weights, Tensor]:
        many = ManyModules(name, CHUNK)
        start = many.start(ways.scale, generator)
        weights = train_in_ways(ways, start, many.logits, images, classes, generator, on_step)
        with torch.no_grad():
            return many.complete(weights), many.judge(weights, test)

    return train


def load_zoo(corpus: ZooCorpus, folder: Path, console: Console | None = None) -> Zoo:
    """The zoo, trained or read.

    Raises:
        SymnetError: a published zoo that is not at `corpus.path`.
    """
    if corpus.source == "small-cnn-zoo":
        return _published(corpus)
    where = corpus_folder(
        folder, "zoo", corpus.model_dump(mode="json", exclude={"networks", "path"})
    )
    count = -(-corpus.networks // CHUNK)
    with Progress(console=console, disable=console is None) as progress:
        bar = progress.add_task("training CNNs", total=count)

        def work(number: int, check: Callable[[], None]) -> Weights:
            chunk = _chunk(where / f"{number:04d}.npz", corpus, number, check)
            progress.advance(bar)
            return chunk

        found = in_parallel(work, range(count))
    every = {
        name: torch.cat([chunk[name] for chunk in found])[: corpus.networks] for name in found[0]
    }
    accuracy = every.pop("accuracy")
    finite = torch.stack([tensor.flatten(1).isfinite().all(1) for tensor in every.values()]).all(0)
    graph = _graph_of(corpus.architecture)
    names = dict(zip(every, graph.shapes, strict=True))
    return Zoo(
        graph, {names[name]: tensor[finite] for name, tensor in every.items()}, accuracy[finite]
    )


def _published(corpus: ZooCorpus) -> Zoo:
    """The Small CNN Zoo's networks with ReLUs, whose weights are finite: of other activations they are other functions."""
    if not corpus.path:
        raise SymnetError(
            "corpus.source='small-cnn-zoo' is read from a folder: --set 'corpus.path=\"FOLDER\"'."
        )
    networks = read_small_cnn_zoo(corpus.path, activation="relu", on_error="skip")
    accuracy = torch.from_numpy(networks.columns["accuracy"].astype(np.float32))
    return Zoo(networks.graph, dict(networks.weights), accuracy)


def _graph_of(architecture: str) -> sn.NeuronGraph:
    if architecture == "cnn":
        return sn.catalogue.cnn(list(CHANNELS), kernel_size=3, classes=CLASSES, io="fixed")
    return traced_graph(architecture)


def _chunk(path: Path, corpus: ZooCorpus, number: int, on_step: Callable[[], None]) -> Weights:
    if not path.exists():
        data = digits()
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(corpus.seed))
        train, test = order[:1200], order[1200:]
        images = data.images.view(-1, 1, 8, 8)
        generator = torch.Generator().manual_seed(corpus.seed * 1_000_003 + number)
        ways = draw_ways(CHUNK, number, corpus.steps, generator)
        make = _train_cnns if corpus.architecture == "cnn" else _train_modules(corpus.architecture)
        weights, found = make(
            ways, images[train], data.classes[train], images[test], generator, on_step
        )
        accuracy = (found.argmax(-1) == data.classes[test]).float().mean(-1)
        arrays = {
            name: tensor.numpy() for name, tensor in {**weights, "accuracy": accuracy}.items()
        }
        write_arrays(path, arrays)
    return {name: torch.from_numpy(array) for name, array in read_arrays(path).items()}
