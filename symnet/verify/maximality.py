"""maximality: is a graph's group all the symmetry there is? A bound on any symmetry, with no trust in the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from symnet.errors import VerificationError
from symnet.graph import NeuronGraph
from symnet.tracing.examples import copy_model, detached, float_state
from symnet.verify.refinement import Refiner, claimed_orbits
from symnet.verify.report import entry


@dataclass(frozen=True, slots=True)
class Step:
    """One entry held fixed: among how many the symmetries that fix the earlier ones may move it at most."""

    tensor: str
    index: tuple[int, ...]
    cell: int

    def __str__(self) -> str:
        return f"{self.tensor}{list(self.index)} among {self.cell}"


@dataclass(frozen=True)
class MaximalityReport:
    """A bound on the order of any symmetry, beside the order of the claimed group. True if they are equal.

    ``gap`` says where the bound first exceeds the claimed group; ``dead`` which tensors hold entries without influence
    (a key's bias under a softmax), about whose symmetry nothing is said; ``steps`` is the chain of fixed entries.
    """

    subject: str
    bound: int
    order: int
    gap: tuple[str, ...]
    dead: dict[str, int]
    steps: tuple[Step, ...]
    seed: int

    @property
    def certified(self) -> bool:
        """Whether no larger group of permutations within tensors leaves the function unchanged."""
        return self.bound == self.order

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
        lines += entry("order", [f"{self.order} of the claimed group"])
        lines += entry("bound", [f"{self.bound}: product of {len(self.steps)} cells, by orbit-stabiliser"])
        lines += entry("gap", self.gap)
        lines += entry("not felt", (f"{name}: {count} entries without influence" for name, count in self.dead.items()))
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
    """Whether a graph's group is all of the symmetry, with inputs and outputs fixed: a report with the bound.

    Entries of one tensor start with one colour and are separated by gradients (``refinement``), which never
    separates what a symmetry can exchange. One entry after another is then held fixed; by orbit-stabiliser the order of
    any symmetry that permutes entries within tensors is at most the product of the cells of these entries. Rectifiers and
    maxima are replaced by smooth ones, batch norms by their formula. Choices by index (top-k routing) break ties and so
    cannot be certified.

    Args:
        model: the network; a copy is used.
        graph: the claimed symmetry, known to be sound (``verify.network``).
        inputs, keyword_inputs: example inputs.
        outputs: which outputs count, by name, as in ``trace``.
        limit: largest number of state entries; the work grows with entries times neurons.

    Raises:
        VerificationError: the model has more entries than ``limit``.

    Example:
        >>> import symnet as sn, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        >>> report = maximality(model, sn.catalogue.mlp([2, 4, 1]), torch.randn(5, 2))
        >>> report.bound, report.order, report.certified
        (24, 24, True)
    """
    private = copy_model(model)
    total = sum(tensor.numel() for tensor in float_state(private)[0].values())
    if total > limit:
        raise VerificationError(
            f"{type(model).__name__} has {total} floating-point entries, more than limit={limit}. "
            "Certify the same architecture at a narrow size, or raise the limit."
        )
    refiner = Refiner(private, detached((inputs, dict(keyword_inputs))), outputs, seed)
    steps = _individualise(refiner)
    bound = math.prod(step.cell for step in steps)
    names = list(refiner.state)
    counts = np.bincount(refiner.tensor_of[refiner.dead], minlength=len(names))
    gap = () if bound == graph.order else _find_gap(refiner, graph, steps)
    dead = {name: int(count) for name, count in zip(names, counts, strict=True) if count}
    return MaximalityReport(type(model).__name__, bound, graph.order, gap, dead, tuple(steps), seed)


def _individualise(refiner: Refiner) -> list[Step]:
    """Fixes entries, smallest cells first, until every cell with influence is a single entry."""
    colours = refiner.refine(refiner.tensor_of.copy())
    steps = []
    while True:
        sizes = np.bincount(colours[~refiner.dead], minlength=int(colours.max(initial=0)) + 1)
        open_cells = np.flatnonzero(sizes > 1)
        if not len(open_cells):
            return steps
        # Small cells are orbits of a few neurons: fixing them follows a base of the group.
        cell = int(open_cells[np.argmin(sizes[open_cells])])
        chosen = int(np.flatnonzero((colours == cell) & ~refiner.dead)[0])
        steps.append(Step(*refiner.place(chosen), int(sizes[cell])))
        colours = colours.copy()
        colours[chosen] = colours.max() + 1
        colours = refiner.refine(colours)


def _find_gap(refiner: Refiner, graph: NeuronGraph, steps: Sequence[Step]) -> tuple[str, ...]:
    """Where the bound and the claimed group first differ, in words."""
    entries, position = {}, 0
    for name, tensor in refiner.state.items():
        count = tensor.numel()
        entries[name] = np.arange(position, position + count).reshape(tuple(tensor.shape))
        position += count
    known = {name: array for name, array in entries.items() if name in graph.weights}
    fixed: list[tuple[str, tuple[int, ...]]] = []
    renumbered = _renumber(known)
    for step in steps:
        orbits = claimed_orbits(graph, renumbered, fixed)[step.tensor]
        claimed = int((orbits == orbits[step.index]).sum())
        if claimed != step.cell:
            relation = "may move" if step.cell > claimed else "can move"
            return (
                f"with {len(fixed)} entries fixed, {step.tensor}{list(step.index)} {relation} to {step.cell} places, "
                f"the claimed group moves it to {claimed}",
                "the bound is not tight, or the group could be larger"
                if step.cell > claimed
                else "the claimed group is not a symmetry, or the model is not smooth here (ties of a maximum or a choice by index)",
            )
        fixed.append((step.tensor, step.index))
    return ("every fixed entry has the claimed orbit, but afterwards the claimed group still moves entries without influence",)


def _renumber(entries: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    result, position = {}, 0
    for name, array in entries.items():
        result[name] = np.arange(position, position + array.size).reshape(array.shape)
        position += array.size
    return result
