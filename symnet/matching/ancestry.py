"""lineage: whether one network descends from another, judged by what
independent training cannot share.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from symnet.errors import GraphError
from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.groups import LinearGroup, Scaled, SignedSymmetric, Symmetric, is_trivial
from symnet.matching.alignment import Alignment, align
from symnet.matching.held_out import hold_out
from symnet.matching.padding import pad
from symnet.matching.problem_reading import State, as_array
from symnet.matching.states import StateView
from symnet.matching.weak_directions import flipped_sums, weak_parts
from symnet.nn.features import Source

_SHOWN = 8
_SIDE = 512  # rows and columns of a matrix that are compared at most; of larger ones a random part
_DIRECT = 2**20  # weights that the test in the given order moves at most


@dataclass(frozen=True)
class LineageEvidence:
    """What one tensor says, in a match that did not see it.

    ``resemblance`` is the correlation of the matched tensors, which independent networks of one
    task have as well; ``weak`` that of their weak singular directions, which independent networks
    do not share.
    """

    tensor: str
    resemblance: float
    weak: float
    p_value: float
    products: np.ndarray = field(repr=False, compare=False)  # by weak component


@dataclass(frozen=True, eq=False)
class Lineage:
    """Whether ``b`` descends from ``a``: p-values, the evidence of every
    tensor, and how b's neurons lie on a's.

    ``p_value`` is how often two unrelated networks would look this much alike:
    ``2 * min(p_given, p_matched)``, at most 1. ``p_given`` compares neurons in the order in which
    they were given, ``p_matched`` after matching, by tensors that the match did not see.
    """

    graph: NeuronGraph
    p_given: float
    p_matched: float
    evidence: tuple[LineageEvidence, ...]
    alignment: Alignment  # of all tensors
    samples: int
    seed: int

    @property
    def p_value(self) -> float:
        return min(1.0, 2 * min(self.p_given, self.p_matched))

    @property
    def element(self) -> GroupElement:
        """The element that lays b's neurons on a's."""
        return self.alignment.element

    @property
    def weak(self) -> float:
        """Mean agreement of the weak directions: near 0 for unrelated
        networks, near 1 for copies.
        """
        return float(np.mean([each.weak for each in self.evidence])) if self.evidence else 0.0

    @property
    def by_set(self) -> Mapping[str, float]:
        """By neuron set the p-value of all tensors that it indexes, after matching."""
        rng = np.random.default_rng([self.seed, 2])
        p_values = {}
        for name, neuron_set in self.graph.neurons.items():
            touching = [e for e in self.evidence if name in self.graph.weights[e.tensor].symbols]
            if touching and not is_trivial(neuron_set.group):
                p_values[name] = _p_of(touching, self.samples, rng)
        return p_values

    def __repr__(self) -> str:
        lines = [_verdict(self.p_value, self.samples)]
        lines += [
            f"  p = {self.p_value:.4g}: in the order given {self.p_given:.4g}, neurons matched "
            f"{self.p_matched:.4g} ({self.samples} random draws each, seed {self.seed})",
            f"  weak directions agree by {self.weak:.3f} (0: unrelated, 1: a copy); agreement of "
            f"all weights after matching {self.alignment.agreement_after:.3f}",
        ]
        strongest = sorted(self.evidence, key=lambda each: each.p_value)
        lines += [
            f"  {e.tensor}: p {e.p_value:.3g}, weak directions {e.weak:.3f}, all directions "
            f"{e.resemblance:.3f}"
            for e in strongest[:_SHOWN]
        ]
        if len(strongest) > _SHOWN:
            lines.append(f"  and {len(strongest) - _SHOWN} tensors that say less")
        by_set = sorted(self.by_set.items(), key=lambda item: item[1])
        lines.append(
            "  by neuron set: " + ", ".join(f"{name} {p:.3g}" for name, p in by_set[:_SHOWN])
        )
        return "\n".join(
            [
                *lines,
                *(
                    textwrap.fill(text, 116, initial_indent="  ", subsequent_indent="  ")
                    for text in WORDS
                ),
            ]
        )


WORDS = (
    "What it means: if the two networks had been initialised independently, weights this much "
    "alike would turn up with a probability of about p. A small p says that they share random "
    "numbers, as a network does with what was fine-tuned, pruned or copied from it.",
    "What it does not mean: p is not the probability of innocence; it does not say which of the "
    "two came first, whether both descend from a third, or whether that was allowed. A large p "
    "proves nothing: long training, heavy noise or pruning can hide a descent.",
)


def _verdict(p: float, samples: int) -> str:
    least = 2 / (samples + 1)
    if p <= 0.01:
        return "RELATED: the weights share random numbers of one initialisation" + (
            f" (the smallest p that {samples} draws can give)." if p <= least else "."
        )
    if p <= 0.05:
        return (
            "SUSPICIOUS: one pair of unrelated networks in twenty looks like this; look at more "
            "draws, or more models."
        )
    return "NOTHING SHOWN: unrelated networks look like this."


def lineage(
    a: Source,
    b: Source,
    graph: NeuronGraph,
    *,
    graph_b: NeuronGraph | None = None,
    samples: int = 999,
    seed: int = 0,
) -> Lineage:
    """Whether two networks share their origin: p-values, evidence by
    tensor, and the element between them.

    Two tests. *As given*: random group elements move b's neurons; if b was made without regard to
    a, every order of its neurons was as likely, so the given one agrees best with a's in one of
    ``samples + 1`` cases. *Matched*: tensors are split into groups; for each group the neurons are
    matched by the other tensors alone, and the weak singular directions of what was held out are
    compared, with random signs. Strong directions are left out, since networks trained alike
    resemble one another there. Order, signs, rotations and scales, as far as the graph declares
    them, are undone first.

    Args:
        a: module or state dict.
        b: the other one; which of the two came first makes no difference to the tests.
        graph: of ``a``.
        graph_b: of ``b``, if neurons were cut off: the same sets and tensors, some sets smaller.
        samples: random draws of each test; the smallest p is ``2 / (samples + 1)``.
        seed: of the draws and matches.

    Raises:
        GraphError: nothing moves in the graph, so that there is no random order to compare with.
        ShapeError: a network does not fit its graph.

    Source: Zhu et al., Independence tests for language models, 2025 (random orders; matching by
    tensors that are not tested); the weak directions with random signs are an addition.

    Example:
        >>> import torch
        >>> from symnet.graph import catalogue
        >>> graph = catalogue.mlp([48, 64, 64, 48])
        >>> draw = torch.Generator().manual_seed(0)
        >>> a, c = (
        ...     {n: torch.randn(s, generator=draw) for n, s in graph.shapes.items()} for _ in "ac"
        ... )
        >>> child = {n: t + 0.3 * torch.randn(t.shape, generator=draw) for n, t in a.items()}
        >>> disguised = graph.act(graph.random_element(1), child)
        >>> lineage(a, disguised, graph).p_value, lineage(a, c, graph).p_value > 0.05
        (0.002, True)
    """
    if samples < 1:
        raise GraphError(f"lineage(samples={samples}): give at least 1.")
    if all(is_trivial(neuron_set.group) for neuron_set in graph.neurons.values()):
        raise GraphError(
            "Nothing moves in this graph: every neuron set is Fixed, so there is no random "
            "order to compare with. Trace the network, or declare what may be permuted."
        )
    first: Mapping[str, Tensor] = StateView(a)
    second: Mapping[str, Tensor] = StateView(b)
    if graph_b is not None and graph_b != graph:
        second = pad(second, graph_b, graph)
    p_given = _test_in_order(graph, first, second, samples, np.random.default_rng([seed, 0]))
    evidence = tuple(_test_matched(graph, first, second, samples, seed))
    p_matched = _p_of(evidence, samples, np.random.default_rng([seed, 1]))
    return Lineage(
        graph, p_given, p_matched, evidence, align(first, second, graph, seed=seed), samples, seed
    )


def _test_in_order(
    graph: NeuronGraph, a: State, b: State, samples: int, rng: np.random.Generator
) -> float:
    """The p-value of the order given, among random permutations of every set that moves."""
    permuted = graph.with_groups(
        {
            name: Symmetric(neuron_set.size)
            for name, neuron_set in graph.neurons.items()
            if isinstance(neuron_set.group, Scaled | LinearGroup | SignedSymmetric)
        }
    )
    chosen: list[str] = []
    entries = 0
    for name in rng.permutation(
        [n for n, s in permuted.weights.items() if _moves(permuted, s.symbols)]
    ):
        if not chosen or entries + permuted.weights[name].size <= _DIRECT:
            chosen.append(str(name))
            entries += permuted.weights[name].size
    arrays_a, arrays_b = (
        {name: _standard(as_array(state[name], np.float64)) for name in chosen} for state in (a, b)
    )

    def agreement(moved: Mapping[str, Any]) -> float:
        return sum(float(np.vdot(arrays_a[name], moved[name])) for name in chosen)

    observed = agreement(arrays_b)
    drawn = (
        agreement(permuted.act(permuted.random_element(rng), arrays_b)) for _ in range(samples)
    )
    return (1 + sum(value >= observed - 1e-9 * abs(observed) for value in drawn)) / (samples + 1)


def _moves(graph: NeuronGraph, symbols: tuple[str, ...]) -> bool:
    return any(not is_trivial(graph.neurons[symbol].group) for symbol in symbols)


def _standard(array: np.ndarray) -> np.ndarray:
    """Centred, and divided by its standard deviation: tensors count by their
    numbers of entries. Without spread, zero.
    """
    centred = array - array.mean() if array.size else array
    spread = float(np.sqrt(np.square(centred).mean())) if array.size else 0.0
    standard: np.ndarray = (
        centred / spread
        if spread > 1e-12 * (1 + float(np.abs(array).max(initial=0)))
        else 0 * centred
    )
    return standard


def _test_matched(
    graph: NeuronGraph, a: State, b: State, samples: int, seed: int
) -> Iterator[LineageEvidence]:
    """The evidence of every tensor that can be held out, each
    compared in a match by other tensors.
    """
    for fold, held in enumerate(hold_out(graph)):
        match = align(a, b, graph, importance=dict.fromkeys(held, 0.0), starts=1, seed=seed)
        for name in held:
            rng = np.random.default_rng([seed, 3, fold, list(graph.weights).index(name)])
            blocks = graph.weights[name].blocks
            compared = [
                _compare_block(graph, block, a[name], match.aligned[name], rng) for block in blocks
            ]
            parts = [part for part in compared if part is not None]
            if not parts:
                continue
            products = np.concatenate([part[0] for part in parts])
            resemblance = float(np.mean([part[1] for part in parts]))
            weak = float(np.mean([part[2] for part in parts]))
            if len(products):
                p = _p_value(products, samples, rng)
                yield LineageEvidence(name, resemblance, weak, p, products)


def _compare_block(
    graph: NeuronGraph, block: Block, a: Any, b: Any, rng: np.random.Generator
) -> tuple[np.ndarray, float, float] | None:
    """Products of the weak components, correlation of all directions and of
    the weak ones; None if it is no matrix.
    """
    place = next(
        (d for d, i in enumerate(block.instances) if i.symbol and _moves(graph, (i.symbol,))), None
    )
    if place is None:
        return None
    rows = [*(d for _, d in block.instances[place].parents), place]
    x, y = (_as_matrix(apply_views(as_array(t, np.float64), block.views), rows) for t in (a, b))
    if min(x.shape) < 2:
        return None
    chosen = [np.sort(rng.permutation(n)[:_SIDE]) for n in x.shape]
    x, y = (m[np.ix_(*chosen)] for m in (x, y))
    products, weak = weak_parts(x, y)
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return products, float(np.vdot(x, y)) / size if size else 0.0, weak


def _as_matrix(array: np.ndarray, rows: list[int]) -> np.ndarray:
    columns = [d for d in range(array.ndim) if d not in rows]
    height = int(np.prod([array.shape[d] for d in rows]))
    return np.transpose(array, rows + columns).reshape(height, -1)


def _p_of(
    evidence: tuple[LineageEvidence, ...] | list[LineageEvidence],
    samples: int,
    rng: np.random.Generator,
) -> float:
    """One p-value of several tensors, each counted by what it would vary by chance."""
    parts = [
        e.products / spread for e in evidence if (spread := float(np.linalg.norm(e.products))) > 0
    ]
    return _p_value(np.concatenate(parts), samples, rng) if parts else 1.0


def _p_value(products: np.ndarray, samples: int, rng: np.random.Generator) -> float:
    total = float(products.sum())
    drawn = flipped_sums(products, samples, rng)
    return (1 + int((drawn >= total - 1e-9 * np.abs(products).sum()).sum())) / (samples + 1)
