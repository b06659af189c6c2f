"""Many jobs in one thread per core, which Ctrl-C stops in the midst of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

import torch

__all__ = ["in_parallel"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_parallel(work: Callable[[_In, Callable[[], None]], _Out], jobs: Sequence[_In]) -> list[_Out]:
    """``work(job, check)`` of every job, in order, in one thread per core.

    One network's tensors are small: torch's own threads on one batch would wait for each other more than they compute
    (twice as slow on two idle cores, nine times beside another program), so every worker runs torch with one thread.

    Args:
        work: calls ``check()`` every now and then, which ends it once another job has failed or Ctrl-C has come: a
            thread cannot be interrupted from outside.
        jobs: what to work on.
    """
    before = torch.get_num_threads()
    stopped = Event()

    def check() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    with ThreadPoolExecutor(max(1, before), initializer=lambda: torch.set_num_threads(1)) as pool:
        waiting = [pool.submit(work, job, check) for job in jobs]
        try:
            return [future.result() for future in waiting]
        finally:
            stopped.set()
            for future in waiting:  # after an error or Ctrl-C: what has not begun is not begun
                future.cancel()
            torch.set_num_threads(before)
