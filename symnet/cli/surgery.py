"""``symnet prune`` and ``symnet widen``: a file or folder of weights with fewer or more neurons."""

# torch is imported inside the commands, so that help and completion stay quick.
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import symnet
from symnet.cli.architectures import complete_architecture, read_architecture
from symnet.cli.modules import make_module
from symnet.cli.output import print_json, working
from symnet.errors import SymnetError
from symnet.graph import NeuronGraph

if TYPE_CHECKING:
    from symnet.surgery import Surgery

__all__ = ["register"]

_SHOWN = 20  # sets that the table lists


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command(
        epilog=r"Example: symnet prune net.pt --arch mlp:784-512-512-10 --keep 0.5 -o small.pt"
    )(prune)
    app.command(
        epilog=r"Example: symnet widen net.pt --arch mlp:784-512-512-10 --to h1=1024 -o wide.pt"
    )(widen)


Source = Annotated[
    Path,
    typer.Argument(
        metavar="WEIGHTS",
        help="A file (.pt, .pth, .safetensors), an index of shards, or a transformers folder.",
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="ARCH",
        help="Their architecture, or a graph's file.",
        autocompletion=complete_architecture,
    ),
]
Module = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FACTORY",
        help="Makes the network: it is traced if there is no --arch, and the result is checked on it.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="SHAPE", help="An example input for --module: 8,2. Repeatable."
    ),
]
Out = Annotated[
    Path,
    typer.Option("-o", "--out", help="Where the new weights go: a file, or for a folder a folder."),
]
GraphOut = Annotated[
    Path | None, typer.Option("--graph", help="Also write the new graph's text form to this file.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def prune(
    source: Source,
    out: Out,
    keep: Annotated[
        list[str],
        typer.Option(
            metavar="[SET=]HOW MANY",
            help="A share (0.5) or a number (96) of every set, of one set, of a kind (mlp=0.5), or of a pattern. Repeatable.",
        ),
    ],
    arch: Arch = None,
    module: Module = None,
    shapes: Shapes = None,
    score: Annotated[
        Literal["l1", "l2", "random"],
        typer.Option(help="By which the neurons that stay are chosen."),
    ] = "l2",
    together: Annotated[
        bool,
        typer.Option("--together", help="The sets of one --keep share its budget by their scores."),
    ] = False,
    multiple_of: Annotated[
        int, typer.Option(min=1, help="Round numbers of neurons up to a multiple.")
    ] = 1,
    graph_out: GraphOut = None,
    force: Force = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Leave out the least important neurons of a network; 0 if what is left computes what the masked network does."""
    graph, model, inputs = _network(arch, module, shapes, seed)
    budget = _read_budgets(keep)
    with working("scoring neurons"):
        scores = symnet.surgery.importance(source, graph, score, seed=seed)
        choices = symnet.surgery.choose(
            scores, graph, budget, together=together, multiple_of=multiple_of
        )
    if not choices:
        raise SymnetError(
            "Every neuron stays with these budgets, so there is nothing to write. Give smaller ones to --keep."
        )
    with _progress(source) as step:
        done = symnet.surgery.keep(source, graph, choices, out=out, overwrite=force, progress=step)
    check = None
    if model is not None:
        check = _check(model, inputs, lambda weights: symnet.surgery.keep(weights, graph, choices))
    _finish(done, check, graph_out, as_json)


def widen(
    source: Source,
    out: Out,
    to: Annotated[
        list[str],
        typer.Option(
            "--to", metavar="SET=SIZE", help="New number of neurons of a set. Repeatable."
        ),
    ],
    arch: Arch = None,
    module: Module = None,
    shapes: Shapes = None,
    noise: Annotated[
        float,
        typer.Option(
            min=0, help="Tell copies apart: spread of what they share, in units of its own."
        ),
    ] = 0.0,
    graph_out: GraphOut = None,
    force: Force = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Copy neurons of a network so that it computes the same; 0 if it does."""
    graph, model, inputs = _network(arch, module, shapes, seed)
    sizes = _read_sizes(to)
    outgoing: Any = None
    if model is not None:
        with working("finding out what reads the neurons"):
            outgoing = symnet.surgery.outgoing(model, graph, *inputs, sets=list(sizes), seed=seed)
    with _progress(source) as step:
        options = {"outgoing": outgoing, "noise": noise, "seed": seed}
        done = symnet.surgery.widen(
            source, graph, sizes, **options, out=out, overwrite=force, progress=step
        )
    check = None
    if model is not None:
        check = _check(
            model,
            inputs,
            lambda weights: symnet.surgery.widen(weights, graph, sizes, outgoing=outgoing),
        )
    _finish(done, check, graph_out, as_json)


# ---- what is given --------------------------------------------------------------------------------------------------
def _network(
    arch: str | None, module: str | None, shapes: list[str] | None, seed: int
) -> tuple[NeuronGraph, Any, tuple[Any, ...]]:
    """The graph, and the module with its inputs if there is one."""
    if arch is None and module is None:
        raise SymnetError(
            "Say what the weights belong to: --arch mlp:2-32-1 (or a file), or --module module:factory."
        )
    model: Any
    model, inputs = make_module(module, shapes or (), seed) if module else (None, ())
    if arch is not None:
        return read_architecture(arch), model, inputs
    with working("tracing"):
        return symnet.trace(model, *inputs), model, inputs


def _read_budgets(texts: list[str]) -> Any:
    """One budget for all sets, or budgets by set, kind or pattern.

    Raises:
        SymnetError: no numbers, or one for all beside others.
    """
    pairs = [text.rpartition("=") for text in texts]
    budgets = {
        name: _read_number(text, number)
        for text, (name, _, number) in zip(texts, pairs, strict=True)
    }
    if "" not in budgets:
        return budgets
    if len(budgets) > 1:
        raise SymnetError(
            f"--keep {budgets['']} is for all sets; leave it out, or say it of each: --keep SET={budgets['']}."
        )
    return budgets[""]


def _read_number(text: str, number: str) -> float | int:
    try:
        return int(number) if number.strip().isdigit() else float(number)
    except ValueError:
        raise SymnetError(
            f"--keep {text!r}: write a share such as 0.5 or a number such as 96, after SET= if for one set."
        ) from None


def _read_sizes(texts: list[str]) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.strip().isdigit():
            raise SymnetError(f"--to {text!r}: write SET=SIZE, such as --to h1=64.")
        sizes[name] = int(number)
    return sizes


# ---- what is done ---------------------------------------------------------------------------------------------------
@contextmanager
def _progress(source: Path) -> Iterator[Callable[[str], None]]:
    """A bar on the terminal that counts the tensors of a file; nothing where the error stream is no terminal."""
    from symnet.surgery.large_files import OneByOne

    columns = (TextColumn("writing tensors"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("writing", total=len(OneByOne(source)))
        yield lambda name: bar.advance(task)


def _check(model: Any, inputs: tuple[Any, ...], cut: Callable[[Mapping[str, Any]], Surgery]) -> str:
    """What the module says of the operation: it is done on the module's own weights, and compared.

    Raises:
        VerificationError: the result computes something else.
    """
    from symnet.surgery import ResizeError

    with working("checking on the module"):
        try:
            symnet.surgery.resize(model, cut(model.state_dict()), *inputs)
        except ResizeError as error:
            return f"not checked: {error}"
    return "checked on the module"


def _finish(done: Surgery, check: str | None, graph_out: Path | None, as_json: bool) -> None:
    old, new = done.old.weights.size, done.graph.weights.size
    sizes = {
        n: (s.size, done.graph.neurons[n].size)
        for n, s in done.old.neurons.items()
        if s != done.graph.neurons[n]
    }
    if graph_out is not None:
        done.graph.save(graph_out)
    if as_json:
        found = {
            "written": str(done.weights),
            "weights_before": old,
            "weights_after": new,
            "check": check,
        }
        print_json(
            {
                **found,
                "sets": {name: list(pair) for name, pair in sizes.items()},
                "notes": list(done.notes),
            }
        )
        return
    console = Console()
    table = Table("neuron set", "before", "after", title="Neurons", title_justify="left")
    for name, (before, after) in list(sizes.items())[:_SHOWN]:
        table.add_row(name, str(before), str(after))
    if len(sizes) > _SHOWN:
        table.add_row(f"and {len(sizes) - _SHOWN} more", "", "", style="dim")
    console.print(table)
    console.print(f"{old:,} weights before, {new:,} after.")
    for note in (
        *done.notes,
        check or "Not checked on the network itself: give --module to do so.",
    ):
        console.print(f"  {note}", style="dim", markup=False, highlight=False)
    console.print(f"Written to {done.weights}.", soft_wrap=True, highlight=False)
