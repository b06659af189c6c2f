"""``python -m derivations [NAME ...]``: every claim with what was derived and compared; exits with 0 only if all hold."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from textwrap import indent
from types import ModuleType

import sympy as sp

from derivations import ORDER
from derivations.evidence import Disagreement


@dataclass(frozen=True)
class Result:
    """One derivation run: what agreed, or the disagreement."""

    name: str
    claim: str
    facts: tuple[str, ...]
    seconds: float
    problem: str = ""


def claim_of(module: ModuleType) -> str:
    """The first sentence of a derivation's docstring."""
    return (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def run(name: str) -> Result:
    """Runs one derivation's ``check``."""
    module = import_module(f"derivations.{name}")
    start = time.perf_counter()
    try:
        facts, problem = tuple(module.check()), ""
    except Disagreement as error:
        facts, problem = (), str(error)
    return Result(name, claim_of(module), facts, time.perf_counter() - start, problem)


def run_all(names: Sequence[str]) -> list[Result]:
    """Runs several, with a bar on the terminal where rich is installed."""
    try:
        from rich.console import Console
        from rich.progress import track
    except ModuleNotFoundError:
        return [run(name) for name in names]
    console = Console(stderr=True)
    return [run(name) for name in track(names, "derivations", console=console, transient=True)]


def show_one(name: str) -> Result:
    """Prints a derivation's text, its results and what agreed."""
    module = import_module(f"derivations.{name}")
    print(f"{name}\n\n{(module.__doc__ or '').strip()}\n\nDerived:")
    for key, value in module.derive().items():
        text = sp.pretty(value, use_unicode=True, wrap_line=False)
        print(f"  {key}: {text}" if "\n" not in text else f"  {key}:\n{indent(text, '    ')}")
    result = run(name)
    print("\nHeld against symnet:")
    for fact in result.facts:
        print(f"  agrees: {fact}")
    if result.problem:
        print(f"  DISAGREES: {result.problem}")
    return result


def show_table(results: Sequence[Result]) -> None:
    """One row a derivation, with rich where it is installed."""
    rows = [
        (
            r.name,
            r.problem or r.claim,
            f"{len(r.facts)}",
            f"{r.seconds:.1f} s",
            "DISAGREES" if r.problem else "holds",
        )
        for r in results
    ]
    header = ("derivation", "claim", "facts", "time", "verdict")
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        width = max(len(row[0]) for row in (header, *rows))
        for row in (header, *rows):
            print(f"{row[0]:<{width}}  {row[4]:<9}  {row[2]:>5}  {row[3]:>6}  {row[1]}")
        return
    table = Table(*header, title="Derivations, held against symnet", title_justify="left")
    for row in rows:
        table.add_row(*row, style="bold red" if row[4] != "holds" else None)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 if every claim that was run holds, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m derivations", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"show these in full: {', '.join(ORDER)}"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    given = parser.parse_args(arguments)
    names = given.names
    unknown = [name for name in names if name not in ORDER]
    if unknown:
        parser.error(f"there is no derivation {', '.join(unknown)}; they are {', '.join(ORDER)}")
    if given.json:
        results = run_all(names or ORDER)
        print(
            json.dumps(
                [asdict(result) | {"holds": not result.problem} for result in results], indent=2
            )
        )
        return int(any(result.problem for result in results))
    results = [show_one(name) for name in names] if names else run_all(ORDER)
    if not names:
        show_table(results)
    facts, failed = sum(len(r.facts) for r in results), [r.name for r in results if r.problem]
    print(
        f"{len(results)} derivation{'s' if len(results) > 1 else ''}, {facts} facts agree"
        + (f"; DISAGREEING: {', '.join(failed)}" if failed else ".")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
