"""The library turned on itself: ``python -m benchmarks.mutation`` breaks one line at a time and counts what the tests notice.

Mutants are drawn by seed from groups, sharing, plan and nn, written into copies of the tree (never the tree itself), and
held against the tests of these folders with ``pytest -x``. One that needs too much of the CPU's time counts as noticed. Outcomes are
kept beside the page as they come: an interrupted run goes on where it was, and ``--again`` looks at the survivors once more, after a
law has been added. Not part of ``make test``.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.mutants import Mutant, mutants

ROOT = Path(__file__).parents[1]
FOLDERS = ("groups", "sharing", "plan", "nn")
PATIENCE = 240  # seconds of CPU time for the tests of one mutant (not of the clock: a busy machine notices nothing)
# The folder's own tests first, then those that rest on it, quick ones before slow ones.
TESTS = {
    "groups": ("groups", "graph", "sharing", "plan", "nn/test_linear.py"),
    "sharing": ("sharing", "plan", "nn/test_linear.py"),
    "plan": ("plan", "nn/test_linear.py", "nn/test_network.py"),
    "nn": ("nn/test_shares.py", "nn/test_modules.py", "nn/test_linear.py", "nn/test_network.py"),
}


@dataclass(frozen=True)
class Outcome:
    """A mutant: where, what in words, and the test that noticed it (empty: none did)."""

    place: str  # file:line:column
    change: str
    noticed_by: str

    @property
    def folder(self) -> str:
        return self.place.split("/")[1]


def sample(folders: tuple[str, ...], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """``count`` mutants of every folder, drawn without replacement; a larger count adds to them."""
    drawn = []
    for folder in folders:
        every = [
            (str(path.relative_to(ROOT)), mutant)
            for path in sorted((ROOT / "symnet" / folder).glob("*.py"))
            for mutant in _mutants(path.read_text(encoding="utf-8"))
        ]
        random.Random(f"{seed} {folder}").shuffle(every)
        drawn += every[:count]
    return drawn


@cache
def _mutants(source: str) -> tuple[Mutant, ...]:
    """All of a file, which take seconds to make: samples of one process share them."""
    return tuple(mutants(source))


def run_one(copy: Path, file: str, mutant: Mutant) -> Outcome:
    """Tests of one mutant, in a copy of the tree that is put back afterwards."""
    before = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(mutant.source, encoding="utf-8")
    folder = file.split("/")[1]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    try:
        ended = subprocess.run(
            [*command, *(f"tests/{name}" for name in TESTS[folder]), f"symnet/{folder}"],
            cwd=copy,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE, PATIENCE + 5)),
            env={
                "PATH": "/usr/bin:/bin",
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(copy),
            },
            check=False,
        )
    finally:
        (copy / file).write_text(before, encoding="utf-8")
    if ended.returncode == 0:
        return Outcome(f"{file}:{mutant.place}", mutant.change, "")
    if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Outcome(f"{file}:{mutant.place}", mutant.change, "time")
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return Outcome(
        f"{file}:{mutant.place}",
        mutant.change,
        failed[0].split(" - ")[0] if failed else "collection",
    )


def run_all(chosen: list[tuple[str, Mutant]], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come, one copy of the tree a worker."""
    with tempfile.TemporaryDirectory() as scratch:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copy = Path(scratch) / str(number)
            ignored = shutil.ignore_patterns(
                ".git", ".venv", "__pycache__", "site", ".*_cache", "symnet-demo", ".hypothesis"
            )
            shutil.copytree(ROOT, copy, ignore=ignored)
            copies.put(copy)

        def work(job: tuple[str, Mutant]) -> Outcome:
            copy = copies.get()
            try:
                return run_one(copy, *job)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, chosen)


def report(outcomes: list[Outcome], command: str) -> tuple[Table, str]:
    """The score of every folder, for the terminal and as a page with all survivors."""
    table = Table(title="mutants noticed by the tests")
    for column in ("folder", "mutants", "noticed", "score"):
        table.add_column(column, justify="left" if column == "folder" else "right")
    lines = [
        "# Mutation run",
        "",
        f"{date.today()}, `{command}`",
        "",
        "| folder | mutants | noticed | score |",
        "|---|---|---|---|",
    ]
    for folder in (*FOLDERS, "all"):
        own = [one for one in outcomes if folder in ("all", one.folder)]
        noticed = sum(bool(one.noticed_by) for one in own)
        if own:
            cells = (folder, str(len(own)), str(noticed), f"{100 * noticed / len(own):.0f} %")
            table.add_row(*cells)
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Not noticed:", ""]
    lines += [f"- {one.place}: {one.change}" for one in outcomes if not one.noticed_by] or [
        "- none"
    ]
    return table, "\n".join(lines) + "\n"


def kept(path: Path, again: bool) -> list[Outcome]:
    """What an earlier run found; with ``again`` without its survivors."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [Outcome(**json.loads(line)) for line in lines]
    return [one for one in found if one.noticed_by or not again]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=25, help="mutants of every folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folders", nargs="*", default=list(FOLDERS), choices=FOLDERS)
    parser.add_argument(
        "--again", action="store_true", help="run the survivors of the run before once more"
    )
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "benchmarks/results/mutation.md")
    given = parser.parse_args(arguments)
    chosen = sample(tuple(given.folders), given.count, given.seed)
    state = given.out.with_suffix(".jsonl")
    jobs = {(f"{file}:{mutant.place}", mutant.change): (file, mutant) for file, mutant in chosen}
    outcomes = [one for one in kept(state, given.again) if jobs.pop((one.place, one.change), None)]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in outcomes), encoding="utf-8")
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task("mutants", total=len(chosen), completed=len(outcomes))
        for outcome in run_all(list(jobs.values()), given.workers):
            outcomes.append(outcome)
            with state.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(asdict(outcome))}\n")
            progress.advance(task)
            if not outcome.noticed_by:
                console.print(f"not noticed: {outcome.place}: {outcome.change}")
    table, page = report(
        outcomes, f"python -m benchmarks.mutation --count {given.count} --seed {given.seed}"
    )
    console.print(table)
    given.out.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
