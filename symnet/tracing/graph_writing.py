"""Writing a solution down: the neuron-permutation graph with names, notation and notes."""

from __future__ import annotations

import bisect
from collections.abc import Container, Iterable, Mapping, Sequence

from symnet.graph import NeuronGraph, NeuronSet
from symnet.graph.notation import (
    Anonymous,
    Axes,
    Axis,
    Composite,
    Concatenation,
    Symbol,
    alternatives,
    concatenation,
    interleaving,
    product,
)
from symnet.groups import Fixed, Symmetric
from symnet.tracing.axis_labels import Label, Node, bounds_of, flat, leaves, root
from symnet.tracing.copies import Dims, settle
from symnet.tracing.naming import (
    Occurrence,
    add_inner_layers,
    name_symbols,
    owner,
    printable,
    unused,
)
from symnet.tracing.reading_state import Labels, Reading
from symnet.tracing.roles import roles_of
from symnet.tracing.solution import Solution, is_interleaved, stands_across


class Writer:
    """Turns labels into notation; collects which symbols there are and where."""

    def __init__(self, solution: Solution, reading: Reading, order: Mapping[str, int]) -> None:
        self.solution = solution
        self.members = {members: leaf for leaf, members in reversed(list(solution.copies.items()))}
        blocks = {name: self.blocks(labels) for name, labels in solution.state.items()}
        self.free = self._free(blocks)
        self.parents = self._direct_parents()
        where = self._occurrences(blocks, order)
        roles = roles_of(reading, where, self.parents)
        add_inner_layers(where, roles)
        self.names = name_symbols(where, roles)
        # leaf kept as copies -> names of the symbol and its fixed parent
        self.copied: dict[Node, tuple[str, str]] = {}
        # join -> parts that each of its own parts is written as
        self.counts: dict[Node, list[int]] = {}
        self.neurons = self._neuron_sets(where)

    # ---- symbols ---------------------------------------------------------------------------------
    def blocks(self, labels: Labels) -> list[Dims]:
        joined = self.solution.joined
        return [
            tuple(tuple(n for leaf in dim for n in joined.get(leaf, (leaf,))) for dim in dims)
            for dims in settle([labels])
        ]

    def _free(self, blocks: Mapping[str, list[Dims]]) -> dict[Node, None]:
        private = {member for members in self.solution.copies.values() for member in members}
        nodes = (
            leaf for dims in blocks.values() for block in dims for dim in block for leaf in dim
        )
        return {leaf: None for leaf in nodes if leaf.pin is None and leaf not in private}

    def _direct_parents(self) -> dict[Node, list[Node]]:
        """Parents that are written down: symbols, and fixed axes with
        something over them; without grandparents.
        """
        private = {member for members in self.solution.copies.values() for member in members}
        everything = {
            leaf: {p for p in self.solution.parents.get(leaf, ()) if p not in private}
            for leaf in self.free
        }
        # Of two that lie over each other the larger is the child: that group is the larger one.
        for leaf in sorted(everything, key=lambda n: (-n.size, n.number)):
            for parent in list(everything[leaf]):
                if leaf in everything.get(parent, ()):
                    everything[parent].discard(leaf)
        self._make_transitive(everything)
        return {
            leaf: sorted(
                (
                    p
                    for p in above
                    if not any(p in everything.get(q, ()) for q in above if q is not p)
                ),
                key=lambda n: n.number,
            )
            for leaf, above in everything.items()
        }

    @staticmethod
    def _make_transitive(everything: dict[Node, set[Node]]) -> None:
        changed = True
        while changed:
            changed = False
            for leaf, above in everything.items():
                kept = {p for p in above if everything.get(p, set()) <= above - {leaf}}
                if kept != above:
                    everything[leaf], changed = kept, True

    def _occurrences(
        self, blocks: Mapping[str, list[Dims]], order: Mapping[str, int]
    ) -> dict[Node, list[Occurrence]]:
        fixed_parents = {
            p for several in self.parents.values() for p in several if p.pin is not None
        }
        occurrences: dict[Node, list[Occurrence]] = {}
        for name in sorted(blocks, key=lambda n: order.get(n, 1 << 30)):
            for dims in blocks[name]:
                for axis, dim in enumerate(dims):
                    for leaf in dim:
                        if leaf in self.free or leaf in fixed_parents:
                            item = Occurrence(
                                name, axis, len(dims), order.get(name, 1 << 30), len(dim) > 1
                            )
                            occurrences.setdefault(leaf, []).append(item)
        return occurrences

    def _neuron_sets(self, where: Mapping[Node, Sequence[Occurrence]]) -> dict[str, NeuronSet]:
        neurons = {}
        for leaf in where:
            group = Symmetric(leaf.size) if leaf in self.free else Fixed(leaf.size)
            neurons[self.names[leaf]] = NeuronSet(
                group, tuple(self.names[p] for p in self.parents.get(leaf, ()))
            )
        for name, labels in self.solution.state.items():
            for leaf in (n for label in labels for n in flat(label) if n in self.solution.copies):
                members = self.solution.copies[leaf]
                first = self.members[members]
                if first not in self.copied:
                    stem = unused(printable([owner(name) or name, "unit"]), neurons)
                    neurons[stem] = NeuronSet(
                        Symmetric(leaf.size), parent := unused(f"{stem}.copy", neurons)
                    )
                    neurons[parent] = NeuronSet(Fixed(len(members)))
                    self.copied[first] = stem, parent
                self.copied[leaf] = self.copied[first]
        return neurons

    # ---- notation --------------------------------------------------------------------------------
    def axes(self, labels: Labels) -> Axes:
        """Notation of a tensor's axes."""
        families = [n for label in labels for n in flat(label) if n.family is not None]
        parents = {
            root(n.family.axis): self.copied[n][1]
            for n in families
            if n in self.copied and n.family is not None
        }
        whole = {
            root(n.family.axis)
            for n in families
            if n.family is not None and stands_across(n, labels)
        }
        self.counts.clear()
        joined = [
            (any(n in whole for n in flat(label)), k, label) for k, label in enumerate(labels)
        ]
        written = {
            k: self.axis(label, parents, whole)
            for _, k, label in sorted(joined, key=lambda item: not item[0])
        }
        return tuple(written[k] for k in range(len(labels)))

    def axis(self, label: Label, fixed: Mapping[Node, str], whole: Container[Node] = ()) -> Axis:
        """Notation of one axis.

        Args:
            label: its factors.
            fixed: parents of copies, and their names.
            whole: joins whose parts are counted from another axis, so that they are written one by
                one.
        """
        nodes = list(flat(label))
        factors: list[Axis] = []
        while nodes:
            node = nodes.pop(0)
            if node in fixed:
                factors.append(Symbol(fixed[node]))
            elif node in self.copied:
                factors.append(Symbol(self.copied[node][0]))
            elif node.parts is not None:
                last = max(
                    (
                        k
                        for k, n in enumerate(nodes)
                        if n.family is not None and root(n.family.axis) is node
                    ),
                    default=-1,
                )
                parts = self._parts(node, tuple(nodes[: last + 1]), fixed)
                self.counts[node] = [
                    len(p.parts) if isinstance(p, Concatenation) else 1 for p in parts
                ]
                factors.append(
                    concatenation(parts) if node in whole else _tidy_concatenation(parts)
                )
                del nodes[: last + 1]
            elif node.family is not None and is_interleaved(node, (node, *nodes)):
                rows = nodes.index(axis := root(node.family.axis))
                places = range(axis.size)
                factors.append(
                    interleaving([self.axis(_at(p, (node, *nodes[:rows])), fixed) for p in places])
                )
                del nodes[: rows + 1]
            elif node.family is not None:
                # a join that was written before, with so many parts for each of its own
                axis = root(node.family.axis)
                each = zip(bounds_of(axis), self.counts[axis], strict=False)
                factors.append(
                    alternatives(
                        [self.axis(_at(k, (node,)), fixed) for k, n in each for _ in range(n)]
                    )
                )
            else:
                factors += [self._symbol(n) for n in self.solution.joined.get(node, (node,))]
        return _tidy_product(factors)

    def _symbol(self, leaf: Node) -> Axis:
        return Symbol(self.names[leaf]) if leaf in self.names else Anonymous(leaf.size)

    def _parts(self, cat: Node, along: Label, fixed: Mapping[Node, str]) -> list[Axis]:
        assert cat.parts is not None
        behind = [
            _at(start, along, cat) for start, _ in zip(bounds_of(cat), cat.parts, strict=False)
        ]
        return [
            self.axis((*part, *rest), fixed) for part, rest in zip(cat.parts, behind, strict=True)
        ]


