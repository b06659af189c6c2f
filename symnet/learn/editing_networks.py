"""Editor: from networks to changed networks of the same architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from symnet.data import NetworkSet
from symnet.errors import ShapeError, SymnetError
from symnet.graph import NeuronGraph
from symnet.learn.comparison import Comparison, Tried
from symnet.learn.engine import Engine, make_fabric
from symnet.learn.members import Member, training_of
from symnet.learn.problem import Parts, Weights
from symnet.learn.questions import EditQuestion, Show
from symnet.learn.reader_files import save_reader
from symnet.learn.readings import chunks_of
from symnet.learn.scratch import scratch_folder
from symnet.learn.sources import Networks, as_sets, digest_of
from symnet.learn.threads import one_thread
from symnet.nn import EquivariantNetwork
from symnet.tracing.execution import random_numbers

__all__ = ["Editor"]

LEAST = 20  # networks to learn from
START = 0.05  # of the size of a first change, in units of a tensor's spread


class Changed(nn.Module):
    """Weights and what an equivariant network adds to them, in units of each tensor's spread."""

    def __init__(self, network: EquivariantNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, weights: Mapping[str, Tensor]) -> Weights:
        change = self.network({name: tensor.unsqueeze(-1) for name, tensor in weights.items()})
        spread = dict(zip(self.network.scale.names, self.network.scale.deviation, strict=True))
        return {
            name: tensor + change[name].squeeze(-1) * spread[name]
            for name, tensor in weights.items()
        }


