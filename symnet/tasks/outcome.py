"""What a run found: one row for every training, the references, and the table of means that is made of them."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from symnet.errors import FileError, SymnetError
from symnet.files import read_text, shown, write_file

__all__ = ["Found", "Row", "read_found", "shares", "table"]

# Measures that are shares, shown in percent; and those of which less is better.
PERCENT = {"accuracy", "vote", "overlap"}
LESS_IS_BETTER = {"mse", "error"}


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(_Value):
    """One training."""

    model: str
    seed: int
    test: dict[str, float]  # measures on networks that chose nothing
    validation: float
    best_step: int
    steps: int
    seconds: float
    parameters: int
    curve: tuple[tuple[int, float, float], ...]  # (step, training loss, validation metric)


class Found(_Value):
    """Everything that a run found."""

    task: str
    size: str
    metric: str
    rows: tuple[Row, ...]
    references: dict[
        str, tuple[dict[str, float], ...]
    ]  # without training: by name, the measures of every seed
    networks: tuple[int, int, int]  # to train, to choose, to test
    corpus_seconds: float
    seconds: float
    processor_seconds: float = (
        0.0  # of all threads of the first process: what does not depend on a machine's other work
    )
    machine: str

    @property
    def models(self) -> tuple[str, ...]:
        """In the order of the configuration."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    def values(self, name: str, measure: str | None = None) -> list[float]:
        """A measure (default: the metric) of every seed of a model or reference."""
        measure = measure or self.metric
        if name in self.references:
            return [row[measure] for row in self.references[name] if measure in row]
        return [row.test[measure] for row in self.rows if row.model == name and measure in row.test]

    def mean(self, name: str, measure: str | None = None) -> float:
        """Its mean over the seeds."""
        return statistics.fmean(self.values(name, measure))

    def is_better(self, name: str, other: str, measure: str | None = None) -> bool:
        """Whether one has the better mean than another."""
        measure = measure or self.metric
        sign = -1 if measure in LESS_IS_BETTER else 1
        return sign * self.mean(name, measure) > sign * self.mean(other, measure)


def read_found(path: Path) -> Found:
    """The results in a file.

    Raises:
        SymnetError: the file is missing or holds something else.
    """
    try:
        return Found.model_validate_json(read_text(path))
    except (FileError, ValidationError) as error:
        kind = (
            "is missing" if not os.path.exists(path) else f"cannot be read ({type(error).__name__})"
        )
        raise SymnetError(
            f"{shown(path)} {kind}. Run `symnet train` into this folder first."
        ) from error


def shares(values: Sequence[float], measure: str) -> str:
    """Mean and standard deviation over the seeds, in the measure's usual digits.

    Example:
        >>> shares([0.91, 0.93], "accuracy"), shares([0.2], "mse")
        ('92.0 ± 1.4', '0.2000')
    """
    if not values:
        return "–"
    factor, digits = (100, 1) if measure in PERCENT else (1, 4 if measure in LESS_IS_BETTER else 3)
    mean = f"{factor * statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {factor * statistics.stdev(values):.{digits}f}"


def heading(measure: str) -> str:
    """A measure's name with its unit."""
    names = {
        "tau": "Kendall's tau",
        "r2": "R²",
        "mse": "mean square error",
        "error": "mean error",
        "vote": "vote of an image's networks",
    }
    return names.get(measure, measure) + (", %" if measure in PERCENT else "")


def table(found: Found, descriptions: dict[str, str]) -> str:
    """The results as a Markdown table: models, then references; mean ± standard deviation over the seeds."""
    measures = list(found.rows[0].test) if found.rows else []
    head = ["", *(heading(measure) for measure in measures), "parameters", "steps", "seconds"]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for name in found.models:
        rows = [row for row in found.rows if row.model == name]
        cells = [shares(found.values(name, measure), measure) for measure in measures]
        seconds = statistics.fmean(row.seconds for row in rows)
        label = f"**{name}**: {descriptions[name]}" if name in descriptions else name
        lines.append(
            _line(
                [label, *cells, f"{rows[0].parameters:,}", f"{rows[0].steps:,}", f"{seconds:.0f}"]
            )
        )
    for name in found.references:
        cells = [shares(found.values(name, measure), measure) for measure in measures]
        lines.append(_line([name, *cells, "–", "–", "–"]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def write_found(found: Found, path: Path) -> None:
    """As JSON, small enough to be kept."""
    write_file(path, json.dumps(found.model_dump(mode="json"), indent=1) + "\n", folders=True)
