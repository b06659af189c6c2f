"""Files of weights: torch's own (.pt, .pth) and safetensors, read without executing anything that is in them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from symnet.errors import SymnetError

__all__ = ["StateFileError", "read_state_file", "write_state_file"]

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
# Where training scripts put the state dict among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")


class StateFileError(SymnetError):
    """A file that holds no state dict that can be read safely."""


def read_state_file(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU; code in it is refused, not run.

    A checkpoint that keeps the state dict under ``state_dict``, ``model_state_dict``, ``model`` or ``weights`` is
    unwrapped. Entries that are no tensors are left out.

    Raises:
        StateFileError: no such file, another format, a damaged file, or one that needs code to be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_state_file(Path(folder) / "net.pt", {"0.weight": torch.ones(2, 3)})
        ...     read_state_file(Path(folder) / "net.pt")["0.weight"].shape
        torch.Size([2, 3])
    """
    content = load_content(path)
    state = _unwrap(content)
    if not state:
        found = ", ".join(map(str, list(content)[:6])) if isinstance(content, Mapping) else type(content).__name__
        raise StateFileError(f"{path} holds no state dict but {found or 'nothing'}. Save the network's state_dict().")
    return state


def load_content(path: str | Path) -> Any:
    """All that a file of weights holds, on the CPU; errors as for ``read_state_file``."""
    path = Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise StateFileError(f"There is no file {path}.")
    try:
        return _load(path)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, UnpicklingError) as error:
        why = "it needs code to be read" if "weights_only" in str(error) else str(error).partition("\n")[0]
        raise StateFileError(
            f"{path} cannot be read as a state dict ({type(error).__name__}: {why}). "
            "Save it with torch.save(model.state_dict(), path), or as safetensors."
        ) from error


def _check_suffix(path: Path) -> None:
    if path.suffix not in (*TORCH_SUFFIXES, ".safetensors"):
        raise StateFileError(
            f"{path}: files of weights end in {', '.join(TORCH_SUFFIXES)} or .safetensors, not {path.suffix or 'nothing'!r}."
        )


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(path.read_bytes())
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(content: Any) -> dict[str, Tensor]:
    """The tensors by name; of a checkpoint, those under the first known name that holds some."""
    if not isinstance(content, Mapping):
        return {}
    state = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    inner = (_unwrap(content[name]) for name in WRAPPERS if isinstance(content.get(name), Mapping))
    return state or next((found for found in inner if found), {})


def write_state_file(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Writes a state dict whole or not at all, in the format that the file's ending names.

    Raises:
        StateFileError: an unknown ending, or a file that cannot be written.
    """
    path = Path(path)
    _check_suffix(path)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import save

            # Tied tensors share their memory, which the format refuses: each name gets its own.
            scratch.write_bytes(save({name: tensor.clone() for name, tensor in plain.items()}))
        else:
            torch.save(plain, scratch)
        os.replace(scratch, path)
    except (OSError, RuntimeError) as error:
        scratch.unlink(missing_ok=True)
        raise StateFileError(f"{path} cannot be written ({error}).") from error
