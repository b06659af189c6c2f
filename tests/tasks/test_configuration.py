"""Laws of configurations: what comes with symnet is valid, a copy gives the same back, and mistakes are named with key and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from symnet.tasks.configuration import (
    SIZES,
    TASKS,
    Configuration,
    ConfigurationError,
    as_toml,
    built_in,
    line_of,
    read,
)
from symnet.tasks.models import MODELS

GOOD = 'task = "classification"\nmodels = ["flat"]\n\n[training]\nsteps = 10\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", SIZES)
def test_what_comes_with_symnet_is_valid(task: str, size: str, tmp_path: Path) -> None:
    """It is of the task and size of its name, names models that there are, and its copy gives it back."""
    found = read(built_in(task, size))
    assert (found.task, found.size) == (task, size)
    training = found.training
    assert {*found.models, *training.learning_rates, *training.steps_of} <= set(MODELS)
    assert set(training.learning_rates) | set(training.steps_of) <= set(found.models)
    assert read(written(tmp_path, as_toml(found))) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("steps = 10", "stepz = 10"),
            r"run\.toml, line 5: training\.stepz: Extra inputs",
        ),
        (
            GOOD.replace("steps = 10", "steps = 0"),
            r"run\.toml, line 5: training\.steps: .*greater than or equal to 1 \(got 0\)",
        ),
        (
            GOOD.replace("steps = 10", "batch = 8"),
            r"run\.toml, line 4: training\.steps: Field required",
        ),
        (GOOD.replace('["flat"]', '"flat"'), r"run\.toml, line 2: models: "),
        (GOOD.replace('["flat"]', '["flat", "flat"]'), r"models names something twice"),
        (GOOD.replace("classification", "clasification"), r"run\.toml, line 1: task: "),
        (GOOD.replace("[training]", "[training"), r"run\.toml is no TOML: .*line 4"),
        (GOOD + '[corpus]\nedit = "dilate"\n', r"run\.toml, line 7: corpus\.edit: Extra inputs"),
        (GOOD + '[corpus]\nsource = "mnist"\n', r"run\.toml, line 7: corpus\.source: "),
    ],
)
def test_a_mistake_is_named_with_its_key_and_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(written(tmp_path, text))


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"training\.steps: .*; .*training\.stepz: "
    ) as error:
        read(written(tmp_path, GOOD.replace("steps", "stepz")))
    assert "line 4" in str(error.value) and "line 5" in str(error.value)


def test_single_values_can_be_changed(tmp_path: Path) -> None:
    """Also in sections that the file does not have, and lists."""
    path = written(tmp_path, GOOD)
    found = read(path, ["training.steps=7", "corpus.fits=3", "seeds=[4, 5]"])
    assert (found.training.steps, found.seeds) == (7, (4, 5))
    assert found.model_dump()["corpus"]["fits"] == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.steps", "no TOML value"),
        ("training.steps=many", "quote text"),
        ("=5", "is no change"),
        ("models.first=1", "is a value, not a section"),
        ("training.steps=-1", "training.steps"),
    ],
)
def test_a_change_that_cannot_be_made_is_told(change: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read(written(tmp_path, GOOD), [change])


@pytest.mark.parametrize("path", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path / path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"binary\.toml cannot be read"):
        read(tmp_path / "binary.toml")


def test_single_models_may_have_their_own_rate_and_steps(tmp_path: Path) -> None:
    found = read(
        written(tmp_path, GOOD + "steps_of = { flat = 30 }\nlearning_rates = { flat = 0.5 }\n")
    )
    own, other = found.training_of("flat"), found.training_of("equivariant")
    assert (own.steps, own.learning_rate, other.steps, other.learning_rate) == (30, 0.5, 10, 0.003)


def test_a_line_is_found_below_tables_of_tables() -> None:
    text = '# task\n[a.b]\n"c d" = 1\n[e]\nf = { g = 2 }\n'
    assert [
        line_of(text, path)
        for path in (("a", "b", "c d"), ("a", "b", "x"), ("e", "f", "g"), ("z",))
    ] == [
        3,
        2,
        5,
        None,
    ]


def test_there_is_no_base_configuration() -> None:
    """A task is what its file names; the base is for types only."""
    with pytest.raises(ValueError, match="models"):
        Configuration.model_validate({"task": "editing", "training": {"steps": 1}})


@pytest.mark.parametrize("architecture", ["residual", "transformer"])
def test_the_configurations_of_the_documentation_are_valid(architecture: str) -> None:
    found = read(Path(__file__).parents[2] / "docs" / "tasks" / f"accuracy-{architecture}.toml")
    assert found.model_dump()["corpus"]["architecture"] == architecture
