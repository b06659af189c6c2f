"""Laws of the corpus: reproducible, good enough, resumable, and never believing a damaged file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from symnet.data import Corpus, Digits, FitRecipe, corpus, digits, evaluate, fit_corpus, psnr
from symnet.errors import SymnetError

RECIPE = FitRecipe(steps=12, widths=(2, 6, 5, 1))


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """25 digits in shards of 10: three shards a fit, the last one smaller."""
    monkeypatch.setattr(corpus, "SHARD_IMAGES", 10)
    return digits().first(25)


def same(first: Corpus, second: Corpus) -> bool:
    return torch.equal(first.psnr, second.psnr) and all(
        torch.equal(tensor, second.weights[name]) for name, tensor in first.weights.items()
    )


def test_fits_are_a_function_of_recipe_and_images(tmp_path: Path, data: Digits) -> None:
    first = fit_corpus(tmp_path / "a", data, RECIPE, fits=2)
    assert same(first, fit_corpus(tmp_path / "b", data, RECIPE, fits=2))
    assert not same(first, fit_corpus(tmp_path / "c", data, replace(RECIPE, seed=1), fits=2))
    assert not torch.equal(first.weights["0.weight"][0], first.weights["0.weight"][1])


def test_shapes_and_order(tmp_path: Path, data: Digits) -> None:
    """`weights` is (fit, image, *axes), and network [f, i] draws image i as well as it says."""
    found = fit_corpus(tmp_path, data, RECIPE, fits=2)
    assert found.psnr.shape == (2, 25) and found.fits == 2
    assert found.weights["2.weight"].shape == (2, 25, 5, 6)
    for fit in range(2):
        values = evaluate(
            {name: tensor[fit] for name, tensor in found.weights.items()}, data.grid, RECIPE.omega
        )
        torch.testing.assert_close(psnr(values, data.images), found.psnr[fit], rtol=0, atol=1e-3)
    some = torch.tensor([3, 24])
    chosen = found.of_images(some)["0.bias"]
    assert torch.equal(chosen, torch.cat([found.weights["0.bias"][fit, some] for fit in range(2)]))


def test_the_default_recipe_reaches_25_decibels(tmp_path: Path) -> None:
    found = fit_corpus(tmp_path, digits().first(60), FitRecipe(), fits=1)
    assert found.psnr.mean() >= 25


def test_finished_shards_are_read_and_not_fitted(
    tmp_path: Path, data: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit_corpus(tmp_path, data, RECIPE, fits=2)
    monkeypatch.setattr(corpus, "fit_images", lambda *_, **__: pytest.fail("fitted again"))
    assert same(first, fit_corpus(tmp_path, data, RECIPE, fits=2))
    assert same(
        Corpus({name: t[:1] for name, t in first.weights.items()}, first.psnr[:1]),
        fit_corpus(tmp_path, data, RECIPE, fits=1),
    )


@pytest.mark.parametrize("damage", ["deleted", "cut short", "one byte", "empty", "other weights"])
def test_damaged_shards_are_named_and_fitted_again(
    tmp_path: Path, data: Digits, damage: str
) -> None:
    first = fit_corpus(tmp_path, data, RECIPE, fits=1)
    path = tmp_path / "fit-00-images-0010.npz"
    content = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    elif (
        damage == "other weights"
    ):  # a readable file of the right shapes whose networks draw other images
        path.write_bytes(_with_noise(path))
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        path.write_bytes({"cut short": content[:middle], "one byte": changed, "empty": b""}[damage])
    again = fit_corpus(tmp_path, data, RECIPE, fits=1)
    assert same(first, again)
    assert path.read_bytes() == content
    if damage == "deleted":
        assert again.refitted == ()
    else:
        assert [path.name in problem for problem in again.refitted] == [True]


def _with_noise(path: Path) -> bytes:
    import io

    import numpy as np

    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["weights/0.bias"] = arrays["weights/0.bias"] + np.float32(0.1)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_shards_of_another_recipe_or_other_images_are_fitted_again(
    tmp_path: Path, data: Digits
) -> None:
    fit_corpus(tmp_path, data, RECIPE, fits=1)
    other = fit_corpus(tmp_path, data, replace(RECIPE, omega=6.0), fits=1)
    assert len(other.refitted) == 3 and all("recipe" in problem for problem in other.refitted)
    moved = Digits(data.images.flip(0), data.classes.flip(0), data.grid)
    assert all(
        "images" in problem
        for problem in fit_corpus(tmp_path, moved, replace(RECIPE, omega=6.0), fits=1).refitted
    )


def test_a_killed_run_goes_on(tmp_path: Path, data: Digits) -> None:
    """`kill -9` in the middle: what was written is whole, and the networks are those of a run that was let finish."""
    code = (
        "import sys; from symnet.data import *; from symnet.data import corpus; import torch\n"
        "torch.set_num_threads(1); corpus.SHARD_IMAGES = 10\n"
        "fit_corpus(sys.argv[1], digits().first(25), FitRecipe(steps=12, widths=(2, 6, 5, 1)), fits=400)\n"
    )
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.npz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 3 <= len(list(folder.glob("*.npz"))) < 1200
    resumed = fit_corpus(folder, data, RECIPE, fits=2)
    assert resumed.refitted == ()
    assert same(resumed, fit_corpus(tmp_path / "whole", data, RECIPE, fits=2))


def test_the_number_of_threads_is_left_as_it_was(tmp_path: Path, data: Digits) -> None:
    before = torch.get_num_threads()
    fit_corpus(tmp_path, data, RECIPE, fits=1)
    assert torch.get_num_threads() == before


def test_no_fits_and_no_images_are_refused(tmp_path: Path, data: Digits) -> None:
    with pytest.raises(SymnetError, match="0 of 25"):
        fit_corpus(tmp_path, data, RECIPE, fits=0)
    with pytest.raises(SymnetError, match="1 of 0"):
        fit_corpus(tmp_path, data.first(0), RECIPE, fits=1)
