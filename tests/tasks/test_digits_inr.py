"""Laws of the whole recipe on a handful of images: what is reported, what is written, and going on after a kill."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from symnet.cli import main
from symnet.data import FitRecipe
from symnet.errors import SymnetError
from symnet.tasks import digits_inr
from symnet.tasks.digits_inr import FLAT, FLAT_PERMUTED, NEURONS, Settings
from symnet.tasks.results import Results
from symnet.tasks.training import Trained

SMALL = Settings(
    images=120, fits=2, steps=30, points=2, fit=FitRecipe(widths=(2, 8, 8, 1), steps=25)
)


def run(folder: Path, settings: Settings = SMALL, seeds: int = 1) -> tuple[Results, str]:
    """The results, and what was printed."""
    console = Console(file=io.StringIO(), width=80)
    found = digits_inr.run(folder, seeds=seeds, settings=settings, console=console)
    return found, console.file.getvalue()  # type: ignore[attr-defined]


def without_seconds(row: Trained) -> Trained:
    """A training's record without what a clock said."""
    return replace(row, seconds=0.0, curve=tuple((0.0, *point[1:]) for point in row.curve))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Results, str]]:
    folder = tmp_path_factory.mktemp("demo")
    yield folder, *run(folder, seeds=2)


def test_every_reader_has_a_row_for_every_seed(finished: tuple[Path, Results, str]) -> None:
    found = finished[1]
    readers = (NEURONS, FLAT, FLAT_PERMUTED)
    assert [(row.reader, row.seed) for row in found.trained] == [
        (reader, seed) for seed in (1, 2) for reader in readers
    ]
    for row in found.trained:
        assert 0 <= row.accuracy <= 1 and 0 <= row.vote <= 1 and 0 <= row.train_accuracy <= 1
        assert row.curve[-1][2] == pytest.approx(row.accuracy)


def test_trainings_end_by_steps_and_not_by_the_clock(finished: tuple[Path, Results, str]) -> None:
    """The flat readers take as many more as their steps are cheaper; seconds are only reported."""
    for seed in (1, 2):
        first, *others = [row for row in finished[1].trained if row.seed == seed]
        assert first.steps == SMALL.steps and first.seconds > 0
        assert [row.steps for row in others] == [SMALL.flat_steps * SMALL.steps] * 2


def test_only_the_derived_layers_do_not_notice_a_permutation(
    finished: tuple[Path, Results, str],
) -> None:
    moved = {row.reader: row for row in finished[1].moved}
    assert moved[NEURONS].changed == 0
    assert moved[NEURONS].largest_change < 1e-4 and moved[NEURONS].largest_change_float64 < 1e-12
    assert (
        moved[FLAT].largest_change_float64 > 1e-2
        and moved[FLAT_PERMUTED].largest_change_float64 > 1e-2
    )


def test_layers_are_counted_twice_and_cost_what_is_counted(
    finished: tuple[Path, Results, str],
) -> None:
    layers = finished[1].layers
    assert len(layers) == 6
    for layer in layers:
        assert layer.maps == layer.maps_by_burnside
        assert layer.parameters < layer.dense_parameters


def test_the_file_of_results_holds_what_was_returned(finished: tuple[Path, Results, str]) -> None:
    folder, found, _ = finished
    written = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert written == json.loads(found.as_json())
    assert list(written) == [
        "folder",
        "fits",
        "layers",
        "verified",
        "trained",
        "moved",
        "seconds",
        "page",
    ]
    assert written["fits"]["images"] == 120 and written["fits"]["fits"] == 2
    assert set(written["trained"][0]) == {
        *(
            "reader",
            "seed",
            "accuracy",
            "vote",
            "train_accuracy",
            "parameters",
            "seconds",
            "steps",
            "curve",
        )
    }
    assert (
        all("PASSED" in report for report in written["verified"]) and len(written["verified"]) == 3
    )


