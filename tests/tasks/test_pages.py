"""The documentation's figures are those of the saved results, and the saved results hold what the pages claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from symnet.tasks.configuration import TASKS
from symnet.tasks.models import MODELS
from symnet.tasks.outcome import Found
from symnet.tasks.pages import fill, saved_results

DOCS = Path(__file__).parents[2] / "docs" / "tasks"
EVERY = saved_results(DOCS)


@pytest.mark.parametrize("page", ["index", *TASKS])
def test_a_page_is_what_its_results_give(page: str) -> None:
    """After new results: `python -m symnet.tasks.pages`."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert fill(text, EVERY) == text


@pytest.mark.parametrize("task", ["accuracy", "classification", "editing"])
def test_the_saved_order_is_the_claimed_one(task: str) -> None:
    """Three seeds, default size, and the equivariant model better than every one that ignores symmetry, seed by seed."""
    found: Found = EVERY[task]
    assert found.size == "default" and len({row.seed for row in found.rows}) == 3
    for name in (name for name in found.models if not MODELS[name].uses_symmetry):
        assert found.is_better("equivariant", name)
        better = [
            a < b if found.metric == "mse" else a > b
            for a, b in zip(found.values("equivariant"), found.values(name), strict=True)
        ]
        assert all(better), name


def test_all_tasks_together_take_less_than_45_minutes() -> None:
    """In processor time, on one core: the clock also runs for what else a machine does."""
    assert min(found.processor_seconds for found in (EVERY[task] for task in TASKS)) > 0
    assert sum(found.processor_seconds for found in (EVERY[task] for task in TASKS)) < 45 * 60


@pytest.mark.parametrize("name", ["accuracy-residual", "accuracy-transformer"])
def test_traced_networks_are_read_better_by_their_symmetry_than_without(name: str) -> None:
    """Of networks whose graph was traced, seed by seed."""
    pairs = zip(EVERY[name].values("equivariant"), EVERY[name].values("flat"), strict=True)
    assert all(own > flat for own, flat in pairs) and len(EVERY[name].values("flat")) == 3


def test_results_are_small() -> None:
    files = [*(DOCS / "results").iterdir(), *(DOCS / "pictures").iterdir()]
    assert len(files) == 14 and all(path.stat().st_size < 100_000 for path in files)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# no marks", "no place"),
        ("<!-- results of x -->\n<!-- end of results -->", "results of 'x'"),
    ],
)
def test_a_page_that_cannot_be_filled_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fill(text, EVERY)
