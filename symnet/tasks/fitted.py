"""Networks fitted to images, as both tasks on them use them: fitted once, kept in a folder, split by image."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from symnet.data import Digits, FitRecipe, digits, fit_corpus, split_images
from symnet.tasks.configuration import FitCorpus
from symnet.tasks.problem import Parts, Weights

__all__ = ["FittedImages", "corpus_folder", "fitted_digits"]


@dataclass(frozen=True, slots=True)
class FittedImages:
    """Several networks of every image; network `f * images + i` is fit `f` of image `i`."""

    weights: Weights  # name -> (networks, *axes)
    data: Digits
    fits: int
    omega: float
    psnr: Tensor  # (networks,) decibels

    @property
    def image(self) -> Tensor:
        """The image of every network, `(networks,)` int64."""
        return torch.arange(len(self.data)).repeat(self.fits)

    def parts(self, seed: int) -> Parts:
        """A split by image: a fifth is for testing, drawn by the seed; a tenth for validation, the same for every seed."""
        split = split_images(self.data.classes, seed=seed)
        validation = split.validation[::2]
        train = split.train[~torch.isin(split.train, validation)]
        return Parts(*(self._networks(images) for images in (train, validation, split.test)))

    def _networks(self, images: Tensor) -> Tensor:
        return (torch.arange(self.fits)[:, None] * len(self.data) + images).flatten()


def corpus_folder(folder: Path, kind: str, values: object) -> Path:
    """Where a corpus made with these values lies: another corpus, another folder, so that none is made twice."""
    text = json.dumps(values, sort_keys=True, default=str)
    return folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def fitted_digits(corpus: FitCorpus, folder: Path, console: Console | None) -> FittedImages:
    """The SIRENs of the digits, fitted or read."""
    recipe = FitRecipe(widths=corpus.widths, omega=corpus.omega, steps=corpus.steps, weight_decay=corpus.weight_decay)
    data = digits().first(corpus.images)
    # Shards that hold as many images are the same, however many fits are asked for.
    where = corpus_folder(folder, "sirens", {**recipe.as_dict(), "images": corpus.images})
    found = fit_corpus(where, data, recipe, fits=corpus.fits, console=console)
    weights = {name: tensor.flatten(0, 1) for name, tensor in found.weights.items()}
    return FittedImages(weights, data, corpus.fits, corpus.omega, found.psnr.flatten())
