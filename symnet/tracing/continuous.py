"""with_larger_groups: which sets of a traced graph carry more than permutations, by derivatives of
the function itself.

A set that may be permuted may perhaps also be scaled, rotated or mapped by any invertible matrix.
Moving it by an infinitesimal element changes strand t by ``p_t E + r_t E^T`` with E one entry of a
matrix; the function stays if ``sum_t <gradient_t, change_t theta>`` vanishes for every output,
state and input. The null space of these few unknowns, at any width, gives the degrees of all
strands and with them the group. Signs have no derivative and are tried. What is found decides
nothing yet: random elements must keep the function.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import TraceError
from symnet.graph import NeuronGraph, NeuronSet
from symnet.graph.blocks import split_blocks
from symnet.graph.elements import in_order
from symnet.graph.notation import (
    Alternatives,
    Anonymous,
    Axis,
    Composite,
    Concatenation,
    Interleaving,
    Symbol,
)
from symnet.graph.strand_arrays import Strand
from symnet.groups import GeneralLinear, Group, Orthogonal, Scaled, SignedSymmetric, Symmetric
from symnet.tracing.differentials import Differential, has_settled, of_unit_length, singular_vectors
from symnet.tracing.fresh_inputs import Inputs

_ROWS = 8  # combinations of outputs that are differentiated at each state
_STATES = 60
_PAIRS = 24  # neurons whose pairs are looked at
_NULL = 1e-9  # singular values below this part of the largest are zeros
_DEAD = 1e-12
_TOLERANCE = 1e-9  # relative change of an output that a random element may make
_SUBSETS = 6  # strands up to which every choice of signs is tried


@dataclass(frozen=True, slots=True)
class StrandPlace:
    """One strand as it is written: the n-th of a tensor's notation. It may be read from several
    blocks.
    """

    tensor: str
    number: int
    strands: tuple[Strand, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A larger group of one neuron set, and the degrees that its strands would have."""

    name: str
    group: Group
    degrees: Mapping[tuple[str, int], int]  # by tensor and number of the strand
    scales: int = 1  # independent scales of each neuron, of which a declaration holds one

    def __str__(self) -> str:
        more = (
            f"; each neuron has {self.scales} independent scales, of which this is one"
            if self.scales > 1
            else ""
        )
        evidence = "by derivatives" if not isinstance(self.group, SignedSymmetric) else "by trial"
        instead = f"{self.group!r} instead of Symmetric({self.group.degree})"
        return f"{self.name}: {instead}, found {evidence}, random elements agree{more}"


def with_larger_groups(
    model: nn.Module,
    graph: NeuronGraph,
    inputs: Inputs,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
) -> NeuronGraph:
    """The graph with the largest group on every set that random elements prove to keep the
    function.

    Args:
        model: the network that the graph describes.
        graph: its permutations; inputs and outputs are fixed.
        inputs: positional and keyword arguments.

    Returns:
        A graph whose notes say for every set with a larger group how it was seen.
    """
    differential = Differential(model, inputs, outputs, seed)
    places = places_of(graph)
    search = _Search(differential, graph, places)
    search.search()
    kept: dict[str, Proposal] = {}
    for name in reversed(in_order(graph.neurons)):  # children first
        if name not in search.places or any(name in graph.neurons[child].over for child in kept):
            # a number for every copy is among the maps or scales inside the copies already
            continue
        for proposal in search.proposals(name):
            if _keeps_the_function(differential, _declared(graph, [proposal])):
                kept[name] = proposal
                break
    chosen = [kept[name] for name in graph.neurons if name in kept]
    larger = _declared(graph, chosen)
    if kept and not _keeps_the_function(differential, larger):
        raise TraceError(
            f"The groups {', '.join(repr(p.group) for p in chosen)} each keep the function of "
            f"{type(model).__name__}, but not "
            "together. Trace with groups='permutations', and declare those that you need."
        )
    return larger


def places_of(graph: NeuronGraph) -> dict[str, list[StrandPlace]]:
    """By neuron set, its strands as they are written in the notation of every tensor."""
    places: dict[str, list[StrandPlace]] = {name: [] for name in graph.neurons}
    ancestors = {name: graph.ancestors(name) for name in graph.neurons}
    sizes = {name: neuron_set.size for name, neuron_set in graph.neurons.items()}
    for tensor, space in graph.weights.items():
        counter = itertools.count()
        tagged = tuple(_tagged(axis, counter) for axis in space.axes)
        blocks = split_blocks(tagged, sizes, ancestors, tensor)
        strands: dict[tuple[str, int], list[Strand]] = {}
        for tags, block in zip(blocks, space.blocks, strict=True):
            for place, instance in enumerate(tags.instances):
                if instance.symbol is not None:
                    strand = Strand(instance.symbol, tensor, block, place, 1)
                    strands.setdefault((instance.symbol, instance.degree), []).append(strand)
        for (name, number), several in strands.items():
            places[name].append(StrandPlace(tensor, number, tuple(several)))
    return places


