"""Files of fitted networks: written whole or not at all, and believed only after a check."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from symnet.data.fitting import FitRecipe
from symnet.data.sirens import evaluate, psnr
from symnet.errors import SymnetError

__all__ = ["BrokenShardError", "describe_shard", "read_shard", "write_shard"]

FORMAT = 1
_PSNR_TOLERANCE = 0.05  # decibels between the file's PSNR and that of its weights: other processors round otherwise


class BrokenShardError(SymnetError):
    """A file of fits that cannot be used; says which one and why."""


def describe_shard(recipe: FitRecipe, images: Tensor, seed: int) -> dict[str, object]:
    """What a shard holds, as plain values: two shards are interchangeable when these are equal."""
    digest = hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
    return {"format": FORMAT, "recipe": recipe.as_dict(), "images": digest, "count": len(images), "seed": seed}


def write_shard(path: Path, weights: dict[str, Tensor], quality: Tensor, header: dict[str, object]) -> None:
    """Write weights `{name: (n, *axes)}` and PSNR `(n,)`; a kill leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    arrays = {f"weights/{name}": tensor.numpy() for name, tensor in weights.items()}
    arrays |= {"header": np.array(json.dumps(header)), "psnr": quality.numpy()}
    with scratch.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())  # the rename must not reach the disk before the contents
    os.replace(scratch, path)


def read_shard(
    path: Path, header: dict[str, object], images: Tensor, grid: Tensor, omega: float
) -> tuple[dict[str, Tensor], Tensor]:
    """The weights and PSNR of a shard, after checking that it is the expected one and that its networks show the images.

    Raises:
        BrokenShardError: unreadable, fitted by another recipe or to other images, or weights that do not give the PSNR.
    """
    try:
        # Opened here: np.load leaves the file open when it cannot read it.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = json.loads(str(file["header"]))
            quality = torch.from_numpy(file["psnr"])
            names = [name for name in file.files if name.startswith("weights/")]
            weights = {name.removeprefix("weights/"): torch.from_numpy(file[name]) for name in names}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise BrokenShardError(f"{path.name} cannot be read ({type(error).__name__}: {error}).") from error
    if found != header:
        differing = sorted(key for key in {*found, *header} if found.get(key) != header.get(key))
        raise BrokenShardError(f"{path.name} was fitted otherwise: its {', '.join(differing)} differ.")
    try:
        shown = psnr(evaluate(weights, grid, omega), images)
        difference = float((shown - quality).abs().max())
    except (RuntimeError, KeyError) as error:
        raise BrokenShardError(f"{path.name} holds tensors of the wrong shape ({error}).") from error
    if not difference < _PSNR_TOLERANCE:
        raise BrokenShardError(f"{path.name} states a PSNR that its weights miss by {difference:.2g} dB.")
    return weights, quality
