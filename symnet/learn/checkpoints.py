"""Checkpoints: written whole or not at all, and believed only if they are of this very training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from symnet.errors import FileError
from symnet.files import read_content, reason, replacing
from symnet.learn.problem import TrainingError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(fabric: Fabric, path: Path, state: dict[str, Any], step: int) -> None:
    """Writes a checkpoint beside the old one, then puts it in its place: a kill leaves one of the two, whole.

    Every process calls this; the first one writes.

    Raises:
        TrainingError: the disk is full, or cannot be written; the old checkpoint is as it was.
    """
    if not fabric.is_global_zero:
        fabric.save(path, state)  # writes nothing, and waits for the first
        return
    try:
        with replacing(path, folders=True) as scratch:
            fabric.save(scratch, state)
    except (FileError, RuntimeError) as error:
        kept = "the checkpoint before it is intact" if path.exists() else "there is none before it"
        raise TrainingError(
            f"The checkpoint of step {step} could not be written to {path.parent}: {reason(error.__cause__ or error)}; "
            f"{kept}. Make room and run the same command again: it goes on there."
        ) from error


def load_checkpoint(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint holds, on the CPU; None if there is none. No code in the file is executed.

    Raises:
        TrainingError: it cannot be read, or it is of another training; says which values differ.
    """
    if not path.exists():
        return None
    try:
        state = read_content(path)
        found = json.loads(state["key"])
    except (FileError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"The checkpoint {path} cannot be read ({type(error).__name__}). Delete it to train from the start."
        ) from error
    wanted = json.loads(json.dumps(key))
    differing = _differences(found, wanted)
    if differing:
        raise TrainingError(
            f"{path} is of another training: {'; '.join(differing)}. Choose another folder, or delete this file."
        )
    return dict(state)


def _differences(found: Any, wanted: Any, place: str = "") -> list[str]:
    """The values in which two plain trees differ, each with its place."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = dict.fromkeys([*found, *wanted])
        below = (
            _differences(found.get(k), wanted.get(k), f"{place}.{k}".lstrip(".")) for k in keys
        )
        return [difference for some in below for difference in some]
    return [] if found == wanted else [f"{place} was {found!r} and is {wanted!r}"]
