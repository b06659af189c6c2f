"""The commands of ``symnet``; each prints what it found and exits with 0 only if all that it checked holds."""

# torch, matplotlib and the tasks are imported inside the commands, so that help and completion stay quick.
from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer

import symnet
from symnet.cli import alignment, families, learning, normalising, repository, surgery, training
from symnet.cli.architectures import (
    change_groups,
    complete_architecture,
    read_architecture,
    read_entries,
    read_spaces,
)
from symnet.cli.modules import import_object, make_module, place_of, run_users_code
from symnet.cli.output import (
    PlainConsole,
    describe_graph,
    describe_maps,
    print_graph,
    print_json,
    print_maps,
    resumable,
    say,
    say_aside,
    working,
)
from symnet.errors import SymnetError
from symnet.graph import NeuronGraph

app = typer.Typer(
    name="symnet",
    help="Permutation-equivariant layers for the weights of neural networks: derived, verified, shown.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = PlainConsole()

Architecture = Annotated[
    str,
    typer.Argument(
        metavar="ARCH",
        help="A catalogue call such as mlp:2-32-32-1 or cnn:1-16-16-10, or a file in the graph's text form.",
        autocompletion=complete_architecture,
    ),
]
FixedSets = Annotated[
    list[str] | None,
    typer.Option("--fixed", metavar="SET", help="Hold this neuron set fixed (repeatable)."),
]
PermutedSets = Annotated[
    list[str] | None,
    typer.Option("--permuted", metavar="SET", help="Permute this neuron set (repeatable)."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="An example input: 8,2 (normal), 8,16:int10 (whole numbers below 10). Repeatable.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


class PictureKind(StrEnum):
    """What ``symnet show`` draws into an image file."""

    tying = "tying"
    graph = "graph"
    plan = "plan"
    orbit = "orbit"
    square = "square"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"symnet {symnet.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Permutation-equivariant layers for the weights of neural networks: derived, verified, shown."""


@app.command(epilog="Example: symnet derive mlp:2-32-32-1 --plan")
def derive(
    arch: Architecture,
    fixed: FixedSets = None,
    permuted: PermutedSets = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="NAME=AXES", help="An input space of your own."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME=AXES", help="An output space, e.g. score=h1."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Also print the plan of the layer.")] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Also print the layer's equations in LaTeX.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count the equivariant maps of an architecture in two independent ways; 0 if they agree."""
    graph = change_groups(read_architecture(arch), fixed or (), permuted or ())
    with working("counting maps"):
        maps = symnet.derive(
            graph, inputs=read_spaces(source or ()), outputs=read_spaces(target or ())
        )
        agree = maps.dimension == maps.dimension_by_burnside
    if as_json:
        extra = {"latex": maps.latex()} if latex else {}
        print_json(
            {"graph": describe_graph(graph), **describe_maps(maps), "counts_agree": agree, **extra}
        )
        raise typer.Exit(0 if agree else 1)
    print_graph(console, graph)
    print_maps(console, maps)
    if plan:
        from symnet.plan import make_plan

        say(make_plan(graph, inputs=maps.inputs, outputs=maps.outputs))
    if latex:
        say(maps.latex())
    verdict = "agrees" if agree else "does not agree"
    console.print(
        f"Burnside's lemma {verdict}: it counts {maps.dimension_by_burnside:,}.",
        style="green" if agree else "red",
    )
    raise typer.Exit(0 if agree else 1)


@app.command(epilog="Example: symnet verify mlp:2-3-1 --certify")
def verify(
    arch: Architecture,
    module: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY", help="Does the group leave this network's function unchanged?"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FACTORY",
            help="Is this function of the weights equivariant or invariant?",
        ),
    ] = None,
    certify: Annotated[
        bool,
        typer.Option(
            "--certify", help="Is the linear layer also complete, and without redundant maps?"
        ),
    ] = False,
    shapes: Shapes = None,
    channels: Annotated[int, typer.Option(help="Input channels of the checked layer.")] = 1,
    fixed: FixedSets = None,
    permuted: PermutedSets = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check an architecture's derived layer, or a network (--module) or layer (--layer) of your own; 0 if it holds."""
    graph = change_groups(read_architecture(arch), fixed or (), permuted or ())
    if module and (layer or certify):
        raise SymnetError(
            "--module and --layer (or --certify) are two checks; run the command once for each."
        )
    check: Callable[[], Any]  # a Report, or a Certificate
    if module:
        model, inputs = make_module(module, shapes or (), seed)
        check = partial(symnet.verify.network, model, graph, *inputs, seed=seed)
    else:
        how = symnet.verify.certify if certify else symnet.verify.equivariance
        check = partial(
            how, _layer_of(graph, layer, channels, seed), graph, in_channels=channels, seed=seed
        )
    named = module or layer
    with working("checking"):
        report: Any = run_users_code(named, check) if named else check()
    if named:
        say_aside(f"{named} is from {place_of(named)}")
    if certify:
        _print_certificate(report, as_json)
        raise typer.Exit(0 if report.equivariant and report.complete and report.minimal else 1)
    if module:
        _print_with_operations(report, model, graph, inputs, seed, as_json)
    _print_report(report, as_json)
    raise typer.Exit(0 if report.passed else 1)


def _print_with_operations(
    report: Any, model: Any, graph: NeuronGraph, inputs: tuple[Any, ...], seed: int, as_json: bool
) -> NoReturn:
    """Prints what whole forward passes and what single operations show; 0 if neither shows a fault."""
    with working("checking operation by operation"):
        operations = symnet.verify.operations(model, graph, *inputs, seed=seed)
    if as_json:
        shown = {
            "passed": operations.passed,
            "max_error": operations.max_error,
            "report": str(operations),
        }
        whole = {
            "passed": report.passed,
            "max_error": report.max_error,
            "seed": report.seed,
            "report": str(report),
        }
        print_json({**whole, "operations": shown})
    else:
        print(report)
        print(operations)
    raise typer.Exit(0 if report.passed and not operations.failures else 1)


def _print_certificate(found: Any, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                **{
                    name: getattr(found, name)
                    for name in ("equivariant", "complete", "minimal", "dimension", "rank", "seed")
                },
                "missing": list(found.missing),
                "redundant": list(found.redundant),
                "report": str(found),
            }
        )
    else:
        say(found)


