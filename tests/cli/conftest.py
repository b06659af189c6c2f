"""A folder as a user of the command line has it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.running import MODULES, TEXT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an architecture file and a Python module, as the current one."""
    (tmp_path / "small.symnet").write_text(TEXT)
    (tmp_path / "cli_example_modules.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cli_example_modules", raising=False)
    return tmp_path
