"""``symnet bench`` and ``symnet derivations``: what is in symnet's repository, not in the installed package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from symnet.errors import SymnetError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the two commands to the command line."""
    app.command(epilog="Example: symnet bench --quick")(bench)
    app.command(epilog="Example: symnet derivations burnside_counts")(derivations)


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Two workloads, few rounds: does everything run?")
    ] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the figures.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each comparison.")] = 21,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print results.json instead of tables.")
    ] = False,
) -> None:
    """Time the layers side by side with floors and installed peers, and hold them against the bars."""
    suite = _from_checkout("benchmarks")
    given = [
        "--rounds",
        str(rounds),
        *(["--quick"] if quick else []),
        *(["--out", str(out)] if out else []),
    ]
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        code = suite.main(given)
    if as_json:
        print(((out or suite.RESULTS) / "results.json").read_text(encoding="utf-8"))
    raise typer.Exit(code)


def derivations(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Show these in full, with what was derived."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Derive the theory's claims in sympy and hold each against the library; 0 if all agree."""
    suite = _from_checkout("derivations")
    if unknown := [name for name in names or () if name not in suite.ORDER]:
        raise SymnetError(
            f"There is no derivation {', '.join(unknown)}; they are {', '.join(suite.ORDER)}."
        )
    raise typer.Exit(suite.main([*(names or ()), *(["--json"] if as_json else [])]))


def _from_checkout(folder: str) -> ModuleType:
    try:
        return import_module(f"{folder}.__main__")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != folder:
            raise
        raise SymnetError(
            f"The {folder} are in symnet's repository, not in the installed package: run this command in a checkout."
        ) from None
