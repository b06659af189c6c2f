"""Tables of what is known about networks: CSV, JSON or parquet, and which of its rows belongs to which file."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from symnet.errors import FileError, MissingExtraError, SymnetError
from symnet.files import read_json, read_text, reason, regular_file, shown

__all__ = ["LabelTable", "as_columns", "read_labels"]

# Columns that may name the file of a row, by falling preference; in a table without one the first column does.
FILE_COLUMNS = ("path", "file", "filename", "checkpoint", "network", "model", "name", "id")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class LabelTable:
    """What is known about networks, by the name that the table gives each.

    Args:
        rows: `{name: {column: value}}`; a missing value is `None`.
        columns: in the order of the table.
        doubled: names that stood in several rows, of which none is used.
        where: the table's name, for messages.
    """

    rows: Mapping[str, Row]
    columns: tuple[str, ...]
    doubled: tuple[str, ...] = ()
    where: str = "labels"

    def match(self, paths: Sequence[str]) -> tuple[dict[str, Row], dict[str, str], list[str]]:
        """Rows by path, what stands in the way of others by path, and names in the table that fit no file.

        A name may be a file's path, with or without its ending, its file name, or the folder that it lies in, as far
        as that names one file only.

        Args:
            paths: relative to the folder, with `/` between folders.
        """
        files_of: dict[str, list[str]] = {}
        for path in paths:
            for way in _ways(path):
                files_of.setdefault(way, []).append(path)
        rows: dict[str, Row] = {}
        problems: dict[str, str] = {}
        for path in paths:
            ways = [way for way in _ways(path) if way in self.rows or way in self.doubled]
            clear = [way for way in ways if way in self.rows and len(files_of[way]) == 1]
            if clear:
                rows[path] = self.rows[clear[0]]
            elif not ways:
                problems[path] = f"{path}: there is no row of it in {self.where}"
            elif ways[0] in self.doubled:
                problems[path] = (
                    f"{path}: '{shown(ways[0], 80)}' stands in several rows of {self.where}; keep one"
                )
            else:
                others = [other for other in files_of[ways[0]] if other != path]
                problems[path] = (
                    f"{path}: '{shown(ways[0], 80)}' in {self.where} may also be {shown(others[0], 120)}; write the path"
                )
        unused = [name for name in (*self.rows, *self.doubled) if name not in files_of]
        return rows, problems, unused


def _ways(path: str) -> list[str]:
    """The names that a table may use for a file, from the most particular on."""
    place = PurePosixPath(path)
    ways = [
        path,
        str(place.with_suffix("")),
        place.name,
        place.stem,
        str(place.parent),
        place.parent.name,
    ]
    return list(dict.fromkeys(way for way in ways if way not in ("", ".")))


def read_labels(source: str | Path | Mapping[str, Any]) -> LabelTable:
    """The table in a file, or of a mapping from names to a number or to values by column.

    Args:
        source: `.csv` or `.tsv` with a line of column names; `.json`, a list of objects, or an object of one value or object
            for each name; `.parquet`; or a mapping like the latter. Rows are named by a column `path`, `file`, `name` (or
            another word for it), else by the first.

    Raises:
        FileError: no such file, or one that holds no such table.
        MissingExtraError: a parquet file, and pyarrow is not installed.

    Example:
        >>> table = read_labels({"a.pt": 0.5, "b.pt": {"label": 0.7, "seed": 3}})
        >>> table.columns, table.rows["b.pt"]["seed"]
        (('label', 'seed'), 3)
    """
    if isinstance(source, Mapping):
        return _from_values(source, "labels")
    where = shown(source)
    suffix = Path(source).suffix.lower()
    if suffix == ".json":
        return _from_values(read_json(regular_file(source)), where)
    if suffix == ".parquet":
        return _from_rows(_parquet(regular_file(source)), where)
    if suffix not in (".csv", ".tsv", ".txt"):
        raise FileError(
            f"{where}: labels are read from .csv, .tsv, .json or .parquet, not '{shown(suffix, 40)}'."
        )
    return _from_rows(
        _csv(read_text(regular_file(source)), where, "\t" if suffix == ".tsv" else ","), where
    )


def _csv(text: str, where: str, between: str) -> list[Row]:
    try:
        lines = [
            line for line in csv.reader(io.StringIO(text, newline=""), delimiter=between) if line
        ]
    except csv.Error as error:
        raise FileError(f"{where} is no table: {reason(error)}.") from error
    if not lines:
        raise FileError(
            f"{where} is empty; expected a line of column names, such as: path,accuracy"
        )
    head = [name.strip() for name in lines[0]]
    if len(set(head)) < len(head) or "" in head:
        raise FileError(
            f"{where}: its first line has to give every column a name of its own; it is {lines[0]!s:.120}."
        )
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(head):
            raise FileError(
                f"{where}: row {number} has {len(line)} values and the first line names {len(head)}."
            )
    return [dict(zip(head, map(_value, line), strict=True)) for line in lines[1:]]


def _value(text: str) -> Any:
    """A number where the text is one, the text, or None where there is nothing."""
    text = text.strip()
    if text.lower() in ("", "na", "nan", "null", "none"):
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if text.lstrip("+-").isdecimal() and abs(number) < 2**53 else number


def _parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            "Labels in parquet need 'pyarrow', which is not installed. Run: pip install 'symnet[parquet]'"
        ) from error
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except Exception as error:  # damaged files fail with errors of all kinds
        raise FileError(
            f"{shown(path)} is no parquet file, or a damaged one: {reason(error)}."
        ) from error
    return rows


def _from_values(values: Any, where: str) -> LabelTable:
    if isinstance(values, list) and values and all(isinstance(row, Mapping) for row in values):
        return _from_rows(values, where)
    if not isinstance(values, Mapping) or not values:
        raise FileError(
            f"{where} holds no labels; expected a list of objects, or one value or object for each network's name."
        )
    rows = {
        str(name): dict(row) if isinstance(row, Mapping) else {"label": row}
        for name, row in values.items()
    }
    columns = tuple(dict.fromkeys(column for row in rows.values() for column in row))
    plain = {
        _plain_name(name): {column: _known(row.get(column)) for column in columns}
        for name, row in rows.items()
    }
    return LabelTable(plain, columns, where=where)


def _from_rows(rows: Sequence[Row], where: str) -> LabelTable:
    columns = list(dict.fromkeys(str(column) for row in rows for column in row))
    if not columns:
        raise FileError(f"{where} has no rows; expected one for each network.")
    lower = {column.lower(): column for column in reversed(columns)}
    key = next((lower[name] for name in FILE_COLUMNS if name in lower), columns[0])
    rest = tuple(column for column in columns if column != key)
    names = [_plain_name(str(row.get(key))) for row in rows]
    counts = Counter(names)
    plain = {
        name: {column: _known(row.get(column)) for column in rest}
        for name, row in zip(names, rows, strict=True)
        if counts[name] == 1
    }
    return LabelTable(
        plain, rest, tuple(name for name, count in counts.items() if count > 1), where
    )


def _plain_name(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./").rstrip("/")


def _known(value: Any) -> Any:
    """Plain numbers, texts, truth values; None for everything else."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value if isinstance(value, str | bool | int | float) else None


def as_columns(
    rows: Iterable[Row], names: Sequence[str], where: str = "labels"
) -> dict[str, np.ndarray]:
    """The rows' values by column: numbers (`nan` where there is none) where all are numbers, else texts (empty).

    Raises:
        SymnetError: a column's name is taken: `path` is the file's.

    Example:
        >>> as_columns([{"a": 1, "b": "x"}, {"a": None, "b": "y"}], ["a", "b"])["a"]
        array([ 1., nan])
    """
    rows = list(rows)
    columns = {}
    for name in names:
        if name == "path":
            raise SymnetError(
                f"{where}: the column 'path' is kept for the files; give yours another name."
            )
        values = [row.get(name) for row in rows]
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, int) for value in known) and len(known) == len(values):
            columns[name] = np.array(
                values, dtype=bool if all(isinstance(v, bool) for v in known) else np.int64
            )
        elif all(isinstance(value, int | float) for value in known):
            columns[name] = np.array(
                [np.nan if value is None else value for value in values], dtype=np.float64
            )
        else:
            columns[name] = np.array(["" if value is None else str(value) for value in values])
    return columns
