"""Files of torch (.pt, .pth, .ckpt, .bin), read without running any code in them, and checked before they are believed."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symnet.errors import StateFileError
from symnet.files.paths import reason, regular_file, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TORCH_SUFFIXES", "check_tensor", "read_archive"]

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
DEEPEST = 64  # containers inside one another
MOST_ENTRIES = 10_000_000  # of all containers, one that stands in two places counted twice
_CODE = re.compile(r"(?:GLOBAL|[Uu]nsupported (?:global|class)\S*|function) (?:GLOBAL )?([\w.]+)")


def read_archive(path: str | Path, *, mapped: bool = False) -> Any:
    """All that a file of torch holds, on the CPU.

    Args:
        mapped: leave the tensors of a zip archive on the disk until they are looked at.

    Raises:
        StateFileError: damaged, compressed, in need of code, nested without end, or with tensors that claim more
            than the file holds.
    """
    import torch

    place = regular_file(path)
    size = place.stat().st_size
    try:
        with place.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
        if zipped:
            _check_records(place, size)
        content = torch.load(place, map_location="cpu", weights_only=True, mmap=mapped and zipped)
    except StateFileError:
        raise
    except Exception as error:  # damaged files fail anywhere in torch, with errors of all kinds
        raise StateFileError(
            f"{shown(path)} cannot be read as a state dict ({type(error).__name__}: {_why(error)}). "
            "Save it with torch.save(model.state_dict(), path), or as safetensors."
        ) from error
    for tensor in _tensors(content, path):
        if (
            not tensor.is_meta
            and tensor.layout is torch.strided
            and tensor.numel() * tensor.itemsize > size
        ):
            raise StateFileError(
                f"{shown(path)}: a tensor of shape {_shape(tensor)} claims more than the {size:,} bytes of the file."
            )
    return content


def check_tensor(tensor: Tensor, name: str, path: str | Path) -> Tensor:
    """The tensor without gradient, if it holds plain numbers of its own.

    Raises:
        StateFileError: it is sparse, nested, quantised, or has no values.
    """
    import torch

    match tensor:
        case _ if tensor.is_meta:
            kind = "has a shape but no values (it was saved on the meta device)"
        case _ if tensor.is_nested:
            kind = "is nested"
        case _ if tensor.layout is not torch.strided:
            kind = f"is sparse ({tensor.layout})"
        case _ if tensor.is_quantized:
            kind = "is quantised"
        case _:
            return tensor.detach()
    raise StateFileError(
        f"{shown(path)}: tensor '{shown(name, 80)}' {kind}; save plain numbers, as from to_dense() or dequantize()."
    )


def _check_records(path: Path, size: int) -> None:
    """Torch stores its records as they are; what would unpack to more than the file is not unpacked."""
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    if packed or sum(record.file_size for record in records) > size:
        raise StateFileError(
            f"{shown(path)} is a packed archive, which torch never writes; unpack it and save it again."
        )


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if "weights_only" not in text.lower() and "Weights only" not in text:
        return reason(error)
    code = _CODE.search(text)
    return (
        f"it needs code to be read, {shown(code[1], 80)}"
        if code
        else "it needs code to be read, or is damaged"
    )


def _tensors(content: Any, path: str | Path) -> Iterator[Tensor]:
    """Every tensor once, after a look at how the containers stand in one another.

    A container inside itself never ends, and sixty that each stand twice in the next are 2^60 to whoever walks them.
    """
    from torch import Tensor

    entries: dict[int, int] = {}  # of each container, all below it
    tensors: dict[int, Tensor] = {}
    entered: set[int] = set()
    stack: list[tuple[Any, bool]] = [(content, False)]
    depth = 0
    while stack:
        value, done = stack.pop()
        if isinstance(value, Tensor):
            tensors[id(value)] = value
            continue
        inside = _inside(value)
        if inside is None or (not done and id(value) in entries):
            continue
        if done:
            depth -= 1
            entered.discard(id(value))
            entries[id(value)] = len(inside) + sum(entries.get(id(each), 0) for each in inside)
            if entries[id(value)] > MOST_ENTRIES:
                raise StateFileError(
                    f"{shown(path)} holds more than {MOST_ENTRIES:,} entries in all."
                )
            continue
        depth += 1
        if id(value) in entered or depth > DEEPEST:
            raise StateFileError(
                f"{shown(path)} holds containers nested in themselves, or deeper than {DEEPEST}."
            )
        entered.add(id(value))
        stack.append((value, True))
        stack.extend((each, False) for each in inside)
    yield from tensors.values()


def _inside(value: Any) -> list[Any] | None:
    if isinstance(value, Mapping):
        return [*value.values()]
    return [*value] if isinstance(value, list | tuple | set | frozenset) else None


def _shape(tensor: Tensor) -> str:
    return shown(str(tuple(tensor.shape)), 80)
