"""What made the reader of digits good: one choice of the recipe at a time is undone, and the reader trained anew.

    python -m symnet.tasks.what_mattered

Every line is the accuracy on the validation images, which are training images of the demo: nothing here sees a test
image. To be quick, there are half as many fits and fewer steps than in the demo. `MEASURED` is what it printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

import symnet as sn
from symnet.data import digits, fit_corpus
from symnet.learn.threads import one_thread
from symnet.tasks.readers import NeuronReader, Standardize
from symnet.tasks.study import NEURONS, Part, Settings, Study

__all__ = ["MEASURED", "Variant", "measure", "plain_reader", "variants"]

MEASURED = """\
accuracy     PSNR
  94.2 %  42.9 dB  the recipe
  93.8 %  42.9 dB  training images not moved
  87.7 %  69.4 dB  no weight decay in the fits
  52.6 %  42.9 dB  ReLUs between NF-Layers, no sines or products
  40.3 %  42.9 dB  a quarter of the fits of each image
  17.2 %  58.8 dB  omega 10 instead of 5
  10.5 %  56.3 dB  omega 30, as SIRENs usually have
"""

Build = Callable[[sn.NeuronGraph, Part], nn.Module]


def _usual(graph: sn.NeuronGraph, training: Part) -> nn.Module:
    return NeuronReader(graph, training.features(slice(None)))


@dataclass(frozen=True, slots=True)
class Variant:
    """The recipe with one change: other settings, or another reader."""

    name: str
    settings: Settings
    build: Build = _usual


def variants(base: Settings) -> Iterator[Variant]:
    """The recipe, and one change at a time."""
    yield Variant("the recipe", base)
    yield Variant(
        "no weight decay in the fits", replace(base, fit=replace(base.fit, weight_decay=0.0))
    )
    yield Variant("omega 10 instead of 5", replace(base, fit=replace(base.fit, omega=10.0)))
    yield Variant(
        "omega 30, as SIRENs usually have", replace(base, fit=replace(base.fit, omega=30.0))
    )
    yield Variant("a quarter of the fits of each image", replace(base, fits=max(1, base.fits // 4)))
    yield Variant(
        "training images not moved", replace(base, training=replace(base.training, motion=0.0))
    )
    yield Variant("ReLUs between NF-Layers, no sines or products", base, plain_reader)


def plain_reader(
    graph: sn.NeuronGraph, training: Part, *, channels: int = 24, hidden: int = 128
) -> nn.Module:
    """The same preparation and head, and between them three NF-Layers from all weights to all, with ReLUs."""
    layers: list[nn.Module] = [Standardize(training.features(slice(None)))]
    for c_in in (1, channels, channels):
        layers += [sn.nn.Linear(graph, c_in, channels), sn.nn.Pointwise(nn.ReLU())]
    pool = sn.nn.Pool(graph)
    pooled = pool.dimension * channels
    head = nn.Sequential(
        nn.BatchNorm1d(pooled), nn.Linear(pooled, hidden), nn.GELU(), nn.Linear(hidden, 10)
    )
    return nn.Sequential(*layers, pool, head)


def measure(
    variant: Variant, folder: Path, console: Console, *, seed: int = 1
) -> tuple[float, float]:
    """Accuracy on the validation images, and the mean PSNR of the fits in decibels."""
    settings = variant.settings
    data = digits().first(settings.images)
    # Fits depend on their recipe alone: the same folder serves all variants that share it.
    corpus = fit_corpus(
        folder / f"{abs(hash(settings.fit)):x}",
        data,
        settings.fit,
        fits=settings.fits,
        console=console,
    )
    study = Study(
        folder, data, corpus, sn.catalogue.mlp(list(settings.fit.widths)), settings, console
    )
    training, validation = study.validation_parts(seed)
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        model = variant.build(study.graph, training)
        row = study.train_one(NEURONS, seed, model, training, validation)
    return row.accuracy, float(corpus.psnr.mean())


def _main() -> None:
    console, folder = Console(), Path("symnet-demo") / "what-mattered"
    base = Settings(fits=8, steps=1500, points=1)
    found = [(variant.name, *measure(variant, folder, console)) for variant in variants(base)]
    for name, accuracy, psnr in found:
        console.print(f"{100 * accuracy:6.1f} %  {psnr:4.1f} dB  {name}", highlight=False)


if __name__ == "__main__":
    _main()
