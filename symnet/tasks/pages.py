"""The documentation's pages on the tasks: figures, pictures and times of a run, filled in between marks in the text.

python -m symnet.tasks.pages            writes docs/tasks/*.md anew from docs/tasks/results/*.json
python -m symnet.tasks.pages FOLDER     takes over results and pictures from a folder of `symnet train all` first
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from symnet.errors import SymnetError
from symnet.files import read_text, write_file
from symnet.tasks.configuration import TASKS
from symnet.tasks.models import MODELS
from symnet.tasks.outcome import Found, heading, read_found, shares, table

__all__ = ["fill", "saved_results", "take_over", "write_pages"]

MARK = re.compile(
    r"(<!-- results of (?P<name>[\w-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL
)
DESCRIPTIONS = {name: model.description for name, model in MODELS.items()}


def fill(text: str, every: Mapping[str, Found]) -> str:
    """A page with results between its marks: of a run by its name, or of "all" tasks in one table.

    Raises:
        SymnetError: the page has no marks, or one with a name that there are no results of.
    """

    def block(mark: re.Match[str]) -> str:
        name = mark["name"]
        if name != "all" and name not in every:
            raise SymnetError(
                f"A page asks for the results of {name!r}; there are those of {', '.join(every)}."
            )
        found = _summary(every) if name == "all" else _results(every[name])
        return f"{mark[1]}{found}{mark[3]}"

    filled, count = MARK.subn(block, text)
    if not count:
        raise SymnetError(
            "The page has no place for results: <!-- results of NAME --> and <!-- end of results -->."
        )
    return filled


def _results(found: Found) -> str:
    seeds = len({row.seed for row in found.rows})
    train, validation, test = found.networks
    return (
        f"On {test:,} test networks, after learning from {train:,}, with {validation:,} more to choose the best step by; mean ± standard "
        f"deviation of {seeds} seeds, each with a split of its own. "
        f"The run took {_took(found)}, its corpus included, on {found.machine}.\n\n"
        f"{table(found, DESCRIPTIONS)}\n{_verdict(found)}\n"
    )


def _took(found: Found) -> str:
    """Processor time where it is known; the clock also runs for what else the machine did."""
    clock = f"{found.seconds / 60:.0f} minutes by the clock beside other work"
    worked = found.processor_seconds
    if not worked:
        return clock
    return f"{worked / 60:.0f} minutes of processor time ({clock})"


def _verdict(found: Found) -> str:
    """Which models are better than the equivariant one, and which are not, in words."""
    measure = "accuracy" if found.task == "tickets" else found.metric
    others = [name for name in found.models if name != "equivariant"]
    worse = [name for name in others if found.is_better("equivariant", name, measure)]
    better = [name for name in others if name not in worse]
    said = (
        f"By {heading(measure).split(',')[0]}, the equivariant model is better than {_listed(worse)}"
        if worse
        else ""
    )
    if better:
        said += (
            "; it is not better than " if said else "The equivariant model is not better than "
        ) + _listed(better)
    return said + "."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _summary(every: Mapping[str, Found]) -> str:
    lines = [
        "| task | measure | equivariant | best that ignores symmetry | processor minutes |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for task, found in ((task, every[task]) for task in TASKS):
        measure = "accuracy" if task == "tickets" else found.metric
        blind = [name for name in found.models if not MODELS[name].uses_symmetry]
        best = blind[0]
        for name in blind[1:]:
            best = name if found.is_better(name, best, measure) else best
        own, other = (
            shares(found.values(name, measure), measure) for name in ("equivariant", best)
        )
        lines.append(
            f"| [{task}]({task}.md) | {heading(measure)} | {own} | {other} ({best}) | {found.processor_seconds / 60:.0f} |"
        )
    return "\n".join(lines) + "\n"


def take_over(folder: Path, docs: Path) -> None:
    """Copies results and pictures of a finished run of all tasks.

    Raises:
        SymnetError: a task is missing in the folder.
    """
    for task in TASKS:
        found = read_found(folder / task / "results.json")
        (docs / "results").mkdir(parents=True, exist_ok=True)
        (docs / "pictures").mkdir(exist_ok=True)
        write_file(docs / "results" / f"{task}.json", found.model_dump_json() + "\n")
        for picture in ("curves", "found"):
            shutil.copyfile(
                folder / task / "pictures" / f"{picture}.png",
                docs / "pictures" / f"{task}-{picture}.png",
            )


def saved_results(docs: Path) -> dict[str, Found]:
    """What lies in the folder `results`, by name."""
    return {path.stem: read_found(path) for path in sorted((docs / "results").glob("*.json"))}


def write_pages(docs: Path) -> None:
    """Fills every page from the saved results."""
    every = saved_results(docs)
    for name in ("index", *TASKS):
        path = docs / f"{name}.md"
        write_file(path, fill(read_text(path), every))


if __name__ == "__main__":
    PLACE = Path("docs") / "tasks"
    if len(sys.argv) > 1:
        take_over(Path(sys.argv[1]), PLACE)
    write_pages(PLACE)