def _tagged(axis: Axis, counter: Iterator[int]) -> Axis:
    """The axis with its strands numbered, the number standing in place of the degree."""
    match axis:
        case Symbol(name):
            return Symbol(name, next(counter))
        case Anonymous():
            return axis
        case Composite(factors):
            return Composite(tuple(_tagged(factor, counter) for factor in factors))
        case Concatenation(parts) | Interleaving(parts) | Alternatives(parts):
            return type(axis)(tuple(_tagged(part, counter) for part in parts))
        case _:
            assert_never(axis)


def _marked(
    axis: Axis,
    tensor: str,
    degrees: Mapping[str, Mapping[tuple[str, int], int]],
    counter: Iterator[int],
) -> Axis:
    """The axis with the degrees that were found for its strands."""
    match axis:
        case Symbol(name):
            number = next(counter)
            return Symbol(name, degrees[name].get((tensor, number), 1)) if name in degrees else axis
        case Anonymous():
            return axis
        case Composite(factors):
            return Composite(tuple(_marked(factor, tensor, degrees, counter) for factor in factors))
        case Concatenation(parts) | Interleaving(parts) | Alternatives(parts):
            return type(axis)(tuple(_marked(part, tensor, degrees, counter) for part in parts))
        case _:
            assert_never(axis)


def _declared(graph: NeuronGraph, proposals: Sequence[Proposal]) -> NeuronGraph:
    """The graph with the proposed groups and degrees."""
    degrees = {proposal.name: proposal.degrees for proposal in proposals}
    groups = {proposal.name: proposal.group for proposal in proposals}
    neurons = {
        name: NeuronSet(groups.get(name, one.group), one.over)
        for name, one in graph.neurons.items()
    }
    tensors = {}
    for tensor, space in graph.weights.items():
        counter = itertools.count()
        tensors[tensor] = tuple(_marked(axis, tensor, degrees, counter) for axis in space.axes)
    notes = map(str, proposals)
    return NeuronGraph(neurons, tensors, aliases=graph.aliases, notes=(*graph.notes, *notes))


