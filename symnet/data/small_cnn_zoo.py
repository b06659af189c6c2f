"""The Small CNN Zoo: small classifiers with their accuracies, as published by Unterthiner et al. 2020.

A folder holds `weights.npy`, one row of weights a checkpoint; `metrics.csv.gz`, one line a checkpoint; and `layout.csv`, which says
where each variable lies in a row. Kernels are stored as TensorFlow has them (height, width, in, out).
"""

from __future__ import annotations

import csv
import gzip
import math
import random
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from symnet.data.network_set import NetworkSet, OnError
from symnet.errors import FileError, SymnetError
from symnet.files import read_text
from symnet.graph import NeuronGraph, catalogue
from symnet.graph.notation import whole_numbers

__all__ = ["read_small_cnn_zoo", "read_zoo_split", "zoo_parts"]

LAST_STEP = 86  # the step of the published runs' last checkpoint
_SHAPE = re.compile(r"\s*\(\s*([0-9]{1,9}(?:\s*,\s*[0-9]{1,9})*)\s*,?\s*\)\s*")
_FORWARD = "CNN: convolutions of stride 2 with the activation of config.activation, mean over positions, linear layer"


@dataclass(frozen=True, slots=True)
class Variable:
    """Where a variable lies in a row of weights."""

    name: str
    shape: tuple[int, ...]
    start: int


def read_small_cnn_zoo(
    folder: str | Path,
    *,
    step: int | None = LAST_STEP,
    activation: str | None = None,
    on_error: OnError = "raise",
) -> NetworkSet:
    """The networks of a folder of the zoo, as `symnet.catalogue.cnn` names them, kernels turned to (out, in, height, width).

    Args:
        folder: with `weights.npy`, `metrics.csv.gz` (or `metrics.csv`) and `layout.csv`.
        step: the checkpoints to keep, by the column `step`; None for all.
        activation: keep networks with this `config.activation` alone (two functions with the same weights are two).
        on_error: what to do with networks whose weights are not finite.

    Returns:
        a set with the columns `accuracy` (of the test images, 0 to 1), `activation`, `step`, and `row` (in weights.npy).

    Raises:
        SymnetError: a file or column that is missing, a layout that does not fit the weights, or nothing left.
    """
    root = Path(folder)
    variables = _read_layout(root / "layout.csv")
    table = _open_array(root / "weights.npy")
    metrics = _read_metrics(root, ("step", "test_accuracy", "config.activation"))
    length = max(variable.start + math.prod(variable.shape) for variable in variables)
    if table.ndim != 2 or table.shape[1] != length or len(metrics["step"]) != len(table):
        raise SymnetError(
            f"{root}: weights.npy is {table.shape}, while layout.csv describes rows of {length} and the metrics have "
            f"{len(metrics['step'])} lines. Are the files of one data set?"
        )
    steps = _numbers(metrics["step"], root, "step")
    kept = np.ones(len(table), dtype=bool) if step is None else steps == step
    if activation is not None:
        kept &= np.array(metrics["config.activation"]) == activation
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise SymnetError(
            f"{root} has no network at step {step} with activation {activation}; steps are {sorted(set(steps.tolist()))[:10]}, "
            f"activations {sorted(set(metrics['config.activation']))}."
        )
    values = np.asarray(table[rows], dtype=np.float32)
    finite = np.isfinite(values).all(axis=1)
    skipped = tuple(
        f"{root}: network of row {row} has weights that are not finite." for row in rows[~finite]
    )
    if skipped and on_error == "raise":
        raise SymnetError(
            f"{skipped[0]} With on_error='skip' {len(skipped)} such networks are left out."
        )
    graph, weights = _as_cnn(variables, torch.from_numpy(values[finite]))
    rows = rows[finite]
    columns = {
        "accuracy": _numbers(metrics["test_accuracy"], root, "test_accuracy")[rows].astype(
            np.float32
        ),
        "activation": np.array(metrics["config.activation"])[rows],
        "step": steps[rows].astype(np.int64),
        "row": rows,
    }
    return NetworkSet(graph, weights, columns, forward=_FORWARD, skipped=skipped)


def read_zoo_split(path: str | Path, *, header: Literal["skip", "index"] = "skip") -> np.ndarray:
    """The numbers of networks in a file of a split, one a line, int64.

    Args:
        header: the first line is the header of a table; published code reads it as a number too. "skip" leaves it out,
            "index" takes it as that code does, so that its split is the same one.

    Raises:
        SymnetError: a line that is no number.
    """
    path = Path(path)
    try:
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    except FileError as error:
        raise SymnetError(f"The split {path} cannot be read: {error}") from error
    taken = lines[1:] if header == "skip" else lines
    numbers = [
        line.rpartition(",")[2] for line in taken
    ]  # a table that was written with its index has two columns
    if bad := [line for line in numbers if whole_numbers([line]) is None]:
        raise SymnetError(
            f"{path}: {bad[0]!r:.60} is no number of a network; header={header!r} was asked for."
        )
    return np.array(numbers, dtype=np.int64)


