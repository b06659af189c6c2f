"""Checkpoints: written whole or not at all, and believed only if they are of this very training."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning_fabric import Fabric

from symnet.tasks.problem import TrainingError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(fabric: Fabric, path: Path, state: dict[str, Any], step: int) -> None:
    """Writes a checkpoint beside the old one, then puts it in its place: a kill leaves one of the two, whole.

    Every process calls this; the first one writes.

    Raises:
        TrainingError: the disk is full, or cannot be written; the old checkpoint is as it was.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fabric.save(scratch, state)
        if fabric.is_global_zero:
            with scratch.open("rb+") as file:
                os.fsync(file.fileno())  # the rename must not reach the disk before the contents
            os.replace(scratch, path)
    except (OSError, RuntimeError) as error:  # torch's own writer reports a full disk as a RuntimeError
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        kept = "the checkpoint before it is intact" if path.exists() else "there is none before it"
        raise TrainingError(
            f"The checkpoint of step {step} could not be written to {path.parent}: "
            f"{'the disk is full' if full else error}; {kept}. Make room and run the same command again: it goes on there."
        ) from error


def load_checkpoint(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint holds, on the CPU; None if there is none. No code in the file is executed.

    Raises:
        TrainingError: it cannot be read, or it is of another training; says which values differ.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = json.loads(state["key"])
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, ValueError, UnpicklingError) as error:
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
        below = (_differences(found.get(k), wanted.get(k), f"{place}.{k}".lstrip(".")) for k in keys)
        return [difference for some in below for difference in some]
    return [] if found == wanted else [f"{place} was {found!r} and is {wanted!r}"]
