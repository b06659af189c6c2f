"""Timing side by side: contestants alternate in one process, and rounds that something disturbed are dropped."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch
from rich.progress import track

DISTURBED = 1.35  # a round is dropped if any contestant took this many times its own median


@dataclass(frozen=True)
class Spread:
    """A ratio's median over the rounds, and the quartiles around it."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}-{self.high:.2f})"


@dataclass(frozen=True)
class Rounds:
    """Seconds of every contestant, round by round, undisturbed rounds alone.

    kept, run: how many rounds are left of how many.
    """

    seconds: Mapping[str, list[float]]
    kept: int
    run: int

    def median(self, name: str) -> float:
        """A contestant's median, in seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, other: str) -> Spread:
        """One contestant over another, round by round: a disturbance that hits a whole round cancels."""
        ratios = [a / b for a, b in zip(self.seconds[name], self.seconds[other], strict=True)]
        if len(ratios) < 2:
            return Spread(ratios[0], ratios[0], ratios[0])
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return Spread(middle, low, high)


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, title: str, cpu_time: bool = False
) -> Rounds:
    """Time calls in turn, after two calls of each that do not count.

    Args:
        rounds: at least 7 are wanted undisturbed; all are kept if fewer than that are.
        cpu_time: seconds of this process's processors instead of the wall's clock, for machines that do other work.
    """
    clock = time.process_time if cpu_time else time.perf_counter
    for call in calls.values():
        call()
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in track(range(rounds), title, transient=True):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    middles = {name: statistics.median(values) for name, values in seconds.items()}
    quiet = [
        k
        for k in range(rounds)
        if all(seconds[name][k] <= DISTURBED * middles[name] for name in calls)
    ]
    kept = quiet if len(quiet) >= min(7, rounds) else list(range(rounds))
    return Rounds(
        {name: [values[k] for k in kept] for name, values in seconds.items()}, len(kept), rounds
    )


def circumstances(command: str, cpu_time: bool) -> dict[str, object]:
    """What a figure has to be read with: date, command, versions, threads, allocator, processor, load before the run."""
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip()
            for line in info.read_text().splitlines()
            if "model name" in line
        ]
        processor = names[0] if names else processor
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": date.today().isoformat(),
        "command": command,
        "commit": commit.stdout.strip() or "unknown",
        "clock": "processor time" if cpu_time else "wall time",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "allocator": os.environ.get("GLIBC_TUNABLES")
        or (
            "THP_MEM_ALLOC_ENABLE=1" if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" else "default"
        ),
        "processor": processor,
        "load before": round(os.getloadavg()[0], 2),
    }
