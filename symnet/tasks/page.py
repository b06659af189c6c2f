"""The page about a run: pictures of the fits, the ways to write one network, the tying pattern, curves, and the table."""

from __future__ import annotations

import io

import torch
from matplotlib.figure import Figure
from rich.console import Console, RenderableType
from torch import Tensor

import symnet as sn
from symnet.data import Corpus, Digits, evaluate, pixel_grid
from symnet.files import write_file
from symnet.show import Section, make_page, narrowed, tying_matrix
from symnet.tasks.results import Results, layers_table, moved_table, results_table
from symnet.tasks.what_mattered import MEASURED

__all__ = ["curves_picture", "fits_picture", "weights_picture", "write_page"]

_FINE = 48  # pixels a side at which fitted networks are drawn
_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
)  # told apart also by the colour-blind (Okabe and Ito)


def write_page(
    results: Results, graph: sn.NeuronGraph, data: Digits, corpus: Corpus, omega: float
) -> None:
    """Write the self-contained page to `results.page`."""
    text = make_page(
        "Digits, read from the weights of networks", _sections(results, graph, data, corpus, omega)
    )
    write_file(results.page, text, folders=True)


def _sections(
    results: Results, graph: sn.NeuronGraph, data: Digits, corpus: Corpus, omega: float
) -> list[Section]:
    fits = results.fits
    return [
        Section(
            "The result",
            "A reader sees the weights of one network and names the digit that it draws. Training and test networks draw "
            "different images. All readers train on the same networks, the flat MLPs for six times as many steps, which takes about as long.",
            text=as_text(results_table(results.trained)),
        ),
        Section(
            "The fitted networks",
            f"{fits.images:,} digits, {fits.fits} SIRENs {fits.architecture} each: {fits.psnr_mean:.1f} dB on average. "
            "Above the images of 8 x 8 pixels, below two of their networks, drawn at any points one likes.",
            fits_picture(data, corpus, omega),
        ),
        Section(
            "One image, many weights",
            "The middle weights of networks of one image: two fits from different starts, and the first fit once more with "
            "its neurons renumbered, which is the same function.",
            weights_picture(data, corpus, graph),
        ),
        Section(
            "The tying pattern",
            "Weights of equal colour are tied in the layer from all tensors to all tensors; drawn for hidden layers of "
            "three neurons. The table counts the layers that the reader is made of.",
            tying_matrix(sn.derive(narrowed(graph, 3))),
            as_text(layers_table(results.layers)),
        ),
        Section(
            "What was verified",
            "In float64, on random weights.",
            text="\n\n".join(results.verified),
        ),
        Section(
            "Training",
            "Held-out accuracy while training; it chooses nothing.",
            curves_picture(results),
        ),
        Section(
            "Permuting the neurons of test networks",
            "The networks stay the same functions. The reader of NF-Layers cannot tell; the others can.",
            text=as_text(moved_table(results.moved)),
        ),
        Section(
            "What mattered",
            "One choice undone at a time, measured with fewer fits and steps on validation images, which are training images "
            "here: how the networks are fitted matters most. This was measured once, not in this run; `python -m "
            "symnet.tasks.what_mattered` repeats it. One seed a line: differences below a point say nothing. All choices were made "
            "for the reader of NF-Layers; the flat MLPs were not tuned, and did better (28 % and 51 %, beside 97 %) with an "
            "earlier recipe that fixed the signs of neurons by a rule.",
            text=MEASURED,
        ),
    ]


def as_text(shown: RenderableType, width: int = 110) -> str:
    """What a terminal of this width would show, without colours."""
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None).print(shown)
    return buffer.getvalue()


def _examples(data: Digits) -> list[int]:
    """The first image of every digit."""
    return [int((data.classes == digit).nonzero()[0]) for digit in range(10)]


def fits_picture(data: Digits, corpus: Corpus, omega: float) -> Figure:
    """An image of every digit above drawings of its first two networks, with their PSNR."""
    shown = _examples(data)
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    axes = figure.subplots(3, len(shown))
    grid = pixel_grid(_FINE)
    for column, image in enumerate(shown):
        _draw(axes[0, column], data.images[image], str(int(data.classes[image])))
        for row in (1, 2):
            fit = min(row - 1, corpus.fits - 1)
            weights = {
                name: tensor[fit, image : image + 1] for name, tensor in corpus.weights.items()
            }
            _draw(
                axes[row, column],
                evaluate(weights, grid, omega)[0],
                f"{float(corpus.psnr[fit, image]):.0f} dB",
            )
    return figure


def _draw(axes, values: Tensor, title: str) -> None:  # type: ignore[no-untyped-def]
    side = round(len(values) ** 0.5)
    axes.imshow(values.view(side, side).numpy(), cmap="gray_r", vmin=-1, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def weights_picture(data: Digits, corpus: Corpus, graph: sn.NeuronGraph) -> Figure:
    """The middle weights of three networks of one image, the third a permutation of the first."""
    image = _examples(data)[3]
    first, second = (
        {name: tensor[fit, image] for name, tensor in corpus.weights.items()}
        for fit in (0, corpus.fits - 1)
    )
    permuted = graph.act(graph.random_element(seed=1), first)
    figure = Figure(figsize=(9, 3.6), layout="compressed")
    titles = ("a fit", "a fit from another start", "the first, neurons renumbered")
    for axes, network, title in zip(
        figure.subplots(1, 3), (first, second, permuted), titles, strict=True
    ):
        largest = float(
            torch.stack([t.abs().max() for t in (first["2.weight"], second["2.weight"])]).max()
        )
        axes.imshow(network["2.weight"].numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("neurons of the first hidden layer", fontsize=8)
        axes.set_ylabel(
            "neurons of the second" if axes.get_subplotspec().is_first_col() else "", fontsize=8
        )
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def curves_picture(results: Results) -> Figure:
    """Training loss and held-out accuracy over the seconds of training, a colour a reader, a line a seed."""
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    readers = list(dict.fromkeys(row.reader for row in results.trained))
    for row in results.trained:
        colour = _COLOURS[readers.index(row.reader) % len(_COLOURS)]
        name = row.reader if row.seed == results.trained[0].seed else None
        seconds, losses, accuracies = zip(*row.curve, strict=True)
        left.plot(seconds, losses, color=colour)
        right.plot(seconds, [100 * value for value in accuracies], color=colour, label=name)
    left.set(xlabel="seconds of training", ylabel="training loss")
    right.set(xlabel="seconds of training", ylabel="accuracy on held-out images, %", ylim=(0, 100))
    right.axhline(10, color="0.6", linestyle=":", linewidth=1)
    figure.legend(
        *right.get_legend_handles_labels(),
        fontsize=9,
        loc="outside upper center",
        ncols=len(readers),
        frameon=False,
    )
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
