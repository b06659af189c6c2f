"""One TOML file says everything about a run: the task, its corpus, its models, its training, its seeds.

The file is typed and checked by pydantic before anything is computed; a mistake is named with its key and its line. What a
folder of results holds was made by exactly one such file, a copy of which lies in the folder.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from symnet.errors import FileError, SymnetError
from symnet.files import read_text, reason
from symnet.files.paths import shown
from symnet.learn.settings import Count, SettingsSection, Share, TrainingConfiguration

__all__ = [
    "SIZES",
    "TASKS",
    "Configuration",
    "ConfigurationError",
    "TrainingConfiguration",
    "as_toml",
    "built_in",
    "read",
]

TASKS = ("accuracy", "classification", "editing", "tickets")
SIZES = ("default", "quick", "full")
_FOLDER = Path(__file__).parent / "configurations"


class ConfigurationError(SymnetError):
    """A configuration that cannot be used: names the file, the line and the key."""


class ZooCorpus(SettingsSection):
    """Classifiers whose test accuracy is known."""

    source: Literal["digits", "small-cnn-zoo"] = "digits"
    architecture: Literal["cnn", "residual", "transformer"] = (
        "cnn"  # the last two are traced modules
    )
    networks: Count = 2000
    steps: Annotated[int, Field(ge=30)] = 240  # of the longest training
    seed: int = 0
    path: str = ""  # folder of the published files, for source "small-cnn-zoo"


class FitCorpus(SettingsSection):
    """Networks fitted to images."""

    source: Literal["digits", "siren-folders", "dws-folders"] = "digits"
    images: Annotated[int, Field(ge=100, le=1797)] = 1797
    fits: Count = 8  # networks of each image
    widths: tuple[int, ...] = (2, 16, 16, 1)
    omega: Annotated[float, Field(gt=0)] = 5.0
    steps: Count = 140
    weight_decay: Annotated[float, Field(ge=0)] = 0.5
    motion: Annotated[float, Field(ge=0)] = (
        1.0  # how far training images are moved, by their weights alone
    )
    path: str = ""  # folder of the published files


class EditCorpus(FitCorpus):
    """Networks fitted to images, and what the images shall become."""

    edit: Literal["dilate", "contrast"] = "dilate"


class TicketCorpus(SettingsSection):
    """Networks at their random start, and the masks that iterative pruning finds for them."""

    networks: Count = 300
    hidden: Count = 32
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.95
    rounds: Count = 5  # of training and pruning
    steps: Count = 150  # of each training
    seed: int = 0


class Sizes(SettingsSection):
    """Sizes of the models that have them."""

    channels: Count = 16
    layers: Count = 3
    hidden: Count = 128
    dropout: Share = 0.0
    compress: bool = False  # task 1: asinh of every weight, for corpora with far outliers
    encode: tuple[
        str, ...
    ] = ()  # neuron sets that stand still, told apart by encodings and not by weights of their own


class Configuration(SettingsSection):
    """A run: every model of `models` is trained with every seed of `seeds`, on the same corpus."""

    task: str
    size: Literal["default", "quick", "full", "own"] = "own"
    note: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    network: Sizes = Sizes()
    training: TrainingConfiguration

    @model_validator(mode="after")
    def _agree(self) -> Configuration:
        for name, values in (("seeds", self.seeds), ("models", self.models)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice: {list(values)}")
        return self

    def training_of(self, model: str) -> TrainingConfiguration:
        """How one model is trained."""
        own = {
            "learning_rate": self.training.learning_rates.get(model, self.training.learning_rate),
            "steps": self.training.steps_of.get(model, self.training.steps),
        }
        return self.training.model_copy(update={**own, "learning_rates": {}, "steps_of": {}})


class AccuracyConfiguration(Configuration):
    """Predicting the accuracy of classifiers."""

    task: Literal["accuracy"]
    corpus: ZooCorpus = ZooCorpus()


class ClassificationConfiguration(Configuration):
    """Classifying images from networks fitted to them."""

    task: Literal["classification"]
    corpus: FitCorpus = FitCorpus()


class EditingConfiguration(Configuration):
    """Editing images in the weights of networks fitted to them."""

    task: Literal["editing"]
    corpus: EditCorpus = EditCorpus()


class TicketsConfiguration(Configuration):
    """Proposing sparse networks that learn as well as dense ones."""

    task: Literal["tickets"]
    corpus: TicketCorpus = TicketCorpus()


_ANY: TypeAdapter[Configuration] = TypeAdapter(
    Annotated[
        AccuracyConfiguration
        | ClassificationConfiguration
        | EditingConfiguration
        | TicketsConfiguration,
        Field(discriminator="task"),
    ]
)


def built_in(task: str, size: str = "default") -> Path:
    """The file of a task that comes with symnet, in its default, quick or full size.

    Raises:
        ConfigurationError: no such task or size.

    Example:
        >>> built_in("editing", "quick").name
        'editing-quick.toml'
    """
    if task not in TASKS or size not in SIZES:
        raise ConfigurationError(
            f"There is no task {task!r} of size {size!r}. Tasks: {', '.join(TASKS)}; sizes: {', '.join(SIZES)}."
        )
    return _FOLDER / f"{task}.toml" if size == "default" else _FOLDER / f"{task}-{size}.toml"


def read(path: str | Path, changes: Sequence[str] = ()) -> Configuration:
    """The configuration in a TOML file, with single values changed.

    Args:
        path: the file.
        changes: as on the command line, each `section.key=value` with a value in TOML, as in `training.steps=500`.

    Raises:
        ConfigurationError: no such file, no TOML, an unknown key, or a value of the wrong type; names key and line.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except FileError as error:
        raise ConfigurationError(
            f"{shown(path)} cannot be read: {error} Name a TOML file."
        ) from error
    try:
        values = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also numbers of thousands of digits, and nests without end
        raise ConfigurationError(f"{path} is no TOML: {reason(error)}.") from error
    for change in changes:
        _change(values, change)
    return _check(values, str(path), text)