class Editor(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Changes networks: learns from pairs what to do to weights, equivariantly, so that neurons may be numbered in any order.

    Args:
        graph: of the networks (default: that of the set that `fit` is given).
        channels, layers: of the equivariant network.
        steps: of training.
        seed: of everything random.
        folder: where the training is kept, so that a killed fit goes on; none by default.
        verbose: whether the table is printed.

    Example:
        >>> import torch, symnet as sn
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> weights = {name: torch.randn(40, *shape) for name, shape in graph.shapes.items()}
        >>> halves = sn.data.NetworkSet(graph, {name: tensor / 2 for name, tensor in weights.items()})
        >>> networks = sn.data.NetworkSet(graph, weights)
        >>> editor = Editor(channels=4, steps=30, verbose=False).fit(networks, halves)
        >>> editor.predict(networks).weights["0.weight"].shape
        torch.Size([40, 4, 2])

    Source: Zhou et al. 2023 (arXiv 2302.14040), section 3.3.
    """

    def __init__(
        self,
        graph: NeuronGraph | None = None,
        *,
        channels: int = 8,
        layers: int = 2,
        steps: int = 400,
        seed: int = 0,
        folder: str | Path | None = None,
        verbose: bool = True,
    ) -> None:
        self.graph = graph
        self.channels = channels
        self.layers = layers
        self.steps = steps
        self.seed = seed
        self.folder = folder
        self.verbose = verbose

    def fit(
        self,
        networks: Networks,
        target: NetworkSet | Tensor,
        *,
        show: Show | None = None,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> Self:
        """Learns the change, from four fifths of the networks, and judges it on the last fifth.

        Args:
            networks: a set, a folder, modules, or state dicts.
            target: the networks that they shall become, in the same order; or with `show` what these shall show, `(networks, ...)`.
            show: from weights `{name: (networks, *axes)}` to what networks show, differentiable; for instance
                `symnet.tasks.editing.shown_by(module, grid)`.

        Raises:
            SymnetError: too few networks, or targets that do not fit them.
        """
        (given,) = as_sets(networks, self.graph if self.graph is not None else _graph_of(networks))
        if len(given) < LEAST:
            raise SymnetError(
                f"{len(given)} networks are too few to learn from; give {LEAST} at least."
            )
        order = torch.randperm(len(given), generator=torch.Generator().manual_seed(self.seed))
        fifth = len(order) // 5
        parts = Parts(order[fifth:], order[: fifth // 2], order[fifth // 2 : fifth])
        with random_numbers(self.seed):
            network = EquivariantNetwork(given.graph, self.channels, layers=self.layers)
        network.calibrate(
            {name: given.weights[name][parts.train].unsqueeze(-1) for name in network.inputs}
        )
        with torch.no_grad():
            for parameter in (*network.last.parameters(), *network.itself.parameters()):
                parameter.mul_(START)
        shown, wanted = _shown_and_wanted(network, given, target, show)
        problem = EditQuestion(
            given.graph, dict(given.weights), {"target": wanted}, parts, show=shown
        )
        key: dict[str, Any] = {
            "digest": digest_of([given], wanted.flatten(1).double().mean(1).numpy()),
            "kind": "Editor",
        }
        key |= {"channels": self.channels, "layers": self.layers}
        with one_thread(), scratch_folder(self.folder) as folder:
            engine = Engine(
                problem, lambda: Changed(network), training_of(self.steps, 32), folder / "editor", name="editor",
                seed=self.seed, key=key, fabric=make_fabric(), log=False,
                on_progress=None if on_progress is None else lambda share, loss: on_progress("editor", share),
            )  # fmt: skip
            outcome = engine.train()
        trained = engine.best_model
        assert isinstance(trained, Changed)
        held = order[:fifth]
        error = _mean_square(problem.predictions(trained, held), wanted[held])
        before = _mean_square(
            shown({name: tensor[held] for name, tensor in given.weights.items()}), wanted[held]
        )
        self.graph_, self.members_ = given.graph, (Member(trained.network.eval()),)
        self.reader_, self.target_ = "layers", "networks"
        measures = {"r2": 1 - error / before if before else 0.0, "error": error}
        row = Tried(
            "layers", "an equivariant network", measures, outcome.parameters, outcome.seconds
        )
        self.comparison_ = Comparison((row,), "layers", {}, len(given), "r2", 0.0)
        if self.verbose:
            print(self.comparison_)
        return self

    @torch.no_grad()
    def predict(self, networks: Networks) -> NetworkSet:
        """The changed networks, with the columns that they had."""
        if not hasattr(self, "members_"):
            raise SymnetError(
                "This Editor has not learned anything: call fit(networks, target) first."
            )
        (given,) = as_sets(networks, self.graph_)
        changed = Changed(self.members_[0].reader)  # type: ignore[arg-type]
        with one_thread():
            parts = [
                changed({name: t[..., 0] for name, t in chunk.items()})
                for chunk in chunks_of(given)
            ]
        weights = {name: torch.cat([part[name] for part in parts]) for name in given.graph.shapes}
        return NetworkSet(given.graph, weights, given.columns)

    @torch.no_grad()
    def score(
        self, networks: Networks, target: NetworkSet | Tensor, *, show: Show | None = None
    ) -> float:
        """The share of the mean square of the difference to the targets that the change takes away."""
        edited = self.predict(networks)
        (given,) = as_sets(networks, self.graph_)
        network = self.members_[0].reader
        assert isinstance(network, EquivariantNetwork)
        shown, wanted = _shown_and_wanted(network, given, target, show)
        after, before = (
            _mean_square(shown(dict(some.weights)), wanted) for some in (edited, given)
        )
        return 1 - after / before if before else 0.0

    def save(self, path: str | Path) -> None:
        """Writes the fitted editor to one file, whole or not at all; `sn.learn.load` reads it."""
        save_reader(self, path)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "members_")


def _graph_of(networks: Any) -> NeuronGraph | None:
    return networks.graph if isinstance(networks, NetworkSet) else None


def _shown_and_wanted(
    network: EquivariantNetwork, given: NetworkSet, target: NetworkSet | Tensor, show: Show | None
) -> tuple[Show, Tensor]:
    """What is compared, as a function of weights, and what it shall be."""
    if isinstance(target, NetworkSet):
        if show is not None or target.graph != given.graph:
            raise ShapeError(
                "The networks to become are of another graph, or show= was given beside them."
            )
        spread = dict(zip(network.scale.names, network.scale.deviation.clone(), strict=True))
        show = partial(_in_units, spread)
        wanted = show(dict(target.weights))
    elif show is None or not isinstance(target, Tensor):
        raise ShapeError(
            "Give the networks to become as a NetworkSet, or what they shall show as a tensor and show=."
        )
    else:
        wanted = target
    if len(wanted) != len(given):
        raise ShapeError(
            f"There are {len(given)} networks and {len(wanted)} targets; give one for each, in the same order."
        )
    return show, wanted


def _in_units(spread: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """All weights in one row, `(networks, weights)`, in units of their tensors' spread."""
    return torch.cat([(weights[name] / spread[name]).flatten(1) for name in spread], dim=1)


def _mean_square(answers: Tensor, wanted: Tensor) -> float:
    return float((answers - wanted).square().mean())
