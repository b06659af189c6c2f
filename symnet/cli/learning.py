"""``symnet fit`` and ``symnet predict``: from a folder of one's own checkpoints to a reader, and from a reader to answers."""

# torch and the estimators are imported inside the commands, so that help and completion stay quick.
from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from symnet.cli.architectures import complete_architecture, read_architecture
from symnet.cli.modules import import_object, make_module, run_users_code
from symnet.cli.output import PlainConsole, print_json, resumable, say, say_aside
from symnet.errors import SymnetError
from symnet.files import STATE_SUFFIXES, check_outputs, shown, write_file

__all__ = ["register"]

FIT_HELP = """Learn from a folder of checkpoints what a table says of them, and save the reader.

Readers are compared on networks that they did not learn from; the best is kept. What cannot be used
is left out and named. A fit that is stopped or killed goes on with the same command.
"""
FIT_EXAMPLE = (
    "Example: symnet fit checkpoints --labels labels.csv --target accuracy "
    "--arch cnn:1-16-16-10 -o reader"
)
PREDICT_HELP = "Ask a saved reader about checkpoints."
PREDICT_EXAMPLE = "Example: symnet predict reader new.safetensors more/ -o predicted.csv"
READER, TABLE = "reader.symnet", "comparison.txt"
SHOWN = 10  # files left out that are named on the terminal; all of them are in the file
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Module = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FACTORY",
        help="Makes a network of this architecture (and its inputs); traced.",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="SHAPE", help="An example input for --module: 8,1,28,28."),
]
Build = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="From a config.json the module and its inputs, for mixed folders.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the two commands to the command line."""
    app.command(help=FIT_HELP, epilog=FIT_EXAMPLE)(fit)
    app.command(help=PREDICT_HELP, epilog=PREDICT_EXAMPLE)(predict)


def fit(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Checkpoints: .pt .pth .ckpt .bin .safetensors."),
    ],
    labels: Annotated[Path, typer.Option(help="A table of the networks: .csv, .json or .parquet.")],
    target: Annotated[str, typer.Option(help="The column to learn.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the reader; a killed fit goes on there.")
    ],
    arch: Annotated[
        str | None,
        typer.Option(
            help="A catalogue call or a graph's file.", autocompletion=complete_architecture
        ),
    ] = None,
    module: Module = None,
    shapes: Shapes = None,
    build: Build = None,
    by: Annotated[
        str | None, typer.Option(help="A column: networks of one value are judged together.")
    ] = None,
    kind: Annotated[
        Literal["auto", "numbers", "classes"],
        typer.Option(help="What the column holds; auto: texts are classes."),
    ] = "auto",
    reader: Annotated[
        str, typer.Option(help="best, or one of: statistics, product, probes, layers, all.")
    ] = "best",
    pattern: Annotated[str, typer.Option(help="Which files, as in '**/last.ckpt'.")] = "**/*",
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 400,
    folds: Annotated[
        int, typer.Option(min=2, help="Parts into which the networks are divided.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    as_json: Json = False,
) -> None:
    from symnet.learn import Classifier, Regressor

    if arch and module:
        raise SymnetError("--arch and --module both say the architecture; give one of them.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise SymnetError(
            f"{shown(out)} lies in {shown(folder)}, whose files are read: the trainings would be read as networks the "
            "next time. Name a folder elsewhere."
        )
    if out.exists() and not out.is_dir():
        raise SymnetError(f"{shown(out)} is a file; name a folder for the reader.")
    graph, network, example = _architecture(arch, module, shapes, seed)
    with resumable(out):
        networks = _read(folder, graph, labels=labels, pattern=pattern, build=_build(build)).known(
            target
        )
        _say_what_was_left(networks, as_json)
        texts = networks.columns[target].dtype.kind in "OSU"
        estimator: Any = (
            Classifier if kind == "classes" or (kind == "auto" and texts) else Regressor
        )
        model = estimator(
            graph, reader=reader, module=network, example=example, build=_build(build), folds=folds, steps=steps, seed=seed,
            folder=out / "trainings", verbose=False,
        )  # fmt: skip
        with _Bars() as bars:
            model.fit(networks, target, by=by, on_progress=bars)
        model.save(out / READER)
        notes = "\n".join([*networks.notes, *(f"left out: {text}" for text in networks.skipped)])
        write_file(out / TABLE, f"{model.comparison_}\n{notes}\n")
    if as_json:
        from dataclasses import asdict

        left = {"skipped": list(networks.skipped), "notes": list(networks.notes)}
        print_json({**asdict(model.comparison_), **left, "written": str(out / READER)})
        return
    say(model.comparison_)
    say(f"Written to {out / READER}. Ask it: symnet predict {out} NEW.pt")


def predict(
    reader: Annotated[
        Path, typer.Argument(metavar="READER", help="A folder of `symnet fit`, or a reader's file.")
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="Checkpoints, or folders of them.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the answers to this file (.csv).")
    ] = None,
    module: Module = None,
    shapes: Shapes = None,
    build: Build = None,
    as_json: Json = False,
) -> None:
    from symnet.learn import Classifier, Editor, load

    place = reader / READER if reader.is_dir() else reader
    network = None if module is None else make_module(module, shapes or (), 0)[0]
    model = load(place, module=network, build=_build(build))
    if isinstance(model, Editor):
        raise SymnetError(
            f"{shown(place)} changes networks, and gives no answers about them; use it from Python."
        )
    if out is not None:
        check_outputs({"the table": out}, [place, *(p for path in files for p in _inside(path))])
    rows: list[dict[str, Any]] = []
    skipped: list[str] = []
    for path in files:
        networks = _read(
            path,
            model.graph_,
            build=_build(build),
            shapes_only=model.graph_ is None and build is None,
        )
        skipped += networks.skipped
        names = [str(path if path.is_file() else path / name) for name in networks.columns["path"]]
        answered: list[dict[str, Any]] = [
            {"network": name, model.target_: answer}
            for name, answer in zip(names, model.predict(networks).tolist(), strict=True)
        ]
        if isinstance(model, Classifier):
            chances = model.predict_proba(networks).max(1).tolist()
            for row, chance in zip(answered, chances, strict=True):
                row["probability"] = chance
        rows += answered
    if out is not None:
        write_file(out, _as_csv(rows))
    _name_left_out(skipped)
    if as_json:
        print_json({"answers": rows, "skipped": skipped})
    elif out is None:
        say(_as_csv(rows).rstrip())
    else:
        say(f"{len(rows)} answers written to {out}.")
    raise typer.Exit(1 if skipped else 0)