def _at(position: int, label: Label, axis: Node | None = None) -> Label:
    """A label with the families over an axis (of the first one's, unless given)
    replaced by their members at a position.
    """
    members: list[Node] = []
    for node in label:
        axis = axis or (root(node.family.axis) if node.family is not None else None)
        if node.family is not None and root(node.family.axis) is axis:
            members.append(
                node.family.members[bisect.bisect_right(node.family.bounds, position) - 1]
            )
        else:
            members.append(node)
    return tuple(members)


def _tidy_product(factors: Iterable[Axis]) -> Axis:
    """The product with neighbouring anonymous axes multiplied."""
    kept: list[Axis] = []
    for factor in (
        f
        for nested in factors
        for f in (nested.factors if isinstance(nested, Composite) else (nested,))
    ):
        if isinstance(factor, Anonymous) and factor.size == 1:
            continue
        if kept and isinstance(factor, Anonymous) and isinstance(kept[-1], Anonymous):
            kept[-1] = Anonymous(kept[-1].size * factor.size)
        else:
            kept.append(factor)
    return product(kept)


def _tidy_concatenation(parts: list[Axis]) -> Axis:
    """The concatenation with neighbouring anonymous parts added, and
    equal parts written as a product.
    """
    kept: list[Axis] = []
    for part in parts:
        if kept and isinstance(part, Anonymous) and isinstance(kept[-1], Anonymous):
            kept[-1] = Anonymous(kept[-1].size + part.size)
        else:
            kept.append(part)
    if len(kept) > 1 and all(part == kept[0] for part in kept):
        return _tidy_product([Anonymous(len(kept)), kept[0]])
    return concatenation(kept)


