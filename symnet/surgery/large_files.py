"""Surgery on files: tensors are read, changed and written one by one, and
the old files stay whole until the new are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from symnet.errors import FileError
from symnet.files import open_state_file, read_json, shown, write_file, write_state_file
from symnet.graph import NeuronGraph
from symnet.surgery.configurations import fitting_configuration
from symnet.surgery.numbers import changes_of

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
# so that a shard, its copy on the way to the disk and one tensor take less than 2 GB
SHARD_BYTES = 500_000_000
LARGEST_EXTRA = 100_000_000  # bytes of a file that is copied along, such as a tokenizer
_WEIGHTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".index.json",
    ".h5",
    ".msgpack",
    ".gguf",
    ".onnx",
)
Change = Callable[[str, Tensor], Tensor]


def weights_in(source: Path) -> Path:
    """The file that opens the weights: the path itself, or of a folder
    its index or its one file of weights.

    Raises:
        FileError: a folder without weights, or with several files of which none is an index.
    """
    if not source.is_dir():
        return source
    for name in (INDEX, SINGLE):
        if (source / name).is_file():
            return source / name
    files = sorted(
        path
        for path in source.iterdir()
        if path.suffix in (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
    )
    indexes = sorted(source.glob("*.safetensors.index.json"))
    if len(indexes) == 1 or len(files) == 1:
        return (indexes or files)[0]
    raise FileError(
        f"{shown(source)} holds {len(files)} files of weights and {len(indexes)} indexes; name "
        "the one to open."
    )


class OneByOne(Mapping[str, Tensor]):
    """The tensors of a file or folder, of which one is in memory at a time.

    Files of safetensors are mapped, and what was read of a mapped file counts as memory until it is
    closed: it is opened again for each tensor.
    """

    def __init__(self, source: str | Path) -> None:
        self.path = weights_in(Path(source))
        self._file = open_state_file(self.path)
        self.shapes = dict(self._file.shapes)
        self._mapped = self.path.name.endswith((".safetensors", ".index.json"))
        if self._mapped:
            del self._file

    def __getitem__(self, name: str) -> Tensor:
        return (open_state_file(self.path) if self._mapped else self._file)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def rewrite(
    source: str | Path,
    out: str | Path | None,
    graphs: tuple[NeuronGraph, NeuronGraph],
    change: Change,
    *,
    overwrite: bool,
    progress: Callable[[str], object] | None = None,
) -> tuple[Path, list[str]]:
    """Writes every tensor of a file or folder changed, and returns where, with notes.

    Args:
        source: a file of weights, an index of shards, or a folder as transformers write it.
        out: a file, or for a folder (or an index) a folder: made whole under another name first,
            then renamed.
        graphs: before and after, for the configuration.
        change: the new tensor of a name.
        progress: called with every name that is written.

    Raises:
        FileError: no place to write to, or one where something is already.
    """
    opened = weights_in(Path(source))
    target = _target(Path(source), opened, out, overwrite)
    in_folder = Path(source).is_dir() or opened.name.endswith(".index.json")
    if not in_folder:
        write_state_file(target, _changed(opened, change, progress))
        return target, []
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was ended
    scratch.mkdir(parents=True)
    try:
        write_state_file(
            scratch / opened.name, _changed(opened, change, progress), shard_bytes=SHARD_BYTES
        )
        _copy_extras(opened.parent, scratch)
        notes = _write_configuration(opened.parent, scratch, *graphs)
        _put_in_place(scratch, target)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return target, notes


def _target(source: Path, opened: Path, out: str | Path | None, overwrite: bool) -> Path:
    if out is None:
        raise FileError(
            f"Say where the weights of {shown(source)} go: out=... (another file, or for a "
            "folder a folder)."
        )
    target = Path(out)
    if target.resolve() in (source.resolve(), opened.resolve(), opened.resolve().parent):
        raise FileError(
            f"out={shown(target)} is where the weights are read from; name another place."
        )
    if target.exists() and not overwrite:
        raise FileError(
            f"{shown(target)} is there already; name another place, or overwrite it "
            "(overwrite=True, --force)."
        )
    return target


def _changed(
    opened: Path, change: Change, progress: Callable[[str], object] | None
) -> Iterator[tuple[str, Tensor]]:
    weights = OneByOne(opened)
    for name in weights:
        yield name, change(name, weights[name])
        if progress is not None:
            progress(name)


def _copy_extras(source: Path, scratch: Path) -> None:
    """Tokenizers, generation settings and the like."""
    for path in sorted(source.iterdir()):
        weights = (
            path.name.endswith(_WEIGHTS) or path.name == "config.json" or path.name.startswith(".")
        )
        if path.is_file() and not weights and path.stat().st_size <= LARGEST_EXTRA:
            shutil.copy2(path, scratch / path.name)


def _write_configuration(
    source: Path, scratch: Path, old: NeuronGraph, new: NeuronGraph
) -> list[str]:
    """config.json with the new sizes, if the fields are known; else a note."""
    if not (source / "config.json").is_file():
        return []
    architectures = read_json(source / "config.json").get("architectures")
    text, why = fitting_configuration(
        source, architectures, _shapes(new), changes_of(old, new, old.weights)
    )
    if text is None:
        return [f"config.json was not written: {why}. Load the weights with sn.surgery.resize."]
    write_file(scratch / "config.json", text)
    return []


def _shapes(graph: NeuronGraph) -> dict[str, tuple[int, ...]]:
    shapes: Mapping[str, tuple[int, ...]] = graph.shapes
    return {**shapes, **{alias: shapes[kept] for alias, kept in graph.aliases.items()}}


def _put_in_place(scratch: Path, target: Path) -> None:
    """Renames the finished folder; an old one is moved away before and removed after."""
    aside: Any = None
    if target.exists():
        aside = target.with_name(f".{target.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(target, aside)
    os.replace(scratch, target)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)
