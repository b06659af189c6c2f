"""Laws of training: an interruption changes nothing, several processes are as one, and what goes wrong is said."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from symnet.learn.engine import Engine, make_fabric
from symnet.learn.problem import Parts, TrainingError
from symnet.learn.sampling import Sampler
from tests.learn.small_problem import RECIPE, make_engine, make_problem, write_outcome

SCRIPT = Path(__file__).parent / "small_problem.py"
ROOT = Path(__file__).parents[2]


def command(
    folder: Path, pause: float = 0.0, dropout: float = 0.2, launcher: tuple[str, ...] = ()
) -> list[str]:
    return [sys.executable, *launcher, str(SCRIPT), str(folder), str(pause), str(dropout)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def outcome(folder: Path) -> dict[str, object]:
    return json.loads((folder / "outcome.json").read_text())


def run_to_the_end(folder: Path, **options) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    result = subprocess.run(
        command(folder, **options), env=environment(), capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    return outcome(folder)


def run_here(folder: Path, dropout: float = 0.2) -> dict[str, object]:
    """The same run in this process, whose imports are done."""
    folder.mkdir(exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        write_outcome(folder, 0.0, dropout)
    return outcome(folder)


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_training_ends_as_an_undisturbed_one(tmp_path: Path, kills: int) -> None:
    """Killed at random points (SIGKILL) and started again, it gives the same metrics and parameters, bit for bit."""
    undisturbed, folder = run_here(tmp_path / "whole"), tmp_path / "killed"
    folder.mkdir()
    rng, reached = random.Random(5), [0]
    for _ in range(kills):
        process = subprocess.Popen(command(folder, pause=0.02), env=environment())
        written = (
            (folder / "checkpoint.pt").stat().st_mtime_ns
            if (folder / "checkpoint.pt").exists()
            else 0
        )
        deadline = time.monotonic() + 100
        while (
            not (folder / "checkpoint.pt").exists()
            or (folder / "checkpoint.pt").stat().st_mtime_ns == written
        ):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.25))
        assert process.poll() is None, "it ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        reached.append(torch.load(folder / "checkpoint.pt", weights_only=True)["progress"]["step"])
    assert sorted({*reached}) == reached and reached[-1] < RECIPE.steps
    assert run_here(folder) == undisturbed


def forked(folder: Path) -> dict[str, object]:
    """What two processes find that know of each other by the variables that `torchrun` sets."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }

    def train(rank: str) -> None:
        os.environ |= shared | {"RANK": rank, "LOCAL_RANK": rank, "TORCHELASTIC_RUN_ID": "none"}
        write_outcome(folder, 0.0, 0.0)

    processes = [
        multiprocessing.get_context("fork").Process(target=train, args=(rank,)) for rank in "01"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    return outcome(folder)


def launched(folder: Path) -> dict[str, object]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    return run_to_the_end(folder, dropout=0.0, launcher=launcher)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("start", [forked, pytest.param(launched, marks=pytest.mark.slow)])
def test_two_processes_train_as_one(
    tmp_path: Path, start: Callable[[Path], dict[str, object]]
) -> None:
    """With two processes (gloo), the parameters after 12 steps are those of one process: same gradients."""
    one, two = run_here(tmp_path / "one", dropout=0.0), start(tmp_path / "two")
    assert torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)["world"] == 2
    for name, values in one["parameters"].items():
        assert torch.allclose(
            torch.tensor(values), torch.tensor(two["parameters"][name]), rtol=1e-9, atol=1e-12
        ), name
    assert one["test"]["error"] == pytest.approx(two["test"]["error"], rel=1e-9)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shards_are_disjoint_and_complete(world: int) -> None:
    """Every epoch has each network once, over all processes; a step's shards are the batch of one process."""
    rows = torch.arange(100, 141)
    shards = [Sampler(rows, batch=6, seed=4, rank=rank, world=world) for rank in range(world)]
    steps = [
        torch.cat([shard(step) for shard in shards]) for step in range(41)
    ]  # 41 steps of 6: six epochs
    alone = Sampler(rows, batch=6, seed=4)
    for step, found in enumerate(steps):
        assert sorted(found.tolist()) == sorted(alone(step).tolist())
    for epoch in torch.cat([alone(step) for step in range(41)]).split(41):
        assert sorted(epoch.tolist()) == rows.tolist()
    assert len({tuple(shards[0](step).tolist()) for step in range(20)}) == 20


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"batch=7 .* 2 processes; set training.batch to a multiple of 2"
    ):
        Sampler(torch.arange(9), batch=7, seed=0, world=2)


