"""The checkpoints among the files that training leaves in a folder, and their weights by the names of the network alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from symnet.errors import FileError, StateFileError, SymnetError
from symnet.files import STATE_SUFFIXES, read_content, reason, shown, state_in

__all__ = ["Rename", "checkpoint_paths", "read_checkpoint", "renamed", "without_prefix"]

Rename = Mapping[str, str] | Callable[[str], str | None]
INDEX = ".safetensors.index.json"
# What trainers write beside the weights.
ASIDE = (
    "optimizer",
    "optim",
    "scheduler",
    "rng_state",
    "training_args",
    "scaler",
    "sampler",
    "random_states",
)
COMPILED = "_orig_mod."  # torch.compile puts it before what it has compiled, at any depth
WRAPPERS = (
    "module.",
    "model.",
)  # of DataParallel; of Lightning and others that hold the network under this name


class AsideError(SymnetError):
    """A file that holds no network but what a trainer keeps beside it."""


def checkpoint_paths(folder: Path, pattern: str = "**/*") -> tuple[list[Path], list[Path]]:
    """The files of weights in a folder in order of their paths, and those that trainers write beside them.

    A model in shards is its index.

    Args:
        folder: or one file.
        pattern: of the paths in it, as for `Path.glob`.

    Raises:
        SymnetError: there is no such folder, or the pattern is none.
    """
    if folder.is_file():
        return [folder], []
    if not folder.is_dir():
        raise FileError(f"There is no folder {shown(folder)}: networks cannot be read from it.")
    try:
        every = sorted(path for path in folder.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError, OSError) as error:
        raise FileError(
            f"pattern={pattern!r:.80} names no files in {shown(folder)}: {reason(error)}."
        ) from error
    indexed = [path for path in every if path.name.endswith(INDEX)]
    stems = {(path.parent, path.name.removesuffix(INDEX)) for path in indexed}
    found, aside = list(indexed), list[Path]()
    for path in every:
        if path.suffix not in STATE_SUFFIXES or any(_is_shard(path, *stem) for stem in stems):
            continue
        (aside if path.name.lower().startswith(ASIDE) else found).append(path)
    return sorted(found), aside


def _is_shard(path: Path, folder: Path, stem: str) -> bool:
    return (
        path.parent == folder and path.suffix == ".safetensors" and path.name.startswith(f"{stem}-")
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, unwrapped.

    Raises:
        AsideError: it is the state of an optimizer.
        StateFileError: it cannot be used.
    """
    content = read_content(path)
    if isinstance(content, Mapping) and {"state", "param_groups"} <= set(content):
        raise AsideError(f"{shown(path)} is the state of an optimizer.")
    return state_in(content, path)


def without_prefix(
    state: Mapping[str, Tensor], names: Iterable[str], where: str
) -> tuple[dict[str, Tensor], str]:
    """The tensors by the network's names, and the prefix that was before all of them.

    Args:
        state: of a file.
        names: of the network's tensors; none where they are not known, and then only what wrappers put there goes.

    Raises:
        StateFileError: a file with several networks under prefixes of their own.
    """
    compiled = any(COMPILED in name for name in state)
    plain = (
        {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
        if compiled
        else dict(state)
    )
    if len(plain) < len(state):
        raise StateFileError(
            f"{where}: without '{COMPILED}' two of its tensors have one name; say rename=."
        )
    said = COMPILED if compiled else ""
    wanted = list(names)
    if not wanted:
        prefix = ""
        while rest := [w for w in WRAPPERS if all(name.startswith(prefix + w) for name in plain)]:
            prefix += rest[0]
    elif all(name in plain for name in wanted):
        return plain, said
    else:
        first = wanted[0]
        prefixes = [name.removesuffix(first) for name in plain if name.endswith(f".{first}")]
        fitting = [p for p in prefixes if all(p + name in plain for name in wanted)]
        if len(fitting) > 1:
            raise StateFileError(
                f"{where} holds this network {len(fitting)} times, under {', '.join(map(shown, fitting[:4]))}; "
                "say which one with rename=."
            )
        prefix = fitting[0] if fitting else ""
    kept = {
        name.removeprefix(prefix): tensor
        for name, tensor in plain.items()
        if name.startswith(prefix)
    }
    return kept, prefix + said


def renamed(state: Mapping[str, Tensor], rename: Rename | None, where: str) -> dict[str, Tensor]:
    """The tensors by other names.

    Args:
        rename: new names by old ones, or a function from an old name to the new one, or to None for a tensor to leave out.

    Raises:
        StateFileError: two tensors get one name.
    """
    if rename is None:
        return dict(state)
    as_new: Callable[[str], Any] = (
        (lambda name: rename.get(name, name)) if isinstance(rename, Mapping) else rename
    )
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = as_new(name)
        if new is None:
            continue
        if new in result:
            raise StateFileError(
                f"{where}: rename= gives two tensors the name '{shown(str(new), 80)}'."
            )
        result[str(new)] = tensor
    return result
