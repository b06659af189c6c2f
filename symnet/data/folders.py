"""A folder of one's own checkpoints as a set of weights, with a table of what is known about them."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from torch import Tensor

from symnet.data.gathering import BrokenNetworkError, Gatherer, OnError
from symnet.data.state_files import TORCH_SUFFIXES, read_state_file
from symnet.data.weight_set import Card, WeightSet
from symnet.graph import NeuronGraph

__all__ = ["from_folder"]


def from_folder(
    path: str | Path, graph: NeuronGraph, *, table: str | Path | None = None, on_error: OnError = "raise"
) -> WeightSet:
    """The networks in a folder's files (.pt, .pth, .bin, .ckpt, .safetensors; subfolders too), in order of their paths.

    Args:
        path: the folder.
        graph: the architecture of all of them.
        table: a CSV file with a column `file` (paths within the folder) and columns of numbers, which become the
            columns of the set. Without it there are none.
        on_error: whether a file that cannot be used stops the reading ("raise"), or is noted in `skipped` ("skip").

    Raises:
        BrokenNetworkError: an unusable file, no file at all, or a table without the column `file` or a row for a network.

    Example:
        >>> import tempfile, symnet as sn
        >>> net = sn.data.siren([2, 4, 1], omega=5.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sn.data.write_state_file(Path(folder) / "a.safetensors", net.state_dict())
        ...     sn.data.from_folder(folder, sn.catalogue.mlp([2, 4, 1])).weights["0.weight"].shape
        torch.Size([1, 4, 2])
    """
    folder = Path(path)
    if not folder.is_dir():
        raise BrokenNetworkError(f"There is no folder {folder}.")
    rows = _read_table(Path(table)) if table is not None else None
    gatherer = Gatherer(graph, on_error)
    for file in sorted(item for item in folder.rglob("*") if item.suffix in (*TORCH_SUFFIXES, ".safetensors")):
        name = file.relative_to(folder).as_posix()
        known = rows is None or name in rows
        gatherer.add(name, partial(_read, file, known, table), rows.get(name, {}) if rows else {})
    card = Card(folder.name, "as its graph says", "not recorded", "not recorded", "none")
    weights = gatherer.stacked(folder)
    return WeightSet(graph, weights, gatherer.columns(), {}, card, tuple(gatherer.names), tuple(gatherer.skipped))


def _read(file: Path, known: bool, table: str | Path | None) -> dict[str, Tensor]:
    if not known:
        raise BrokenNetworkError(f"{file.name} has no row in {table}.")
    return read_state_file(file)


def _read_table(path: Path) -> dict[str, dict[str, float]]:
    """Numbers by file; columns that hold anything else are left out."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise BrokenNetworkError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error
    if not rows or "file" not in rows[0]:
        found = ", ".join(map(str, rows[0])) if rows else "no rows"
        raise BrokenNetworkError(f"{path} needs a column 'file' with paths within the folder; it has {found}.")
    numbers = [name for name in rows[0] if name not in ("file", None) and all(_is_number(row[name]) for row in rows)]
    return {row["file"]: {name: float(row[name]) for name in numbers} for row in rows}


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and float(text) == float(text)
    except ValueError:
        return False
