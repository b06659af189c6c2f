"""align: the group element that best matches two networks, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from symnet.display import Displayed
from symnet.errors import GraphError, ShapeError
from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import is_trivial
from symnet.matching.alignment_problem import AlignmentProblem
from symnet.matching.assignment import check_groups
from symnet.matching.balancing import balance, scaled_sets, without_scales
from symnet.matching.descent import Descent, descend, propagate
from symnet.matching.problem_reading import State, precision, read_problem
from symnet.matching.same_function import only_weights, same_function
from symnet.matching.states import MovedState, StateView
from symnet.matching.weighing import (
    Likeness,
    Measure,
    distance_between,
    measure_tensors,
    tensor_factors,
)
from symnet.nn.features import Source, check_state
from symnet.verify import Report

_SHOWN = 12  # tensors that a printed alignment lists
_SWEEPS = 100
_EQUAL = 1 - 1e-9  # agreement at which no further start is needed


@dataclass(frozen=True, eq=False)
class Alignment(Displayed):
    """Two networks and the element that brings the second closest to the first.

    ``distance_before`` and ``distance_after`` are Euclidean distances over all tensors of the
    graph, ``distances`` the same for every tensor. ``agreement_before`` and ``agreement_after`` are
    what was made as large as possible, as a share of what equal networks have: the mean correlation
    of tensors, each counted by its number of entries. ``values`` has the agreement that each start
    ended with; equal ones mean that they found the same.

    Nothing is copied: ``reference`` and ``aligned`` read the networks that were matched, and refuse
    tensors that were changed since.
    """

    graph: NeuronGraph
    element: GroupElement
    reference: Mapping[str, Tensor]  # the first network's state dict
    aligned: Mapping[str, Tensor]  # the second network's, its neurons moved: the same function
    distances: Mapping[str, tuple[float, float]]  # by tensor: before, after
    agreement_before: float
    sweeps: int  # of the best start
    settled: bool  # whether no neuron set could be improved any more
    values: tuple[float, ...]
    seed: int

    @property
    def agreement_after(self) -> float:
        return max(self.values)

    @cached_property
    def distance_before(self) -> float:
        return math.hypot(*(before for before, _ in self.distances.values()))

    @cached_property
    def distance_after(self) -> float:
        return math.hypot(*(after for _, after in self.distances.values()))

    def interpolate(self, share: float) -> dict[str, Tensor]:
        """A state dict on the line from the first network (0) to the aligned second one (1).

        Entries that are no floating-point numbers are the first network's. After mixing networks
        with batch norms, collect their running statistics again (Jordan et al. 2023, REPAIR): means
        and variances of a mixture are not the mixture's.
        """
        mixed = {}
        for name, tensor in self.reference.items():
            if not tensor.is_floating_point():
                mixed[name] = tensor.clone()
                continue
            mixed[name] = torch.lerp(tensor, self.aligned[name].to(tensor), share)
        return mixed

    def verify(self, model: nn.Module, *inputs: Any, tolerance: float = 1e-10) -> Report:
        """Whether the second network computes the same function before and
        after its neurons were moved, in float64.

        Args:
            model: a module of this architecture; it is copied, and its own weights do not matter.
            inputs: what it is called with.
        """
        after = only_weights(self.aligned, self.graph)
        before = self.graph.act(self.element.inverse(), after)
        return same_function(
            model, self.graph, before, after, inputs, "moving neurons", tolerance, self.seed
        )

    def __repr__(self) -> str:
        gain = 1 - self.distance_after / self.distance_before if self.distance_before else 0.0
        moved = [name for name in self.graph.neurons if self.element.moves(name)]
        lines = [
            f"Alignment of {len(self.graph.weights)} tensors: distance "
            f"{self.distance_before:.6g} -> {self.distance_after:.6g} ({gain:.1%} less)",
            f"  agreement {self.agreement_before:.4f} -> {self.agreement_after:.4f} (1: equal up "
            "to scale and shift of tensors)",
            f"  {self.sweeps} sweeps of the best of {len(self.values)} starts (seed {self.seed}); "
            + (
                "no neuron set can be improved alone"
                if self.settled
                else "stopped early: allow more sweeps"
            ),
            f"  moves {', '.join(moved[:_SHOWN]) or 'nothing'}"
            + (f" and {len(moved) - _SHOWN} more neuron sets" if len(moved) > _SHOWN else ""),
        ]
        furthest = sorted(self.distances.items(), key=lambda item: -item[1][1])
        lines += [
            f"  {name}: {before:.4g} -> {after:.4g}" for name, (before, after) in furthest[:_SHOWN]
        ]
        if len(furthest) > _SHOWN:
            lines.append(f"  and {len(furthest) - _SHOWN} tensors that are closer")
        return "\n".join(lines)


def align(
    model_a: Source,
    model_b: Source,
    graph: NeuronGraph,
    *,
    starts: int = 3,
    sweeps: int = _SWEEPS,
    seed: int = 0,
    measure: Measure = "correlation",
    importance: Mapping[str, float] | None = None,
) -> Alignment:
    """The element of the graph's group that brings the second network closest to the first.

    Sets are matched in turn by linear assignment until none gains (a local optimum: the problem as
    a whole is NP-hard). A set that others are over is matched together with its inside: heads with
    their dims, groups with their channels. Only weights are looked at, no activations and no data.

    Args:
        model_a: module or state dict that stays as it is.
        model_b: module or state dict whose neurons are moved; neither is changed, or copied. Above
            4 million weights, those that are not stored in float64 are compared in float32.
        graph: their architecture. Scales of Scaled sets are balanced first (see ``balance``).
            Symmetric and SignedSymmetric sets are assigned, Orthogonal ones rotated (Procrustes),
            Fixed ones held; of Cyclic, Dihedral and Generated groups every element is tried.
        starts: how many descents to take the best of. The first starts from invariants, the second
            from no move, all further ones from random elements. None follows one that found equal
            networks.
        sweeps: of one descent, at most.
        seed: for the random starts.
        measure: ``"correlation"`` counts every tensor by its correlation and its number of entries,
            so that large numbers (a batch norm's running variances) decide no more than small ones;
            ``"distance"`` makes the Euclidean distance small.
        importance: by tensor, a further factor for its share in the match; 1 where none is given, 0
            to leave it out.

    Raises:
        ShapeError: a network does not fit the graph, or has weights that are not finite.
        GraphError: a set's group is GeneralLinear, so that its neurons cannot be laid on one
            another.
        TooLargeError: a group that is no symmetric one has too many elements to try.

    Source: Ainsworth, Hayase & Srinivasa, Git Re-Basin, ICLR 2023, section 3.2 (weight matching,
    ``measure="distance"``).

    Example:
        >>> from symnet.graph import catalogue
        >>> graph = catalogue.mlp([2, 8, 1])
        >>> a = {name: torch.randn(shape) for name, shape in graph.shapes.items()}
        >>> g = graph.random_element(seed=1)
        >>> found = align(a, graph.act(g, a), graph)
        >>> found.element == g.inverse(), found.distance_after
        (True, 0.0)
    """
    importance = _check(graph, starts, sweeps, measure, importance or {})
    a, b = StateView(model_a), StateView(model_b)
    for which, state in (("the first network", a), ("the second network", b)):
        check_state(state, graph, which)
    before = {name: distance_between(a[name], b[name]) for name in graph.weights}
    compared = without_scales(graph)
    balanced = [graph.identity()] * 2
    first: State = a
    second: State = b
    if scaled_sets(graph):
        balanced = [balance(graph, state) for state in (a, b)]
        first, second = (MovedState(s, graph, e) for s, e in zip((a, b), balanced, strict=True))
    match = _match(compared, first, second, measure, importance, starts, sweeps, seed)
    best = match.best
    element = (
        balanced[0].inverse() @ _as_element_of(graph, best.element) @ balanced[1]
        if scaled_sets(graph)
        else best.element
    )
    aligned = MovedState(b, graph, element)
    distances = {
        name: (before[name], distance_between(a[name], aligned[name])) for name in graph.weights
    }
    return Alignment(
        graph,
        element,
        a,
        aligned,
        MappingProxyType(distances),
        match.agreement_before,
        best.sweeps,
        best.settled,
        match.agreements,
        seed,
    )


@dataclass(frozen=True)
class _Match:
    best: Descent
    agreement_before: float
    agreements: tuple[float, ...]  # of every start


def _match(
    graph: NeuronGraph,
    a: State,
    b: State,
    measure: Measure,
    importance: Mapping[str, float],
    starts: int,
    sweeps: int,
    seed: int,
) -> _Match:
    """The best of several descents, and how well the networks agree."""
    likenesses = measure_tensors(graph, a, b)
    factors = tensor_factors(likenesses, measure, importance)
    movable = {name: factors[name] * _moves(graph, name) for name in factors}
    problem = read_problem(
        graph, a, b, movable, np.result_type(precision(graph, a), precision(graph, b)).type
    )
    scale = _Agreement(
        likenesses, factors, held={name for name, factor in movable.items() if not factor}
    )
    descents: list[Descent] = []
    for number in range(starts):
        descents.append(_descend_from(problem, graph, number, sweeps, seed))
        if scale(descents[-1].value) > _EQUAL:
            break
    return _Match(
        max(descents, key=lambda descent: descent.value),
        scale(sum(factor * likenesses[name].product for name, factor in movable.items())),
        tuple(scale(descent.value) for descent in descents),
    )


def _as_element_of(graph: NeuronGraph, element: GroupElement) -> GroupElement:
    """An element that scales nothing, as one of a group that may."""
    neurons = graph.neurons
    signs = {name: s for name in neurons if (s := element.signs(name)) is not None}
    matrices = {name: m for name in neurons if (m := element.matrices(name)) is not None}
    return GroupElement(neurons, {name: element[name] for name in neurons}, signs, matrices)


class _Agreement:
    """A value of the tensors that move as a share of what equal networks have;
    what the means alone bring is taken off.
    """

    def __init__(
        self, likenesses: Mapping[str, Likeness], factors: Mapping[str, float], held: set[str]
    ) -> None:
        self._common = sum(
            factors[name] * (x.common - x.product * (name in held))
            for name, x in likenesses.items()
        )
        self._most = sum(factors[name] * math.prod(x.spreads) for name, x in likenesses.items())

    def __call__(self, value: float) -> float:
        return (value - self._common) / self._most if self._most else 0.0


def _moves(graph: NeuronGraph, name: str) -> bool:
    """Whether some element moves entries of a tensor."""
    return any(
        not is_trivial(graph.neurons[symbol].group) for symbol in graph.weights[name].symbols
    )


def _descend_from(
    problem: AlignmentProblem, graph: NeuronGraph, number: int, sweeps: int, seed: int
) -> Descent:
    units = problem.units()
    if number == 0:
        return descend(problem, propagate(problem), units, sweeps, exchange=True)
    if number == 1:
        return descend(problem, graph.identity(), units, sweeps, exchange=True)
    rng = np.random.default_rng([seed, number])
    start = graph.random_element(rng)
    return descend(
        problem, start, [units[k] for k in rng.permutation(len(units))], sweeps, exchange=True
    )


def _check(
    graph: NeuronGraph, starts: int, sweeps: int, measure: str, importance: Mapping[str, float]
) -> dict[str, float]:
    if starts < 1 or sweeps < 1:
        raise GraphError(f"align(starts={starts}, sweeps={sweeps}): both must be at least 1.")
    if measure not in get_args(Measure):
        raise GraphError(
            f"align(measure={measure!r}): write one of {', '.join(get_args(Measure))}."
        )
    for name, factor in importance.items():
        if graph.aliases.get(name, name) not in graph.weights:
            raise ShapeError(
                f"importance names '{name}'; the graph's tensors are {', '.join(graph.weights)}."
            )
        if not (math.isfinite(factor) and factor >= 0):
            raise ShapeError(
                f"importance of '{name}' is {factor}; give a finite number of at least 0."
            )
    check_groups(without_scales(graph).neurons)
    return {graph.aliases.get(name, name): float(factor) for name, factor in importance.items()}