def _layer_of(graph: NeuronGraph, layer: str | None, channels: int, seed: int) -> Any:
    """The function to check: a user's, made by a factory, or the layer that symnet derives."""
    import torch

    if layer is None:
        torch.manual_seed(seed)
        return symnet.nn.Linear(graph, channels, 2).double()
    made = import_object(layer)
    # A module is what is checked; any other function is a factory, so that it can say its own sizes.
    made = (
        made
        if isinstance(made, torch.nn.Module) or not callable(made)
        else run_users_code(layer, made)
    )
    if not callable(made):
        raise SymnetError(
            f"{layer!r} is a {type(made).__name__}; expected a layer, or a function that returns one."
        )
    return made


def _print_report(report: Any, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "passed": report.passed,
                "max_error": report.max_error,
                "seed": report.seed,
                "report": str(report),
            }
        )
    else:
        say(report)


@app.command(epilog="Example: symnet trace mine:factory --input 8,2 -o graph.symnet")
def trace(
    module: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY",
            help="A module, or a function that returns one (and its inputs).",
        ),
    ],
    shapes: Shapes = None,
    io: Annotated[
        Literal["fixed", "permuted"],
        typer.Option(help="Treat the network's inputs and outputs as 'fixed' or 'permuted'."),
    ] = "fixed",
    groups: Annotated[
        Literal["permutations", "all"],
        typer.Option(
            help="'all': also signs, scales, rotations and invertible maps, the largest group of every set."
        ),
    ] = "permutations",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the graph's text form to this file.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Read a network's symmetries off its forward pass, and verify them; 0 if they hold."""
    model, inputs = make_module(module, shapes or (), seed)
    with working("tracing and verifying"):
        graph = symnet.trace(model, *inputs, io=io, groups=groups)
        report = symnet.verify.network(model, graph, *inputs, seed=seed)
    if out:
        graph.save(out)
    say_aside(f"{module} is from {place_of(module)}")
    if as_json:
        checked = {"passed": report.passed, "max_error": report.max_error, "seed": report.seed}
        print_json({"graph": describe_graph(graph), "text": str(graph), "verified": checked})
    else:
        say(graph)
        for note in graph.notes:
            console.print(f"  note: {note}", style="dim", highlight=False)
        say(report)
        if out:
            console.print(f"Written to {out}; symnet derive {out} reads it.", highlight=False)
    raise typer.Exit(0 if report.passed else 1)


@app.command(epilog="Example: symnet show mlp:2-3-1 -o page.html")
def show(
    arch: Architecture,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="An .html page to explore, a .png, .svg or .pdf picture, or a .gif of --what square.",
        ),
    ] = Path("symnet.html"),
    what: Annotated[
        PictureKind, typer.Option(help="What an image file shows; a page shows everything.")
    ] = PictureKind.tying,
    entry: Annotated[
        str | None,
        typer.Option(
            metavar="'A[i,j] B[k]'", help="For --what orbit: an output weight and an input weight."
        ),
    ] = None,
    narrow: Annotated[
        int | None, typer.Option(help="Draw every neuron set with at most this many neurons.")
    ] = None,
    seed: Seed = 0,
    fixed: FixedSets = None,
    permuted: PermutedSets = None,
    as_json: Json = False,
) -> None:
    """Draw an architecture: a page to explore, its tying matrix, graph, plan, one orbit, or the commuting square."""
    from symnet.show import (
        STEPS,
        commuting_frames,
        narrowed,
        save_animation,
        save_picture,
        write_architecture_page,
    )

    graph = change_groups(read_architecture(arch), fixed or (), permuted or ())
    shown = graph if narrow is None else narrowed(graph, narrow)
    if out.suffix.lower() in (".html", ".htm"):
        with working("writing the page"):
            write_architecture_page(out, graph, title=arch, most=narrow)
    elif out.suffix.lower() == ".gif":
        if what is not PictureKind.square:
            raise SymnetError(
                f"{out}: the commuting square is what moves; add --what square, or write a .png."
            )
        from rich.progress import track

        frames = commuting_frames(shown, seed=seed)
        bar = PlainConsole(stderr=True)
        save_animation(track(frames, "drawing", total=STEPS + 1, console=bar, transient=True), out)
    else:
        with working("drawing"):
            save_picture(_draw(shown, what, entry, seed), out)
    if as_json:
        print_json({"written": str(out), "bytes": out.stat().st_size})
    else:
        console.print(f"Written to {out}.", highlight=False)


def _draw(graph: NeuronGraph, what: PictureKind, entry: str | None, seed: int) -> Any:
    from symnet.show import (
        commuting_square,
        graph_picture,
        orbit_picture,
        plan_picture,
        tying_matrix,
    )

    match what:
        case PictureKind.tying:
            return tying_matrix(symnet.derive(graph))
        case PictureKind.graph:
            return graph_picture(graph)
        case PictureKind.orbit:
            return orbit_picture(graph, *read_entries(graph, entry))
        case PictureKind.square:
            return commuting_square(graph, seed=seed)
        case PictureKind.plan:
            from symnet.plan import make_plan

            return plan_picture(make_plan(graph))


@app.command(epilog="Example: symnet demo --quick -o demo")
def demo(
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for fits, tables and the page; a killed run goes on there."
        ),
    ] = Path("symnet-demo"),
    seeds: Annotated[
        int, typer.Option(min=1, help="Train with this many seeds and report the spread.")
    ] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small part of the data: to see that it runs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fit a small network to every digit of a data set, and classify the digits from the networks' weights alone."""
    from symnet.tasks import digits_inr

    with resumable(out):
        # A check that fails within raises VerificationError, which ends the command with code 1.
        result = digits_inr.run(out, seeds=seeds, quick=quick, console=PlainConsole(stderr=as_json))
    if as_json:
        print(result.as_json())
    # The one claim that is not checked while it runs: permuting neurons moves no prediction of the NF-Layers.
    moved = [row for row in result.moved if row.reader == digits_inr.NEURONS]
    held = all(row.changed == 0 and row.largest_change_float64 < 1e-9 for row in moved) and bool(
        moved
    )
    raise typer.Exit(0 if held else 1)


for commands in (alignment, families, learning, normalising, repository, surgery, training):
    commands.register(app)
