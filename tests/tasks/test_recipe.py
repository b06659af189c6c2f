"""Laws of the tasks from command to table: retrained in seconds, the order of the models is the one that is claimed."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import symnet as sn
from symnet.cli import main
from symnet.data import siren
from symnet.tasks.bundle import load_model
from symnet.tasks.models import MODELS
from symnet.tasks.outcome import Found, read_found

# Smaller than --quick: what a test can afford.
SMALLER = {
    "accuracy": ("corpus.networks=200", "corpus.steps=50", "training.steps=80"),
    "classification": ("corpus.images=220", "corpus.fits=5", "training.steps=110"),
    "editing": (
        "corpus.images=220",
        "corpus.fits=5",
        "training.steps=60",
        'models=["equivariant","flat","flat-permuted"]',
    ),
    "tickets": ("corpus.networks=40", "training.steps=40", "corpus.steps=60"),
}


def command(*arguments: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every task trained, a size below --quick."""
    folder = tmp_path_factory.mktemp("tasks")
    for task, changes in SMALLER.items():
        given = [part for change in changes for part in ("--set", change)]
        less = [] if "steps_of" in changes else ["--set", "training.steps_of={}"]
        assert command("train", task, "--quick", "-o", str(folder), *given, *less) == 0
    return folder


def found_of(runs: Path, task: str) -> Found:
    return read_found(runs / task / "results.json")


@pytest.mark.parametrize("task", ["accuracy", "classification", "editing"])
def test_the_equivariant_model_is_better_than_those_that_ignore_symmetry(
    runs: Path, task: str
) -> None:
    """On networks that chose nothing; also better than what needs no training."""
    found = found_of(runs, task)
    others = [name for name in found.models if not MODELS[name].uses_symmetry]
    assert len(others) == 2
    for other in [*others, *found.references]:
        assert found.is_better("equivariant", other), (
            other,
            found.mean("equivariant"),
            found.mean(other),
        )


def test_tickets_reproduce_what_is_known(runs: Path) -> None:
    """Pruned networks learn nearly as well as dense ones, random masks do not; the equivariant scores find what pruning keeps."""
    found = found_of(runs, "tickets")
    dense, pruned, chance = (
        found.mean(name, "accuracy") for name in ("dense", "iterative pruning", "random")
    )
    assert dense > pruned > chance + 0.1
    assert found.is_better("equivariant", "random", "overlap")


@pytest.mark.parametrize("task", sorted(SMALLER))
def test_a_run_leaves_everything_behind(runs: Path, task: str) -> None:
    """Table, card, pictures, predictions for every test network, models, logs, and the configuration that repeats it."""
    folder, found = runs / task, found_of(runs, task)
    for name in (
        "results.md",
        "card.md",
        "configuration.toml",
        "pictures/curves.png",
        "pictures/found.png",
    ):
        assert (folder / name).stat().st_size > 200, name
    for name in found.models:
        with np.load(folder / "predictions" / f"{name}-seed-0.npz") as file:
            assert len(file["predictions"]) == len(file["networks"]) == found.networks[2]
        training = folder / "trainings" / f"{name}-seed-0"
        assert {path.name for path in training.iterdir()} == {
            "model.pt",
            "checkpoint.pt",
            "tensorboard",
        }
        assert f"**{name}**" in (folder / "results.md").read_text()


