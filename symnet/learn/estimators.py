"""Regressor and Classifier: from networks to numbers or classes, in the manner of scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from symnet.data.configured_graphs import Build
from symnet.data.splits import fold_numbers, group_numbers
from symnet.errors import SymnetError
from symnet.graph import NeuronGraph
from symnet.learn.candidates import READERS, Candidate, candidates_for
from symnet.learn.comparison import Comparison, Tried
from symnet.learn.engine import make_fabric
from symnet.learn.kinds import KindReader, kind_statistics, kinds_of
from symnet.learn.members import Folds, Member, Members, train_members
from symnet.learn.metrics import classification_measures, regression_measures
from symnet.learn.reader_files import save_reader
from symnet.learn.readings import TakenReadings, chunks_of
from symnet.learn.scratch import scratch_folder
from symnet.learn.sources import Networks, as_sets, digest_of, target_values
from symnet.learn.threads import one_thread

__all__ = ["Classifier", "Regressor"]

LEAST = 10  # networks to learn from
LAYER_BATCH = 32  # layers take half the steps, on fewer networks: a step takes 30 times as long as one on readings


class _Estimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn ships no types
    """What both kinds share; their subclasses say what a target is, and what an answer."""

    metric: ClassVar[str]

    def __init__(
        self,
        graph: NeuronGraph | None = None,
        *,
        reader: str = "best",
        module: nn.Module | None = None,
        example: Tensor | None = None,
        build: Build | None = None,
        folds: int = 5,
        steps: int = 400,
        seed: int = 0,
        folder: str | Path | None = None,
        verbose: bool = True,
    ) -> None:
        self.graph = graph
        self.reader = reader
        self.module = module
        self.example = example
        self.build = build
        self.folds = folds
        self.steps = steps
        self.seed = seed
        self.folder = folder
        self.verbose = verbose

    def fit(
        self,
        networks: Networks,
        target: Any,
        *,
        by: str | None = None,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> Self:
        """Compares readers, prints the table (`comparison_`), and keeps the best, or the one that `reader=` names.

        Every reader is trained once for each fold, on the networks of the other folds, and judged on its own: each network is judged by a
        reader that has not seen it.

        Args:
            networks: a set of `sn.data.read_folder`, a folder, modules, or state dicts.
            target: a column of the set, or one value for each network.
            by: a column; networks of one value are in one fold, so that siblings do not tell each other's answer.
            on_progress: called with the reader's name and the share of its training that is over.

        Raises:
            SymnetError: too few networks, values that are missing or all the same, or a reader that cannot be built.
        """
        sets = as_sets(networks, self.graph, build=self.build)
        values = self._prepared(target_values(sets, target))
        self._check(len(values))
        columns = {} if by is None else {by: target_values(sets, by)}
        groups = group_numbers(len(values), columns, by)
        count = min(self.folds, len(np.unique(groups)))
        if count < 2:
            raise SymnetError(
                f"All networks have the same '{by}': there is nothing to judge a reader on."
            )
        folds = Folds(fold_numbers(groups, count, self.seed), count)
        graph = sets[0].graph if len(sets) == 1 else None
        kinds = sorted({kind for each in sets for kind in kinds_of(each.graph.shapes).values()})
        candidates, left_out = candidates_for(graph, kinds, self.reader, self.module, self.example)
        key = {
            "digest": digest_of(sets, values),
            "folds": count,
            "by": by,
            "kind": type(self).__name__,
        }
        with one_thread(), scratch_folder(self.folder) as folder:
            tried = self._compare(candidates, sets, values, folds, folder, key, on_progress)
        measures = {
            name: self._measures(members.held_out, values) for name, members in tried.items()
        }
        kept = max(tried, key=lambda name: measures[name][self.metric])
        rows = [
            Tried(name, READERS[name], measures[name], members.parameters, members.seconds)
            for name, members in tried.items()
        ]
        self.comparison_ = Comparison(
            tuple(rows), kept, left_out, len(values), self.metric, self._reference(values)
        )
        self.graph_, self.members_, self.reader_ = graph, tried[kept].members, kept
        self.held_out_ = tried[kept].held_out.numpy()
        self.target_ = target if isinstance(target, str) else "target"
        if self.verbose:
            print(self.comparison_)
        return self

    def _compare(
        self,
        candidates: list[Candidate],
        sets: Any,
        values: np.ndarray,
        folds: Folds,
        folder: Path,
        key: dict[str, Any],
        on_progress: Callable[[str, float], None] | None,
    ) -> dict[str, Members]:
        fabric = make_fabric()
        taken = TakenReadings(sets)
        target = torch.from_numpy(values)
        return {
            candidate.name: train_members(
                candidate, taken, target, self._classes(), folds, folder, fabric, steps=max(self.steps // 2, 1) if candidate.has_layers else self.steps,
                batch=LAYER_BATCH if candidate.has_layers else 64, seed=self.seed, key=key, on_progress=on_progress,
            )
            for candidate in candidates
        }  # fmt: skip

    def _check(self, count: int) -> None:
        if count < LEAST:
            raise SymnetError(
                f"{count} networks are too few to learn from; give {LEAST} at least, better hundreds."
            )
        if self.folds < 2 or self.steps < 1:
            raise SymnetError(
                f"folds={self.folds} and steps={self.steps}: give two folds and one step at least."
            )

    @torch.no_grad()
    def _answers(self, networks: Networks) -> Tensor:
        """What the members say, `(members, networks, ...)`."""
        if not hasattr(self, "members_"):
            raise SymnetError(
                f"This {type(self).__name__} has not learned anything: call fit(networks, target) first."
            )
        with one_thread():
            parts = [
                torch.stack([self._answer(member, chunk) for member in self.members_])
                for each in as_sets(networks, self.graph_, build=self.build)
                for chunk in chunks_of(each)
            ]
        return torch.cat(parts, dim=1)

    def _answer(self, member: Member, chunk: dict[str, Tensor]) -> Tensor:
        if isinstance(member.reader, KindReader):
            weights = {name: tensor[..., 0] for name, tensor in chunk.items()}
            found: Tensor = member.reader({"kinds": kind_statistics(weights, member.reader.kinds)})
        else:
            found = member.reader(chunk)
        return found.double() * member.spread + member.centre

    def score(self, networks: Networks, target: Any) -> float:
        """R² of a Regressor's answers, the share of right answers of a Classifier."""
        sets = as_sets(
            networks, self.graph_ if hasattr(self, "graph_") else self.graph, build=self.build
        )
        values = self._prepared(target_values(sets, target), fitted=True)
        whole = [self._said(self._answers(each)) for each in sets]
        return self._measures(torch.cat(whole), values)[self.metric]

    def save(self, path: str | Path) -> None:
        """Writes the fitted reader to one file, whole or not at all; `sn.learn.load` reads it, and it runs no code."""
        save_reader(self, path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "members_")

    # ---- what a target is -------------------------------------------------------------------------------------------
    @abstractmethod
    def _prepared(self, values: np.ndarray, *, fitted: bool = False) -> np.ndarray: ...

    @abstractmethod
    def _classes(self) -> int: ...

    @abstractmethod
    def _measures(self, answers: Tensor, values: np.ndarray) -> dict[str, float]: ...

    @abstractmethod
    def _reference(self, values: np.ndarray) -> float: ...

    @abstractmethod
    def _said(self, answers: Tensor) -> Tensor: ...


