"""Where a command's many answers go: no two to one file, and none over what was read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from symnet.errors import FileError
from symnet.files.paths import refuse_without_folder, shown

__all__ = ["check_outputs", "place_outputs"]


def place_outputs(names: Iterable[str], source: str | Path, out: str | Path) -> dict[str, Path]:
    """A file in the folder ``out`` for every file of the folder ``source``, at the same relative path.

    Call it before anything is computed: what cannot be written is then refused at once.

    Args:
        names: paths relative to ``source``.

    Raises:
        FileError: ``out`` is the folder that is read or lies in it, or is a file; or an output would replace an
            input or another output.

    Example:
        >>> {name: str(path) for name, path in place_outputs(["a.pt", "sub/a.pt"], "nets", "edited").items()}
        {'a.pt': 'edited/a.pt', 'sub/a.pt': 'edited/sub/a.pt'}
    """
    folder, root = Path(out), Path(source)
    if folder.exists() and not folder.is_dir():
        raise FileError(
            f"{shown(out)} is a file; name a folder for the answers, which are a file each."
        )
    if _real(folder).is_relative_to(_real(root)):
        raise FileError(
            f"{shown(out)} lies in {shown(source)}, whose files are read: the answers would be read as networks the "
            "next time. Name a folder elsewhere."
        )
    outputs = {name: folder / name for name in names}
    _check_apart(outputs, [root / name for name in outputs])
    return outputs


def check_outputs(outputs: Mapping[str, str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuses outputs that would replace each other or an input, or whose folder is not there,
    before anything is computed; links are followed.

    Args:
        outputs: the file that each answer would be written to, by what it is the answer to.
        inputs: the files that are read.

    Raises:
        FileError: names the two, or the folder.
    """
    _check_apart(outputs, inputs)
    for path in outputs.values():
        refuse_without_folder(path, _real(path))


def _check_apart(outputs: Mapping[str, str | Path], inputs: Iterable[str | Path]) -> None:
    read = {_real(path): path for path in inputs}
    taken: dict[Path, str] = {}
    for name, path in outputs.items():
        place = _real(path)
        if place in read:
            raise FileError(
                f"{shown(path)} is read by this command and would be replaced; name another output."
            )
        if place in taken:
            raise FileError(
                f"The answers to {shown(taken[place], 80)} and {shown(name, 80)} would both be written to {shown(path)}."
            )
        taken[place] = name


def _real(path: str | Path) -> Path:
    try:
        return Path(os.path.normcase(os.path.realpath(path)))
    except ValueError as error:  # a NUL, or text that no file name can have
        raise FileError(f"{shown(path)} is no path: {error}.") from error