def test_a_full_disk_stops_with_the_last_checkpoint_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After room is made, the same command goes on there and ends as if nothing had happened."""
    undisturbed = make_engine(tmp_path / "whole").train()
    synchronise, calls = os.fsync, []

    def full(file: int) -> None:
        calls.extend(
            [file] if stat.S_ISREG(os.fstat(file).st_mode) else []
        )  # folders are flushed as well
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synchronise(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        TrainingError, match=r"step 20 .*the disk is full; the checkpoint before it is intact"
    ):
        make_engine(tmp_path / "full").train()
    assert (
        torch.load(tmp_path / "full" / "checkpoint.pt", weights_only=True)["progress"]["step"] == 15
    )
    assert [path.name for path in (tmp_path / "full").glob(".*")] == []
    found = make_engine(tmp_path / "full").train()
    assert (found.test, found.curve) == (undisturbed.test, undisturbed.curve)


class Spoilt(nn.Module):
    """A model whose answer is no number from some step on."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.weight, self.left = nn.Parameter(torch.ones(1, dtype=torch.float64)), steps

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        if self.training:
            self.left -= 1
        answer = x["0.bias"].mean((1, 2)).unsqueeze(-1) * self.weight
        return answer * float("nan") if self.left < 0 else answer


def test_a_loss_that_is_no_number_stops_with_the_last_checkpoint_intact(tmp_path: Path) -> None:
    """No step is made with it, and the message names the step, the checkpoint and the remedy."""
    engine = Engine(
        make_problem(), lambda: Spoilt(12), RECIPE, tmp_path, fabric=make_fabric("64-true")
    )
    with pytest.raises(
        TrainingError, match=r"at step 13 the loss is nan .*checkpoint of step 10 .*learning_rate"
    ):
        engine.train()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["progress"]["step"] == 10 and all(
        t.isfinite().all() for t in state["model"].values()
    )


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    make_engine(tmp_path).train()
    with pytest.raises(
        TrainingError,
        match=r"another training: seed was 0 and is 1; training.steps was 60 and is 70",
    ):
        make_engine(tmp_path, recipe=RECIPE.model_copy(update={"steps": 70}), seed=1).train()


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: bytes | None) -> None:
    """Empty, junk, or cut off: nothing is executed, and the message says what to delete."""
    make_engine(tmp_path).train()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read .*Delete it"):
        make_engine(tmp_path).train()


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    """The outcome comes from the checkpoint, seconds included."""
    assert make_engine(tmp_path).train() == make_engine(tmp_path).train()


def test_the_callers_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    make_engine(tmp_path).train()
    assert torch.equal(torch.rand(3), expected)


def test_training_in_bfloat16_learns(tmp_path: Path) -> None:
    """Mixed precision by one word of the configuration: parameters stay float32, and the error falls."""
    recipe = RECIPE.model_copy(update={"precision": "bf16-mixed"})
    problem = make_problem()
    weights = {name: tensor.float() for name, tensor in problem.weights.items()}
    targets = {name: tensor.float() for name, tensor in problem.targets.items()}
    problem = type(problem)(problem.graph, weights, targets, problem.parts)
    engine = make_engine(tmp_path, recipe=recipe, problem=problem, fabric=make_fabric("bf16-mixed"))
    found = engine.train()
    assert {parameter.dtype for parameter in engine.best_model.parameters()} == {torch.float32}
    assert found.validation < 0.9 * found.curve[0][2]


def test_tensorboard_gets_the_curve(tmp_path: Path) -> None:
    make_engine(tmp_path).train()
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    text = events.read_bytes()
    assert all(
        name in text
        for name in (b"loss/train", b"validation/error", b"learning_rate", b"test/error")
    )


def test_parts_that_share_a_network_are_refused() -> None:
    rows = torch.arange(5)
    with pytest.raises(ValueError, match="none may be in two parts"):
        Parts(rows[:3], rows[2:4], rows[4:])