class Regressor(_Estimator):
    """Predicts a number from the weights of a network: an accuracy, a learning rate, a return.

    Args:
        graph: of the networks (default: that of the set that `fit` is given).
        reader: "best" compares all that can be had; or one of "statistics", "product", "probes", "layers", "all".
        module, example: the networks' code and a batch that they take: products then know strides and norms, and probes can be asked. A
            saved reader that uses them needs the module again.
        build: for folders of several architectures with `config.json`, as in `sn.data.read_folder`.
        folds: parts into which the networks are divided; the fitted reader is the mean of so many.
        steps: of each training.
        seed: of the folds and trainings.
        folder: where trainings are kept, so that a killed fit goes on; none by default.
        verbose: whether the table is printed.

    Attributes:
        comparison_: the table. reader_: the reader that is kept. held_out_: for every network what a reader said that had not seen it.

    Example:
        >>> import numpy as np, torch, symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: torch.randn(40, *shape) for name, shape in graph.shapes.items()}
        >>> networks = sn.data.NetworkSet(graph, weights, {"mean": weights["2.weight"].mean((1, 2)).numpy()})
        >>> model = Regressor(reader="statistics", steps=30, folds=2, verbose=False).fit(networks, "mean")
        >>> model.predict(networks).shape
        (40,)

    Source: the readers' comparison follows Unterthiner et al. 2020 (arXiv 2002.11448) and Zhou et al. 2023 (arXiv 2302.14040).
    """

    metric = "r2"
    _estimator_type = "regressor"

    def predict(self, networks: Networks) -> np.ndarray:
        """A number for each network, `(networks,)`, float64."""
        return self._said(self._answers(networks)).numpy()

    def _prepared(self, values: np.ndarray, *, fitted: bool = False) -> np.ndarray:
        if values.dtype.kind not in "biuf":
            raise SymnetError(
                f"A Regressor learns numbers, and the values are texts such as {values[0]!r:.40}; use a Classifier."
            )
        values = values.astype(np.float64)
        if not fitted and np.ptp(values) == 0:
            raise SymnetError(
                f"All networks have the same value, {values[0]:g}: there is nothing to learn."
            )
        return values

    def _classes(self) -> int:
        return 0

    def _measures(self, answers: Tensor, values: np.ndarray) -> dict[str, float]:
        return regression_measures(answers.double(), torch.from_numpy(values))

    def _reference(self, values: np.ndarray) -> float:
        return 0.0

    def _said(self, answers: Tensor) -> Tensor:
        return answers.squeeze(-1).mean(0)