def zoo_parts(networks: NetworkSet, numbers: np.ndarray, *, seed: int = 0) -> NetworkSet:
    """The networks with `parts` made as in published experiments from the numbers of a split file.

    The second half of the numbers is for testing; the first half is shuffled by Python's generator and cut into 80 % for
    training and 20 % for validation. Numbers are rows of weights.npy; those that were not kept (other steps) are passed over, and one that
    is named twice counts where it stands first, so that no network is in two parts.

    Args:
        networks: from `read_small_cnn_zoo`.
        numbers: from `read_zoo_split`.
        seed: of the shuffle.
    """
    place = {int(row): k for k, row in enumerate(networks.columns["row"])}
    order = [place[number] for number in dict.fromkeys(map(int, numbers)) if number in place]
    first, test = order[: len(order) // 2], order[len(order) // 2 :]
    random.Random(seed).shuffle(first)
    cut = int(0.8 * len(first))
    parts = {
        name: np.array(rows, dtype=np.int64)
        for name, rows in (("train", first[:cut]), ("val", first[cut:]), ("test", test))
    }
    return NetworkSet(
        networks.graph,
        networks.weights,
        networks.columns,
        parts,
        networks.forward,
        networks.skipped,
    )


def _read_layout(path: Path) -> list[Variable]:
    """Variables in order of their places; shapes are parsed as text, nothing is evaluated."""
    columns = _read_columns(path, ("varname", "shape", "start_idx", "end_idx"))
    found = []
    for name, shape, start, end in zip(*columns.values(), strict=True):
        sizes, places = _SHAPE.fullmatch(shape), whole_numbers([start, end])
        if not sizes or places is None:
            raise SymnetError(
                f"{path}: variable {name!r:.60} has shape {shape!r:.60} from {start!r:.30} to {end!r:.30}; expected "
                "(3, 3, 1, 16), 0, 144."
            )
        variable = Variable(name, tuple(int(size) for size in sizes[1].split(",")), places[0])
        if places[1] - variable.start != math.prod(variable.shape):
            raise SymnetError(
                f"{path}: variable {name!r:.60} of shape {shape} has {places[1] - places[0]} places."
            )
        found.append(variable)
    found.sort(key=lambda variable: variable.start)
    stop = 0
    for variable in found:
        if variable.start != stop:
            raise SymnetError(
                f"{path}: variable {variable.name!r:.60} begins at {variable.start}, and what is before it ends at {stop}: "
                "variables lie one after another, without gaps and overlaps."
            )
        stop += math.prod(variable.shape)
    return found


def _as_cnn(variables: Iterable[Variable], rows: Tensor) -> tuple[NeuronGraph, dict[str, Tensor]]:
    """The graph of the layout, and the rows cut into its tensors."""
    kernels: list[Tensor] = []
    biases: list[Tensor] = []
    for variable in variables:
        stop = variable.start + math.prod(variable.shape)
        block = rows[:, variable.start : stop].reshape(-1, *variable.shape)
        (biases if len(variable.shape) == 1 else kernels).append(block)
    convolutions = [kernel for kernel in kernels if kernel.ndim == 5]
    if len(kernels) != len(biases) or len(kernels) != len(convolutions) + 1 or not convolutions:
        shapes = [tuple(kernel.shape[1:]) for kernel in kernels]
        raise SymnetError(
            f"layout.csv describes kernels {shapes} and {len(biases)} biases; expected convolutions, one linear layer, all with biases."
        )
    channels = [convolutions[0].shape[3], *(kernel.shape[4] for kernel in convolutions)]
    graph = catalogue.cnn(channels, tuple(convolutions[0].shape[1:3]), kernels[-1].shape[2])
    turned = [kernel.permute(0, 4, 3, 1, 2) for kernel in convolutions] + [
        kernels[-1].transpose(1, 2)
    ]
    tensors = [tensor for pair in zip(turned, biases, strict=True) for tensor in pair]
    weights = {
        name: tensor.contiguous() for name, tensor in zip(graph.shapes, tensors, strict=True)
    }
    for name, tensor in weights.items():
        if tuple(tensor.shape[1:]) != graph.shapes[name]:
            raise SymnetError(
                f"layout.csv gives '{name}' the shape {tuple(tensor.shape[1:])}, and its neighbours {graph.shapes[name]}."
            )
    return graph, weights


def _open_array(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SymnetError(f"{path} cannot be read as an array of numbers ({error}).") from error
    if found.dtype.kind != "f":
        raise SymnetError(f"{path} holds {found.dtype}; expected floating-point numbers.")
    return found


def _read_metrics(root: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    packed = root / "metrics.csv.gz"
    return _read_columns(packed if packed.exists() else root / "metrics.csv", names)


def _read_columns(path: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Some columns of a table, as texts."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8", newline="") as file
        ):
            reader = csv.DictReader(file)
            if missing := [name for name in names if name not in (reader.fieldnames or ())]:
                raise SymnetError(
                    f"{path} has no column '{missing[0]}'; it has {', '.join(reader.fieldnames or ('none',))}."
                )
            rows = [[row[name] or "" for name in names] for row in reader]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise SymnetError(f"{path} cannot be read as a table ({error}).") from error
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _numbers(texts: list[str], root: Path, column: str) -> np.ndarray:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError as error:
        raise SymnetError(
            f"{root}: column '{column}' of the metrics holds something that is no number ({error})."
        ) from error
