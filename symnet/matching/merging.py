"""merge: several networks of one architecture become one, their neurons matched first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.graph import GroupElement, NeuronGraph
from symnet.matching.alignment import align
from symnet.matching.padding import cut, pad
from symnet.matching.states import MovedState, StateView
from symnet.matching.weighing import Measure
from symnet.nn.features import Source

Weights = dict[str, Tensor]
Loss = Callable[[Mapping[str, Tensor]], float]
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Merge:
    """Networks that were merged, the elements that laid their neurons
    on one another, and the result.

    ``weights`` is the merged state dict; ``elements`` has one for each network. ``mixture(shares)``
    gives any other mixture.
    """

    graph: NeuronGraph
    weights: Mapping[str, Tensor]
    elements: tuple[GroupElement, ...]
    shares: tuple[float, ...]
    rounds: int  # of cyclic matching
    agreement: float  # mean agreement of the networks with their mean
    _moved: tuple[Mapping[str, Tensor], ...] = field(repr=False)
    _given: tuple[Mapping[str, Tensor], ...] = field(repr=False)

    def mixture(self, shares: Sequence[float], *, matched: bool = True) -> Weights:
        """The weighted sum of the networks, neurons matched or as they were given."""
        return _mix(self._moved if matched else self._given, shares)

    def cut(self, narrow: NeuronGraph) -> Weights:
        """The merged network in a narrower width: its first neurons, on
        which the first network's lie.
        """
        return cut(self.weights, self.graph, narrow)

    def barrier(self, loss: Loss, *, points: int = 11, repair: Repair | None = None) -> Barrier:
        """The loss on the line from the first network to the second, neurons as given and matched.

        Args:
            loss: takes a state dict, gives a number (a loss, or one minus an accuracy).
            points: on the line, both ends among them.
            repair: see ``Repair``; used on every mixture.
        """
        if points < 3:
            raise GraphError(
                f"barrier(points={points}): give at least 3, both ends and one between them."
            )
        if len(self._moved) < 2:
            raise GraphError("A barrier lies between two networks; only one was merged.")
        places = np.linspace(0, 1, points)
        rest = [0.0] * (len(self._moved) - 2)

        def curve(matched: bool) -> tuple[float, ...]:
            mixtures = (self.mixture([1 - t, t, *rest], matched=matched) for t in places)
            return tuple(float(loss(w if repair is None else repair(w))) for w in mixtures)

        return Barrier(tuple(map(float, places)), curve(False), curve(True))

    def __repr__(self) -> str:
        moved = [sum(e.moves(name) for name in self.graph.neurons) for e in self.elements]
        return (
            f"Merge of {len(self.elements)} networks with shares "
            f"{', '.join(f'{s:.3g}' for s in self.shares)}: agreement with their mean "
            f"{self.agreement:.4f} after {self.rounds} round{'s' * (self.rounds != 1)}; neuron "
            f"sets moved: {', '.join(map(str, moved))}"
        )


@dataclass(frozen=True)
class Barrier:
    """Losses on the line between two networks, and how far they rise above
    the line between the ends' losses.
    """

    places: tuple[float, ...]
    given: tuple[float, ...]
    matched: tuple[float, ...]

    @property
    def before(self) -> float:
        return _height(self.places, self.given)

    @property
    def after(self) -> float:
        return _height(self.places, self.matched)

    def __str__(self) -> str:
        """A table, and a curve of bars for either line."""
        top = max(*self.given, *self.matched, 1e-300)
        lines = [
            f"barrier {self.before:.4g} -> {self.after:.4g}",
            "share   as given            matched",
        ]
        for place, before, after in zip(self.places, self.given, self.matched, strict=True):
            bars = [
                f"{value:9.4g} {'#' * round(9 * max(value, 0) / top):<9}"
                for value in (before, after)
            ]
            lines.append(f"{place:5.2f} {bars[0]} {bars[1]}".rstrip())
        return "\n".join(lines)


def _height(places: Sequence[float], losses: Sequence[float]) -> float:
    return max(
        loss - (1 - t) * losses[0] - t * losses[-1] for t, loss in zip(places, losses, strict=True)
    )


@dataclass(frozen=True)
class Repair:
    """Collects the running statistics of norms again, from batches that the caller gives: those of
    a mixture are not the mixture's.

    Args:
        model: a module of the architecture; it is not touched.
        batches: inputs, each a tensor or a tuple of arguments.

    Source: Jordan et al., REPAIR: renormalizing permuted activations for interpolation repair, ICLR
    2023.
    """

    model: nn.Module
    batches: Iterable[Any]

    def __call__(self, weights: Mapping[str, Tensor]) -> Weights:
        """The weights with new running statistics; without such norms, as they are."""
        state = dict(weights)
        norms = {
            name: m
            for name, m in self.model.named_modules()
            if isinstance(m, nn.modules.batchnorm._BatchNorm)
        }
        norms = {name: m for name, m in norms.items() if m.track_running_stats}
        if not norms:
            return state
        twin = deepcopy(self.model).eval()
        twin.load_state_dict(state, strict=False)
        for name in norms:
            norm = twin.get_submodule(name)
            assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        count = 0
        with torch.no_grad():
            for batch in self.batches:
                twin(*batch) if isinstance(batch, tuple | list) else twin(batch)
                count += 1
        if not count:
            raise ShapeError(
                "Norms' statistics are collected from batches, and none were given: batches=[x] "
                "does."
            )
        repaired = twin.state_dict()
        names = {
            f"{name}.{part}"
            for name in norms
            for part in ("running_mean", "running_var", "num_batches_tracked")
        }
        return state | {name: repaired[name].clone() for name in names if name in state}


def merge(
    networks: Sequence[Source],
    graph: NeuronGraph,
    *,
    weights: Sequence[float] | None = None,
    base: Source | None = None,
    scale: float = 1.0,
    graphs: Sequence[NeuronGraph] | None = None,
    model: nn.Module | None = None,
    batches: Iterable[Any] = (),
    measure: Measure = "correlation",
    starts: int = 3,
    seed: int = 0,
) -> Merge:
    """One network from several: neurons matched, then the weighted mean of all weights.

    Two networks are matched once; more of them in turn, each to the mean of the others, until no
    neuron moves any more.

    Args:
        networks: modules or state dicts; none is changed.
        graph: their architecture, the widest one if widths differ. The result has its shapes.
        weights: the share of each network; default equal ones, which add up to 1.
        base: the network that all were trained from: merges *task vectors*,
            ``base + scale * sum of weights * (network - base)``, without matching, since neurons of
            networks with one origin still have their places. Default weights are then 1 each.
        scale: of task vectors.
        graphs: of every network, where some are narrower: they are padded with zeros, matched, and
            averaged neuron by neuron over the networks that have it.
        model, batches: a module of the architecture and inputs for it: the running statistics of
            norms are then collected again.
        measure, starts, seed: as in ``align``.

    Raises:
        GraphError: no network, shares of another number, or options that exclude one another.
        ShapeError: a network does not fit its graph.

    Source: Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, Algorithm 3 (several networks);
    Ilharco et al., Editing models with task arithmetic, ICLR 2023; Jordan et al., REPAIR, ICLR
    2023.

    Example:
        >>> from symnet.graph import catalogue
        >>> graph = catalogue.mlp([2, 8, 1])
        >>> a = {name: torch.randn(shape) for name, shape in graph.shapes.items()}
        >>> merged = merge([a, graph.act(graph.random_element(1), a)], graph)
        >>> all(torch.allclose(merged.weights[name], a[name]) for name in a)
        True
    """
    networks = list(networks)
    shares = _shares(networks, weights, base)
    if graphs is not None and (len(graphs) != len(networks) or base is not None):
        raise GraphError(
            f"graphs= needs one graph for each of {len(networks)} networks, and cannot be used "
            "with base=."
        )
    states: list[Mapping[str, Tensor]] = [StateView(network) for network in networks]
    present = None
    if graphs is not None:
        states = [pad(state, narrow, graph) for state, narrow in zip(states, graphs, strict=True)]
        ones = [{n: torch.ones(s) for n, s in narrow.shapes.items()} for narrow in graphs]
        present = [pad(one, narrow, graph) for one, narrow in zip(ones, graphs, strict=True)]
    if base is not None:
        origin = StateView(base)
        merged = _mix(
            [origin, *states], [1 - scale * sum(shares), *(scale * share for share in shares)]
        )
        elements, rounds, agreement = [graph.identity()] * len(states), 0, 1.0
    else:
        elements, rounds, agreement = _match_all(states, graph, measure, starts, seed)
        merged = _mix(
            [MovedState(s, graph, e) for s, e in zip(states, elements, strict=True)], shares
        )
    moved = tuple(MovedState(s, graph, e) for s, e in zip(states, elements, strict=True))
    if present is not None:
        counts = [MovedState(p, graph, e) for p, e in zip(present, elements, strict=True)]
        merged = _divide(merged, counts, shares, graph)
    if model is not None:
        merged = Repair(model, batches)(merged)
    return Merge(
        graph, merged, tuple(elements), tuple(shares), rounds, agreement, moved, tuple(states)
    )


def _shares(
    networks: Sequence[Source], weights: Sequence[float] | None, base: Source | None
) -> list[float]:
    if not networks:
        raise GraphError("merge got no network; give a list of modules or state dicts.")
    shares = (
        [1.0 if base is not None else 1 / len(networks)] * len(networks)
        if weights is None
        else list(weights)
    )
    if len(shares) != len(networks) or not np.isfinite(shares).all():
        raise GraphError(
            f"merge got {len(networks)} networks and weights={shares}; give one finite number "
            "for each."
        )
    if base is None and not abs(sum(shares) - 1) < 1e-6:
        raise GraphError(
            f"weights={shares} add up to {sum(shares):.6g}; those of a mean add up to 1. Task "
            "vectors need base=."
        )
    return [float(share) for share in shares]


def _match_all(
    states: Sequence[Mapping[str, Tensor]],
    graph: NeuronGraph,
    measure: Measure,
    starts: int,
    seed: int,
) -> tuple[list[GroupElement], int, float]:
    """An element for each network: the first keeps its neurons, the others are
    laid on it, then on the mean of all others.
    """
    elements = [graph.identity()]
    agreements = [1.0]
    for state in states[1:]:
        alignment = align(states[0], state, graph, measure=measure, starts=starts, seed=seed)
        elements.append(alignment.element)
        agreements.append(alignment.agreement_after)
    if len(states) < 3:
        return elements, 1, float(np.mean(agreements[1:] or [1.0]))
    rounds, still = 0, False
    while not still and rounds < _ROUNDS:
        rounds, still = rounds + 1, True
        for k in range(1, len(states)):
            others = [
                MovedState(s, graph, e)
                for n, (s, e) in enumerate(zip(states, elements, strict=True))
                if n != k
            ]
            mean = _mix(others, [1 / len(others)] * len(others))
            now = MovedState(states[k], graph, elements[k])
            alignment = align(
                _only(mean, graph), _only(now, graph), graph, measure=measure, starts=1, seed=seed
            )
            agreements[k] = alignment.agreement_after
            if alignment.agreement_after > alignment.agreement_before + 1e-9:
                elements[k], still = alignment.element @ elements[k], False
    return elements, rounds, float(np.mean(agreements[1:]))


def _only(state: Mapping[str, Tensor], graph: NeuronGraph) -> Weights:
    return {name: state[name] for name in (*graph.weights, *graph.aliases) if name in state}


def _mix(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> Weights:
    """The weighted sum, tensor by tensor; entries that are no
    floating-point numbers are the first network's.
    """
    if len(states) != len(shares):
        raise GraphError(
            f"A mixture of {len(states)} networks needs {len(states)} shares, not {len(shares)}."
        )
    mixed = {}
    for name, tensor in states[0].items():
        if not tensor.is_floating_point():
            mixed[name] = tensor.clone()
            continue
        total = shares[0] * tensor.double()
        for state, share in zip(states[1:], shares[1:], strict=True):
            total += share * state[name].to(total)
        mixed[name] = total.to(tensor.dtype)
    return mixed


def _divide(
    merged: Weights,
    present: Sequence[Mapping[str, Tensor]],
    shares: Sequence[float],
    graph: NeuronGraph,
) -> Weights:
    """Every weight divided by the share of the networks that have it, so that it is their mean."""
    divided = dict(merged)
    for name in graph.weights:
        count = torch.stack(
            [share * state[name].double() for share, state in zip(shares, present, strict=True)]
        ).sum(0)
        divided[name] = torch.where(count > 0, merged[name].double() / count, 0.0).to(
            merged[name].dtype
        )
    return divided | {
        alias: divided[kept] for alias, kept in graph.aliases.items() if alias in divided
    }