def _architecture(
    arch: str | None, module: str | None, shapes: list[str] | None, seed: int
) -> tuple[Any, Any, Any]:
    """The graph, and the module with a batch of its inputs where one was named."""
    if module is None:
        return None if arch is None else read_architecture(arch), None, None
    import torch

    import symnet

    network, inputs = make_module(module, shapes or (), seed)
    graph = run_users_code(module, lambda: symnet.trace(network, *inputs))
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor):
        return graph, None, None  # networks of several inputs are traced, and not probed
    return graph, network, inputs[0]


def _build(text: str | None) -> Any:
    return None if text is None else import_object(text)


def _read(folder: Path, graph: Any, **options: Any) -> Any:
    """The networks, with a bar where the error stream is a terminal."""
    from symnet.data import read_folder

    with _Bars() as bars:
        told = lambda done, count: bars(f"reading {count:,} files", done / count)  # noqa: E731
        return read_folder(folder, graph, on_error="skip", on_progress=told, **options)


def _inside(path: Path) -> list[Path]:
    if path.is_dir():
        return [inside for inside in path.rglob("*") if inside.suffix in STATE_SUFFIXES]
    return [path]


def _say_what_was_left(networks: Any, quiet: bool) -> None:
    if not quiet:
        say_aside(repr(networks))
        for note in networks.notes:
            say_aside(f"  note: {note}")
    _name_left_out(networks.skipped)


def _name_left_out(skipped: Any) -> None:
    for text in skipped[:SHOWN]:
        say_aside(f"  left out: {text}")
    if len(skipped) > SHOWN:
        say_aside(f"  left out: {len(skipped) - SHOWN} more")


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


class _Bars:
    """Bars on the error stream, one for each thing that goes on; nothing where it is no terminal."""

    def __enter__(self) -> _Bars:
        from rich.progress import Progress

        console = PlainConsole(stderr=True)
        self.progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.tasks: dict[str, Any] = {}
        self.progress.start()
        return self

    def __call__(self, what: str, share: float) -> None:
        """Moves a bar to a share."""
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=1.0)
        self.progress.update(self.tasks[what], completed=share)

    def __exit__(self, *problem: object) -> None:
        self.progress.stop()
