"""What a run of the digits recipe found: values, one table, JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAVY
from rich.table import Table

from symnet.display import Displayed
from symnet.tasks.training import Trained

__all__ = [
    "FitQuality",
    "Layer",
    "Moved",
    "Results",
    "layers_table",
    "moved_table",
    "results_table",
]


@dataclass(frozen=True, slots=True)
class FitQuality:
    """The fitted networks."""

    images: int
    fits: int  # networks of each image
    architecture: str
    psnr_mean: float  # decibels
    psnr_min: float
    psnr_below_20: float  # share of networks
    seconds: float  # of this run; reading finished shards takes next to nothing


@dataclass(frozen=True, slots=True)
class Layer:
    """One derived layer: its maps counted two ways."""

    name: str
    maps: int
    maps_by_burnside: int
    parameters: int
    dense_parameters: int  # of a layer without tied weights, for the same channels


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a reader's predictions move when the neurons of test networks are permuted."""

    reader: str
    networks: int
    largest_change: float  # of a logit, relative to the largest logit; float32
    largest_change_float64: float
    changed: float  # share of networks whose predicted class changes


@dataclass(frozen=True, slots=True)
class Results(Displayed):
    """Everything that a run reports; `trained` has a row for every reader and seed."""

    folder: Path
    fits: FitQuality
    layers: tuple[Layer, ...]
    verified: tuple[str, ...]  # the reports of what was verified, each passed
    trained: tuple[Trained, ...]
    moved: tuple[Moved, ...]
    seconds: float
    page: Path

    def of(self, reader: str) -> list[Trained]:
        """The trainings of one reader, seed by seed."""
        return [row for row in self.trained if row.reader == reader]

    def accuracy(self, reader: str) -> float:
        """Mean test accuracy of single networks over the seeds."""
        return statistics.fmean(row.accuracy for row in self.of(reader))

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "folder": str(self.folder), "page": str(self.page)}

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), indent=1)


def results_table(trained: Sequence[Trained]) -> Table:
    """Accuracy, parameters and time of every reader; with several seeds mean and standard deviation."""
    seeds = len({row.seed for row in trained})
    shown = (
        f"mean ± standard deviation of {seeds} seeds"
        if seeds > 1
        else "read from the weights of their networks"
    )
    table = _table(
        f"held-out images, {shown}",
        "reader",
        "accuracy\n%",
        "vote of\nits fits %",
        "training\nnets %",
        "parameters",
        "seconds",
    )
    for name in dict.fromkeys(row.reader for row in trained):
        rows = [row for row in trained if row.reader == name]
        table.add_row(
            name,
            *(
                _share([getattr(row, field) for row in rows])
                for field in ("accuracy", "vote", "train_accuracy")
            ),
            f"{rows[0].parameters:,}",
            f"{statistics.fmean(row.seconds for row in rows):.0f}",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    """An empty table of at most 80 columns, names to the left and numbers to the right."""
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAVY, pad_edge=False, collapse_padding=True
    )
    for heading in headings:
        table.add_column(heading, justify="right" if table.columns else "left", no_wrap=True)
    return table


def _share(values: Sequence[float]) -> str:
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


def layers_table(layers: Sequence[Layer]) -> Table:
    """What was derived, counted by patterns and by Burnside's lemma."""
    table = _table("derived layers", "layer", "maps", "by Burnside", "parameters", "untied weights")
    for layer in layers:
        numbers = (layer.maps, layer.maps_by_burnside, layer.parameters, layer.dense_parameters)
        table.add_row(layer.name, *(f"{number:,}" for number in numbers))
    return table


def moved_table(moved: Sequence[Moved]) -> Table:
    """What permuting the neurons of test networks does to the predictions."""
    table = _table(
        f"permuting the neurons of {moved[0].networks:,} test networks"
        if moved
        else "permuting neurons",
        "reader",
        "logits move by\nat most, float32",
        "float64",
        "classes\nthat change, %",
    )
    for row in moved:
        table.add_row(
            row.reader,
            f"{row.largest_change:.1e}",
            f"{row.largest_change_float64:.1e}",
            f"{100 * row.changed:.1f}",
        )
    return table
