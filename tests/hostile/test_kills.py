"""Killed at any point, also while a file is being written, and started again, a run ends with the same result to the last bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from symnet.files import read_arrays, read_content
from tests.hostile import killed_run

ROOT = Path(__file__).parents[2]
TIMES = {"seconds", "corpus_seconds", "processor_seconds", "folder", "page"}


def start(what: str, folder: Path, death: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", killed_run.__file__, what, str(folder), death]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def without_times(value: Any) -> Any:
    """A result without what a clock said; the points of the demo's curves begin with seconds."""
    match value:
        case dict():
            kept = {name: without_times(each) for name, each in value.items() if name not in TIMES}
            if "reader" in value and "curve" in value:
                kept["curve"] = [point[1:] for point in value["curve"]]
            return kept
        case list():
            return [without_times(each) for each in value]
        case _:
            return value


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run found: results, parameters, predictions, by file."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "results.json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.suffix == ".npz":
            found[name] = {key: array.tolist() for key, array in read_arrays(path).items()}
        elif path.name == "model.pt":
            found[name] = {
                key: tensor.tolist() for key, tensor in read_content(path)["state"].items()
            }
        elif path.suffix == ".pt" and path.name != "checkpoint.pt":
            found[name] = {key: tensor.tolist() for key, tensor in read_content(path).items()}
    return found


def check(what: str, tmp_path: Path, deaths: list[str]) -> None:
    for death in deaths:
        process = start(what, tmp_path / "killed", death)
        _, problem = process.communicate(timeout=300)
        expected = -signal.SIGKILL if death.startswith("write") else -signal.SIGPROF
        assert process.returncode == expected, (death, process.returncode, problem)
    with torch.random.fork_rng(devices=[]):
        killed_run.run(what, tmp_path / "killed")
        killed_run.run(what, tmp_path / "whole")
    killed, whole = outcome(tmp_path / "killed"), outcome(tmp_path / "whole")
    assert killed.keys() == whole.keys() and len(whole) > 3
    for name, value in whole.items():
        assert killed[name] == value, name
    assert not list((tmp_path / "killed").rglob("*.tmp"))


def test_a_task_killed_while_it_writes_ends_as_if_it_had_not_been(
    tmp_path: Path, record_property
) -> None:
    check("tickets", tmp_path, ["write:2"])
    record_property("kills", 1)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["demo", "accuracy", "classification", "editing", "tickets"])
def test_runs_killed_at_three_points_end_as_if_they_had_not_been(
    tmp_path: Path, what: str, record_property
) -> None:
    rng = random.Random(what)
    deaths = [
        f"write:{rng.randint(1, 2)}",
        f"seconds:{rng.uniform(0.2, 0.6):.2f}",
        f"write:{rng.randint(2, 3)}",
    ]
    check(what, tmp_path, deaths)
    record_property("kills", len(deaths))


@pytest.mark.slow  # two seconds can be told on a quiet machine alone
@pytest.mark.parametrize("what", ["demo"])
def test_ctrl_c_ends_a_command_and_says_how_to_go_on(tmp_path: Path, what: str) -> None:
    """Sent in the midst of fitting, whose jobs are in threads: within two seconds on an idle machine."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "symnet", what, "--quick", "-o", str(tmp_path)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("fits/*.npz")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    waited = time.monotonic() - sent
    assert process.returncode == 130
    assert (
        said.count("\n") == 1
        and "The same command goes on where it was" in said
        and str(tmp_path) in said
    )
    assert waited < 2 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), f"{waited:.1f} s"
    assert not np.any([path.suffix == ".tmp" for path in tmp_path.rglob("*")])
