"""A corpus of fitted digits: several networks an image, in shards, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from symnet.data.digits import Digits
from symnet.data.fitting import FitRecipe, fit_images
from symnet.data.parallel import in_parallel
from symnet.data.shards import BrokenShardError, describe_shard, read_shard, write_shard
from symnet.errors import SymnetError

__all__ = ["Corpus", "fit_corpus"]

# Images fitted together: activations of 300 networks (64 pixels, 16 neurons, float32) take 1.2 MB and stay in the cache.
SHARD_IMAGES = 300


@dataclass(frozen=True, slots=True)
class Corpus:
    """Fitted networks of every image."""

    weights: dict[str, Tensor]  # name -> (fit, image, *axes)
    psnr: Tensor  # (fit, image) decibels
    refitted: tuple[str, ...] = ()  # what was wrong with shards that had to be fitted again

    @property
    def fits(self) -> int:
        """Networks of each image."""
        return self.psnr.shape[0]

    def of_images(self, images: Tensor) -> dict[str, Tensor]:
        """Networks of these images only, `{name: (fits * len(images), *axes)}`, fit by fit."""
        return {name: tensor[:, images].flatten(0, 1) for name, tensor in self.weights.items()}


@dataclass(frozen=True, slots=True)
class _Job:
    """One shard: which fit of which images."""

    path: Path
    fit: int
    images: slice
    seed: int


def _jobs(folder: Path, count: int, fits: int) -> Iterator[_Job]:
    for fit in range(fits):
        for number, start in enumerate(range(0, count, SHARD_IMAGES)):
            # Seeded by its place: a shard is the same whether it is fitted alone, last, or among others.
            yield _Job(
                folder / f"fit-{fit:02d}-images-{start:04d}.npz",
                fit,
                slice(start, min(start + SHARD_IMAGES, count)),
                seed=1000 * fit + number,
            )


def fit_corpus(
    folder: str | Path,
    data: Digits,
    recipe: FitRecipe,
    *,
    fits: int,
    console: Console | None = None,
) -> Corpus:
    """`fits` SIRENs of every image; shards that are in the folder already are read, all others are fitted and written.

    A shard that is damaged, or was fitted by another recipe or to other images, is named and fitted again. A run that was
    killed loses at most the shard it was fitting; the networks do not depend on where it was interrupted.

    Args:
        folder: where the shards are.
        data: images and pixel grid.
        recipe: how to fit.
        fits: networks of each image, from different random starts.
        console: where the progress bar goes; none without it.

    Raises:
        SymnetError: `fits` is not positive, or there are no images.
    """
    if fits < 1 or not len(data):
        raise SymnetError(
            f"fit_corpus needs at least one fit of at least one image; got {fits} of {len(data)}."
        )
    jobs = list(_jobs(Path(folder), len(data), fits))
    refitted: list[str] = []
    with _progress(console) as progress:
        task = progress.add_task("fitting SIRENs", total=len(jobs) * recipe.steps)

        def work(job: _Job, check: Callable[[], None]) -> tuple[dict[str, Tensor], Tensor]:
            def step() -> None:
                check()
                progress.advance(task)

            weights, quality, problem = _read_or_fit(job, data, recipe, step)
            if problem is None:
                return weights, quality
            refitted.append(problem)
            progress.console.print(f"{problem} Fitted again.", style="yellow", markup=False)
            return weights, quality

        found = in_parallel(work, jobs)
        progress.update(
            task, completed=len(jobs) * recipe.steps
        )  # shards that were read took no steps
    parts, qualities = zip(*found, strict=True)
    stacked = {
        name: torch.cat([part[name] for part in parts]).unflatten(0, (fits, len(data)))
        for name in parts[0]
    }
    return Corpus(stacked, torch.cat(qualities).view(fits, len(data)), tuple(sorted(refitted)))


def _read_or_fit(
    job: _Job, data: Digits, recipe: FitRecipe, on_step: Callable[[], None]
) -> tuple[dict[str, Tensor], Tensor, str | None]:
    """A shard's weights and PSNR, and what was wrong with the file if it had to be replaced."""
    images = data.images[job.images]
    header = describe_shard(recipe, images, job.seed)
    problem = None
    if job.path.exists():
        try:
            return *read_shard(job.path, header, images, data.grid, recipe.omega), None
        except BrokenShardError as error:
            problem = str(error)
    weights, quality = fit_images(images, data.grid, recipe, seed=job.seed, on_step=on_step)
    write_shard(job.path, weights, quality, header)
    return weights, quality, problem


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=console is None,
    )
