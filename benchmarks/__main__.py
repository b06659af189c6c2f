"""All benchmarks of the layers, in one command: ``python -m benchmarks``; figures are kept in ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import layers, memory, networks, solver, sweeps
from benchmarks.bars import Bar, Results, bars
from benchmarks.timing import Rounds, circumstances
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def run(rounds: int, *, quick: bool, cpu_time: bool) -> Results:
    """Every benchmark, one after another."""
    names = ["a", "c8"] if quick else list(WORKLOADS)
    measured = layers.measure_all(names, ("permuted", "fixed"), rounds, cpu_time=cpu_time)
    found: Results = {
        "layers": measured,
        "networks": networks.stacks("b", rounds, cpu_time=cpu_time),
        "reader": networks.reader(rounds, cpu_time=cpu_time),
        "traced": networks.traced(rounds, cpu_time=cpu_time),
        "making": solver.making(),
        "orbits": solver.orbits(100 if quick else 3025),
        "import": solver.importing(),
        "memory": {
            name: {who: memory.measure(name, who) for who in ("F1", "symnet", "nfn")}
            for name in ("b", "e", "c32", "d")
        },
    }
    if not quick:
        found["sweeps"] = sweeps.run_sweeps(max(7, rounds // 2), cpu_time=cpu_time)
    return found


def markdown(results: Results, facts: dict[str, object]) -> str:
    """The run as a page: circumstances, bars, layers, traced networks, memory."""
    lines = [
        "# One run of `python -m benchmarks`",
        "",
        *(f"- {key}: {value}" for key, value in facts.items()),
        "",
    ]
    lines += [
        "## Bars",
        "",
        "| what | must | aim | measured | median (quartiles) | verdict |",
        "|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(bar)) + " |" for bar in bars(results)]
    lines += [
        "",
        "## Layers",
        "",
        "| workload | I/O | pass | contestant | ms | over F1 | over F2 | over nfn | rounds kept |",
    ]
    lines.append("|---" * 9 + "|")
    for (workload, io, kind), rounds in results["layers"].items():
        for name in rounds.seconds:
            ratios = [
                str(rounds.ratio(name, o)) if o in rounds.seconds and o != name else "-"
                for o in ("F1", "F2", "nfn")
            ]
            cells = [workload, io, kind, name, f"{1000 * rounds.median(name):.2f}", *ratios]
            lines.append("| " + " | ".join(cells) + f" | {rounds.kept}/{rounds.run} |")
    own, plain = (
        1000 * results["reader"].median(name) for name in ("executor", "torch's backward")
    )
    ratio = results["reader"].ratio("executor", "torch's backward")
    lines += ["", "## The demo's reader, forward and backward of a batch of 128", ""]
    lines.append(
        f"By the executor {own:.1f} ms, by the same operations with torch's own backward {plain:.1f} ms; ratio {ratio}."
    )
    lines += ["", "## Traced networks (8 to 8 channels, batch 4)", ""]
    columns = list(results["traced"][0])
    lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += [
        "| "
        + " | ".join(f"{row[c]:,}" if isinstance(row[c], int) else str(row[c]) for c in columns)
        + " |"
        for row in results["traced"]
    ]
    lines += [
        "",
        "## Peak memory of forward and backward, in feature sizes",
        "",
        "| workload | F1 | symnet | nfn |",
        "|---|---|---|---|",
    ]
    for name, found in results["memory"].items():
        lines.append(
            f"| {name} | "
            + " | ".join("-" if v is None else f"{v:.2f}" for v in found.values())
            + " |"
        )
    return "\n".join(lines) + "\n"


def _cells(bar: Bar) -> list[str]:
    numbers = [
        "-" if value is None else f"{value:.3g}" for value in (bar.must, bar.aim, bar.measured)
    ]
    return [bar.what, *numbers, bar.spread or "-", bar.verdict]


def table_of(results: Results) -> Table:
    """The bars for the terminal."""
    table = Table(title="bars: what must hold, what is aimed for, what was measured")
    for column in ("what", "must", "aim", "measured", "median (quartiles)", "verdict"):
        table.add_column(
            column, justify="right" if column in ("must", "aim", "measured") else "left"
        )
    for bar in bars(results):
        style = {"MISSED": "red", "aim met": "green"}.get(bar.verdict)
        table.add_row(*_cells(bar), style=style)
    return table


def as_json(results: Results, facts: dict[str, object]) -> str:
    """Every time of the run."""

    def plain(value: object) -> object:
        if isinstance(value, Rounds):
            return {"seconds": dict(value.seconds), "kept": value.kept, "run": value.run}
        if isinstance(value, dict):
            return {
                " | ".join(map(str, k)) if isinstance(k, tuple) else str(k): plain(v)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return json.dumps(
        {"circumstances": facts, **{key: plain(value) for key, value in results.items()}}
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--quick", action="store_true", help="two workloads, few rounds: does everything run?"
    )
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="processor seconds, for a machine that does other work",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=RESULTS,
        help="folder for results.md, results.json, sweeps.png",
    )
    given = parser.parse_args(arguments)
    console = Console()
    rounds = min(given.rounds, 5) if given.quick else given.rounds
    command = "python -m benchmarks " + " ".join(sys.argv[1:] if arguments is None else arguments)
    facts = circumstances(command.strip(), given.cpu_time)
    console.print(*(f"{key}: {value}\n" for key, value in facts.items()), sep="")
    results = run(rounds, quick=given.quick, cpu_time=given.cpu_time)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "results.md").write_text(markdown(results, facts), encoding="utf-8")
    (given.out / "results.json").write_text(as_json(results, facts), encoding="utf-8")
    if "sweeps" in results:
        sweeps.plot(results["sweeps"], given.out / "sweeps.png")
    console.print(layers.table_of(results["layers"]), table_of(results), f"written to {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
