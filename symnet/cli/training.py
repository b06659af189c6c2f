"""``symnet train`` and ``symnet evaluate``: the tasks, from one command to a table."""

# torch and the tasks are imported inside the commands, so that help and completion stay quick.
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown

from symnet.cli.output import PlainConsole, print_json, resumable, say
from symnet.errors import SymnetError
from symnet.files import write_file

if TYPE_CHECKING:
    pass

__all__ = ["register"]

TASKS = ("accuracy", "classification", "editing", "tickets")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


def register(app: typer.Typer) -> None:
    """Adds the two commands to the command line."""
    app.command(epilog="Example: symnet train tickets --quick -o tickets")(train)
    app.command(epilog="Example: symnet evaluate tickets")(evaluate)


def train(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="accuracy, classification, editing, tickets, or all; or a configuration file (.toml).",
            autocompletion=lambda: [*TASKS, "all"],
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for all that is found; a killed run goes on there."
        ),
    ] = Path("symnet-tasks"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: to see that it runs, and the order.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The published corpora; give corpus.path, and a GPU.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one value, as in training.steps=500. Repeatable.",
        ),
    ] = None,
    corpora: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the corpora, for all runs that share them (default: OUT/corpora)."
        ),
    ] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Train every model of a task from every seed, and print the table of what they reach on networks they have not seen."""
    from symnet.tasks.configuration import as_toml, built_in, read
    from symnet.tasks.recipe import Run

    if quick and full:
        raise SymnetError("--quick and --full are two sizes; give one of them.")
    size = "quick" if quick else "full" if full else "default"
    console = PlainConsole(stderr=as_json)
    results: dict[str, Any] = {}
    with resumable(out):
        for task in TASKS if what == "all" else (what,):
            file = Path(task) if task.endswith(".toml") else built_in(task, size)
            configuration = read(file, changes or ())
            folder = out / (file.stem if task.endswith(".toml") else task)
            write_file(folder / "configuration.toml", as_toml(configuration), folders=True)
            console.rule(f"{configuration.task}, {configuration.size} size")
            run = Run(configuration, folder, corpora or out / "corpora", console, accelerator)
            found = run.go()
            results[task] = found.model_dump(mode="json")
            if run.is_first:
                console.print(Markdown((folder / "results.md").read_text(encoding="utf-8")))
                line = (
                    f"{found.seconds:.0f} s. Table, pictures, predictions, models, card: {folder}"
                )
                console.print(line, soft_wrap=True)
    if as_json and run.is_first:
        print_json(results)


def evaluate(
    where: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_MODEL", help="A folder of `symnet train`, or a model.pt in one."
        ),
    ],
    networks: Annotated[
        Path | None,
        typer.Option(
            help="A folder of your own checkpoints (.pt, .pth, .safetensors): print the model's answers."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write the answers to this file (.csv), or edited networks here."
        ),
    ] = None,
    corpora: Annotated[
        Path | None, typer.Option(help="Folder of the corpora (default: beside FOLDER).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the trained models of a folder anew (0 if the figures are as reported), or ask one about networks of your own."""
    from symnet.tasks.evaluation import measure_again, predict_folder

    console = PlainConsole(stderr=as_json)
    if networks is not None:
        answers = predict_folder(where, networks, out, console)
        if as_json:
            print_json(answers)
        else:
            for name, answer in answers.items():
                say(f"{name}\t{answer}")
        return
    if out is not None:
        raise SymnetError(
            "--out is for answers about networks of your own; give --networks FOLDER as well."
        )
    checked = measure_again(where, corpora or where.parent / "corpora", console)
    if as_json:
        print_json(
            {
                "rows": [row.as_dict() for row in checked],
                "agree": all(row.agrees for row in checked),
            }
        )
    else:
        for row in checked:
            console.print(str(row), highlight=False)
    raise typer.Exit(0 if all(row.agrees for row in checked) else 1)
