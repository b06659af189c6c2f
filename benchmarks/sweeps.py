"""How the cost of a layer grows with depth, width, channels and batch, beside F1: the plot of a full run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.layers import measure
from benchmarks.timing import Rounds
from benchmarks.workloads import Workload

# What is varied, and workloads that differ in it alone.
SWEEPS: dict[str, dict[int, Workload]] = {
    "hidden layers": {
        n: Workload("depth", "", (2, *[32] * n, 1), 8, 16) for n in (1, 2, 4, 8, 16, 32)
    },
    "width": {n: Workload("width", "", (2, n, n, 1), 8, 16) for n in (8, 16, 32, 64, 128, 256)},
    "channels": {n: Workload("channels", "", (2, 32, 32, 1), 8, n) for n in (2, 4, 8, 16, 32, 64)},
    "batch": {n: Workload("batch", "", (2, 32, 32, 1), n, 16) for n in (1, 4, 16, 64, 256)},
}
KIND = "forward+backward"


def run_sweeps(rounds: int, *, cpu_time: bool = False) -> dict[str, dict[int, Rounds]]:
    """Forward and backward at every point of every sweep, I/O permuted."""
    return {
        what: {
            n: measure(workload, "permuted", rounds, cpu_time=cpu_time)[KIND]
            for n, workload in points.items()
        }
        for what, points in SWEEPS.items()
    }


def plot(sweeps: dict[str, dict[int, Rounds]], path: Path) -> None:
    """Milliseconds of every contestant over what is varied, on logarithmic axes."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(sweeps), figsize=(4 * len(sweeps), 3.6), layout="constrained", sharey=True
    )
    styles = {
        "F1": ("#777777", "--"),
        "F2": ("#777777", ":"),
        "symnet": ("#0072B2", "-"),
        "nfn": ("#D55E00", "-"),
    }
    for axis, (what, points) in zip(axes, sweeps.items(), strict=True):
        for name, (colour, line) in styles.items():
            seen = {
                n: 1000 * rounds.median(name)
                for n, rounds in points.items()
                if name in rounds.seconds
            }
            if seen:
                axis.loglog(
                    list(seen),
                    list(seen.values()),
                    line,
                    color=colour,
                    marker="o",
                    markersize=3,
                    label=name,
                )
        axis.set_xlabel(what)
        axis.grid(alpha=0.3, which="both")
    axes[0].set_ylabel(f"{KIND}, ms")
    axes[0].legend()
    figure.suptitle(
        "Time of one NF-Layer beside its floors (F1: channel mixing; F2: the products it needs)"
    )
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
