"""Files of weights, read and written in one place: torch's own, safetensors, and safetensors in shards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symnet.errors import FileError, StateFileError
from symnet.files.archives import TORCH_SUFFIXES, check_tensor, read_archive
from symnet.files.paths import shown
from symnet.files.tensor_files import (
    INDEX,
    SAFETENSORS,
    StateFile,
    open_tensors,
    write_shards,
    write_tensor_file,
)
from symnet.files.writing import write_file

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "STATE_SUFFIXES",
    "StateFile",
    "open_state_file",
    "read_content",
    "read_state_file",
    "state_in",
    "write_state_file",
]

STATE_SUFFIXES = (*TORCH_SUFFIXES, SAFETENSORS)
# Where training scripts put the state dict among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")
SHARD_BYTES = 2 * 10**9


def open_state_file(path: str | Path) -> StateFile:
    """The tensors of a file by name, read one by one when they are asked for.

    Args:
        path: ``.pt``, ``.pth``, ``.ckpt``, ``.bin``, ``.safetensors``, or the ``.safetensors.index.json`` of a model
            in shards.

    Raises:
        StateFileError: as :func:`read_state_file`; a damaged tensor of a shard may show only when it is read.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/net.safetensors.index.json"
        ...     write_state_file(path, {"a": torch.ones(2, 3), "b": torch.ones(4)}, shard_bytes=30)
        ...     state = open_state_file(path)
        ...     dict(state.shapes), state["b"].sum().item()
        ({'a': (2, 3), 'b': (4,)}, 4.0)
    """
    with _as_state_errors():
        if _kind(path) in (SAFETENSORS, INDEX):
            return open_tensors(path)
        tensors = state_in(read_archive(path, mapped=True), path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return StateFile(path, shapes, tensors.__getitem__, {})


def read_state_file(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; code in it is refused, not run.

    A checkpoint that keeps the state dict under ``state_dict``, ``model_state_dict``, ``model`` or ``weights`` is
    unwrapped. Entries that are no tensors are left out. Complex numbers stay complex.

    Raises:
        StateFileError: no such file, another format, a damaged file, one that needs code to be read, or tensors that are
            sparse, quantised, or without values.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_state_file(Path(folder) / "net.pt", {"0.weight": torch.ones(2, 3)})
        ...     read_state_file(Path(folder) / "net.pt")["0.weight"].shape
        torch.Size([2, 3])
    """
    with _as_state_errors():
        if _kind(path) in (SAFETENSORS, INDEX):
            return dict(open_tensors(path))
        return state_in(read_archive(path), path)


def read_content(path: str | Path) -> Any:
    """All that a file of weights holds, on the CPU; errors as for :func:`read_state_file`."""
    with _as_state_errors():
        return (
            dict(open_tensors(path)) if _kind(path) in (SAFETENSORS, INDEX) else read_archive(path)
        )


def write_state_file(
    path: str | Path,
    state: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]],
    *,
    metadata: Mapping[str, str] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a state dict whole or not at all, in the format that the file's ending names.

    Args:
        path: as for :func:`open_state_file`. With ``.safetensors.index.json`` the tensors go to shards beside it, and
            the index is written last.
        state: tensors by name, or pairs of name and tensor, which are asked for one by one: of a model in shards
            one shard is in memory at a time.
        metadata: texts to keep beside the tensors, in safetensors.
        shard_bytes: a shard's tensors take at most this many, except for one larger tensor in a shard of its own.

    Raises:
        StateFileError: an unknown ending, a tensor that the format cannot hold, or a file that cannot be written.
    """
    kind = _kind(path)
    pairs = state.items() if isinstance(state, Mapping) else state
    plain = _plain(pairs, path)
    with _as_state_errors():
        if kind == INDEX:
            write_shards(Path(path), plain, metadata or {}, shard_bytes)
        elif kind == SAFETENSORS:
            write_tensor_file(path, dict(plain), metadata or {})
        elif metadata:
            raise StateFileError(f"{shown(path)}: only safetensors files carry metadata.")
        else:
            import torch

            content = dict(plain)
            write_file(path, lambda file: torch.save(content, file))


@contextmanager
def _as_state_errors() -> Iterator[None]:
    """What is wrong with a file is said as a fault of a file of weights."""
    try:
        yield
    except StateFileError:
        raise
    except FileError as error:
        raise StateFileError(*error.args) from error


def _plain(pairs: Iterable[tuple[str, Tensor]], path: str | Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors on the CPU, in order; a name that comes twice is refused, since one of the two would be lost."""
    names: set[str] = set()
    for name, tensor in pairs:
        if name in names:
            raise StateFileError(
                f"{shown(path)}: there are two tensors of the name '{shown(name, 80)}'."
            )
        names.add(name)
        yield name, check_tensor(tensor, name, path).cpu().contiguous()


def _kind(path: str | Path) -> str:
    name = str(path)
    if name.endswith(INDEX):
        return INDEX
    suffix = Path(name).suffix
    if suffix not in STATE_SUFFIXES:
        raise StateFileError(
            f"{shown(path)}: files of weights end in {', '.join(TORCH_SUFFIXES)}, {SAFETENSORS} or {INDEX}, "
            f"not {shown(suffix, 40) or 'nothing'!r}."
        )
    return suffix


def state_in(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The tensors by name; of a checkpoint, those under the first known name that holds some."""
    from torch import Tensor

    seen: set[int] = set()
    queue = [content]
    while queue:  # wrappers may stand in one another, and in two places
        value = queue.pop(0)
        if not isinstance(value, Mapping) or id(value) in seen:
            continue
        seen.add(id(value))
        inner = [value[name] for name in WRAPPERS if isinstance(value.get(name), Mapping)]
        tensors = {name: each for name, each in value.items() if isinstance(each, Tensor)}
        if tensors and not any(_holds_tensors(each) for each in inner):
            if strange := [name for name in tensors if not isinstance(name, str)]:
                raise StateFileError(
                    f"{shown(path)}: a tensor has the name {shown(repr(strange[0]), 60)}, which is no text."
                )
            return {name: check_tensor(tensor, name, path) for name, tensor in tensors.items()}
        queue = inner + queue
    found = (
        ", ".join(shown(str(name), 30) for name in list(content)[:6])
        if isinstance(content, Mapping)
        else ""
    )
    raise StateFileError(
        f"{shown(path)} holds no state dict but {found or f'a {type(content).__name__}'}. Save the network's state_dict()."
    )


def _holds_tensors(mapping: Mapping[Any, Any]) -> bool:
    from torch import Tensor

    return any(isinstance(value, Tensor) for value in mapping.values())
