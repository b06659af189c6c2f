"""Training that survives: Lightning Fabric runs the steps; checkpoints, shards and seeds make an interruption invisible.

Fabric and not our own loop over devices: it sets up one process or several (`torchrun`), CPU or GPU, and mixed precision behind three
calls, and leaves the loop to us. Hugging Face's Accelerate does the same, and brings model hubs along (huggingface_hub, psutil);
Lightning's Trainer owns the loop, which would hide the order of steps, looks and checkpoints on which exact resumption rests.

All randomness is a function of the seed and the step (sampling.py), but for dropout, whose generators are in the checkpoint.
"""

from __future__ import annotations

import atexit
import gc
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch import Tensor, distributed, nn

from symnet.learn.checkpoints import load_checkpoint, save_checkpoint
from symnet.learn.problem import Augment, Batch, Problem, TrainingError
from symnet.learn.sampling import Sampler, draws
from symnet.learn.settings import TrainingConfiguration

__all__ = ["Engine", "Outcome", "make_fabric"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished training. The step that is best on the validation networks is the one that is tested."""

    model: str
    seed: int
    test: dict[str, float]  # every measure, on networks that chose nothing
    validation: float  # the metric at the best step
    best_step: int
    steps: int
    seconds: float  # of training steps alone
    parameters: int
    curve: tuple[
        tuple[int, float, float], ...
    ]  # (step, mean training loss since the last look, validation metric)


@dataclass
class _Progress:
    """All that changes while training, besides the model, its optimizer and the schedule."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: float = math.nan
    best_step: int = 0
    curve: list[list[float]] = field(default_factory=list)


def make_fabric(precision: str = "32-true", accelerator: str = "cpu") -> Fabric:
    """Fabric for this process, alone or as one of those that `torchrun` started (gloo on CPUs, NCCL on GPUs).

    Raises:
        TrainingError: there is no such accelerator here.
    """
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            precision=precision,  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"Training on accelerator={accelerator!r} with precision={precision!r} cannot start here: {error} "
            "Choose cpu, gpu or auto."
        ) from error
    fabric.launch()
    if world > 1:
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Ends the process group while the interpreter still runs.

    A thread of gloo that lets go of a last tensor needs the interpreter's lock; when the interpreter is ending, it gets none, and
    the process aborts. Collecting first ends the modules that keep the group; the pause lets the threads have the lock.
    """
    gc.collect()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    time.sleep(0.1)


class Engine:
    """One model, trained on one problem from one seed; a folder holds what it takes to go on.

    Args:
        problem: networks, loss and measures.
        build: makes the model; called with torch's generator seeded.
        recipe: steps, batch, optimizer.
        folder: for the checkpoint and TensorBoard's files.
        name, seed: of the training.
        key: plain values that tell this training from others, besides recipe and seed.
        augment: other weights of as good a training network, by a generator.
        fabric: made by `make_fabric` (default: one process on the CPU).
        on_progress: called with the share of the steps that is over and the mean loss.
        log: whether TensorBoard's files are written.
    """

    def __init__(
        self,
        problem: Problem,
        build: Callable[[], nn.Module],
        recipe: TrainingConfiguration,
        folder: str | Path,
        *,
        name: str = "model",
        seed: int = 0,
        key: Mapping[str, Any] | None = None,
        augment: Augment | None = None,
        fabric: Fabric | None = None,
        on_progress: Callable[[float, float], None] | None = None,
        log: bool = True,
    ) -> None:
        self.problem, self.recipe, self.folder, self.name, self.seed = (
            problem,
            recipe,
            Path(folder),
            name,
            seed,
        )
        self.augment, self.on_progress = augment, on_progress
        self.fabric = fabric or make_fabric(recipe.precision)
        self.key = {**(key or {}), "model": name, "seed": seed, "training": recipe.model_dump()}
        rank, world = self.fabric.global_rank, self.fabric.world_size
        self.sampler = Sampler(
            problem.parts.train, batch=recipe.batch, seed=seed, rank=rank, world=world
        )
        self.progress, self.best_state = _Progress(), dict[str, Tensor]()
        self.predictions = torch.empty(
            0
        )  # for the test networks, once trained, in the first process
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            raw = build()
        self.optimizer: Any = torch.optim.AdamW(
            raw.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._share_of_rate)
        self.parameters = sum(parameter.numel() for parameter in raw.parameters())
        self.model, self.optimizer = self.fabric.setup(raw, self.optimizer)
        self.logger = self._logger() if log and self.fabric.is_global_zero else None

    @property
    def checkpoint(self) -> Path:
        """The file to go on from."""
        return self.folder / "checkpoint.pt"

    @property
    def best_model(self) -> nn.Module:
        """The module with the parameters of the best step so far."""
        module: nn.Module = self.model.module
        if self.best_state:
            module.load_state_dict(self.best_state)
        return module

    def train(self) -> Outcome:
        """Trains from the last checkpoint, or from the start, to the end.

        Raises:
            TrainingError: a loss or gradient that is no number, a full disk, or a checkpoint of another training.
        """
        devices = [torch.cuda.current_device()] if self.fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(
                (self.seed + 1) * 1_000_003 + self.fabric.global_rank
            )  # dropout differs between processes
            self._resume()
            while self.progress.step < self.recipe.steps:
                self._step()
                last = self.progress.step == self.recipe.steps
                if last or self.progress.step % self.recipe.evaluate_every == 0:
                    self._look()
                if last or self.progress.step % self.recipe.checkpoint_every == 0:
                    self._save()
            return self._finish()

    def _step(self) -> None:
        """One step of the optimizer, on this process's share of the batch."""
        started = time.perf_counter()
        self.model.train()
        batch = self._batch(self.progress.step)
        loss = self.problem.loss(self.model, batch)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False
        )
        # The gradients are the mean over all processes: what one process finds, all find, and all stop here.
        if norm is None or not math.isfinite(float(norm)):
            self._stop(float(loss.detach()))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        progress = self.progress
        progress.step += 1
        progress.loss_sum += float(loss.detach())
        progress.loss_count += 1
        progress.seconds += time.perf_counter() - started
        if self.on_progress is not None:
            self.on_progress(
                progress.step / self.recipe.steps, progress.loss_sum / progress.loss_count
            )

    def _batch(self, step: int) -> Batch:
        if self.augment is None:
            return self._moved(self.problem.take(self.sampler(step)))
        # Drawn for the whole batch and then shared out, so that several processes see what one would.
        whole = Sampler(self.sampler.rows, batch=self.recipe.batch, seed=self.seed)(step)
        batch = self.problem.take(whole)
        weights = self.augment(batch.weights, draws(self.seed + 17, step))
        share = slice(self.sampler.rank, None, self.sampler.world)
        return self._moved(
            Batch(
                {k: t[share] for k, t in weights.items()},
                {k: t[share] for k, t in batch.targets.items()},
            )
        )

    def _moved(self, batch: Batch) -> Batch:
        return Batch(self.fabric.to_device(batch.weights), self.fabric.to_device(batch.targets))

    def _stop(self, loss: float) -> None:
        kept = self._checkpointed_step()
        where = (
            f"the checkpoint of step {kept} is intact"
            if kept
            else "no checkpoint was written before"
        )
        raise TrainingError(
            f"{self.name}, seed {self.seed}: at step {self.progress.step + 1} the loss is {loss:.4g} and the gradient's norm is "
            f"no number; {where}. Lower training.learning_rate (now {self.recipe.learning_rate}) or training.clip, or look for "
            "such numbers in the corpus; then train in a new folder."
        )

    def _checkpointed_step(self) -> int:
        return (
            self.progress.step - self.progress.step % self.recipe.checkpoint_every
            if self.checkpoint.exists()
            else 0
        )

    def _share_of_rate(self, step: int) -> float:
        """Learning rate relative to its peak: up in a line, then down along half a cosine."""
        rise = self.recipe.warm_up * self.recipe.steps
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1.0, self.recipe.steps - rise)))

    def _look(self) -> None:
        """Judges the model on the validation networks, on the first process; keeps it if it is the best so far."""
        progress, found = self.progress, math.nan
        if self.fabric.is_global_zero:
            with self.fabric.autocast():
                found = self.problem.judge(
                    self.model.module, self.problem.parts.validation, device=self.fabric.device
                )[self.problem.metric]
        found = self.fabric.broadcast(found)
        loss = progress.loss_sum / max(1, progress.loss_count)
        better = found > progress.best if self.problem.larger_is_better else found < progress.best
        if better or not self.best_state:
            progress.best, progress.best_step = found, progress.step
            self.best_state = {
                name: t.detach().cpu().clone() for name, t in self.model.module.state_dict().items()
            }
        progress.curve.append([progress.step, loss, found])
        progress.loss_sum, progress.loss_count = 0.0, 0
        if self.logger is not None:
            rate = float(self.schedule.get_last_lr()[0])
            measured = {
                "loss/train": loss,
                f"validation/{self.problem.metric}": found,
                "learning_rate": rate,
            }
            self.logger.log_metrics(measured, step=progress.step)

    def _save(self) -> None:
        generators = {"cpu": self._gathered(torch.get_rng_state())}
        if self.fabric.device.type == "cuda":
            generators["cuda"] = self._gathered(torch.cuda.get_rng_state())
        state = {
            "key": json.dumps(self.key),
            "world": self.fabric.world_size,
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule.state_dict(),
            "sampler": {"seed": self.seed, "position": self.progress.step * self.recipe.batch},
            "generators": generators,
            "best": self.best_state,
            "progress": asdict(self.progress),
        }
        save_checkpoint(self.fabric, self.checkpoint, state, self.progress.step)

    def _gathered(self, own: Tensor) -> Tensor:
        """A tensor of every process, `(processes, size)`, on the CPU."""
        if self.fabric.world_size == 1:
            return own.cpu().unsqueeze(0)
        own = self.fabric.to_device(own)
        found = [torch.empty_like(own) for _ in range(self.fabric.world_size)]
        distributed.all_gather(found, own)
        return torch.stack(found).cpu()

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.key)
        if state is None:
            return
        if state["world"] != self.fabric.world_size:
            raise TrainingError(
                f"{self.checkpoint} was written by {state['world']} processes, and there are {self.fabric.world_size}: "
                "go on with as many, or delete the file."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.progress, self.best_state = _Progress(**state["progress"]), state["best"]
        own = {
            kind: states[self.fabric.global_rank] for kind, states in state["generators"].items()
        }
        torch.set_rng_state(own["cpu"])
        if "cuda" in own:
            torch.cuda.set_rng_state(own["cuda"])

    def _finish(self) -> Outcome:
        progress = self.progress
        test: dict[str, float] = {}
        if self.fabric.is_global_zero:
            with self.fabric.autocast():
                rows = self.problem.parts.test
                self.predictions = self.problem.predictions(
                    self.best_model, rows, device=self.fabric.device
                )
            test = self.problem.report(self.predictions, self.problem.known(rows))
        if self.logger is not None:
            self.logger.log_metrics(
                {f"test/{name}": value for name, value in test.items()}, step=progress.step
            )
            self.logger.finalize("success")
        self.fabric.barrier()  # no process leaves while another still waits for it
        return Outcome(
            model=self.name,
            seed=self.seed,
            test=self.fabric.broadcast(test),
            validation=progress.best,
            best_step=progress.best_step,
            steps=progress.step,
            seconds=progress.seconds,
            parameters=self.parameters,
            curve=tuple((int(step), loss, metric) for step, loss, metric in progress.curve),
        )

    def _logger(self) -> TensorBoardLogger:
        return TensorBoardLogger(self.folder, name="", version="tensorboard")
