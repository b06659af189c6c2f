"""One NF-Layer side by side with floors and peers: ``python -m benchmarks.layers a b --io permuted``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.timing import Rounds, alternate
from benchmarks.workloads import WORKLOADS, Workload

KINDS = ("forward", "forward+backward")
Measured = dict[tuple[str, str, str], Rounds]  # (workload, I/O, kind)


def timed_calls(contestant: Contestant) -> dict[str, Callable[[], object]]:
    """What is timed: the forward pass alone, and forward and backward."""
    forward, wanted = contestant
    gradients = [torch.randn_like(output) for output in forward()]

    def only_forward() -> object:
        with torch.no_grad():
            return forward()

    def both() -> object:
        return torch.autograd.grad(forward(), wanted, gradients, allow_unused=True)

    return dict(zip(KINDS, (only_forward, both), strict=True))


def measure(
    workload: Workload, io: str, rounds: int, *, cpu_time: bool = False
) -> dict[str, Rounds]:
    """Seconds of every installed contestant, forward, and forward and backward."""
    calls = {}
    for name, make in CONTESTANTS.items():
        if (contestant := make(workload, io)) is not None:
            calls[name] = timed_calls(contestant)
    return {
        kind: alternate(
            {name: kinds[kind] for name, kinds in calls.items()},
            rounds,
            f"{workload.name} {io} {kind}",
            cpu_time,
        )
        for kind in KINDS
    }


def measure_all(
    names: Iterable[str], ios: Iterable[str], rounds: int, *, cpu_time: bool = False
) -> Measured:
    """Every workload with permuted and with fixed I/O, but those whose complete layer does not fit."""
    found: Measured = {}
    for name in names:
        for io in ios:
            if WORKLOADS[name].fits(io):
                for kind, result in measure(WORKLOADS[name], io, rounds, cpu_time=cpu_time).items():
                    found[name, io, kind] = result
    return found


def table_of(measured: Measured) -> Table:
    """Milliseconds, and ratios to the floors and to nfn."""
    table = Table(title="one layer; ratios are medians over rounds (and quartiles)")
    for column in (
        "workload",
        "I/O",
        "pass",
        "contestant",
        "ms",
        "over F1",
        "over F2",
        "over nfn",
        "rounds",
    ):
        table.add_column(column, justify="right" if column in ("ms", "rounds") else "left")
    for (workload, io, kind), rounds in measured.items():
        for name in rounds.seconds:
            ratios = [
                str(rounds.ratio(name, other)) if other in rounds.seconds and other != name else "-"
                for other in ("F1", "F2", "nfn")
            ]
            milliseconds = f"{1000 * rounds.median(name):.2f}"
            table.add_row(
                workload, io, kind, name, milliseconds, *ratios, f"{rounds.kept}/{rounds.run}"
            )
        table.add_section()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--io", choices=["permuted", "fixed", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="processor seconds, for a machine that does other work",
    )
    arguments = parser.parse_args()
    ios = ("permuted", "fixed") if arguments.io == "both" else (arguments.io,)
    measured = measure_all(arguments.workloads, ios, arguments.rounds, cpu_time=arguments.cpu_time)
    Console().print(table_of(measured))


if __name__ == "__main__":
    main()