def test_a_finished_run_is_read_and_not_repeated(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command again gives the same rows, seconds of training included, from the configuration in its folder."""
    before = found_of(runs, "editing")
    file = str(runs / "editing" / "configuration.toml")
    out = runs / "again"
    (out / "configuration").parent.mkdir()
    (runs / "editing").rename(out / "configuration")
    try:
        assert (
            command(
                "train",
                str(out / "configuration" / "configuration.toml"),
                "-o",
                str(out),
                "--corpora",
                str(runs / "corpora"),
                "--json",
            )
            == 0
        )
    finally:
        (out / "configuration").rename(runs / "editing")
    (again,) = json.loads(capsys.readouterr().out).values()
    assert Found.model_validate(again).rows == before.rows and Path(file).exists()


@pytest.mark.parametrize("task", ["accuracy", "editing"])
def test_measuring_again_agrees(runs: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`symnet evaluate` loads every model from its file and finds the figures of the table."""
    assert command("evaluate", str(runs / task), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agree"] and len(found["rows"]) == len(found_of(runs, task).rows)


def test_a_changed_table_is_noticed(runs: Path) -> None:
    """`symnet evaluate` exits with 1 when a figure is not what the models reach."""
    path = runs / "accuracy" / "results.json"
    text = path.read_text()
    found = json.loads(text)
    found["rows"][0]["test"]["tau"] += 0.1
    path.write_text(json.dumps(found))
    try:
        assert command("evaluate", str(runs / "accuracy")) == 1
    finally:
        path.write_text(text)


@pytest.fixture
def own_networks(tmp_path: Path) -> Path:
    """Three checkpoints of SIRENs in a folder, one below another."""
    torch.manual_seed(0)
    for name in ("a.pt", "b.pth", "deeper/c.pt"):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(siren([2, 16, 16, 1], omega=5.0).state_dict(), path)
    return tmp_path / "own"


def test_networks_of_ones_own_are_classified(
    runs: Path, own_networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of checkpoints gives a class and its probability for each file, as JSON and as a table in a file."""
    table = own_networks.parent / "answers.csv"
    assert (
        command(
            "evaluate",
            str(runs / "classification"),
            "--networks",
            str(own_networks),
            "--json",
            "-o",
            str(table),
        )
        == 0
    )
    answers = json.loads(capsys.readouterr().out)
    assert list(answers) == ["a.pt", "b.pth", "deeper/c.pt"]
    assert all(
        0 <= answer["class"] <= 9 and 0.1 <= answer["probability"] <= 1
        for answer in answers.values()
    )
    assert table.read_text().splitlines()[0] == "network,class,probability"


def test_networks_of_ones_own_are_edited(runs: Path, own_networks: Path, tmp_path: Path) -> None:
    """Editing writes a state dict for every file, of the same architecture and with other weights."""
    out = tmp_path / "edited"
    assert (
        command("evaluate", str(runs / "editing"), "--networks", str(own_networks), "-o", str(out))
        == 0
    )
    before, after = (
        torch.load(folder / "a.pt", weights_only=True) for folder in (own_networks, out)
    )
    siren([2, 16, 16, 1], omega=5.0).load_state_dict(after)
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no checkpoint", r"bad\.pt cannot be read"),
        ({"0.weight": torch.ones(3, 3)}, r"bad\.pt: .*0\.weight"),
        ([1, 2], r"bad\.pt holds no state dict but a list"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
    runs: Path, own_networks: Path, content: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_networks / "bad.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    assert command("evaluate", str(runs / "classification"), "--networks", str(own_networks)) == 2
    assert re.search(said, capsys.readouterr().err)


def test_code_in_a_checkpoint_is_not_executed(
    runs: Path, own_networks: Path, tmp_path: Path
) -> None:
    """A pickle that would write a file is refused, and the file is not there."""

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.write_text, (tmp_path / "written", "executed")

    torch.save({"0.weight": Evil()}, own_networks / "evil.pt")
    assert command("evaluate", str(runs / "classification"), "--networks", str(own_networks)) == 2
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "nothing"), "no task 'nothing'"),
        (("train", "editing", "--quick", "--full"), "give one of them"),
        (("train", "editing", "--quick", "--set", 'models=["magic"]'), "no model 'magic'"),
        (("train", "editing", "--quick", "--set", "training.stepz=3"), "training.stepz"),
        (("evaluate", "nowhere"), "Run `symnet train`"),
        (("train", "missing.toml"), "missing.toml cannot be read"),
        (("train", "accuracy", "--full", "--set", 'training.precision="32-true"'), "corpus.path"),
        (("train", "editing", "--quick", "--accelerator", "abacus"), "'abacus'"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Code 2, one line that names the mistake, no traceback."""
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and error.count("\n") == 1


def test_the_graph_of_a_bundle_is_that_of_the_networks(runs: Path) -> None:
    bundle = load_model(runs / "accuracy" / "trainings" / "equivariant-seed-0" / "model.pt")
    assert bundle.graph == sn.catalogue.cnn([1, 16, 16, 16], kernel_size=3, classes=10, io="fixed")
    assert bundle.task == "accuracy" and not bundle.model.training


LESS = (
    "training.steps=3",
    'training.precision="32-true"',
    "network.channels=4",
    "network.hidden=8",
    "training.steps_of={}",
)


def write_sirens(folder: Path) -> None:
    """As Zhou et al. 2023 published them: 30 images, in three parts by their numbers, two fits of each."""
    generator = torch.Generator().manual_seed(0)
    for number in [*range(20), *range(45_000, 45_005), *range(50_000, 50_005)]:
        for fit in ("", "aug0_"):
            path = folder / f"randinit_smaller_{fit}{number % 10}s_x" / f"net{number}.pth"
            path.parent.mkdir(parents=True, exist_ok=True)
            widths = [2, 32, 32, 1]
            state = {}
            for layer in range(3):
                shape = (widths[layer + 1], widths[layer])
                state[f"net.{layer}.linear.weight"] = 0.1 * torch.randn(shape, generator=generator)
                state[f"net.{layer}.linear.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
            torch.save(state, path)


@pytest.mark.parametrize("task", ["classification", "editing"])
def test_published_networks_of_images_train_in_the_full_configuration(
    task: str, tmp_path: Path
) -> None:
    """The layout of the paper's folders, its parts by image, 28 x 28 pixels: only sizes are changed here."""
    write_sirens(tmp_path / "siren_mnist_wts")
    changes = [
        *LESS,
        f'corpus.path="{tmp_path / "siren_mnist_wts"}"',
        'models=["equivariant", "flat"]',
        "seeds=[0]",
    ]
    given = [part for change in changes for part in ("--set", change)]
    assert command("train", task, "--full", "-o", str(tmp_path), *given) == 0
    found = found_of(tmp_path, task)
    assert found.networks == (40, 10, 10) and {row.steps for row in found.rows} == {3}


def write_zoo(folder: Path) -> None:
    """As Unterthiner et al. 2020 published it, 30 networks at two steps each."""
    folder.mkdir()
    shapes = {
        "conv2d": (3, 3, 1, 16),
        "conv2d_1": (3, 3, 16, 16),
        "conv2d_2": (3, 3, 16, 16),
        "dense": (16, 10),
    }
    layout, start = ["varname,shape,start_idx,end_idx"], 0
    for name, shape in shapes.items():
        for kind, part in (("bias", shape[-1:]), ("kernel", shape)):
            size = int(np.prod(part))
            text = f"({', '.join(map(str, part))}{',' if len(part) == 1 else ''})"
            layout.append(f'sequential/{name}/{kind}:0,"{text}",{start},{start + size}')
            start += size
    (folder / "layout.csv").write_text("\n".join(layout) + "\n")
    rng = np.random.default_rng(0)
    np.save(folder / "weights.npy", rng.normal(size=(60, start)).astype(np.float32))
    lines = [f"{step},{accuracy:.3f},relu" for accuracy in rng.random(30) for step in (40, 86)]
    with gzip.open(folder / "metrics.csv.gz", "wt") as file:
        file.write("\n".join(["step,test_accuracy,config.activation", *lines]) + "\n")


def test_the_small_cnn_zoo_trains_in_the_full_configuration(tmp_path: Path) -> None:
    """The published layout; the last checkpoint of every network is used."""
    write_zoo(tmp_path / "cifar10")
    changes = [
        *LESS,
        f'corpus.path="{tmp_path / "cifar10"}"',
        'models=["equivariant", "statistics"]',
        "seeds=[0]",
    ]
    given = [part for change in changes for part in ("--set", change)]
    assert command("train", "accuracy", "--full", "-o", str(tmp_path), *given) == 0
    assert found_of(tmp_path, "accuracy").networks == (18, 6, 6)
