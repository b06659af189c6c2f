"""One comparison: three readers of weights, trained on the same networks, and then put to the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

import symnet as sn
from symnet.data import Corpus, Digits, FitRecipe, split_images
from symnet.errors import SymnetError
from symnet.tasks.augmentation import move_images, permute_neurons
from symnet.tasks.readers import FlatReader, NeuronReader
from symnet.tasks.results import Moved
from symnet.tasks.training import Batch, Trained, TrainingRecipe, load_trained, save_trained, train

__all__ = ["FLAT", "FLAT_PERMUTED", "NEURONS", "READERS", "Part", "Settings", "Study"]

NEURONS, FLAT, FLAT_PERMUTED = "NF-Layers", "flat MLP", "flat MLP permuted"
READERS = (NEURONS, FLAT, FLAT_PERMUTED)


@dataclass(frozen=True, slots=True)
class Settings:
    """The size of a run. Trainings end by steps, not by the clock, so that two runs find the same.

    A step of a flat MLP takes a sixth of a step of the NF reader: it gets six times as many, and so as much time.

    Raises:
        SymnetError: a number that is out of range.
    """

    images: int = 1797
    fits: int = 16
    steps: int = 3600
    flat_steps: int = 6  # of a flat MLP for each step of the NF reader
    fit: FitRecipe = field(default_factory=FitRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    points: int = 10  # of a training curve

    def __post_init__(self) -> None:
        if not 100 <= self.images <= 1797 or self.fits < 1 or self.steps < 1 or self.flat_steps < 1:
            raise SymnetError(
                f"images={self.images}, fits={self.fits}, steps={self.steps}, flat_steps={self.flat_steps}: give 100 to "
                "1797 images (so that both parts of the split have every digit) and positive numbers."
            )
        if len(self.fit.widths) != 4:
            raise SymnetError(
                f"widths={self.fit.widths}: the readers are made for SIRENs with two hidden layers."
            )


@dataclass(frozen=True, slots=True)
class Part:
    """The networks of one side of the split."""

    weights: dict[str, Tensor]  # name -> (fits * images, *axes), fit by fit
    classes: Tensor  # (fits * images,)
    fits: int

    def features(self, rows: Tensor | slice) -> dict[str, Tensor]:
        """Some of the networks as features, `{name: (rows, *axes, 1)}`."""
        return {name: tensor[rows].unsqueeze(-1) for name, tensor in self.weights.items()}

    def logits(self, model: nn.Module, rows: int | None = None) -> Tensor:
        """Log-probabilities `(networks, classes)` of all, or of the first `rows`, networks."""
        model.eval()
        with torch.no_grad():
            count = len(self.classes) if rows is None else min(rows, len(self.classes))
            parts = [
                model(self.features(slice(k, min(k + 500, count)))) for k in range(0, count, 500)
            ]
            return torch.cat(parts).log_softmax(-1)

    def accuracy(self, model: nn.Module, rows: int | None = None) -> float:
        """The share of single networks that are read correctly."""
        found = self.logits(model, rows).argmax(-1)
        return float((found == self.classes[: len(found)]).float().mean())

    def vote(self, model: nn.Module) -> float:
        """The share of images that are read correctly from all their networks together."""
        total = self.logits(model).unflatten(0, (self.fits, -1)).sum(0).argmax(-1)
        return float((total == self.classes[: len(total)]).float().mean())


@dataclass
class Study:
    """Trains readers seed by seed, or takes finished trainings from the folder."""

    folder: Path
    data: Digits
    corpus: Corpus
    graph: sn.NeuronGraph
    settings: Settings
    console: Console
    trained: list[Trained] = field(default_factory=list)

    def parts(self, seed: int) -> tuple[Part, Part]:
        """Training and test networks: all networks of an image are on the same side."""
        split = split_images(self.data.classes, seed=seed)
        return self._part(split.train), self._part(split.test)

    def validation_parts(self, seed: int) -> tuple[Part, Part]:
        """The training networks in two: the smaller part is there to make choices on, and no test network is in either."""
        split = split_images(self.data.classes, seed=seed)
        others = split.train[~torch.isin(split.train, split.validation)]
        return self._part(others), self._part(split.validation)

    def _part(self, images: Tensor) -> Part:
        fits = self.corpus.fits
        return Part(self.corpus.of_images(images), self.data.classes[images].repeat(fits), fits)

    def build(self, reader: str, seed: int, training: Part) -> nn.Module:
        """An untrained reader; the same seed gives the same parameters."""
        features = training.features(slice(None))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return NeuronReader(self.graph, features) if reader == NEURONS else FlatReader(features)

    def key(self, reader: str, seed: int) -> dict[str, object]:
        """What a training depends on, as plain JSON values; a finished one with another key is not used."""
        chosen = asdict(self.settings)
        chosen["fit"] = self.settings.fit.as_dict()
        return {"reader": reader, "seed": seed, "settings": chosen}

    def train_all(self, seed: int) -> dict[str, nn.Module]:
        """All readers of one seed, trained; the rows of the table are in `trained`."""
        training, test = self.parts(seed)
        models = {}
        for reader in READERS:
            model = self.build(reader, seed, training)
            row = load_trained(self.folder, reader, seed, model, self.key(reader, seed))
            if isinstance(row, str):
                if row:
                    self.console.print(f"{row}; trained again.", style="yellow", markup=False)
                    model = self.build(
                        reader, seed, training
                    )  # a file that fails half way has changed some parameters
                row = self.train_one(reader, seed, model, training, test)
                save_trained(self.folder, row, model, self.key(reader, seed))
            self.trained.append(row)
            models[reader] = model.eval()
        return models

    def train_one(
        self, reader: str, seed: int, model: nn.Module, training: Part, test: Part
    ) -> Trained:
        """One training with its progress bar."""
        steps = self.settings.steps * (1 if reader == NEURONS else self.settings.flat_steps)
        permute = reader == FLAT_PERMUTED
        motion = self.settings.training.motion
        draw = _drawer(training, torch.Generator().manual_seed(seed), permute, motion)
        with _bar(self.console) as bar:
            task = bar.add_task(f"training {reader}, seed {seed}", total=1.0, loss="")
            seconds, curve = train(
                model,
                draw,
                test.accuracy,
                self.settings.training,
                steps,
                points=self.settings.points,
                on_progress=lambda share, loss: bar.update(
                    task, completed=share, loss=f"loss {loss:.2f}"
                ),
            )
            bar.update(task, completed=1.0)
        return Trained(
            reader,
            seed,
            test.accuracy(model),
            test.vote(model),
            training.accuracy(model, rows=4000),
            sum(p.numel() for p in model.parameters()),
            seconds,
            steps,
            curve,
        )

    def move(self, reader: str, model: nn.Module, test: Part, *, networks: int = 1000) -> Moved:
        """What happens to a trained reader's predictions when every test network's neurons are permuted."""
        before = {name: tensor[:networks] for name, tensor in test.weights.items()}
        count = len(test.classes[:networks])
        acted = [
            self.graph.act(
                self.graph.random_element(seed=k),
                {name: tensor[k] for name, tensor in before.items()},
            )
            for k in range(count)
        ]
        after = {name: torch.stack([network[name] for network in acted]) for name in before}
        single, changed = _change(model, before, after)
        double, _ = _change(model.double(), _doubled(before), _doubled(after))
        model.float()
        return Moved(reader, count, single, double, changed)


def _change(
    model: nn.Module, before: dict[str, Tensor], after: dict[str, Tensor]
) -> tuple[float, float]:
    """The largest change of a logit, relative to the largest logit, and the share of classes that change."""
    model.eval()
    with torch.no_grad():
        first, second = (
            model({name: t.unsqueeze(-1) for name, t in x.items()}) for x in (before, after)
        )
    difference = float((first - second).abs().max() / first.abs().max())
    return difference, float((first.argmax(-1) != second.argmax(-1)).float().mean())


def _doubled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in weights.items()}


def _drawer(
    part: Part, generator: torch.Generator, permute: bool, motion: float
) -> Callable[[int], Batch]:
    """Random batches of training networks, their images moved a little, their neurons permuted if asked for."""

    def draw(size: int) -> Batch:
        rows = torch.randint(len(part.classes), (size,), generator=generator)
        weights = move_images(
            {name: tensor[rows] for name, tensor in part.weights.items()}, generator, motion=motion
        )
        return (permute_neurons(weights, generator) if permute else weights), part.classes[rows]

    return draw


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<36}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        console=console,
    )
