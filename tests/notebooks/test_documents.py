"""The notebooks of the documentation run, and their kept outputs are what running them gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
# Rounding differs between machines, and with it which comparison is the worst.
VARYING = re.compile(r"worst .*? relative\)|error of equivariance \S+")


@pytest.fixture(scope="module")
def run() -> dict[str, list[Any]]:
    """All notebooks' outputs, from a process of its own: IPython leaves traces that other packages look for."""
    pytest.importorskip("IPython", reason="notebooks are run by IPython, of the extra 'test'")
    command = [sys.executable, "-m", "tests.notebooks.executing", "--print"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    outputs: dict[str, list[Any]] = json.loads(done.stdout)
    return outputs


def texts_of(outputs: list[dict[str, Any]]) -> list[str]:
    """What a reader reads of a cell's outputs, without what varies between machines."""
    texts = ["".join(one.get("text", one.get("data", {}).get("text/plain", ""))) for one in outputs]
    return [VARYING.sub("~", " ".join(text.split())) for text in texts]


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_outputs_are_kept(path: Path, run: dict[str, list[Any]]) -> None:
    """After a change: python -m tests.notebooks.executing, and look at them."""
    cells = [
        cell
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    fresh = run[path.name]
    assert len(fresh) == len(cells) >= 5
    for cell, outputs in zip(cells, fresh, strict=True):
        assert texts_of(cell["outputs"]) == texts_of(outputs), "".join(cell["source"])
        kinds = [sorted(one.get("data", {})) for one in outputs]
        assert [sorted(one.get("data", {})) for one in cell["outputs"]] == kinds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_can_be_read(path: Path) -> None:
    """It begins with a title, shows a picture or a table, and is small; lines of code fit on a laptop."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert "".join(notebook["cells"][0]["source"]).startswith("# ")
    shown = [one for cell in notebook["cells"] for one in cell.get("outputs", ()) if "data" in one]
    assert any({"text/html", "image/png"} & set(one["data"]) for one in shown)
    assert path.stat().st_size < 700_000
    code = [
        line
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).split("\n")
    ]
    assert [line for line in code if len(line) > 88] == []