def test_one_table_is_printed_and_fits_a_terminal(finished: tuple[Path, Results, str]) -> None:
    """Accuracy with its spread, parameters, seconds; no line wider than 80, no entry cut off."""
    text = finished[2]
    table = text[text.index("held-out images") :].splitlines()
    assert "mean ± standard deviation of 2 seeds" in table[0]
    for reader in (NEURONS, FLAT, FLAT_PERMUTED):
        (line,) = [line for line in table if line.strip().startswith(reader + "  ")]
        assert line.count("±") == 3
    assert "…" not in text


def test_the_page_is_whole_and_needs_no_network(finished: tuple[Path, Results, str]) -> None:
    page = finished[1].page.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http://www.w3.org", "")
    for heading in (
        "The result",
        "The fitted networks",
        "The tying pattern",
        "Training",
        "What mattered",
    ):
        assert f"<h2>{heading}</h2>" in page


def test_a_finished_run_repeats_its_table_at_once(finished: tuple[Path, Results, str]) -> None:
    """Also when the page and the results were deleted: they are made from what was kept."""
    folder, found, _ = finished
    found.page.unlink()
    (folder / "results.json").unlink()
    again, text = run(folder, seeds=2)
    assert again.trained == found.trained and again.layers == found.layers
    assert replace(again.fits, seconds=0.0) == replace(found.fits, seconds=0.0)
    assert "training" not in text.split("3  Reading digits")[1].split("4  The result")[0]


def test_other_settings_do_not_take_over_old_trainings(finished: tuple[Path, Results, str]) -> None:
    folder, found, _ = finished
    other, text = run(folder, replace(SMALL, steps=31))
    assert "was trained otherwise" in text
    assert other.of(NEURONS)[0].steps == 31
    assert other.fits.psnr_mean == found.fits.psnr_mean  # the fits are shared


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_result_is_the_same(tmp_path: Path, kills: int) -> None:
    """`kill -9`; then the run that ends has the fits and the accuracy of one that was never killed."""
    code = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from symnet.data import FitRecipe; from symnet.tasks import digits_inr\n"
        "print('started', flush=True)\n"
        "fit = FitRecipe(widths=(2, 8, 8, 1), steps=25)\n"
        "digits_inr.run(sys.argv[1], settings=digits_inr.Settings(images=120, fits=2, steps=30, points=2, fit=fit))\n"
    )
    moments = random.Random(0)
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "killed")],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        time.sleep(moments.uniform(0.0, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.close()
        killed += process.wait() == -signal.SIGKILL
    assert killed == kills
    resumed, _ = run(tmp_path / "killed")
    whole, _ = run(tmp_path / "whole")
    assert resumed.fits.psnr_mean == whole.fits.psnr_mean
    assert [without_seconds(row) for row in resumed.trained] == [
        without_seconds(row) for row in whole.trained
    ]
    assert resumed.moved == whole.moved and resumed.layers == whole.layers


def test_the_command_line_ends_with_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`symnet demo --json` prints what the file holds, and its code says that permuting moved nothing."""
    monkeypatch.setattr(digits_inr, "QUICK", SMALL)
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--quick", "--json", "-o", str(tmp_path)])
    assert ended.value.code == 0
    assert json.loads(printed.getvalue()) == json.loads((tmp_path / "results.json").read_text())


@pytest.mark.parametrize(
    "changes", [{"images": 50}, {"fits": 0}, {"steps": 0}, {"flat_steps": 0}, {"images": 1798}]
)
def test_impossible_settings_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(SymnetError, match=next(iter(changes))):
        replace(SMALL, **changes)  # type: ignore[arg-type]


def test_other_depths_and_no_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SymnetError, match="two hidden layers"):
        Settings(fit=FitRecipe(widths=(2, 8, 1)))
    with pytest.raises(SymnetError, match="seeds=0"):
        digits_inr.run(tmp_path, seeds=0)
