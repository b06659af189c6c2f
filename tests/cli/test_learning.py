"""Laws of ``symnet fit`` and ``symnet predict``: what cannot be used is named, outputs replace no inputs, a kill changes nothing."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import symnet as sn
from tests.cli.running import run
from tests.learn.small_networks import GRAPH, make_networks

ROOT = Path(__file__).parents[2]
COUNT = 24


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `nets` of checkpoints with a table, as the current one."""
    monkeypatch.chdir(tmp_path)
    networks = make_networks(COUNT)
    Path("nets").mkdir()
    for number in range(COUNT):
        torch.save(networks[number][0], f"nets/{number}.pt")
    rows = [f"{number}.pt,{networks.columns['size'][number]:.4f}" for number in range(COUNT)]
    Path("labels.csv").write_text("\n".join(["file,size", *rows]))
    return tmp_path


FIT = (
    "fit",
    "nets",
    "--labels",
    "labels.csv",
    "--target",
    "size",
    "--reader",
    "statistics",
    "--folds",
    "2",
    "-o",
    "out",
)


def test_a_reader_is_fitted_and_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged files, another architecture, networks without a row or in two rows are named and left out."""
    Path("nets/damaged.pt").write_bytes(b"PK\x03\x04")
    torch.save(
        {name: torch.zeros(s) for name, s in sn.catalogue.mlp([2, 9, 2]).shapes.items()},
        "nets/wide.pt",
    )
    torch.save(make_networks(1)[0][0], "nets/missing.pt")
    with open("labels.csv", "a") as file:
        file.write("\n0.pt,0.5\ndamaged.pt,1\nwide.pt,1\n1x.pt,\n")
    GRAPH.save("small.symnet")
    assert run(*FIT, "--arch", "small.symnet", "--steps", "20") == 0
    said = capsys.readouterr()
    assert "* statistics" in said.out and "symnet predict out" in said.out
    for name in ("damaged.pt", "wide.pt", "missing.pt", "0.pt"):
        assert f"{name}" in said.err
    assert "23 networks are few" in said.out and "1x.pt" in said.err
    assert run("predict", "out", "nets/1.pt", "nets/2.pt", "-o", "predicted.csv") == 0
    rows = list(csv.DictReader(Path("predicted.csv").read_text().splitlines()))
    assert [row["network"] for row in rows] == ["nets/1.pt", "nets/2.pt"]
    answers = sn.learn.load("out/reader.symnet").predict("nets/2.pt")
    assert float(rows[1]["size"]) == answers[0]
    assert run("predict", "out", "nets", "--json") == 1  # some had to be left out
    found = json.loads(capsys.readouterr().out.partition("answers written to predicted.csv.\n")[2])
    assert len(found["answers"]) == COUNT + 1 and len(found["skipped"]) == 2


def test_outputs_replace_no_inputs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        (*FIT[:-1], "nets/out"),
        (*FIT[:-1], "labels.csv"),
        (*FIT, "--arch", "mlp:2-5-2", "--module", "x:y"),
        ("predict", "gone", "nets/1.pt"),
    ):
        assert run(*arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_a_fit_killed_at_three_points_ends_as_if_it_had_not_been(place: Path) -> None:
    """Its reader predicts the same to the last bit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "symnet", *FIT, "--arch", "mlp:2-5-2", "--steps", "600"]
    for fold in (0, 0, 1):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        checkpoint = place / "out" / "trainings" / f"statistics-fold-{fold}" / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        deadline = time.monotonic() + 240
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (place / "out" / "reader.symnet").exists()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    subprocess.run(
        [*command[:-5], "whole", *command[-4:]], env=environment, check=True, capture_output=True
    )
    killed, whole = (
        sn.learn.load(place / name / "reader.symnet").predict("nets") for name in ("out", "whole")
    )
    assert np.array_equal(killed, whole) and len(np.unique(whole)) == COUNT
