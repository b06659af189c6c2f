"""Time one NF-Layer side by side with floors and peers: ``python -m benchmarks.layers a b --io permuted``.

All contestants of a workload alternate in one process, so that a disturbance hits all of them; figures are medians of
rounds, ratios are medians of the rounds' ratios, spreads are interquartile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.workloads import WORKLOADS, Workload

Times = dict[str, dict[str, list[float]]]  # contestant -> "forward" | "both" -> seconds


def timed_calls(contestant: Contestant) -> dict[str, Callable[[], object]]:
    """What is timed: the forward pass alone, and forward and backward."""
    forward, wanted = contestant
    gradients = [torch.randn_like(output) for output in forward()]

    def only_forward() -> object:
        with torch.no_grad():
            return forward()

    def both() -> object:
        return torch.autograd.grad(forward(), wanted, gradients, allow_unused=True)

    return {"forward": only_forward, "both": both}


def measure(workload: Workload, io: str, rounds: int, only: list[str] | None = None) -> Times:
    """Seconds of every contestant in every round."""
    calls = {}
    for name, make in CONTESTANTS.items():
        if only and name not in only:
            continue
        if (contestant := make(workload, io)) is not None:
            calls[name] = timed_calls(contestant)
    for kinds in calls.values():
        for call in kinds.values():
            call()
            call()
    times: Times = {name: {"forward": [], "both": []} for name in calls}
    for _ in track(range(rounds), f"{workload.name}, {io}", transient=True):
        for kind in ("forward", "both"):
            for name, kinds in calls.items():
                start = time.perf_counter()
                kinds[kind]()
                times[name][kind].append(time.perf_counter() - start)
    return times


def ratio(times: Times, name: str, other: str, kind: str) -> tuple[float, float]:
    """Median and interquartile range of the rounds' ratios."""
    ratios = [a / b for a, b in zip(times[name][kind], times[other][kind], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, high - low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--io", choices=["permuted", "fixed", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", help="contestants to time: " + ", ".join(CONTESTANTS))
    parser.add_argument("--json", type=Path, help="write every time here")
    arguments = parser.parse_args()
    console = Console()
    table = Table(
        title=f"time over F1, median ± interquartile range; torch {torch.__version__}, {torch.get_num_threads()} threads"
    )
    for column in (
        "workload",
        "I/O",
        "contestant",
        "forward, ms",
        "over F1",
        "over nfn",
        "forward+backward, ms",
        "over F1",
        "over nfn",
    ):
        table.add_column(column, justify="left" if column in ("workload", "I/O", "contestant") else "right")
    record = {}
    for name in arguments.workloads:
        for io in ("permuted", "fixed") if arguments.io == "both" else (arguments.io,):
            times = measure(WORKLOADS[name], io, arguments.rounds, arguments.only)
            record[f"{name} {io}"] = times
            for contestant in times:
                cells = []
                for kind in ("forward", "both"):
                    cells.append(f"{1000 * statistics.median(times[contestant][kind]):.2f}")
                    for other in ("F1", "nfn"):
                        cells.append(
                            "{:.2f} ± {:.2f}".format(*ratio(times, contestant, other, kind)) if other in times else "-"
                        )
                table.add_row(name, io, contestant, *cells)
            table.add_section()
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(record))


if __name__ == "__main__":
    main()
