"""Writing a solution down: the neuron-permutation graph with names, notation and notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from symnet.graph import NeuronGraph, NeuronSet
from symnet.graph.notation import Anonymous, Axes, Axis, Product, Symbol, concatenation, product
from symnet.groups import Fixed, Symmetric
from symnet.tracing.copies import Dims, settle
from symnet.tracing.labels import Label, Node, bounds_of, flat, leaves, root
from symnet.tracing.naming import Occurrence, add_inner_layers, name_symbols, owner, printable, unused
from symnet.tracing.reading import Labels, Reading
from symnet.tracing.roles import roles_of
from symnet.tracing.solution import Solution


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
        self.copied: dict[Node, tuple[str, str]] = {}  # leaf kept as copies -> names of the symbol and its fixed parent
        self.neurons = self._neuron_sets(where)

    # ---- symbols ------------------------------------------------------------------------------------------------
    def blocks(self, labels: Labels) -> list[Dims]:
        joined = self.solution.joined
        return [
            tuple(tuple(n for leaf in dim for n in joined.get(leaf, (leaf,))) for dim in dims)
            for dims in settle([labels])
        ]

    def _free(self, blocks: Mapping[str, list[Dims]]) -> dict[Node, None]:
        private = {member for members in self.solution.copies.values() for member in members}
        found = (leaf for dims in blocks.values() for block in dims for dim in block for leaf in dim)
        return {leaf: None for leaf in found if leaf.pin is None and leaf not in private}

    def _direct_parents(self) -> dict[Node, list[Node]]:
        """Parents that are written down: symbols, and fixed axes with something over them; without grandparents."""
        private = {member for members in self.solution.copies.values() for member in members}
        everything = {leaf: {p for p in self.solution.parents.get(leaf, ()) if p not in private} for leaf in self.free}
        # Of two that lie over each other the larger is the child: that group is the larger one.
        for leaf in sorted(everything, key=lambda n: (-n.size, n.number)):
            for parent in list(everything[leaf]):
                if leaf in everything.get(parent, ()):
                    everything[parent].discard(leaf)
        self._make_transitive(everything)
        return {
            leaf: sorted(
                (p for p in above if not any(p in everything.get(q, ()) for q in above if q is not p)),
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

    def _occurrences(self, blocks: Mapping[str, list[Dims]], order: Mapping[str, int]) -> dict[Node, list[Occurrence]]:
        fixed_parents = {p for several in self.parents.values() for p in several if p.pin is not None}
        found: dict[Node, list[Occurrence]] = {}
        for name in sorted(blocks, key=lambda n: order.get(n, 1 << 30)):
            for dims in blocks[name]:
                for axis, dim in enumerate(dims):
                    for leaf in dim:
                        if leaf in self.free or leaf in fixed_parents:
                            item = Occurrence(name, axis, len(dims), order.get(name, 1 << 30), len(dim) > 1)
                            found.setdefault(leaf, []).append(item)
        return found

    def _neuron_sets(self, where: Mapping[Node, Sequence[Occurrence]]) -> dict[str, NeuronSet]:
        neurons = {}
        for leaf in where:
            group = Symmetric(leaf.size) if leaf in self.free else Fixed(leaf.size)
            neurons[self.names[leaf]] = NeuronSet(group, tuple(self.names[p] for p in self.parents.get(leaf, ())))
        for name, labels in self.solution.state.items():
            for leaf in (n for label in labels for n in flat(label) if n in self.solution.copies):
                members = self.solution.copies[leaf]
                first = self.members[members]
                if first not in self.copied:
                    stem = unused(printable([owner(name) or name, "unit"]), neurons)
                    neurons[stem] = NeuronSet(Symmetric(leaf.size), parent := unused(f"{stem}.copy", neurons))
                    neurons[parent] = NeuronSet(Fixed(len(members)))
                    self.copied[first] = stem, parent
                self.copied[leaf] = self.copied[first]
        return neurons

    # ---- notation -----------------------------------------------------------------------------------------------
    def axes(self, labels: Labels) -> Axes:
        """Notation of a tensor's axes."""
        parents = {root(n.family.axis): self.copied[n][1] for label in labels for n in flat(label)
                   if n in self.copied and n.family is not None}  # fmt: skip
        return tuple(self.axis(label, parents) for label in labels)

    def axis(self, label: Label, fixed: Mapping[Node, str]) -> Axis:
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
                    (k for k, n in enumerate(nodes) if n.family is not None and root(n.family.axis) is node), default=-1
                )
                factors.append(self._concatenation(node, tuple(nodes[: last + 1]), fixed))
                del nodes[: last + 1]
            else:
                factors += [self._symbol(n) for n in self.solution.joined.get(node, (node,))]
        return _tidy_product(factors)

    def _symbol(self, leaf: Node) -> Axis:
        return Symbol(self.names[leaf]) if leaf in self.names else Anonymous(leaf.size)

    def _concatenation(self, cat: Node, along: Label, fixed: Mapping[Node, str]) -> Axis:
        assert cat.parts is not None
        parts = []
        for start, part in zip(bounds_of(cat), cat.parts, strict=False):
            label = list(part)
            for node in along:
                if node.family is not None and root(node.family.axis) is cat:
                    bounds = node.family.bounds
                    at = next(i for i in range(len(bounds) - 1) if bounds[i] <= start < bounds[i + 1])
                    label.append(node.family.members[at])
                else:
                    label.append(node)
            parts.append(self.axis(tuple(label), fixed))
        return _tidy_concatenation(parts)


def _tidy_product(factors: Iterable[Axis]) -> Axis:
    """The product with neighbouring anonymous axes multiplied."""
    kept: list[Axis] = []
    for factor in (f for given in factors for f in (given.factors if isinstance(given, Product) else (given,))):
        if isinstance(factor, Anonymous) and factor.size == 1:
            continue
        if kept and isinstance(factor, Anonymous) and isinstance(kept[-1], Anonymous):
            kept[-1] = Anonymous(kept[-1].size * factor.size)
        else:
            kept.append(factor)
    return product(kept)


def _tidy_concatenation(parts: list[Axis]) -> Axis:
    """The concatenation with neighbouring anonymous parts added, and equal parts written as a product."""
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


SINGLE = "single positions are used on their own (slices, stacks, picks by index, factors that do not align)"


def _concatenations(label: Label) -> Iterable[Node]:
    """The concatenations in a label, but for those along which something stands for different symbols."""
    nodes = flat(label)
    carrying = {root(node.family.axis) for node in nodes if node.family is not None}
    for node in nodes:
        if node.parts is not None and node not in carrying:
            yield node
            for part in node.parts:
                yield from _concatenations(part)


def notes_of(solution: Solution) -> list[str]:
    """For every axis with pinned positions: tensor, axis, how many positions, and why."""
    notes = []
    for name, labels in solution.state.items():
        for axis, label in enumerate(labels):
            pinned = [leaf for leaf in leaves(label) if leaf.pin is not None]
            single = sum(n.parts.count(()) for n in _concatenations(label) if n.parts is not None)
            if single:
                notes.append(f"{name}, axis {axis}, pinned ({single}): {SINGLE}")
            for reason in dict.fromkeys(leaf.pin for leaf in pinned):
                sizes = [leaf.size for leaf in pinned if leaf.pin == reason]
                notes.append(f"{name}, axis {axis}, pinned ({' + '.join(map(str, sizes))}): {reason}")
    return notes
