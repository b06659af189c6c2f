"""Arrays in numpy's archives (.npz), which never hold code here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from symnet.errors import FileError
from symnet.files.paths import reason, regular_file, shown
from symnet.files.writing import write_file

__all__ = ["read_arrays", "write_arrays"]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name.

    Raises:
        FileError: there is none, it is damaged, or needs code to be read.
    """
    place = regular_file(path)
    try:
        # Opened here: np.load leaves the file open when it cannot read it.
        with place.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # damaged archives fail anywhere in zipfile and numpy
        raise FileError(
            f"{shown(path)} cannot be read ({type(error).__name__}: {reason(error)})."
        ) from error


def write_arrays(
    path: str | Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False
) -> None:
    """Writes arrays, whole or not at all, into folders that are made if they are missing.

    Raises:
        FileError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_arrays(f"{folder}/a.npz", {"mask": np.ones(3, bool)})
        ...     read_arrays(f"{folder}/a.npz")["mask"].shape
        (3,)
    """
    save = np.savez_compressed if compressed else np.savez
    write_file(path, lambda file: save(file, allow_pickle=False, **arrays), folders=True)
