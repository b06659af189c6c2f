"""Independent copies: which symbols have their own permutation for every index of another.

A block is the list of dims (each a flat list of leaves) of a parameter, an activation, or a virtual
tensor such as the products of a contraction before they are summed. A symbol ``s`` has an
independent copy per index of ``p`` exactly when ``p`` comes with ``s`` in every block.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from symnet.tracing.axes import collapse
from symnet.tracing.axis_labels import Label, Node, bounds_of, flat, leaves, root

Dims = tuple[tuple[Node, ...], ...]
Dependence = dict[Node, set[Node]]


def expand_block(labels: Sequence[Label]) -> list[Dims] | None:
    """The blocks of a tensor whose labels hold no concatenation any more;
    ``None`` if a family had to collapse.
    """
    todo: list[tuple[Label, ...]] = [tuple(flat(label) for label in labels)]
    done: dict[Dims, None] = {}
    while todo:
        dims = todo.pop()
        place = _next_join(dims)
        if place is None:
            for dim in dims:
                for leaf in dim:
                    if leaf.family is not None and not leaf.wildcard:
                        collapse(leaf)  # its axis does not come with it
                        return None
            done[dims] = None
            continue
        d, k = place
        cat = dims[d][k]
        if sum(node is cat for dim in dims for node in dim) > 1:
            for node in itertools.chain.from_iterable(dims):
                if node.family is not None and root(node.family.axis) is cat:
                    collapse(node)
                    return None
        todo += _parts_of(dims, d, k, cat)
        todo = list(dict.fromkeys(todo))
    return list(done)


def _next_join(dims: tuple[Label, ...]) -> tuple[int, int] | None:
    """Where a concatenation stands that no other one holds a family
    of: those are written out first.
    """
    places = [
        (d, k) for d, dim in enumerate(dims) for k, n in enumerate(dim) if n.parts is not None
    ]
    if len(places) < 2:
        return places[0] if places else None
    inside = [leaf for d, k in places for leaf in leaves((dims[d][k],))]
    later = {root(leaf.family.axis) for leaf in inside if leaf.family is not None}
    return next(((d, k) for d, k in places if dims[d][k] not in later), places[0])


def _parts_of(dims: tuple[Label, ...], d: int, k: int, cat: Node) -> list[tuple[Label, ...]]:
    assert cat.parts is not None
    variants = []
    for start, part in zip(bounds_of(cat), cat.parts, strict=False):
        replaced = []
        for number, dim in enumerate(dims):
            label: list[Node] = []
            for place, node in enumerate(dim):
                if (number, place) == (d, k):
                    label += flat(part)
                elif node.family is not None and root(node.family.axis) is cat:
                    bounds = node.family.bounds
                    at = next(
                        i for i in range(len(bounds) - 1) if bounds[i] <= start < bounds[i + 1]
                    )
                    label.append(node.family.members[at])
                else:
                    label.append(node)
            replaced.append(flat(label))
        variants.append(tuple(replaced))
    return variants


def settle(blocks: Iterable[Sequence[Label]]) -> list[Dims]:
    """All blocks written out; families that occur without their axis
    have become ordinary symbols.
    """
    before = list(blocks)
    while True:
        settled: dict[Dims, None] = {}
        stable = True
        for labels in before:
            expanded = expand_block(labels)
            if expanded is None:
                stable = False
                continue
            settled.update(dict.fromkeys(expanded))
        if stable:
            return list(settled)


def dependences(blocks: Iterable[Dims]) -> Dependence:
    """For every leaf, the leaves over which it has independent copies."""
    dependence: Dependence = {}
    for dims in blocks:
        once = [leaf for dim in dims for leaf in dim if not leaf.wildcard]
        counts: dict[Node, int] = {}
        for leaf in once:
            counts[leaf] = counts.get(leaf, 0) + 1
        for dim in dims:
            for leaf in dim:
                if leaf.wildcard:
                    continue
                beside = {p for p in dim if p is not leaf and not p.wildcard and dim.count(p) == 1}
                alone = {p for p, count in counts.items() if count == 1 and p is not leaf}
                candidates = beside | alone
                if dim.count(leaf) > 1:
                    candidates = set()
                earlier = dependence.get(leaf)
                dependence[leaf] = candidates if earlier is None else earlier & candidates
    return _close(dependence)


def _close(dependence: Dependence) -> Dependence:
    """The dependences made transitive by dropping what is not: a child
    lies over all its parent's parents.
    """
    changed = True
    while changed:
        changed = False
        for leaf, parents in dependence.items():
            kept = {p for p in parents if dependence.get(p, set()) - {leaf} <= parents}
            if kept != parents:
                dependence[leaf] = kept
                changed = True
    return dependence


def join_mutual(blocks: list[Dims], dims_of_state: Iterable[Dims]) -> dict[Node, Label]:
    """Pairs of symbols that always come together side by side become one symbol:
    ``{first: (joined,), second: ()}``.

    This undoes view splits that nothing needed.
    """
    state = list(dims_of_state)
    replaced: dict[Node, Label] = {}
    depend = dependences(blocks)
    for first, second in sorted(
        _adjacent_pairs(state), key=lambda pair: (pair[0].number, pair[1].number)
    ):
        if (
            first in replaced
            or second in replaced
            or first.pin is not None
            or second.pin is not None
        ):
            continue
        mutual = second in depend.get(first, ()) and first in depend.get(second, ())
        if mutual and all(_always_adjacent(first, second, dims) for dims in state):
            joined = Node(first.size * second.size, origins=first.origins | second.origins)
            replaced[first], replaced[second] = (joined,), ()
    return replaced


def _adjacent_pairs(state: Iterable[Dims]) -> set[tuple[Node, Node]]:
    return {pair for dims in state for dim in dims for pair in itertools.pairwise(dim)}


def _always_adjacent(first: Node, second: Node, dims: Dims) -> bool:
    for dim in dims:
        for k, leaf in enumerate(dim):
            if leaf is first and (k + 1 == len(dim) or dim[k + 1] is not second):
                return False
            if leaf is second and (k == 0 or dim[k - 1] is not first):
                return False
    return True