class Classifier(_Estimator):
    """Predicts a class from the weights of a network: a data set, an optimizer, the digit that a network shows.

    Arguments and attributes are those of :class:`Regressor`; and `classes_`, the values that `predict` gives.

    Example:
        >>> import numpy as np, torch, symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: torch.randn(40, *shape) for name, shape in graph.shapes.items()}
        >>> large = np.where(weights["2.bias"][:, 0] > 0, "yes", "no")
        >>> networks = sn.data.NetworkSet(graph, weights, {"large": large})
        >>> model = Classifier(reader="statistics", steps=30, folds=2, verbose=False).fit(networks, "large")
        >>> model.classes_.tolist(), model.predict_proba(networks).shape
        (['no', 'yes'], (40, 2))
    """

    metric = "accuracy"
    _estimator_type = "classifier"

    def predict(self, networks: Networks) -> np.ndarray:
        """The likeliest class of each network, `(networks,)`."""
        classes: np.ndarray = self.classes_[self.predict_proba(networks).argmax(1)]
        return classes

    def predict_proba(self, networks: Networks) -> np.ndarray:
        """The chance of every class, `(networks, classes)`."""
        return self._said(self._answers(networks)).numpy()

    def _prepared(self, values: np.ndarray, *, fitted: bool = False) -> np.ndarray:
        if not fitted:
            self.classes_ = np.unique(values)
            if not 2 <= len(self.classes_) <= max(2, len(values) // 2):
                raise SymnetError(
                    f"{len(values)} networks of {len(self.classes_)} classes: a Classifier needs two classes at least, and some "
                    "networks of each. For numbers use a Regressor."
                )
        elif unknown := sorted(
            {str(value) for value in values} - {str(value) for value in self.classes_}
        ):
            raise SymnetError(
                f"The classes {', '.join(unknown[:4])} were not among those that were learned."
            )
        return np.searchsorted(self.classes_, values).astype(np.int64)

    def _classes(self) -> int:
        return len(self.classes_)

    def _measures(self, answers: Tensor, values: np.ndarray) -> dict[str, float]:
        return classification_measures(answers.double(), torch.from_numpy(values))

    def _reference(self, values: np.ndarray) -> float:
        return float(np.bincount(values).max() / len(values))

    def _said(self, answers: Tensor) -> Tensor:
        return answers.softmax(-1).mean(0)
