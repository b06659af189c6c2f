"""Reading handwritten digits from the weights of networks that were fitted to them.

A SIREN is fitted to every one of 1,797 real digits, several times; the NF-Layers of its architecture are derived and
verified; a classifier made of them is trained to tell the digit from the weights of one network, and compared with an
MLP on the flattened weights, without and with random renumbering of the neurons as augmentation.

The recipe was chosen on 360 validation images, which are training images whatever the seed of the split. What mattered
most is how the SIRENs are fitted: at a frequency of omega = 5, with weight decay, their weights show the image; at omega =
10 or 30 the fit is better still, but its weights mostly remember their random start, and no reader gets far. Then the number
of fits of each image (from many, a reader learns what the start does to the weights), and sines and products between the
layers instead of ReLUs. Moving the training images gains little. Figures: symnet/tasks/what_mattered.py. Fixing the signs of
neurons by a rule (the sine is odd, so they are free) gained nothing for the NF reader, in one run, and is left out.

All choices were made for the NF reader; the flat MLPs share its learning rate, batch and augmentation, and were not tuned.
They are not as weak under every recipe: with signs fixed by a rule and fits from a smaller start (25.5 dB) they reached 28 %
and 51 % on the split of seed 1, where the NF reader had 97 %.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

import symnet as sn
from symnet.data import Corpus, Digits, digits, fit_corpus, siren
from symnet.errors import SymnetError
from symnet.files import write_file
from symnet.learn.threads import one_thread
from symnet.tasks.page import write_page
from symnet.tasks.readers import NeuronReader
from symnet.tasks.results import (
    FitQuality,
    Layer,
    Moved,
    Results,
    layers_table,
    moved_table,
    results_table,
)
from symnet.tasks.study import FLAT, FLAT_PERMUTED, NEURONS, Settings, Study

__all__ = ["FLAT", "FLAT_PERMUTED", "NEURONS", "QUICK", "Settings", "run"]

QUICK = Settings(images=400, fits=10, steps=350, points=4)


def run(
    out_dir: str | Path,
    *,
    seeds: int = 1,
    quick: bool = False,
    settings: Settings | None = None,
    console: Console | None = None,
) -> Results:
    """Everything that was found; it is also printed, and written to `out_dir` as a page and as JSON.

    A killed run goes on in the same folder: fits that are there are read, trainings that were finished are not repeated.

    Args:
        out_dir: folder for fits, trainings, `results.json` and `index.html`.
        seeds: trainings of each reader, on as many splits; the fits are shared.
        quick: a small part of the data, to see that everything runs.
        settings: sizes, instead of the usual or the quick ones.
        console: where to print (default: standard output).

    Raises:
        SymnetError: settings out of range.
        VerificationError: the declared graph or a derived layer did not pass its check.
    """
    if seeds < 1:
        raise SymnetError(f"seeds={seeds}: train with at least one.")
    started = time.perf_counter()
    folder, chosen, console = (
        Path(out_dir),
        settings or (QUICK if quick else Settings()),
        console or Console(),
    )
    data = digits().first(chosen.images)
    graph = sn.catalogue.mlp(list(chosen.fit.widths))

    console.rule("1  A network for every digit")
    corpus, quality = _fit(folder, data, chosen, console)
    console.rule("2  The layers of this architecture")
    study = Study(folder / "trained", data, corpus, graph, chosen, console)
    layers, verified = _derive(study)
    console.rule("3  Reading digits from weights")
    with one_thread():
        moved: tuple[Moved, ...] = ()
        for seed in range(1, seeds + 1):
            models = study.train_all(seed)
            test = study.parts(seed)[1]
            moved = moved or tuple(
                study.move(reader, model, test) for reader, model in models.items()
            )
    console.rule("4  The result")
    found = Results(
        folder, quality, layers, verified, tuple(study.trained), moved, 0.0, folder / "index.html"
    )
    found = replace(found, seconds=time.perf_counter() - started)
    write_page(found, graph, data, corpus, chosen.fit.omega)
    write_file(folder / "results.json", found.as_json())
    console.print(moved_table(found.moved))
    console.print(results_table(found.trained))
    console.print(
        f"{time.perf_counter() - started:.0f} s in all. Pictures: {found.page}", soft_wrap=True
    )
    return found


def _fit(
    folder: Path, data: Digits, chosen: Settings, console: Console
) -> tuple[Corpus, FitQuality]:
    """The corpus, fitted or read, and a line about its quality."""
    started = time.perf_counter()
    corpus = fit_corpus(folder / "fits", data, chosen.fit, fits=chosen.fits, console=console)
    quality = FitQuality(
        images=len(data),
        fits=chosen.fits,
        architecture="-".join(map(str, chosen.fit.widths)),
        psnr_mean=float(corpus.psnr.mean()),
        psnr_min=float(corpus.psnr.min()),
        psnr_below_20=float((corpus.psnr < 20).float().mean()),
        seconds=time.perf_counter() - started,
    )
    console.print(
        f"{quality.images:,} digits, {quality.fits} SIRENs {quality.architecture} each, from different random starts: "
        f"reconstruction PSNR {quality.psnr_mean:.1f} dB on average, {quality.psnr_min:.1f} dB at worst, "
        f"{100 * quality.psnr_below_20:.1f} % below 20 dB; {quality.seconds:.0f} s."
    )
    return corpus, quality


def _derive(study: Study) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The derived layers, counted two ways, and the reports of their verification.

    Raises:
        VerificationError: a check failed.
    """
    graph, console = study.graph, study.console
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(
            0
        )  # the reports are results too: a run that was killed ends with the same
        network = siren(study.settings.fit.widths, study.settings.fit.omega)
        full = sn.nn.Linear(graph, 1, 4)
        points = torch.rand(32, 2) * 2 - 1
    reader = study.build(NEURONS, 1, study.parts(1)[0])
    assert isinstance(reader, NeuronReader)
    console.print(str(graph), highlight=False, markup=False)
    console.print(full.describe(), highlight=False, markup=False, soft_wrap=True)
    layers = tuple(
        _count(name, layer) for name, layer in {"all to all": full, **reader.layers()}.items()
    )
    console.print(layers_table(layers))
    reports = {
        "A SIREN, its neurons permuted": sn.verify.network(network, graph, points, seed=0),
        "The layer from all weights to all weights": sn.verify.equivariance(full, graph, seed=0),
        "The whole reader": sn.verify.equivariance(reader, graph, seed=0),
    }
    verified = tuple(f"{name}\n{report}" for name, report in reports.items())
    for text, report in zip(verified, reports.values(), strict=True):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        report.raise_if_failed()
    return layers, verified


def _count(name: str, layer: sn.nn.Linear) -> Layer:
    maps = sn.derive(layer.graph, inputs=layer.inputs, outputs=layer.outputs)
    dense = layer.inputs.size * layer.outputs.size * layer.in_channels * layer.out_channels
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    return Layer(name, layer.dimension, maps.dimension_by_burnside, parameters, dense)
