"""Where the trainings of a fit are kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["scratch_folder"]


@contextmanager
def scratch_folder(folder: str | Path | None) -> Iterator[Path]:
    """The folder, or one that is gone after the block."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="symnet-fit-") as scratch:
        yield Path(scratch)
