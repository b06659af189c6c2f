"""Networks fitted to images, as both tasks on them use them: fitted here and kept in a folder, or published; split by image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

import symnet as sn
from symnet.data import (
    FitRecipe,
    NetworkSet,
    digits,
    evaluate,
    fit_corpus,
    pixel_grid,
    read_dws_folders,
    read_siren_folders,
    split_images,
)
from symnet.errors import SymnetError
from symnet.learn.problem import Parts, Weights
from symnet.tasks.configuration import FitCorpus

__all__ = ["FittedImages", "corpus_folder", "fitted_images"]

PUBLISHED_SIDE = 28  # pixels


@dataclass(frozen=True)
class FittedImages:
    """Networks of images."""

    graph: sn.NeuronGraph
    weights: Weights  # name -> (networks, *axes)
    classes: Tensor  # (networks,) of the image that each shows
    image: Tensor  # (networks,) its number
    grid: Tensor  # (pixels, 2)
    omega: float
    parts: Callable[[int], Parts]  # by seed; all networks of an image are in one part
    offset: float = 0.0  # added to what the networks compute
    pixels: Tensor | None = None  # (networks, pixels) in [-1, 1]; None: only the networks know

    def show(self, weights: Weights) -> Tensor:
        """The images that networks show: `(networks, pixels)`."""
        return (
            evaluate(weights, self.grid.to(next(iter(weights.values()))), self.omega) + self.offset
        )

    def images(self) -> Tensor:
        """What the networks were fitted to, as far as is known, `(networks, pixels)`: pixels, or what they show."""
        if self.pixels is not None:
            return self.pixels
        rows = torch.arange(len(self.classes)).split(1000)
        return torch.cat(
            [
                self.show({name: tensor[part] for name, tensor in self.weights.items()})
                for part in rows
            ]
        )


def corpus_folder(folder: Path, kind: str, values: object) -> Path:
    """Where a corpus made with these values lies: another corpus, another folder, so that none is made twice."""
    text = json.dumps(values, sort_keys=True, default=str)
    return folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def fitted_images(corpus: FitCorpus, folder: Path, console: Console | None) -> FittedImages:
    """The networks that a configuration asks for, fitted or read.

    Raises:
        SymnetError: a published corpus that is not at `corpus.path`, or of other widths.
    """
    if corpus.source == "digits":
        return _fitted_digits(corpus, folder, console)
    if not corpus.path:
        raise SymnetError(
            f"corpus.source={corpus.source!r} is read from a folder: --set 'corpus.path=\"FOLDER\"'."
        )
    read: Mapping[str, Callable[..., NetworkSet]] = {
        "siren-folders": read_siren_folders,
        "dws-folders": read_dws_folders,
    }
    return _published(read[corpus.source](corpus.path, on_error="skip"), corpus)


def _fitted_digits(corpus: FitCorpus, folder: Path, console: Console | None) -> FittedImages:
    """SIRENs of the digits; network `f * images + i` is fit `f` of image `i`.

    A fifth of the images is for testing, drawn by the seed; a tenth is for validation, the same for every seed.
    """
    recipe = FitRecipe(
        widths=corpus.widths,
        omega=corpus.omega,
        steps=corpus.steps,
        weight_decay=corpus.weight_decay,
    )
    data = digits().first(corpus.images)
    # Shards that hold as many images are the same, however many fits are asked for.
    where = corpus_folder(folder, "sirens", {**recipe.as_dict(), "images": corpus.images})
    found = fit_corpus(where, data, recipe, fits=corpus.fits, console=console)
    weights = {name: tensor.flatten(0, 1) for name, tensor in found.weights.items()}
    image = torch.arange(len(data)).repeat(corpus.fits)

    def parts(seed: int) -> Parts:
        split = split_images(data.classes, seed=seed)
        validation = split.validation[::2]
        train = split.train[~torch.isin(split.train, validation)]
        first = torch.arange(corpus.fits)[:, None] * len(data)
        return Parts(*((first + images).flatten() for images in (train, validation, split.test)))

    graph = sn.catalogue.mlp(list(corpus.widths))
    classes, pixels = data.classes[image], data.images[image]
    return FittedImages(
        graph, weights, classes, image, data.grid, corpus.omega, parts, pixels=pixels
    )


def _published(networks: NetworkSet, corpus: FitCorpus) -> FittedImages:
    graph = sn.catalogue.mlp(list(corpus.widths))
    if networks.graph != graph:
        raise SymnetError(
            f"The networks in {corpus.path} have tensors {dict(networks.graph.shapes)}; corpus.widths={list(corpus.widths)} "
            f"asks for {dict(graph.shapes)}. Set corpus.widths."
        )
    image = _numbered(networks)

    def parts(seed: int) -> Parts:
        if all(len(networks.parts.get(name, ())) for name in ("train", "val", "test")):
            return Parts(
                *(torch.from_numpy(networks.parts[name]) for name in ("train", "val", "test"))
            )
        count = int(image.max()) + 1
        order = torch.randperm(count, generator=torch.Generator().manual_seed(3000 + seed))
        tenth = max(1, count // 10)
        chosen = (order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])
        return Parts(*(torch.isin(image, some).nonzero().flatten() for some in chosen))

    classes = torch.from_numpy(networks.columns["label"].astype(np.int64))
    grid = pixel_grid(PUBLISHED_SIDE)
    offset = 0.5 if corpus.source == "dws-folders" else 0.0
    return FittedImages(
        graph, dict(networks.weights), classes, image, grid, corpus.omega, parts, offset
    )


def _numbered(networks: NetworkSet) -> Tensor:
    """The images counted from zero, `(networks,)`: of further fits of an image the label and number are the same."""
    columns = networks.columns
    if "fit" in columns:
        names = [
            f"{label}/{number}"
            for label, number in zip(columns["label"], columns["image"], strict=True)
        ]
    else:  # one network an image, and numbers start anew in every split
        names = [str(path) for path in columns["path"]]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))
