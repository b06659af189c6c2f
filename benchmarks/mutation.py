"""The library turned on itself: ``python -m benchmarks.mutation`` breaks one line at a time and counts what the tests notice.

Mutants are drawn by seed from groups, sharing, plan and nn, written into copies of the tree (never the tree itself), and
held against the tests of these folders with ``pytest -x``. A run that takes too long counts as noticed. Not part of ``make test``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from queue import Queue

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.mutants import Mutant, mutants

ROOT = Path(__file__).parents[1]
FOLDERS = ("groups", "sharing", "plan", "nn")
PATIENCE = 240  # seconds for the tests of one mutant
# The folder's own tests first, then those that rest on it, quick ones before slow ones.
TESTS = {
    "groups": ("groups", "graph", "sharing", "plan", "nn/test_linear.py"),
    "sharing": ("sharing", "plan", "nn/test_linear.py"),
    "plan": ("plan", "nn/test_linear.py", "nn/test_network.py"),
    "nn": ("nn/test_modules.py", "nn/test_linear.py", "nn/test_network.py"),
}


@dataclass(frozen=True)
class Outcome:
    """A mutant, the file it changed, and what noticed it (empty: nothing)."""

    file: str
    mutant: Mutant
    noticed_by: str

    @property
    def folder(self) -> str:
        return self.file.split("/")[1]


def sample(folders: tuple[str, ...], count: int, seed: int) -> list[tuple[str, Mutant]]:
    """``count`` mutants of every folder, drawn without replacement."""
    drawn = []
    for folder in folders:
        every = [
            (str(path.relative_to(ROOT)), mutant)
            for path in sorted((ROOT / "symnet" / folder).glob("*.py"))
            for mutant in mutants(path.read_text(encoding="utf-8"))
        ]
        drawn += random.Random(f"{seed} {folder}").sample(every, min(count, len(every)))
    return drawn


def run_one(copy: Path, file: str, mutant: Mutant) -> Outcome:
    """Tests of one mutant, in a copy of the tree that is put back afterwards."""
    before = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(mutant.source, encoding="utf-8")
    folder = file.split("/")[1]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    try:
        ended = subprocess.run(
            [*command, *(f"tests/{name}" for name in TESTS[folder]), f"symnet/{folder}"],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(copy)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(file, mutant, "time")
    finally:
        (copy / file).write_text(before, encoding="utf-8")
    if ended.returncode == 0:
        return Outcome(file, mutant, "")
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return Outcome(file, mutant, failed[0].split(" - ")[0] if failed else "collection")


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
    lines += [f"- {one.file}:{one.mutant.line}: {one.mutant.change}" for one in outcomes if not one.noticed_by] or [
        "- none"
    ]
    return table, "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutation", description=__doc__)
    parser.add_argument("--count", type=int, default=25, help="mutants of every folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folders", nargs="*", default=list(FOLDERS), choices=FOLDERS)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "benchmarks/results/mutation.md")
    given = parser.parse_args(arguments)
    console, outcomes = Console(), []
    chosen = sample(tuple(given.folders), given.count, given.seed)
    with Progress(console=console) as progress:
        task = progress.add_task("mutants", total=len(chosen))
        for outcome in run_all(chosen, given.workers):
            outcomes.append(outcome)
            progress.advance(task)
            if not outcome.noticed_by:
                console.print(f"not noticed: {outcome.file}:{outcome.mutant.line}: {outcome.mutant.change}")
    command = f"python -m benchmarks.mutation --count {given.count} --seed {given.seed}"
    table, page = report(outcomes, command)
    console.print(table)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
