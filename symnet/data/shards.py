"""Files of fitted networks: written whole or not at all, and believed only after a check."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from symnet.data.fitting import FitRecipe
from symnet.data.sirens import evaluate, psnr
from symnet.errors import SymnetError
from symnet.files import read_arrays, write_arrays

__all__ = ["BrokenShardError", "describe_shard", "read_shard", "write_shard"]

FORMAT = 1
_PSNR_TOLERANCE = 0.05  # decibels between the file's PSNR and that of its weights: other processors round otherwise


class BrokenShardError(SymnetError):
    """A file of fits that cannot be used; says which one and why."""


def describe_shard(recipe: FitRecipe, images: Tensor, seed: int) -> dict[str, object]:
    """What a shard holds, as plain values: two shards are interchangeable when these are equal."""
    digest = hashlib.sha256(images.contiguous().numpy().tobytes()).hexdigest()
    return {
        "format": FORMAT,
        "recipe": recipe.as_dict(),
        "images": digest,
        "count": len(images),
        "seed": seed,
    }


def write_shard(
    path: Path, weights: dict[str, Tensor], quality: Tensor, header: dict[str, object]
) -> None:
    """Write weights `{name: (n, *axes)}` and PSNR `(n,)`; a kill leaves the old file or the new one, never half of one."""
    arrays = {f"weights/{name}": tensor.numpy() for name, tensor in weights.items()}
    arrays |= {"header": np.array(json.dumps(header)), "psnr": quality.numpy()}
    write_arrays(path, arrays)


def read_shard(
    path: Path, header: dict[str, object], images: Tensor, grid: Tensor, omega: float
) -> tuple[dict[str, Tensor], Tensor]:
    """The weights and PSNR of a shard, after checking that it is the expected one and that its networks show the images.

    Raises:
        BrokenShardError: unreadable, fitted by another recipe or to other images, or weights that do not give the PSNR.
    """
    try:
        arrays = read_arrays(path)
        found = json.loads(str(arrays["header"]))
        quality = torch.from_numpy(arrays["psnr"])
        names = [name for name in arrays if name.startswith("weights/")]
        weights = {name.removeprefix("weights/"): torch.from_numpy(arrays[name]) for name in names}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenShardError(
            f"{path.name} cannot be read ({type(error).__name__}: {error})."
        ) from error
    if found != header:
        differing = sorted(key for key in {*found, *header} if found.get(key) != header.get(key))
        raise BrokenShardError(
            f"{path.name} was fitted otherwise: its {', '.join(differing)} differ."
        )
    try:
        shown = psnr(evaluate(weights, grid, omega), images)
        difference = float((shown - quality).abs().max())
    except (RuntimeError, KeyError) as error:
        raise BrokenShardError(
            f"{path.name} holds tensors of the wrong shape ({error})."
        ) from error
    if not difference < _PSNR_TOLERANCE:
        raise BrokenShardError(
            f"{path.name} states a PSNR that its weights miss by {difference:.2g} dB."
        )
    return weights, quality
