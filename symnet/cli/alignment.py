"""``symnet align``: two files of weights, the neurons of the second laid upon those of the first."""

# torch is imported inside the command, so that help and completion stay quick.
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import symnet
from symnet.cli.architectures import complete_architecture, read_architecture
from symnet.cli.modules import make_module, place_of
from symnet.cli.output import PlainConsole, print_json, say_aside
from symnet.errors import SymnetError
from symnet.files import check_outputs

if TYPE_CHECKING:
    from symnet.matching import Alignment

__all__ = ["register"]

_SHOWN = 12  # tensors that the table lists


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(epilog="Example: symnet align a.pt b.pt --arch mlp:784-512-10 -o moved.pt")(align)


def align(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Weights that stay: .pt, .pth or .safetensors.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="Weights whose neurons are moved.")],
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH", help="Their architecture.", autocompletion=complete_architecture
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Makes a network of this architecture: it is traced if there is no --arch, and the result is verified on it.",
        ),
    ] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="SHAPE", help="An example input for --module: 8,2. Repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write B with its neurons moved (.pt, .safetensors)."),
    ] = None,
    mix: Annotated[
        float | None,
        typer.Option(help="Write the mixture of A (0) and moved B (1) instead, such as 0.5."),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Descents, of which the best is taken.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random starts.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables.")
    ] = False,
) -> None:
    """Find the order of B's neurons that brings its weights closest to A's; 0 if B's function is the same."""
    if mix is not None and out is None:
        raise SymnetError("--mix needs -o FILE, to which the mixture is written.")
    if mix is not None and not 0 <= mix <= 1:  # also refuses what is no number
        raise SymnetError(
            f"--mix {mix} lies outside of 0 (A alone) to 1 (moved B alone); give a number between them."
        )
    if arch is None and module is None:
        raise SymnetError(
            "Say what the weights belong to: --arch mlp:2-32-1 (or a file), or --module module:factory."
        )
    if out is not None:
        check_outputs({"the answer": out}, [first, second])
    console = PlainConsole(stderr=as_json)
    states = [symnet.data.read_state_file(path) for path in (first, second)]
    model: Any
    model, inputs = make_module(module, shapes or (), seed) if module else (None, ())
    with console.status("matching neurons"):
        graph = symnet.trace(model, *inputs) if arch is None else read_architecture(arch)
        found = symnet.align(states[0], states[1], graph, starts=starts, seed=seed)
        report = found.verify(model, *inputs) if model is not None else None
    if module:
        say_aside(f"{module} is from {place_of(module)}")
    if out is not None:
        symnet.data.write_state_file(out, found.aligned if mix is None else found.interpolate(mix))
    if as_json:
        print_json(_describe(found, report, out))
    else:
        _print(console, found, report, out)
    raise typer.Exit(0 if report is None or report.passed else 1)


def _describe(found: Alignment, report: Any, out: Path | None) -> dict[str, Any]:
    return {
        "distance_before": found.distance_before,
        "distance_after": found.distance_after,
        "agreement_before": found.agreement_before,
        "agreement_after": found.agreement_after,
        "distances": {name: list(pair) for name, pair in found.distances.items()},
        "moved": [name for name in found.graph.neurons if found.element.moves(name)],
        "sweeps": found.sweeps,
        "settled": found.settled,
        "same_function": None if report is None else report.passed,
        "written": None if out is None else str(out),
    }


def _print(console: Console, found: Alignment, report: Any, out: Path | None) -> None:
    table = Table(title="Distance of B from A", title_justify="left")
    table.add_column("tensor", overflow="fold")
    for title in ("before", "after"):
        table.add_column(title, justify="right")
    furthest = sorted(found.distances.items(), key=lambda item: -item[1][1])
    for name, pair in furthest[:_SHOWN]:
        table.add_row(name, *(f"{distance:.4g}" for distance in pair))
    if len(furthest) > _SHOWN:
        table.add_row(f"{len(furthest) - _SHOWN} tensors that are closer", "", "", style="dim")
    table.add_section()
    table.add_row(
        "all", f"{found.distance_before:.4g}", f"{found.distance_after:.4g}", style="bold"
    )
    console.print(table)
    moved = [name for name in found.graph.neurons if found.element.moves(name)]
    console.print(
        f"Agreement (mean correlation): {found.agreement_before:.4f} before, {found.agreement_after:.4f} after."
    )
    console.print(
        f"Moved: {', '.join(moved) or 'nothing'}. "
        + (
            "No neuron set can be improved alone."
            if found.settled
            else "Stopped before nothing could be improved."
        )
    )
    if report is None:
        console.print("Not verified on the network itself: give --module to do so.", style="dim")
    else:
        console.print(str(report), highlight=False)
    if out is not None:
        console.print(f"Written to {out}.", soft_wrap=True)
