"""Safetensors: one file, or shards with an index; tensors are read one by one, and written a shard at a time."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from symnet.errors import MissingExtraError, StateFileError
from symnet.files.paths import reason, regular_file, shown
from symnet.files.reading import read_json
from symnet.files.writing import replacing, write_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "INDEX",
    "SAFETENSORS",
    "StateFile",
    "open_tensor_file",
    "open_tensors",
    "write_shards",
    "write_tensor_file",
]

SAFETENSORS = ".safetensors"
INDEX = ".safetensors.index.json"


class StateFile(Mapping[str, "Tensor"]):
    """The tensors of a file by name, each read when it is asked for; names and shapes are known before.

    Made by :func:`symnet.files.open_state_file`. Reading one tensor of a safetensors file, in shards or not, takes
    the memory of this tensor; of a torch archive the tensors stay on the disk until their values are used.

    Attributes:
        path: the file.
        shapes: ``{name: shape}``.
        metadata: the texts that a safetensors file carries beside its tensors.
    """

    __slots__ = ("_read", "metadata", "path", "shapes")

    def __init__(
        self,
        path: str | Path,
        shapes: Mapping[str, tuple[int, ...]],
        read: Callable[[str], Tensor],
        metadata: Mapping[str, str],
    ) -> None:
        self.path, self._read = Path(path), read
        self.shapes: Mapping[str, tuple[int, ...]] = MappingProxyType(dict(shapes))
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        return f"StateFile({shown(self.path)!r}, {len(self)} tensors)"


def open_tensors(path: str | Path) -> StateFile:
    """The tensors of a safetensors file, or of all the shards that an index names.

    Raises:
        FileError: missing, damaged, or an index that does not fit its shards.
    """
    if str(path).endswith(INDEX):
        return _open_shards(Path(path))
    return open_tensor_file(path)


def open_tensor_file(path: str | Path) -> StateFile:
    """The tensors of one safetensors file, whatever its ending."""
    file = _open(path)
    return _as_state(path, dict.fromkeys(file.keys(), (Path(path), file)), file.metadata() or {})


def write_tensor_file(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes one safetensors file, whole or not at all."""
    library = _library()
    with replacing(path) as scratch:
        try:
            library.torch.save_file(_apart(tensors), scratch, dict(metadata) or None)
        except Exception as error:
            if code := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(code[1]), os.strerror(int(code[1]))) from error
            raise StateFileError(
                f"{shown(path)}: safetensors cannot hold these tensors: {reason(error)}."
            ) from error


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors share their memory, which the format refuses: each name gets its own."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def write_shards(
    path: Path, tensors: Iterable[tuple[str, Tensor]], metadata: Mapping[str, str], shard_bytes: int
) -> None:
    """Writes shards beside an index, and the index last: until then the model that was there stays whole.

    Shards get names that no file there has, since those of an old index stay in use until the new one is written;
    then the old shards are removed.
    """
    stem, mark = path.name.removesuffix(INDEX), secrets.token_hex(4)
    old = _old_shards(path)
    written: list[Path] = []
    places: dict[str, str] = {}
    total = 0
    try:
        for number, shard in enumerate(_shards(tensors, shard_bytes), start=1):
            place = path.with_name(f"{stem}-{number:05d}-{mark}{SAFETENSORS}")
            written.append(place)
            write_tensor_file(place, shard, metadata)
            places |= dict.fromkeys(shard, place.name)
            total += sum(tensor.nbytes for tensor in shard.values())
        index = {"metadata": {**metadata, "total_size": total}, "weight_map": places}
        write_file(path, json.dumps(index, indent=1) + "\n")
    except BaseException:
        _remove(written)
        raise
    _remove(old)


def _shards(tensors: Iterable[tuple[str, Tensor]], most: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    held = 0
    for name, tensor in tensors:
        if shard and held + tensor.nbytes > most:
            yield shard
            shard, held = {}, 0
        shard[name] = tensor
        held += tensor.nbytes
    if shard:
        yield shard


def _old_shards(path: Path) -> list[Path]:
    """The shards that an index there now names, where they are of this writer's kind."""
    if not path.exists():
        return []
    try:
        names = set(_weight_map(path).values())
    except StateFileError:
        return []
    stem = path.name.removesuffix(INDEX)
    return [path.with_name(name) for name in names if name.startswith(f"{stem}-")]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _open_shards(path: Path) -> StateFile:
    places = _weight_map(path)
    opened = {
        name: (path.with_name(name), _open(path.with_name(name)))
        for name in dict.fromkeys(places.values())
    }
    for name, place in places.items():
        if name not in opened[place][1].keys():  # noqa: SIM118
            raise StateFileError(
                f"{shown(path)}: tensor '{shown(name, 80)}' is not in {shown(place, 80)}."
            )
    for place, (_, file) in opened.items():
        if extra := [name for name in file.keys() if places.get(name) != place]:  # noqa: SIM118
            raise StateFileError(
                f"{shown(path)} does not name '{shown(extra[0], 80)}', which is in {shown(place, 80)}."
            )
    metadata: dict[str, str] = {}
    for _, file in opened.values():
        metadata |= file.metadata() or {}
    return _as_state(path, {name: opened[place] for name, place in places.items()}, metadata)


def _as_state(
    path: str | Path, files: Mapping[str, tuple[Path, Any]], metadata: Mapping[str, str]
) -> StateFile:
    """Reads from opened files, given by the tensors' names."""

    def read(name: str) -> Tensor:
        place, file = files[name]
        try:
            tensor: Tensor = file.get_tensor(name)
        except Exception as error:
            raise StateFileError(
                f"{shown(place)}: tensor '{shown(name, 80)}' cannot be read: {reason(error)}."
            ) from error
        return tensor

    shapes = {name: tuple(file.get_slice(name).get_shape()) for name, (_, file) in files.items()}
    return StateFile(path, shapes, read, metadata)


def _weight_map(path: Path) -> dict[str, str]:
    """File names by tensor, from an index."""
    index = read_json(regular_file(path))
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise StateFileError(
            f"{shown(path)} is no index of shards; expected {{'weight_map': {{tensor: file, ...}}}}."
        )
    for name, place in places.items():
        # A shard lies beside its index: a name that leads elsewhere is not followed.
        if (
            not isinstance(place, str)
            or Path(place).name != place
            or place in (".", "..")
            or "\\" in place
        ):
            raise StateFileError(
                f"{shown(path)}: tensor '{shown(name, 80)}' lies in {shown(repr(place), 80)}; a shard is a file beside the index."
            )
    return places


def _open(path: str | Path) -> Any:
    place = regular_file(path)
    try:
        return _library().safe_open(place, framework="pt")
    except MissingExtraError:
        raise
    except Exception as error:
        raise StateFileError(
            f"{shown(path)} is no safetensors file, or a damaged one: {reason(error)}."
        ) from error


def _library() -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError(
            "Files of safetensors need 'safetensors', which is not installed. Run: pip install 'symnet[data]'"
        ) from error
    return safetensors
