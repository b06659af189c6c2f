"""``symnet merge``, ``lineage`` and ``audit``: networks that belong together, and what one network's symmetry says."""

# torch is imported inside the commands, so that help and completion stay quick.
from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

import symnet
from symnet.cli.architectures import complete_architecture, read_architecture
from symnet.cli.modules import make_module
from symnet.cli.output import print_json, working
from symnet.errors import SymnetError
from symnet.files import STATE_SUFFIXES, open_state_file, write_file, write_state_file
from symnet.graph import NeuronGraph

if TYPE_CHECKING:
    from symnet.matching import Audit

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command(epilog="Example: symnet merge a.pt b.pt --arch mlp:784-512-512-10 -o merged.pt")(
        merge
    )
    app.command(epilog="Example: symnet lineage ours.pt theirs.pt --arch mlp:784-512-512-10")(
        lineage
    )
    app.command(epilog="Example: symnet audit net.pt --arch mlp:784-512-512-10 -o audit.html")(
        audit
    )


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
        help="Makes a network of this architecture; traced if there is no --arch.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="SHAPE", help="An example input for --module: 8,2. Repeatable."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def merge(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B ...", help="Weights: .pt, .safetensors, or an index of shards."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the merged weights go.")],
    arch: Arch = None,
    module: Module = None,
    shapes: Shapes = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="The share of each network: 0.7,0.3. Default equal ones."
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="The network that all were trained from: merges task vectors, without matching."
        ),
    ] = None,
    scale: Annotated[float, typer.Option(help="Of task vectors.")] = 1.0,
    starts: Annotated[
        int, typer.Option(min=1, help="Descents of each match, of which the best is taken.")
    ] = 3,
    force: Force = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Match the neurons of several networks and average their weights; 0 once the result is written."""
    _refuse_overwriting(out, force)
    if len(files) < 2 and base is None:
        raise SymnetError("merge needs two files or more, or one and --base.")
    with working("reading"):
        graph, _, _ = _network(arch, module, shapes, seed)
        networks = [open_state_file(path) for path in files]
    shares = None if weights is None else _read_numbers(weights)
    origin = None if base is None else open_state_file(base)
    with working(f"matching {len(files)} networks"):
        merged = symnet.merge(
            networks, graph, weights=shares, base=origin, scale=scale, starts=starts, seed=seed
        )
    write_state_file(out, merged.weights)
    if as_json:
        described = {
            "agreement": merged.agreement,
            "rounds": merged.rounds,
            "shares": list(merged.shares),
        }
        moved = [[name for name in graph.neurons if e.moves(name)] for e in merged.elements]
        print_json({**described, "moved": moved, "written": str(out)})
        return
    print(merged)
    if any("running_var" in name for name in graph.weights):
        print(
            "There are norms with running statistics: collect them anew on your data, sn.merge(..., model=, batches=)."
        )
    print(f"Written to {out}.")


def lineage(
    first: Annotated[Path, typer.Argument(metavar="A", help="Weights of one network.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Weights of the other.")],
    arch: Arch = None,
    module: Module = None,
    shapes: Shapes = None,
    narrow: Annotated[
        str | None,
        typer.Option(
            "--arch-b", metavar="ARCH", help="B's architecture, if neurons were cut off it."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Random draws of each test.")] = 999,
    level: Annotated[
        float, typer.Option(help="The p-value up to which the networks count as related.")
    ] = 0.01,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Ask whether two networks share their origin; 0 if they do (p up to --level), 1 if nothing is shown."""
    if not 0 < level < 1:
        raise SymnetError(f"--level {level}: give a probability between 0 and 1.")
    with working("reading"):
        graph, _, _ = _network(arch, module, shapes, seed)
        states = [open_state_file(path) for path in (first, second)]
    graph_b = None if narrow is None else read_architecture(narrow)
    with working("matching, and drawing random networks"):
        report = symnet.lineage(
            states[0], states[1], graph, graph_b=graph_b, samples=samples, seed=seed
        )
    if as_json:
        print_json(
            {
                "p_value": report.p_value,
                "p_given": report.p_given,
                "p_matched": report.p_matched,
                "weak_directions": report.weak,
                "agreement": report.alignment.agreement_after,
                "by_set": dict(report.by_set),
                "by_tensor": {
                    e.tensor: {"p": e.p_value, "weak": e.weak, "all": e.resemblance}
                    for e in report.evidence
                },
                "samples": samples,
                "seed": seed,
                "related": report.p_value <= level,
            }
        )
    else:
        print(report)
    raise typer.Exit(0 if report.p_value <= level else 1)


def audit(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|FOLDER", help="A file of weights, or a folder of checkpoints."
        ),
    ],
    arch: Arch = None,
    module: Module = None,
    shapes: Shapes = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write the page as HTML.")
    ] = None,
    force: Force = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what a network's symmetry says about it; of a folder, which checkpoints are the same network. 0 once it is told."""
    if out is not None:
        _refuse_overwriting(out, force)
    graph, model, _ = _network(arch, module, shapes, seed)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in STATE_SUFFIXES)
        if not files:
            raise SymnetError(
                f"{path} holds no file of weights; they end in {', '.join(STATE_SUFFIXES)}."
            )
        with working(f"comparing {len(files)} networks"):
            networks = {p.name: open_state_file(p) for p in files}
            copies = symnet.matching.find_copies(networks, graph)
        lines = [
            f"{len(files)} networks, {len(files) - sum(len(group) - 1 for group in copies)} different ones"
        ]
        lines += [f"  the same up to the order of neurons: {', '.join(group)}" for group in copies]
        described: dict[str, Any] = {
            "networks": len(files),
            "copies": [list(group) for group in copies],
        }
    else:
        with working("auditing"):
            found: Audit = symnet.matching.audit(open_state_file(path), graph, model=model)
        lines, described = str(found).splitlines(), found.as_dict()
    if out is not None:
        write_file(out, _page(str(path), lines))
    if as_json:
        print_json(described)
    else:
        print("\n".join(lines))
        if out is not None:
            Console().print(f"Written to {out}.", soft_wrap=True)


def _network(
    arch: str | None, module: str | None, shapes: list[str] | None, seed: int
) -> tuple[NeuronGraph, Any, Any]:
    if arch is None and module is None:
        raise SymnetError(
            "Say what the weights belong to: --arch mlp:2-32-1 (or a file), or --module module:factory."
        )
    model: Any
    model, inputs = make_module(module, shapes or (), seed) if module else (None, ())
    graph = read_architecture(arch) if arch is not None else symnet.trace(model, *inputs)
    return graph, model, inputs


def _refuse_overwriting(out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise SymnetError(f"{out} is there already. Name another file, or add --force.")


def _read_numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SymnetError(
            f"--weights {text!r}: give a number for each file, joined by commas, such as 0.7,0.3."
        ) from None


def _page(title: str, lines: list[str]) -> str:
    """The lines as a page of HTML: the first as a heading, the others as a list."""
    items = "\n".join(f"<li>{escape(line.strip())}</li>" for line in lines[1:])
    style = "body{font:16px/1.5 system-ui;max-width:60em;margin:2em auto;padding:0 1em}"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Audit of {escape(title)}</title><style>{style}</style>\n'
        f"<h1>Audit of {escape(title)}</h1>\n<p>{escape(lines[0])}</p>\n<ul>\n{items}\n</ul>\n</html>\n"
    )
