"""What a graph claims about every tensor of a recording: how a group element moves its entries.

The labels of a reading say which axes of activations belong to which axes of the state. What an
axis of the state does is taken from the *written* graph, so that a fault in writing shows; so
activations are claimed in the words of the graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from symnet.graph import NeuronGraph
from symnet.graph.blocks import axis_size
from symnet.graph.notation import (
    Alternatives,
    Anonymous,
    Axes,
    Axis,
    Composite,
    Concatenation,
    Interleaving,
    Symbol,
)
from symnet.groups import Symmetric
from symnet.tracing.axis_labels import Label, Node, bounds_of, flat, leaves, root, size_of
from symnet.tracing.layouts import Atom, Cut, Layout, Plain, sizes_of
from symnet.tracing.reading_state import Labels


class MisfitError(Exception):
    """Labels and written axes that cannot be told in each other's words."""


class Claims:
    """The words of a graph for the labels of a reading.

    Args:
        graph: the written graph.
        state: labels of the state's axes, in the order in which the tensors are first used.
    """

    def __init__(self, graph: NeuronGraph, state: Mapping[str, Labels]) -> None:
        self.graph = graph
        self.sizes = {name: neuron_set.size for name, neuron_set in graph.neurons.items()}
        # sets that activations split into several dims
        self.pieces: dict[str, tuple[int, ...]] = {}
        self.words: dict[Node, tuple[Atom, ...]] = {}
        self.misfits: dict[str, str] = {}
        for name, labels in state.items():
            if name in graph.weights:
                self.learn(name, labels, graph.weights[name].axes)

    def learn(self, name: str, labels: Labels, axes: Axes) -> None:
        """Takes from a tensor what its leaves are called; what is known already stays."""
        for label, axis in zip(labels, axes, strict=True):
            try:
                self._align(list(flat(label)), [axis])
            except MisfitError as error:
                self.misfits[name] = str(error)

    # ---- from labels and written axes to words ---------------------------------------------------
    def _align(self, nodes: list[Node], factors: list[Axis]) -> None:
        while nodes:
            factors[:1] = (
                factors[0].factors if factors and isinstance(factors[0], Composite) else factors[:1]
            )
            if not factors:
                raise MisfitError("more factors than are written")
            node, size = nodes[0], axis_size(factors[0], self.sizes)
            if isinstance(factors[0], Interleaving | Alternatives):
                self._align_members(nodes, factors.pop(0))
            elif node.parts is not None:
                self._align_join(nodes, factors)
            elif isinstance(factors[0], Concatenation) and node.size >= size:
                raise MisfitError("a join is written where none was read")
            elif node.size == size:
                self._name(nodes.pop(0), factors.pop(0))
            elif node.size > size:
                taken = [factors.pop(0)]
                while factors and math.prod(axis_size(f, self.sizes) for f in taken) < node.size:
                    taken.append(factors.pop(0))
                self._name(nodes.pop(0), Composite(tuple(taken)))
            elif isinstance(factors[0], Anonymous) and size % node.size == 0:
                self._name(nodes.pop(0), Anonymous(node.size))
                factors[0] = Anonymous(size // node.size)
            else:
                self._align_pieces(nodes, factors.pop(0))

    def _align_pieces(self, nodes: list[Node], factor: Axis) -> None:
        """Several leaves that are written as one set."""
        taken = [nodes.pop(0)]
        size = axis_size(factor, self.sizes)
        while nodes and size_of(taken) < size:
            taken.append(nodes.pop(0))
        if (
            not isinstance(factor, Symbol)
            or size_of(taken) != size
            or any(n.parts is not None for n in taken)
        ):
            raise MisfitError("factors that do not align with what is written")
        sizes = tuple(node.size for node in taken)
        if self.pieces.setdefault(factor.name, sizes) != sizes:
            raise MisfitError(f"'{factor.name}' is split in two ways")
        for number, node in enumerate(taken):
            self.words.setdefault(node, (Atom(node.size, factor.name, number),))

    def _align_members(self, nodes: list[Node], factor: Axis) -> None:
        """A leaf that stands for different sets, one written after another."""
        assert isinstance(factor, Interleaving | Alternatives)
        leaf = nodes.pop(0)
        if leaf.family is None or len(leaf.family.members) != len(factor.parts):
            raise MisfitError("sets that take turns are written where none were read")
        if isinstance(factor, Interleaving) and (
            not nodes or nodes.pop(0) is not root(leaf.family.axis)
        ):
            raise MisfitError("shuffled sets are written where none were read")
        for member, part in zip(leaf.family.members, factor.parts, strict=True):
            self._align(list(flat((member,))), [part])

    def _align_join(self, nodes: list[Node], factors: list[Axis]) -> None:
        node = nodes.pop(0)
        if isinstance(factors[0], Symbol) and axis_size(factors[0], self.sizes) == node.size:
            self._name_copies(node, factors.pop(0))
            return
        last = max((k for k, n in enumerate(nodes) if _varies_along(n, node)), default=-1)
        along = nodes[: last + 1]
        del nodes[: last + 1]
        inner = size_of(along)
        labels = [(*part, *members(tuple(along), node, start)) for start, part in _parts(node)]
        factor = factors[0]
        if isinstance(factor, Concatenation):
            factors.pop(0)
            single = [piece for label in labels for piece in _single_parts(flat(label))]
            self._align_parts(
                [(size_of(label), list(label)) for label in single], list(factor.parts)
            )
        elif isinstance(factor, Anonymous) and factor.size % (node.size * inner) == 0:
            self._rest(factors, factor.size, node.size * inner)
            for label in labels:
                self._align(list(flat(label)), [Anonymous(size_of(label))])
        elif (
            isinstance(factor, Anonymous) and factor.size % len(labels) == 0
        ):  # equal parts, written as a product
            self._rest(factors, factor.size, len(labels))
            self._align_equal(labels, factors)
        else:
            raise MisfitError("a join that is not written as one")

    @staticmethod
    def _rest(factors: list[Axis], size: int, taken: int) -> None:
        factors[:1] = [Anonymous(size // taken)] if size > taken else []

    def _align_equal(self, labels: Sequence[Label], factors: list[Axis]) -> None:
        taken: list[Axis] = []
        while factors and math.prod(axis_size(f, self.sizes) for f in taken) < size_of(labels[0]):
            taken.append(factors.pop(0))
        for label in labels:
            self._align(list(flat(label)), list(taken))

    def _align_parts(self, labels: list[tuple[int, list[Node]]], parts: list[Axis]) -> None:
        """Parts that were read, against parts that are written; fixed
        ones may be written together.
        """
        while labels:
            if not parts:
                raise MisfitError("fewer parts than were read")
            size, label = labels.pop(0)
            written = axis_size(parts[0], self.sizes)
            if size == written:
                self._align(label, [parts.pop(0)])
            elif isinstance(parts[0], Anonymous) and size < written:
                parts[0] = Anonymous(written - size)
                self._align(label, [Anonymous(size)])
            elif size > written and isinstance(parts[0], Anonymous):
                total = 0
                while parts and total < size:
                    total += axis_size(parts.pop(0), self.sizes)
                self._align(label, [Anonymous(size)])
            else:
                raise MisfitError("parts of other sizes than are written")

    def _name(self, node: Node, axis: Axis) -> None:
        self.words.setdefault(node, self.atoms(axis))
        if (
            node.family is not None
            and isinstance(axis, Symbol)
            and self.graph.neurons[axis.name].over
        ):
            parent = self.graph.neurons[axis.name].over[0]
            bounds = node.family.bounds
            for member, start in zip(node.family.members, bounds[:-1], strict=True):
                atom = Atom(node.size, axis.name, at=((parent, start),))
                self.words.setdefault(root(member), (atom,))

    def _name_copies(self, node: Node, axis: Axis) -> None:
        for part in node.parts or ():
            for leaf in flat(part):
                self.words.setdefault(leaf, (Atom(leaf.size),))
        self.words.setdefault(node, self.atoms(axis))

    def atoms(self, axis: Axis) -> tuple[Atom, ...]:
        """An axis without joins as atoms."""
        match axis:
            case Symbol(name, degree):
                if degree != 1 and not isinstance(self.graph.neurons[name].group, Symmetric):
                    raise MisfitError(f"'{name}' stands as a strand of another degree")
                pieces = self.pieces.get(name, (self.sizes[name],))
                return tuple(Atom(size, name, number) for number, size in enumerate(pieces))
            case Anonymous(size):
                return (Atom(size),) if size > 1 else ()
            case Composite(factors):
                return tuple(atom for factor in factors for atom in self.atoms(factor))
            case Concatenation() | Interleaving() | Alternatives():
                raise MisfitError("a join inside of a factor")
            case _:
                assert_never(axis)

    # ---- layouts ---------------------------------------------------------------------------------
    def layout(self, labels: Labels) -> Layout:
        """The claim about a tensor with these labels."""
        dims = [flat(label) for label in labels]
        places = [
            (d, k)
            for d, dim in enumerate(dims)
            for k, n in enumerate(dim)
            if n.parts is not None and (n not in self.words or self._varying(dims, n))
        ]
        # A join that another one holds a family of is written out after it.
        inside = [leaf for d, k in places for leaf in leaves((dims[d][k],))]
        later = {root(leaf.family.axis) for leaf in inside if leaf.family is not None}
        first = [(d, k) for d, k in places if dims[d][k] not in later] or places
        place = first[0] if first else None
        if place is None:
            return Plain(
                tuple(tuple(atom for node in dim for atom in self.word(node)) for dim in dims)
            )
        axis, position = place
        node = dims[axis][position]
        parts, widths = [], []
        for start, part in _parts(node):
            changed = [members(dim, node, start) for dim in dims]
            nodes = dims[axis]
            changed[axis] = (
                *members(nodes[:position], node, start),
                *flat(part),
                *members(nodes[position + 1 :], node, start),
            )
            layout = self.layout(tuple(changed))
            parts.append(layout)
            widths.append(
                len(sizes_of(layout)[axis])
                - self._count(nodes[:position], nodes[position + 1 :], node, start)
            )
        before = (
            len(sizes_of(parts[0])[axis])
            - widths[0]
            - self._count((), dims[axis][position + 1 :], node, 0)
        )
        return Cut(axis, before, tuple(widths), tuple(parts))

    def _count(self, before: Label, after: Label, node: Node, start: int) -> int:
        """How many factors stand beside a joined one."""
        beside = (*members(before, node, start), *members(after, node, start))
        return len(sizes_of(self.layout((beside,)))[0])

    @staticmethod
    def _varying(dims: Sequence[Label], node: Node) -> bool:
        return any(_varies_along(other, node) for dim in dims for other in dim)

    def word(self, node: Node) -> tuple[Atom, ...]:
        if node in self.words:
            return self.words[node]
        return (Atom(node.size, uniform=node.wildcard),)

    def written(self, axes: Axes) -> Layout:
        """The claim that written axes make."""
        expanded = [self._factors(axis) for axis in axes]
        for number, factors in enumerate(expanded):
            for position, factor in enumerate(factors):
                if isinstance(factor, Concatenation | Interleaving):
                    return self._written_join(axes, number, factors, position)
        return Plain(
            tuple(
                tuple(atom for factor in factors for atom in self.atoms(factor))
                for factors in expanded
            )
        )

    def _written_join(
        self, axes: Axes, number: int, factors: tuple[Axis, ...], position: int
    ) -> Layout:
        """One layout for each part of a join; what takes turns with its parts is that part's."""
        factor = factors[position]
        assert isinstance(factor, Concatenation | Interleaving)
        layouts, widths = [], []
        for turn, part in enumerate(factor.parts):
            inside = [self._factors(axis) for axis in axes]
            inside[number] = (*factors[:position], part, *factors[position + 1 :])
            count = len(factor.parts)
            changed = tuple(
                Composite(tuple(_turn(f, turn, count) for f in written_factors))
                for written_factors in inside
            )
            layouts.append(self.written(changed))
            beside = self._written_count(factors, position, turn, count)
            widths.append(len(sizes_of(layouts[-1])[number]) - beside)
        before = sum(len(self.atoms(f)) for f in factors[:position])
        # the parts are told apart by an inner factor of size 1
        if isinstance(factor, Interleaving):
            return Cut(number, before + widths[0], (0,) * len(widths), tuple(layouts))
        return Cut(number, before, tuple(widths), tuple(layouts))

    def _written_count(self, factors: Sequence[Axis], position: int, turn: int, count: int) -> int:
        others = (_turn(f, turn, count) for f in (*factors[:position], *factors[position + 1 :]))
        return len(sizes_of(self.written((Composite((*others, Anonymous(1))),)))[0])

    @staticmethod
    def _factors(axis: Axis) -> tuple[Axis, ...]:
        if isinstance(axis, Composite):
            return tuple(inner for factor in axis.factors for inner in Claims._factors(factor))
        return (axis,)


def _turn(axis: Axis, turn: int, count: int) -> Axis:
    """What an axis is beside one part of a join of so many."""
    return axis.parts[turn] if isinstance(axis, Alternatives) and len(axis.parts) == count else axis


def _varies_along(node: Node, axis: Node) -> bool:
    return node.family is not None and root(node.family.axis) is axis


def members(label: Label, axis: Node, start: int) -> Label:
    """The label with every family over an axis replaced by its member at a position."""
    nodes: list[Node] = []
    for node in label:
        if _varies_along(node, axis) and node.family is not None:
            bounds = node.family.bounds
            at = next(k for k in range(len(bounds) - 1) if bounds[k] <= start < bounds[k + 1])
            nodes.append(node.family.members[at])
        else:
            nodes.append(node)
    return flat(nodes)


def _single_parts(label: Label) -> Iterator[Label]:
    """The parts of a join in which parts are joins themselves, as they
    are written: one after another.
    """
    if len(label) == 1 and label[0].parts is not None:
        for part in label[0].parts:
            yield from _single_parts(flat(part))
    else:
        yield label


def _parts(node: Node) -> Iterator[tuple[int, Label]]:
    """Where the parts of a joined node begin, and what they are."""
    assert node.parts is not None
    yield from zip(bounds_of(node), node.parts, strict=False)
