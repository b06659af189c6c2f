"""``symnet normalise``: a file of weights brought to the normal form of its scales, signs,
rotations and invertible maps.
"""

# torch is imported inside the command, so that help and completion stay quick.
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import symnet
from symnet.cli.architectures import complete_architecture, read_architecture
from symnet.cli.modules import make_module
from symnet.cli.output import print_json
from symnet.errors import SymnetError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command to the command line."""
    app.command(epilog="Example: symnet normalise net.pt --module mine:factory -o normal.pt")(
        normalise
    )


def normalise(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Weights: .pt, .pth or .safetensors.")
    ],
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="ARCH",
            help="Their architecture, with its groups.",
            autocompletion=complete_architecture,
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Makes a network of this architecture: its groups are found if there is no "
            "--arch, and the result is verified.",
        ),
    ] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="SHAPE", help="An example input for --module: 8,2. Repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the normal form (.pt, .safetensors).")
    ] = None,
    graph_out: Annotated[
        Path | None,
        typer.Option(
            "--graph", metavar="FILE", help="Write the graph of what is left to this file."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Take scales, signs, rotations and invertible maps out of weights; 0 if the function is the
    same.
    """
    if arch is None and module is None:
        raise SymnetError(
            "Say what the weights belong to: --module module:factory, or --arch with a file of a graph."
        )
    console = Console(stderr=as_json)
    state = symnet.data.read_state_file(file)
    model: Any
    model, inputs = make_module(module, shapes or (), seed) if module else (None, ())
    with console.status("looking for symmetries"):
        graph = (
            symnet.trace(model, *inputs, groups="all") if arch is None else read_architecture(arch)
        )
        double = {
            name: tensor.double() if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
        normal, left = symnet.normal_form(double, graph)
        report = None
        if model is not None:
            action = "taking the normal form"
            report = symnet.matching.same_function(
                model, graph, double, normal, inputs, action, tolerance=1e-9
            )
    if out is not None:
        symnet.data.write_state_file(
            out, {name: tensor.to(state[name].dtype) for name, tensor in normal.items()}
        )
    if graph_out is not None:
        left.save(graph_out)
    removed = [note for note in left.notes if note not in graph.notes]
    if as_json:
        same = None if report is None else report.passed
        print_json(
            {
                "removed": removed,
                "graph": str(left),
                "same_function": same,
                "written": None if out is None else str(out),
            }
        )
    else:
        for line in removed or ["nothing: the graph has permutations only"]:
            console.print(line, markup=False, highlight=False)
        print(left)
        print(
            "Not verified on the network itself: give --module to do so."
            if report is None
            else report
        )
    raise typer.Exit(0 if report is None or report.passed else 1)
