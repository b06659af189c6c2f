"""A run of a task or of the demo that kills itself: `python killed_run.py WHAT FOLDER DEATH`.

DEATH is `write:3` (SIGKILL while the third file is being written, before it takes its place), `seconds:0.8` (of the
processor, after everything is imported), or `never`.
"""

from __future__ import annotations

import io
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

CHANGES = {
    "accuracy": ("corpus.networks=60", "corpus.steps=30", "training.steps=8"),
    "classification": ("corpus.images=120", "corpus.fits=2", "training.steps=8"),
    "editing": ("corpus.images=120", "corpus.fits=2", "training.steps=8"),
    "tickets": ("corpus.networks=12", "corpus.steps=8", "training.steps=8"),
}
EVERY_STEP = (
    "training.steps_of={}",
    "training.checkpoint_every=4",
    "training.evaluate_every=4",
    "seeds=[0]",
    'models=["equivariant","flat"]',
)


def run(what: str, folder: Path) -> None:
    torch.set_num_threads(1)
    if what == "demo":
        from symnet.data import FitRecipe
        from symnet.tasks import digits_inr

        fit = FitRecipe(widths=(2, 8, 8, 1), steps=25)
        settings = digits_inr.Settings(images=120, fits=2, steps=30, points=2, fit=fit)
        digits_inr.run(folder, settings=settings, console=Console(file=io.StringIO()))
        return
    from symnet.tasks.configuration import built_in, read
    from symnet.tasks.recipe import Run

    Run(
        read(built_in(what, "quick"), (*CHANGES[what], *EVERY_STEP)),
        folder / what,
        folder / "corpora",
    ).go()


def die(death: str) -> None:
    """Arranges for the end of this process."""
    kind, _, when = death.partition(":")
    if kind == "seconds":
        signal.setitimer(
            signal.ITIMER_PROF, float(when)
        )  # nobody handles it: the process ends at once
    if kind == "write":
        synchronise, left = os.fsync, [int(when)]

        def fsync(number: int) -> Any:
            left[0] -= stat.S_ISREG(os.fstat(number).st_mode)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return synchronise(number)

        os.fsync = fsync


if __name__ == "__main__":
    import symnet.tasks.digits_inr
    import symnet.tasks.recipe  # noqa: F401

    print("started", flush=True)
    die(sys.argv[3])
    run(sys.argv[1], Path(sys.argv[2]))