def write_graph(
    solution: Solution,
    reading: Reading,
    order: Mapping[str, int],
    aliases: Mapping[str, str],
    extra_notes: Sequence[str],
) -> tuple[NeuronGraph, Writer]:
    """The graph, and the writer that knows how labels are written over it."""
    writer = Writer(solution, reading, order)
    tensors = {name: writer.axes(labels) for name, labels in solution.state.items()}
    notes = [*extra_notes, *notes_of(solution)]
    return NeuronGraph(writer.neurons, tensors, aliases=aliases, notes=notes), writer


SINGLE = (
    "single positions are used on their own (slices, stacks, picks by index, factors that do "
    "not align)"
)


def _concatenations(label: Label, carrying: Container[Node]) -> Iterable[Node]:
    """The concatenations in a label, but for those along which
    something stands for different symbols.
    """
    nodes = flat(label)
    for node in nodes:
        if node.parts is not None and node not in carrying:
            yield node
            for part in node.parts:
                yield from _concatenations(part, carrying)


def notes_of(solution: Solution) -> list[str]:
    """For every axis with pinned positions: tensor, axis, how many positions, and why."""
    notes = []
    for name, labels in solution.state.items():
        carrying = {
            root(n.family.axis) for label in labels for n in flat(label) if n.family is not None
        }
        for axis, label in enumerate(labels):
            pinned = [leaf for leaf in leaves(label) if leaf.pin is not None]
            single = sum(
                n.parts.count(()) for n in _concatenations(label, carrying) if n.parts is not None
            )
            if single:
                notes.append(f"{name}, axis {axis}, pinned ({single}): {SINGLE}")
            for reason in dict.fromkeys(leaf.pin for leaf in pinned):
                sizes = [leaf.size for leaf in pinned if leaf.pin == reason]
                notes.append(
                    f"{name}, axis {axis}, pinned ({' + '.join(map(str, sizes))}): {reason}"
                )
    return notes