# ---- null spaces of one set's elements -----------------------------------------------------------
class _Search:
    """Equations for the strands of every set, collected over states, and the groups that their
    null spaces allow.
    """

    def __init__(
        self,
        differential: Differential,
        graph: NeuronGraph,
        places: Mapping[str, list[StrandPlace]],
    ) -> None:
        self.differential, self.graph = differential, graph
        self.places = {
            name: occurrences
            for name, occurrences in places.items()
            if isinstance(graph.neurons[name].group, Symmetric) and occurrences
        }
        self.parents = {parent for one in graph.neurons.values() for parent in one.over}
        self.equations: dict[tuple[str, str], np.ndarray] = {}
        self.dead: dict[str, np.ndarray] = {
            name: np.zeros(len(occurrences)) for name, occurrences in self.places.items()
        }
        self.rng = np.random.default_rng(differential.seed)

    def search(self) -> None:
        """Adds states until no null space falls any more."""
        history: list[int] = []
        for _ in range(_STATES):
            self.differential.draw()
            rows = {
                name: torch.from_numpy(array)
                for name, array in self.differential.rows(_ROWS).items()
            }
            values = {
                name: torch.from_numpy(array)[None]
                for name, array in self.differential.values().items()
            }
            for name in self.places:
                self._add(name, rows, values)
            history.append(sum(len(self._null(name, kind)) for name, kind in self.equations))
            if has_settled(history):
                return

    def _add(self, name: str, rows: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """One state's equations: for scales the diagonal of every strand's matrix, for the rest a
        sample of all entries.
        """
        diagonals, entries, centred = [], [], []
        size = self.graph.neurons[name].size
        sample = self.rng.choice(size, min(size, _PAIRS), replace=False)
        for number, place in enumerate(self.places[name]):
            sides = [(strand.read(rows), strand.read(values)) for strand in place.strands]
            diagonals.append(_total((g * v).sum(-1) for g, v in sides).reshape(-1).numpy())
            entries.append(_total(g[..., sample, :] @ v[..., sample, :].mT for g, v in sides))
            about = [(g - g.mean(-2, keepdim=True), v - v.mean(-2, keepdim=True)) for g, v in sides]
            centred.append(_total(g[..., sample, :] @ v[..., sample, :].mT for g, v in about))
            self.dead[name][number] = max(self.dead[name][number], float(entries[-1].abs().max()))
        self._stack(name, "scales", np.stack(diagonals, 1))
        if name not in self.parents:
            self._stack(name, "maps", _both_ways(entries))
            self._stack(name, "about mean", _both_ways(centred))

    def _stack(self, name: str, kind: str, rows: np.ndarray) -> None:
        before = self.equations.get((name, kind), np.zeros((0, rows.shape[1])))
        stacked = np.concatenate([before, of_unit_length(rows)])
        self.equations[name, kind] = np.asarray(np.linalg.qr(stacked, mode="r"))

    def _live(self, name: str) -> np.ndarray:
        top = max(self.dead[name].max(initial=0.0), 1e-300)
        return np.asarray(self.dead[name] > _DEAD * top)

    def _null(self, name: str, kind: str) -> np.ndarray:
        """Reduced rows that span the null space over the live strands."""
        live = self._live(name)
        columns = live if kind == "scales" else np.concatenate([live, live])
        matrix = self.equations[name, kind][:, columns]
        values, vectors = singular_vectors(matrix)
        return reduced_rows(vectors[values <= _NULL * values.max(initial=0.0)])

    # ---- reading them ----------------------------------------------------------------------------
    def proposals(self, name: str) -> Iterator[Proposal]:
        """Groups that the null spaces allow, the largest first."""
        n, live = self.graph.neurons[name].size, self._live(name)
        if not live.any():
            return
        if name not in self.parents:
            maps = self._null(name, "maps")
            for row in maps:
                primal, dual = row[: live.sum()], row[live.sum() :]
                if _are(primal, (0, 1)) and _are(dual, (0, -1)) and np.allclose(primal - dual, 1):
                    yield self._proposal(name, GeneralLinear(n), primal + dual)
            for kind, group in (
                ("maps", Orthogonal(n)),
                ("about mean", Orthogonal(n, fixes_mean=True)),
            ):
                if n > 2 and _spans(self._null(name, kind), np.repeat([1.0, -1.0], live.sum())):
                    yield self._proposal(name, group, np.ones(live.sum()))
        scales = self._null(name, "scales")
        for degrees in [scales.sum(0), *scales] if len(scales) > 1 else scales:
            if _are(degrees, (-1, 0, 1)):
                yield replace(self._proposal(name, Scaled(n), degrees), scales=len(scales))
        for degrees in _sign_choices(int(live.sum()), scales):
            yield self._proposal(name, SignedSymmetric(n), degrees)

    def _proposal(self, name: str, group: Group, degrees: np.ndarray) -> Proposal:
        """Dead strands may have any degree: that of the last live one of the same module, or 1; no
        order shows in mixed neurons.
        """
        measured = iter(np.rint(degrees).astype(int).tolist())
        degree_of: dict[tuple[str, int], int] = {}
        by_module: dict[str, int] = {}
        for place, live in zip(self.places[name], self._live(name), strict=True):
            module = place.tensor.rpartition(".")[0]
            degree = next(measured) if live else by_module.get(module, 1)
            by_module[module] = degree
            degree_of[place.tensor, place.number] = degree
        if isinstance(group, SignedSymmetric):
            degree_of = {key: abs(degree) for key, degree in degree_of.items()}
        return Proposal(name, group, degree_of)


def _total(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(parts)).sum(0)


def _both_ways(entries: Sequence[Tensor]) -> np.ndarray:
    """Rows of equations for ``p_t`` and ``r_t``: every strand's matrices, then their transposes."""
    columns = [matrix.reshape(-1) for matrix in entries] + [
        matrix.mT.reshape(-1) for matrix in entries
    ]
    return torch.stack(columns, 1).numpy()


def reduced_rows(rows: np.ndarray, smallest: float = 1e-6) -> np.ndarray:
    """Row-reduced echelon form, in which vectors of disjoint supports stand apart."""
    rows, done = rows.copy(), 0
    for column in range(rows.shape[1]):
        if done == len(rows):
            break
        pivot = done + int(np.abs(rows[done:, column]).argmax())
        if abs(rows[pivot, column]) < smallest:
            continue
        rows[[done, pivot]] = rows[[pivot, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= np.outer(rows[others, column], rows[done])
        done += 1
    return np.where(np.abs(rows) < smallest, 0.0, rows)


def _are(values: np.ndarray, allowed: tuple[int, ...]) -> bool:
    return bool(all(min(abs(value - one) for one in allowed) < 1e-5 for value in values)) and bool(
        np.abs(values).max() > 0.5
    )


def _spans(rows: np.ndarray, vector: np.ndarray) -> bool:
    if not len(rows):
        return False
    rest = vector - np.linalg.lstsq(rows.T, vector, rcond=None)[0] @ rows
    return bool(np.linalg.norm(rest) < 1e-5)


def _sign_choices(count: int, scales: np.ndarray) -> Iterator[np.ndarray]:
    """Which strands may change sign with a neuron: all; those that a scale moves; of few strands,
    any.
    """
    yield np.ones(count)
    for degrees in scales:
        yield np.rint(degrees) % 2
    if count <= _SUBSETS:
        for chosen in itertools.product((1.0, 0.0), repeat=count):
            if 1 < sum(chosen) < count:
                yield np.array(chosen)


# ---- random elements -----------------------------------------------------------------------------
def _keeps_the_function(differential: Differential, graph: NeuronGraph, rounds: int = 3) -> bool:
    """Whether random elements change no output, at fresh states and inputs, by more than
    rounding.
    """
    rng = np.random.default_rng(differential.seed)
    for _ in range(rounds):
        differential.draw()
        values = {name: torch.from_numpy(array) for name, array in differential.values().items()}
        moved = {
            **values,
            **graph.act(graph.random_element(rng), {name: values[name] for name in graph.weights}),
        }
        before, after = differential.outputs_at([values, moved])
        if not bool((before - after).abs().max() <= _TOLERANCE * before.abs().max()):
            return False
    return True
