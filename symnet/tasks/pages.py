"""The documentation's pages on the tasks: figures, pictures and times of a run, filled in between marks in the text.

python -m symnet.tasks.pages            writes docs/tasks/*.md anew from docs/tasks/results/*.json
python -m symnet.tasks.pages FOLDER     takes over results and pictures from a folder of `symnet train all` first
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from symnet.errors import SymnetError
from symnet.tasks.configuration import TASKS
from symnet.tasks.models import MODELS
from symnet.tasks.outcome import Found, heading, read_found, shares, table

__all__ = ["fill", "take_over"]

MARK = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)
SUMMARY = re.compile(r"(<!-- summary -->\n).*?(<!-- end of summary -->)", re.DOTALL)
DESCRIPTIONS = {name: model.description for name, model in MODELS.items()}


def fill(text: str, every: dict[str, Found], task: str | None) -> str:
    """A page with the results of its task, or (task None) the summary of all, between the marks.

    Raises:
        SymnetError: the page has no marks.
    """
    mark, block = (MARK, _results(every[task])) if task else (SUMMARY, _summary(every))
    found, count = mark.subn(lambda match: f"{match[1]}{block}{match[2]}", text)
    if count != 1:
        raise SymnetError(f"The page of {task or 'all tasks'} has {count} places for results; it needs exactly one.")
    return found


def _results(found: Found) -> str:
    seeds = len({row.seed for row in found.rows})
    train, validation, test = found.networks
    return (
        f"On {test:,} test networks, after learning from {train:,}, with {validation:,} more to choose the best step by; mean ± standard "
        f"deviation of {seeds} seeds, each with a split of its own. "
        f"The run took {found.processor_seconds / 60:.0f} minutes of processor time, its corpus included, on {found.machine} "
        f"({found.seconds / 60:.0f} minutes by the clock, beside other work).\n\n"
        f"{table(found, DESCRIPTIONS)}\n{_verdict(found)}\n"
    )


def _verdict(found: Found) -> str:
    """Which models are better than the equivariant one, and which are not, in words."""
    measure = "accuracy" if found.task == "tickets" else found.metric
    others = [name for name in found.models if name != "equivariant"]
    worse = [name for name in others if found.is_better("equivariant", name, measure)]
    better = [name for name in others if name not in worse]
    said = (
        f"By {heading(measure).split(',')[0]}, the equivariant model is better than {_listed(worse)}" if worse else ""
    )
    if better:
        said += ("; it is not better than " if said else "The equivariant model is not better than ") + _listed(better)
    return said + "."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _summary(every: dict[str, Found]) -> str:
    lines = [
        "| task | measure | equivariant | best that ignores symmetry | processor minutes |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for task, found in every.items():
        measure = "accuracy" if task == "tickets" else found.metric
        blind = [name for name in found.models if not MODELS[name].uses_symmetry]
        best = blind[0]
        for name in blind[1:]:
            best = name if found.is_better(name, best, measure) else best
        own, other = (shares(found.values(name, measure), measure) for name in ("equivariant", best))
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
        (docs / "results" / f"{task}.json").write_text(found.model_dump_json() + "\n", encoding="utf-8")
        for picture in ("curves", "found"):
            shutil.copyfile(folder / task / "pictures" / f"{picture}.png", docs / "pictures" / f"{task}-{picture}.png")


def write_pages(docs: Path) -> None:
    """Fills every page from the saved results."""
    every = {task: read_found(docs / "results" / f"{task}.json") for task in TASKS}
    for name, task in {"index": None, **{task: task for task in TASKS}}.items():
        path = docs / f"{name}.md"
        path.write_text(fill(path.read_text(encoding="utf-8"), every, task), encoding="utf-8")


if __name__ == "__main__":
    PLACE = Path("docs") / "tasks"
    if len(sys.argv) > 1:
        take_over(Path(sys.argv[1]), PLACE)
    write_pages(PLACE)