def as_toml(configuration: Configuration) -> str:
    """The configuration as a file that gives it back, its defaults written out.

    Example:
        >>> given = read(built_in("classification", "quick"))
        >>> _check(tomllib.loads(as_toml(given)), "here", "") == given
        True
    """
    values = configuration.model_dump(mode="json")
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for section in (key for key in values if key not in plain):
        lines += [
            "",
            f"[{section}]",
            *(f"{key} = {_toml(value)}" for key, value in values[section].items()),
        ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A plain value in TOML, which is JSON but for tables."""
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items())
            + " }"
        )
    return json.dumps(value, ensure_ascii=False)


def _check(values: dict[str, Any], place: str, text: str) -> Configuration:
    try:
        return _ANY.validate_python(values)
    except ValidationError as error:
        found = []
        for problem in error.errors(include_url=False):
            path = tuple(str(part) for part in problem["loc"][1:])  # the first part is the task
            path = path or (("task",) if problem["type"].startswith("union_tag") else ())
            line = line_of(text, path)
            where = f"{place}, line {line}" if line else place
            key = ".".join(path) or "the file as a whole"
            found.append(f"{where}: {key}: {problem['msg']} (got {_short(problem['input'])})")
        raise ConfigurationError("; ".join(found)) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _change(values: dict[str, Any], change: str) -> None:
    """Puts one `section.key=value` in its place."""
    key, equals, text = change.partition("=")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{change!r:.200}: {text!r:.100} is no TOML value ({reason(error)}); quote text as '\"text\"'."
        ) from error
    *sections, last = key.strip().split(".")
    if not equals or not all((*sections, last)):
        raise ConfigurationError(
            f"{change!r} is no change; write section.key=value, as in training.steps=500."
        )
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"{change!r}: {section!r} is a value, not a section.")
    values[last] = value


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line of a key in a TOML text, or of the nearest key or section above it that stands there.

    Example:
        >>> line_of("task = 'a'\\n[training]\\nsteps = 5\\n", ("training", "steps"))
        3
    """
    lines: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            section = _parts(header[1])
            lines.setdefault(section, number)
        elif key := re.match(r"\s*([\w\-.\"' ]+?)\s*=", line):
            lines.setdefault(section + _parts(key[1]), number)
    for length in range(len(path), 0, -1):
        if tuple(path[:length]) in lines:
            return lines[tuple(path[:length])]
    return None


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))
