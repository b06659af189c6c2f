"""The pictures of a run: training curves for every task, and what the task itself has to show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from symnet.learn.problem import Problem
from symnet.show.figures import SMALL, new_figure, save_picture
from symnet.tasks.accuracy import Accuracy
from symnet.tasks.classification import CLASSES, Classification
from symnet.tasks.editing import Editing
from symnet.tasks.outcome import Found, heading
from symnet.tasks.tickets import Tickets

__all__ = ["write_pictures"]

# Told apart also by the colour-blind (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
SHOWN = 8  # digits in a row


def write_pictures(
    found: Found, problem: Problem, predictions: Mapping[str, Tensor], folder: Path
) -> list[Path]:
    """The paths of the pictures, written: `curves.png` and `found.png`.

    Args:
        found: the results.
        problem: of the first seed.
        predictions: every model's, for the test networks of the first seed.
        folder: where to.
    """
    pictures = {"curves.png": curves_picture(found)}
    match problem:
        case Accuracy():
            pictures["found.png"] = _accuracy_picture(problem, predictions)
        case Classification():
            pictures["found.png"] = _confusion_picture(problem, predictions)
        case Editing():
            pictures["found.png"] = _editing_picture(problem, predictions)
        case Tickets():
            pictures["found.png"] = _mask_picture(problem, predictions)
    return [
        save_picture(figure, folder / name, dpi=100, folders=True)
        for name, figure in pictures.items()
    ]


def curves_picture(found: Found) -> Figure:
    """The validation metric of every training, by the share of its steps."""
    figure = new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    for number, name in enumerate(found.models):
        for row in (row for row in found.rows if row.model == name):
            steps, _, metric = zip(*row.curve, strict=True)
            label = name if row.seed == found.rows[0].seed else None
            axes.plot(
                [step / row.steps for step in steps],
                metric,
                color=COLOURS[number % len(COLOURS)],
                label=label,
            )
    axes.set_xlabel("share of the training")
    axes.set_ylabel(f"{heading(found.metric).split(',')[0]}, validation")
    axes.legend(fontsize=SMALL)
    _plain(axes)
    figure.tight_layout()
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _accuracy_picture(problem: Accuracy, predictions: Mapping[str, Tensor]) -> Figure:
    """Predicted against true accuracies, one panel a model."""
    truth = problem.targets["accuracy"][problem.parts.test]
    figure = new_figure(2.2 * len(predictions), 2.5)
    for number, (name, predicted) in enumerate(predictions.items()):
        axes = figure.add_subplot(1, len(predictions), number + 1)
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
        axes.scatter(truth.numpy(), predicted.numpy(), s=3, color=COLOURS[number % len(COLOURS)])
        axes.set_title(name, fontsize=SMALL)
        axes.set_xlabel("test accuracy", fontsize=SMALL)
        if number == 0:
            axes.set_ylabel("predicted from weights", fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        _plain(axes)
    figure.tight_layout()
    return figure


def _confusion_picture(problem: Classification, predictions: Mapping[str, Tensor]) -> Figure:
    """Which digit is taken for which, one panel a model."""
    truth = problem.targets["class"][problem.parts.test]
    figure = new_figure(2.1 * len(predictions), 2.4)
    for number, (name, logits) in enumerate(predictions.items()):
        counts = torch.zeros(CLASSES, CLASSES).index_put_(
            (truth, logits.argmax(-1)), torch.ones(len(truth)), accumulate=True
        )
        axes = figure.add_subplot(1, len(predictions), number + 1)
        axes.imshow(
            (counts / counts.sum(1, keepdim=True).clamp_min(1)).numpy(),
            cmap="Blues",
            vmin=0,
            vmax=1,
        )
        axes.set_title(name, fontsize=SMALL)
        axes.set_xlabel("predicted", fontsize=SMALL)
        if number == 0:
            axes.set_ylabel("digit", fontsize=SMALL)
        axes.set_xticks(range(CLASSES))
        axes.set_yticks(range(CLASSES))
        axes.tick_params(labelsize=5)
    figure.tight_layout()
    return figure


def _editing_picture(problem: Editing, predictions: Mapping[str, Tensor]) -> Figure:
    """Rows of digits: what the networks show, what they should show, what they show after each model's change."""
    rows = problem.parts.test[:SHOWN]
    shown = problem.take(rows)
    images = {"network": problem.show(shown.weights), "wanted": shown.targets["edited"]}
    images |= {name: predicted[:SHOWN] for name, predicted in predictions.items()}
    figure = new_figure(0.8 * SHOWN + 1.0, 0.82 * len(images))
    for number, (name, row) in enumerate(images.items()):
        side = round(row.shape[1] ** 0.5)
        for column, image in enumerate(row):
            axes = figure.add_subplot(len(images), SHOWN, number * SHOWN + column + 1)
            axes.imshow(image.view(side, side).numpy(), cmap="gray", vmin=-1, vmax=1)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name, fontsize=SMALL, rotation=0, ha="right", va="center")
    figure.tight_layout(h_pad=0.2, w_pad=0.2)
    return figure


def _mask_picture(problem: Tickets, predictions: Mapping[str, Tensor]) -> Figure:
    """For every pixel of the digits, how many of its weights are kept, over all test networks."""
    known = problem.known(problem.parts.test)
    scores = {"iterative pruning": known["mask"], "magnitude": known["start"].abs(), **predictions}
    first = next(iter(problem.matrices.values()))
    figure = new_figure(1.9 * len(scores), 2.2)
    for number, (name, score) in enumerate(scores.items()):
        kept = problem.keep(score)[:, : first[0] * first[1]]
        share = kept.view(-1, *first).mean((0, 1)).numpy()
        side = round(len(share) ** 0.5)
        axes = figure.add_subplot(1, len(scores), number + 1)
        axes.imshow(
            share.reshape(side, side), cmap="viridis", vmin=0, vmax=max(0.15, float(np.max(share)))
        )
        axes.set_title(name, fontsize=SMALL)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.tight_layout()
    return figure
