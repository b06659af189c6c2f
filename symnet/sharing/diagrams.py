"""Diagrams: the basis of the equivariant maps between two blocks that layers compute with.

A diagram joins an output term and an input term of one signature. On the sym dims it demands the
equalities of its parts; on the folded dims (fixed and generic ones) it carries a table
``labels[F_out, F_in]`` of parameters: -1 where no orbit is, equal labels where a group other than
Sym ties entries. Together, over all diagrams, there is one parameter per orbit; the change of basis
to orbit indicators is unitriangular (theory, section 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symnet.sharing.dims import BlockDims, topological
from symnet.sharing.patterns import Term, all_orderings, terms
from symnet.sharing.set_partitions import Partition, classes, set_partitions
from symnet.sharing.tuple_orbits import tuple_orbits

# for every dim of both blocks, neurons; arrays that broadcast against each other
Values = Sequence[np.ndarray]


@dataclass(frozen=True)
class Diagram:
    """A joined pair of terms.

    Args:
        joint: the dims of the output block, then those of the input block.
        split: number of output dims.
        output, input: the two sides; their kept parts are the same axes, in this order.
    """

    joint: BlockDims
    split: int
    output: Term
    input: Term

    @cached_property
    def part_of(self) -> dict[int, tuple[str, int]]:
        """For every sym dim of both sides, the part of the diagram that it belongs to."""
        shared = dict(zip(self.input.kept, self.output.kept, strict=True))
        parts = {
            dim: ("out", k) for k, part in enumerate(self.output.pattern.parts) for dim in part.dims
        }
        for k, part in enumerate(self.input.pattern.parts):
            name = ("out", shared[k]) if k in shared else ("in", k)
            parts |= {dim + self.split: name for dim in part.dims}
        return parts

    def _sym_symbols(self) -> list[tuple[str, tuple[int, ...]]]:
        return [
            (name, places)
            for name, places in topological(self.joint)
            if self.joint.dims[places[0]].kind == "sym"
        ]

    def _by_copy(self, places: tuple[int, ...]) -> Partition:
        """Dims of one symbol grouped by their sym parents' parts: equal groups lie
        in one copy, folded parents permitting.
        """
        return classes(places, [self._parts_of_parents(place) for place in places])

    def _parts_of_parents(self, place: int) -> tuple[tuple[str, int], ...]:
        return tuple(
            self.part_of[p] for _, p in self.joint.dims[place].parents if p in self.part_of
        )

    def _folded_parents(self, place: int) -> list[int]:
        return [p for _, p in self.joint.dims[place].parents if p not in self.part_of]

    # ---- where the diagram is one ----------------------------------------------------------------
    def equalities_hold(self, values: Values) -> np.ndarray | bool:
        """Where all demanded equalities hold: bool, broadcast from ``values``."""
        holds: np.ndarray | bool = True
        for _, places in self._sym_symbols():
            for part in classes(places, [self.part_of[place] for place in places]):
                for first, second in zip(part, part[1:], strict=False):
                    holds = holds & (values[first] == values[second])
        return holds

    def is_exact(self, values: Values) -> np.ndarray | bool:
        """Where the demanded equalities hold and no others: the pattern of the orbit.

        Neurons of different copies are different whatever their numbers are, so only dims that may
        lie in one copy are held against each other.
        """
        holds = self.equalities_hold(values)
        for _, places in self._sym_symbols():
            for copy in self._by_copy(places):
                representatives = [
                    part[0] for part in classes(copy, [self.part_of[place] for place in copy])
                ]
                for number, first in enumerate(representatives):
                    for second in representatives[:number]:
                        apart = values[first] != values[second]
                        for p, q in zip(
                            self._folded_parents(first), self._folded_parents(second), strict=True
                        ):
                            apart = apart | (values[p] != values[q])
                        holds = holds & apart
        return holds

    # ---- the folded dims -------------------------------------------------------------------------
    @cached_property
    def is_free(self) -> bool:
        """Whether every folded pair has a parameter of its codes (no tie, no gap)."""
        return self.joint.is_plain and self._fits()

    def _fits(self) -> bool:
        """Whether it belongs to the basis: sets without folded parents have
        neurons enough for what it tells apart.
        """
        return all(
            self._is_kept(copy)
            for _, places in self._sym_symbols()
            if not self._folded_parents(places[0])
            for copy in self._by_copy(places)
        )

    def _is_kept(self, copy: tuple[int, ...]) -> bool:
        """Whether the diagram of the dims in one copy of a set belongs to the
        basis for the set's number of neurons.
        """
        first = self.joint.dims[copy[0]]
        assert first.group is not None and first.group.rule is not None
        rule = first.group.rule
        if len(copy) <= first.size and rule.most is None:
            return True  # the usual case: every dim may hold a neuron of its codes
        blocks = classes(copy, [self.part_of[place] for place in copy])
        return rule.keeps(blocks, {k: self.joint.dims[k].degree for k in copy}, first.size)

    @cached_property
    def labels(self) -> np.ndarray:
        """Parameter of every folded pair: int64 ``(F_out, F_in)``, numbered
        from 0, -1 where there is none.
        """
        # Only the folded dims need a table: on the sym dims the equalities say everything, however
        # many neurons there are. A table over those too would be as large as the layer's matrix.
        outputs = [k for k in self.joint.folded if k < self.split]
        sizes = [self.joint.dims[k].size for k in self.joint.folded]
        rows = int(np.prod([self.joint.dims[k].size for k in outputs], dtype=np.int64))
        shape = (rows, int(np.prod(sizes, dtype=np.int64)) // rows)
        if self.is_free:
            return np.arange(shape[0] * shape[1]).reshape(shape)
        if not self._fits():  # this diagram is a sum of others
            return np.full(shape, -1)
        grid = dict(zip(self.joint.folded, np.indices(sizes, sparse=True), strict=True))
        codes = np.where(self._allowed(grid), self._folded_codes(grid), -1)
        return _numbered_densely(np.broadcast_to(codes, sizes).reshape(shape))

    @property
    def count(self) -> int:
        """Number of parameters."""
        return self.joint.folded_size if self.is_free else int(self.labels.max(initial=-1)) + 1

    def _allowed(self, grid: Mapping[int, np.ndarray]) -> np.ndarray:
        """Where dims of one part have equal folded parents, and no copy
        needs more neurons than it has.
        """
        allowed: np.ndarray = np.ones((1,) * len(grid), dtype=bool)
        for _, places in self._sym_symbols():
            if not self._folded_parents(places[0]):
                continue
            for part in classes(places, [self.part_of[place] for place in places]):
                for first, second in zip(part, part[1:], strict=False):
                    for p, q in zip(
                        self._folded_parents(first), self._folded_parents(second), strict=True
                    ):
                        allowed = allowed & (grid[p] == grid[q])
            # The dims fall into copies by their parents' neurons, which differs from one folded
            # index to the next.
            for copies in set_partitions(places):
                if not all(self._is_kept(copy) for copy in copies):
                    allowed = allowed & np.logical_not(self._fall_into(copies, grid))
        return allowed

    def _folded_codes(self, grid: Mapping[int, np.ndarray]) -> np.ndarray:
        """A number for every folded index pair, equal exactly on orbits (not dense)."""
        code: np.ndarray = np.zeros((1,) * len(grid), dtype=np.int64)
        for k in self.joint.folded:
            if self.joint.dims[k].kind == "fixed":
                code = code * self.joint.dims[k].size + grid[k]
        for _, places in topological(self.joint):
            group = self.joint.dims[places[0]].group
            if group is None or self.joint.dims[places[0]].kind == "sym":
                continue
            codes, total = np.zeros((1,) * len(grid), dtype=np.int64), 0
            # The dims fall into copies by their parents' neurons, which differs from one folded
            # index to the next.
            for copies in set_partitions(places):
                holds = self._fall_into(copies, grid)
                if not np.any(holds):
                    continue
                inner: np.ndarray = np.zeros((1,) * len(grid), dtype=np.int64)
                size = 1
                for copy in copies:
                    orbits = tuple_orbits(group, len(copy))
                    inner = (
                        inner * orbits.count + orbits.labels[tuple(grid[place] for place in copy)]
                    )
                    size *= orbits.count
                codes = np.where(holds, inner + total, codes)
                total += size
            code = code * total + codes
        return code

    def _fall_into(self, copies: Partition, grid: Mapping[int, np.ndarray]) -> np.ndarray | bool:
        """Where exactly these dims of a generic symbol lie in one copy."""
        copy_of = {place: number for number, copy in enumerate(copies) for place in copy}
        holds: np.ndarray | bool = True
        places = sorted(copy_of)
        for number, first in enumerate(places):
            for second in places[:number]:
                same: np.ndarray | bool = self._parts_of_parents(first) == self._parts_of_parents(
                    second
                )
                for p, q in zip(
                    self._folded_parents(first), self._folded_parents(second), strict=True
                ):
                    same = same & (grid[p] == grid[q])
                holds = holds & (
                    same if copy_of[first] == copy_of[second] else np.logical_not(same)
                )
        return holds


def _numbered_densely(codes: np.ndarray) -> np.ndarray:
    """The same partition of entries numbered 0, 1, ... in the order of the codes; -1 stays."""
    # A table of marks where the codes are not much larger than their number: np.unique sorts,
    # which takes two to four times as long on a million entries.
    highest = int(codes.max(initial=-1))
    if highest < 4 * codes.size + 1024:
        present = np.zeros(highest + 2, dtype=bool)
        present[codes.reshape(-1)] = True  # -1 marks the last place
        present[-1] = False
        number = np.cumsum(present) - 1
        number[-1] = -1
        return number[codes]
    unique, inverse = np.unique(codes, return_inverse=True)
    return inverse.reshape(codes.shape) - int(unique[0] == -1)


def diagrams_between(output: BlockDims, input: BlockDims) -> list[Diagram]:
    """All diagrams of a pair of blocks that have a parameter."""
    joint = output + input
    # All orders on one side, one on the other: every match of the kept parts once. All on both
    # sides would give each diagram as often as its kept parts have symmetries.
    by_signature: dict[object, list[Term]] = {}
    for term in all_orderings(input):
        by_signature.setdefault(term.signature, []).append(term)
    diagrams = [
        Diagram(joint, len(output.dims), output_term, input_term)
        for output_term in terms(output)
        for input_term in by_signature.get(output_term.signature, ())
    ]
    return [diagram for diagram in diagrams if diagram.count]
