"""maximality: is a graph's group all the symmetry there is? A bound on
any symmetry, with no trust in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from symnet.errors import VerificationError
from symnet.graph import NeuronGraph
from symnet.graph.decimal_text import short_decimal_text
from symnet.groups import Symmetric, is_charged, lie_dimension
from symnet.tracing.examples import copy_model, detached, float_state
from symnet.verify.continuous_part import ContinuousPart, continuous_part
from symnet.verify.refinement import BaseSet, Refiner, base_of, claimed_orbits
from symnet.verify.report import entry


@dataclass(frozen=True, slots=True)
class Step:
    """One entry held fixed: among how many the symmetries that fix the
    earlier ones may move it at most.
    """

    tensor: str
    index: tuple[int, ...]
    cell: int

    def __str__(self) -> str:
        return f"{self.tensor}{list(self.index)} among {self.cell}"


@dataclass(frozen=True)
class MaximalityReport:
    """A bound on the order of any symmetry, beside the order of the
    claimed group. True if they are equal.

    ``gap`` says where the bound first exceeds the claimed group; ``dead`` which tensors hold
    entries without influence (a key's bias under a softmax), about whose symmetry nothing is said;
    ``steps`` is the chain of fixed entries.
    """

    subject: str
    bound: int
    order: int
    gap: tuple[str, ...]
    dead: dict[str, int]
    steps: tuple[Step, ...]
    seed: int
    continuous: ContinuousPart | None = None

    @property
    def certified(self) -> bool:
        """Whether no larger group of permutations within tensors, and no further continuous one,
        leaves the function unchanged.
        """
        return self.bound == self.order and (self.continuous is None or self.continuous.certified)

    @property
    def passed(self) -> bool:
        return self.certified

    def raise_if_failed(self) -> MaximalityReport:
        """This report, if the group is certified.

        Raises:
            VerificationError: the report in words.
        """
        if not self.certified:
            raise VerificationError(str(self))
        return self

    def __bool__(self) -> bool:
        return self.certified

    def __str__(self) -> str:
        lines = [f"{'CERTIFIED' if self.certified else 'NOT CERTIFIED'}: {self.subject}"]
        lines += entry("order", [f"{_shown(self.order)} of the claimed group"])
        number = f"{_shown(self.bound)}: product of {len(self.steps)} cells, by orbit-stabiliser"
        below = (
            "; below the claimed order, so it bounds nothing if verify.network passes"
            if self.bound < self.order
            else ""
        )
        lines += entry("bound", [number + below])
        lines += entry("gap", self.gap)
        lines += self.continuous.lines() if self.continuous is not None else []
        lines += entry(
            "not felt",
            (f"{name}: {count} entries without influence" for name, count in self.dead.items()),
        )
        return "\n".join([*lines, f"  {'seed':<9} {self.seed}"])

    __repr__ = __str__


def maximality(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    limit: int = 200_000,
    **keyword_inputs: Any,
) -> MaximalityReport:
    """Whether a graph's group is all of the symmetry, with inputs and
    outputs fixed: a report with the bound.

    Entries of one tensor start with one colour and are separated by gradients (``refinement``),
    which never separates what a symmetry can exchange. One entry after another is then held fixed;
    by orbit-stabiliser the order of any symmetry that permutes entries within tensors is at most
    the product of the cells of these entries. Rectifiers and maxima are replaced by smooth ones,
    batch norms by their formula. Choices by index (top-k routing) break ties and so cannot be
    certified.

    Of a graph with scales, rotations or invertible maps the continuous part is certified too: its
    Lie dimension is compared with that of ``lie_algebra`` and ``jacobian_bound``, which is feasible
    at small widths; what lies between them is named by kind.

    Args:
        model: the network; a copy is used.
        graph: the claimed symmetry, known to be sound (``verify.network``).
        inputs, keyword_inputs: example inputs.
        outputs: which outputs count, by name, as in ``trace``.
        limit: largest number of state entries; the work grows with entries times neurons.

    Raises:
        VerificationError: the model has more entries than ``limit``, cannot be differentiated, or
            the graph has signed sets, whose flips are no permutations of entries.

    Example:
        >>> import symnet as sn, torch
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
        ... )
        >>> report = maximality(model, sn.catalogue.mlp([2, 4, 1]), torch.randn(5, 2))
        >>> report.bound, report.order, report.certified
        (24, 24, True)
    """
    continuous = None
    if graph.dimension:
        continuous = continuous_part(
            model, graph, *inputs, outputs=outputs, seed=seed, **keyword_inputs
        )
        graph = permutations_of(graph)
    if charged := [name for name, one in graph.neurons.items() if is_charged(one.group)]:
        raise VerificationError(
            f"The bound is on permutations of weights, but the neurons of '{charged[0]}' also "
            "change their sign. Certify the graph with Symmetric in place of SignedSymmetric "
            "(with_groups); verify.network checks the rest."
        )
    order = graph.order
    assert isinstance(order, int)  # what is continuous has been taken out
    private = copy_model(model)
    total = sum(tensor.numel() for tensor in float_state(private)[0].values())
    if total > limit:
        raise VerificationError(
            f"{type(model).__name__} has {total} floating-point entries, more than limit={limit}. "
            "Certify the same architecture at a narrow size, or raise the limit."
        )
    try:
        refiner = Refiner(private, detached((inputs, dict(keyword_inputs))), outputs, seed)
        steps = _individualise(refiner, graph, choices=1)
        bound = math.prod(step.cell for step in steps)
        if bound > order:  # another way down the chain may be tighter, and takes longer
            others = _individualise(refiner, graph, choices=6)
            bound, steps = min(
                (bound, steps),
                (math.prod(s.cell for s in others), others),
                key=lambda pair: pair[0],
            )
    except RuntimeError as error:
        raise VerificationError(
            f"{type(model).__name__} cannot be differentiated by its state: {error}. Entries of "
            "the state that the forward pass writes into, and out= arguments, have no gradient; "
            "compute them as new tensors."
        ) from error
    names = list(refiner.state)
    counts = np.bincount(refiner.tensor_of[refiner.dead], minlength=len(names))
    gap = () if bound == order else _find_gap(refiner, graph, steps)
    dead = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
    return MaximalityReport(
        type(model).__name__, bound, order, gap, dead, tuple(steps), seed, continuous
    )


def permutations_of(graph: NeuronGraph) -> NeuronGraph:
    """The graph with the permutations alone of every set that is also scaled or mixed."""
    continuous = {name: one for name, one in graph.neurons.items() if lie_dimension(one.group)}
    return graph.with_groups({name: Symmetric(one.size) for name, one in continuous.items()})


def _shown(number: int | float) -> str:
    return short_decimal_text(number) if isinstance(number, int) else str(number)


class _StabilizerChain:
    """The chain of fixed entries, and the colours that are left."""

    def __init__(self, refiner: Refiner) -> None:
        self.refiner = refiner
        self.colours = refiner.refine(refiner.tensor_of.copy())
        self.steps: list[Step] = []

    def cell_sizes(self) -> np.ndarray:
        live = self.colours[~self.refiner.dead]
        return np.bincount(live, minlength=int(self.colours.max(initial=0)) + 1)

    def refined_by(self, entry: int) -> np.ndarray:
        """The colours after one more entry is held fixed."""
        colours = self.colours.copy()
        colours[entry] = colours.max() + 1
        return self.refiner.refine(colours)

    def fix(self, entry: int) -> None:
        """Holds an entry fixed, unless it is alone in its cell already."""
        size = int(self.cell_sizes()[self.colours[entry]])
        if size > 1:
            self.steps.append(Step(*self.refiner.place(entry), size))
            self.colours = self.refined_by(entry)

    def follow(self, base: BaseSet) -> None:
        """Fixes the neurons of one set, through the tensor whose first
        entry leaves the least open.
        """
        sizes = self.cell_sizes()
        first = [[e for e in choice if sizes[self.colours[e]] > 1] for choice in base.choices]
        useful = [choice for choice in first if choice]
        if len(useful) > 1:
            # What stays open: the bound so far times the cells that would be left, on a logarithmic
            # scale.
            useful.sort(
                key=lambda choice: (
                    np.log(sizes[self.colours[choice[0]]]) - self.refined_by(choice[0]).max()
                )
            )
        for one in useful[0] if useful else ():
            self.fix(one)


def _individualise(refiner: Refiner, graph: NeuronGraph, choices: int) -> list[Step]:
    """Fixes entries until every cell with influence is a single entry: a base of the claimed
    group first, then small cells.
    """
    chain = _StabilizerChain(refiner)
    for base in base_of(graph, refiner, choices):
        chain.follow(base)
    while True:
        sizes = chain.cell_sizes()
        open_cells = np.flatnonzero(sizes > 1)
        if not len(open_cells):
            return chain.steps
        smallest = int(open_cells[np.argmin(sizes[open_cells])])
        chain.fix(int(np.flatnonzero((chain.colours == smallest) & ~refiner.dead)[0]))


def _find_gap(refiner: Refiner, graph: NeuronGraph, steps: Sequence[Step]) -> tuple[str, ...]:
    """Where the bound and the claimed group first differ, in words."""
    entries, position = {}, 0
    for name, tensor in refiner.state.items():
        count = tensor.numel()
        entries[name] = np.arange(position, position + count).reshape(tuple(tensor.shape))
        position += count
    weights = {name: array for name, array in entries.items() if name in graph.weights}
    fixed: list[tuple[str, tuple[int, ...]]] = []
    renumbered = _renumber(weights)
    for step in steps:
        orbits = claimed_orbits(graph, renumbered, fixed)[step.tensor]
        claimed = int((orbits == orbits[step.index]).sum())
        if claimed != step.cell:
            relation = "may move" if step.cell > claimed else "can move"
            return (
                f"with {len(fixed)} entries fixed, {step.tensor}{list(step.index)} {relation} to "
                f"{step.cell} places, the claimed group moves it to {claimed}",
                "the bound is not tight, or the group could be larger"
                if step.cell > claimed
                else "the claimed group is not a symmetry, or the model is not smooth here (ties "
                "of a maximum or a choice by index)",
            )
        fixed.append((step.tensor, step.index))
    if refiner.dead.any():
        return (
            "every fixed entry has the claimed orbit, but then the claimed group still moves "
            "entries without influence",
        )
    return (
        "every fixed entry has the claimed orbit, but then the claimed group still moves "
        "others: it is no symmetry, or the model is not smooth where neurons are equal "
        "(sorting, ties of a maximum, choices by index)",
    )


def _renumber(entries: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    result, position = {}, 0
    for name, array in entries.items():
        result[name] = np.arange(position, position + array.size).reshape(array.shape)
        position += array.size
    return result
