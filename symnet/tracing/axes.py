"""What makes labels equal, finer or fixed: merging, splitting, slicing, pinning.

Everything here only ever adds constraints: merging, splitting and pinning make the group smaller.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

from symnet.tracing.axis_labels import (
    Label,
    MemberFamily,
    Node,
    bounds_of,
    concatenate,
    flat,
    fresh,
    leaves,
    root,
    size_of,
)
from symnet.tracing.row_bounds import leading_factors, misaligned, row_bounds

# More cells than this pin the axes instead.
_CELLS = 64


def pin(label: Iterable[Node], reason: str) -> None:
    """Makes every position of a label tell apart from every other; wild nodes stay as they are."""
    for leaf in list(leaves(label)):
        if not leaf.wildcard and leaf.pin is None:
            leaf.pin = reason
        if leaf.family is not None and not leaf.wildcard:
            members, leaf.family = leaf.family.members, None
            for member in members:
                merge_nodes(leaf, member)
            pin((leaf,), reason)


def collapse(node: Node) -> None:
    """Makes a family an ordinary symbol: all its members become one."""
    node = root(node)
    if node.family is not None:
        members, node.family = node.family.members, None
        for member in members:
            merge_nodes(node, member)


def split(node: Node, sizes: Sequence[int]) -> Label:
    """A leaf refined to a product of these sizes; its factors."""
    collapse(node)
    node = root(node)
    assert math.prod(sizes) == node.size
    if node.factors is not None or node.parts is not None:
        return merge((node,), tuple(Node(size) for size in sizes if size > 1))
    origins = node.origins | {node.number}
    factors = tuple(Node(size, node.pin, node.wildcard, origins) for size in sizes if size > 1)
    if len(factors) > 1 and not node.wildcard:
        node.factors = factors
    return factors if len(factors) > 1 else (node,)


def merge(
    left: Iterable[Node], right: Iterable[Node], reason: str = "its factorisations do not align"
) -> Label:
    """The common label of two axes that must be permuted together;
    wild factors take the other's.
    """
    a, b = list(flat(left)), list(flat(right))
    assert size_of(a) == size_of(b), (size_of(a), size_of(b))
    result: list[Node] = []
    while a and b:
        if root(a[0]).factors is not None or root(b[0]).factors is not None:
            a, b = list(flat(a)), list(flat(b))
            continue
        a[0], b[0] = root(a[0]), root(b[0])
        if a[0].size == b[0].size:
            result += merge_nodes(a.pop(0), b.pop(0))
            continue
        large, small = (a, b) if a[0].size > b[0].size else (b, a)
        prefix = leading_factors(small, large[0].size)
        if large[0].parts is not None and prefix:
            result += _merge_concatenation(large.pop(0), tuple(small[:prefix]))
            del small[:prefix]
        elif large[0].size % small[0].size == 0 and (factors := refine(large[0], small[0].size)):
            large[:1] = factors
        else:
            taken_a, taken_b = misaligned(a, b)
            result += merge_cells(taken_a, taken_b, reason)
    return tuple(result)


def merge_cells(a: Label, b: Label, reason: str) -> Label:
    """Two axes whose factors do not align, merged on the finest partition
    that both refine to: the rows of both.

    The outer factors tell their positions apart from then on; what lies within a row of both can
    still move.
    """
    cuts = sorted({*row_bounds(a), *row_bounds(b)})
    if any(n.wildcard for n in leaves((*a, *b))) or len(cuts) > _CELLS:
        pin((*a, *b), reason)
        return tuple(_unwild(a, reason))
    for label in (a, b):
        pin([node for node in label[:-1] if node.parts is None], reason)
    for start, stop in itertools.pairwise(cuts):
        merge(take(a, start, stop), take(b, start, stop), reason)
    return flat(a)


def _unwild(label: Iterable[Node], reason: str) -> list[Node]:
    return [Node(n.size, reason) if n.wildcard else n for n in label]


def refine(node: Node, leading: int) -> Label:
    """A node as a product whose first factor has size ``leading``;
    empty if its structure forbids it.
    """
    node = root(node)
    if node.parts is None:
        return split(node, (leading, node.size // leading))
    inner, bounds = node.size // leading, bounds_of(node)
    if any(bound % inner for bound in bounds):
        return ()
    # (heads of q + heads of k + heads of v) by dim: the dim is a family over the concatenated
    # heads.
    index_parts: list[Label] = []
    members: list[Node] = []
    origins = node.origins | {node.number}
    for part in node.parts:
        count = size_of(part) // inner
        index, member = fresh(count, origins=origins), Node(inner, origins=origins)
        merge((*index, member), part)
        index_parts.append(index)
        members.append(member)
    outer, rest = Node(leading, origins=origins), Node(inner, origins=origins)
    outer.parts = index_parts
    rest.family = MemberFamily(outer, [bound // inner for bound in bounds], members)
    rest.family.seen = [True] * len(members)
    node.parts, node.factors = None, (outer, rest)
    return (outer, rest)


def merge_nodes(x: Node, y: Node) -> Label:
    """Two nodes of one size made one; the label that a tensor with either of them has."""
    x, y = root(x), root(y)
    if x is y:
        return (x,)
    if x.wildcard or y.wildcard:
        return (y,) if x.wildcard else (x,)
    if x.factors is not None or y.factors is not None:
        return merge((x,), (y,))
    if x.parts is None and y.parts is None:
        _unite_leaves(x, y)
        return flat((x,))
    if x.parts is not None and y.parts is not None:
        return _merge_concatenation(x, (y,))
    leaf, cat = (x, y) if x.parts is None else (y, x)
    if leaf.family is not None:
        collapse(leaf)
        return merge_nodes(leaf, cat)
    if leaf.pin is not None:
        pin((cat,), leaf.pin)
    assert cat.parts is not None
    if any(n.wildcard for part in cat.parts for n in leaves(part)):
        leaf.parts = [_without_wildcards(part, leaf.origins) for part in cat.parts]
        return (leaf,)
    cat.origins |= leaf.origins
    leaf.merged_into = cat
    return (cat,)


def _without_wildcards(label: Label, origins: frozenset[int]) -> Label:
    nodes: list[Node] = []
    for node in flat(label):
        if node.wildcard:
            nodes.append(Node(node.size, origins=origins))
        elif node.parts is not None and any(n.wildcard for n in leaves((node,))):
            copy = Node(node.size, origins=origins)
            copy.parts = [_without_wildcards(part, origins) for part in node.parts]
            nodes.append(copy)
        else:
            nodes.append(node)
    return tuple(nodes)


def _unite_leaves(x: Node, y: Node) -> None:
    """Links leaf y to leaf x. A family stays one: blocks without its
    axis collapse it at the end.
    """
    first, second = x.family, y.family
    x.family = y.family = None
    y.merged_into = x
    x.origins |= y.origins
    x.pin = x.pin or y.pin
    if first is not None and second is not None and root(first.axis) is root(second.axis):
        x.family = _merge_families(first, second)
    elif first is not None and second is not None:
        for member in (*first.members, *second.members):
            merge_nodes(x, member)
    else:
        x.family = first or second
    if root(x).pin is not None and root(x).family is not None:
        pin((root(x),), root(x).pin or "")


def _merge_families(first: MemberFamily, second: MemberFamily) -> MemberFamily:
    bounds = sorted({*first.bounds, *second.bounds})
    members = []
    for start in bounds[:-1]:
        one = first.members[bisect.bisect_right(first.bounds, start) - 1]
        two = second.members[bisect.bisect_right(second.bounds, start) - 1]
        merge_nodes(one, two)
        members.append(one)
    family = MemberFamily(first.axis, bounds, members)
    family.seen = [True] * len(members)
    return family


def _merge_concatenation(cat: Node, other: Label) -> Label:
    """A concatenation merged with a label of its size, part by part at the boundaries of both."""
    assert cat.parts is not None
    cuts = {0, cat.size, *bounds_of(cat)}
    if len(other) == 1 and other[0].parts is not None:
        cuts |= {0, *bounds_of(other[0])}
    ordered = sorted(cuts)
    merged: list[Label] = []
    for start, stop in itertools.pairwise(ordered):
        merged.append(merge(take((cat,), start, stop), take(other, start, stop)))
    kept = merged
    real = not any(n.wildcard for n in leaves((cat,)))
    if real:
        cat = root(cat)
        if cat.parts is not None:
            cat.parts = kept
        twin = root(other[0]) if len(other) == 1 else cat
        if (
            twin is not cat
            and twin.parts is not None
            and not any(n.wildcard for n in leaves((twin,)))
        ):
            cat.origins |= twin.origins
            twin.merged_into = cat
        return flat((cat,))
    result = Node(cat.size, origins=cat.origins)
    result.parts = kept
    return (result,)


def take(label: Iterable[Node], start: int, stop: int) -> Label:
    """The label of positions ``start .. stop`` of an axis, refining it at these boundaries."""
    nodes = flat(label)
    total = size_of(nodes)
    if (start, stop) == (0, total):
        return nodes
    if stop <= start:
        return fresh(max(stop - start, 0) or 1, wildcard=True)
    head, rest = nodes[0], nodes[1:]
    inner = size_of(rest)
    if inner == 1:
        return _take_node(head, start, stop)
    if start % inner == 0 and stop % inner == 0:
        first, last = start // inner, stop // inner
        return (*_take_node(head, first, last), *members_at(rest, head, first, last))
    at = start // inner
    if at == (stop - 1) // inner:
        _take_node(head, at, at + 1)
        return take(members_at(rest, head, at, at + 1), start - at * inner, stop - at * inner)
    reason = "a slice cuts across its factors"
    pin(nodes, reason)
    return fresh(stop - start, reason)


def _take_node(node: Node, start: int, stop: int) -> Label:
    """Positions of one node, as a label; a leaf becomes a concatenation."""
    if node.parts is None:
        if (start, stop) == (0, node.size):
            return (node,)
        if node.wildcard:
            return fresh(stop - start, wildcard=True)
        cuts = sorted({0, start, stop, node.size})
        if node.family is not None:
            _cut_family(node, cuts)
            return take((node,), start, stop)
        node.parts = [
            fresh(b - a, node.pin, origins=node.origins) for a, b in itertools.pairwise(cuts)
        ]
        node.pin = None
        return node.parts[cuts.index(start)]
    pieces: list[tuple[int, Label]] = []
    chosen: list[tuple[int, Label]] = []
    position = 0
    for part in node.parts:
        size = size_of(part)
        cuts = sorted({0, size, *(c - position for c in (start, stop) if 0 < c - position < size)})
        for a, b in itertools.pairwise(cuts):
            piece = (b - a, take(part, a, b))
            pieces.append(piece)
            if start <= position + a and position + b <= stop:
                chosen.append(piece)
        position += size
    if root(node) is node and node.parts is not None:
        node.parts = [label for _, label in pieces]
    return concatenate(chosen)


def _cut_family(node: Node, cuts: Sequence[int]) -> None:
    """A family as a join of families: every member is cut at the same places
    (interleaved channels, taken by halves).
    """
    family = node.family
    assert family is not None
    pieces = [
        [take((member,), a, b) for member in family.members] for a, b in itertools.pairwise(cuts)
    ]
    if any(len(piece) != 1 for labels in pieces for piece in labels):
        return collapse(node)  # single positions, or a member of several factors
    node.family = None
    node.parts = []
    for labels in pieces:
        leaf = Node(labels[0][0].size, origins=node.origins)
        leaf.family = MemberFamily(family.axis, list(family.bounds), [label[0] for label in labels])
        leaf.family.seen = [True] * len(labels)
        node.parts.append((leaf,))


def members_at(label: Iterable[Node], axis: Node, start: int, stop: int) -> Label:
    """What a label stands for at positions ``start .. stop`` of an axis that it comes with."""
    nodes: list[Node] = []
    axis = root(axis)
    for node in flat(label):
        if node.parts is not None:
            copy = Node(node.size, origins=node.origins)
            copy.parts = [members_at(part, axis, start, stop) for part in node.parts]
            changed = any(flat(p) != flat(q) for p, q in zip(copy.parts, node.parts, strict=True))
            nodes.append(copy if changed else node)
        elif (
            node.wildcard
            or node.pin is not None
            or not (node.origins & axis.origins)
            or axis.wildcard
            or (start, stop) == (0, axis.size)
        ):
            nodes.append(node)
        else:
            nodes.append(_member(node, axis, start, stop))
    return flat(nodes)


def _member(leaf: Node, axis: Node, start: int, stop: int) -> Node:
    if leaf.family is not None and root(leaf.family.axis) is not axis:
        collapse(leaf)
        leaf = root(leaf)
        if leaf.factors is not None or leaf.parts is not None or leaf.pin is not None:
            return leaf
    if leaf.family is None:
        leaf.family = MemberFamily(axis, [0, axis.size], [Node(leaf.size, origins=leaf.origins)])
    family = leaf.family
    for cut in (start, stop):
        if cut not in family.bounds:
            at = bisect.bisect_right(family.bounds, cut) - 1
            old = family.members[at]
            # A member that someone has seen stays what both halves are.
            halves = [old, old] if family.seen[at] else [old, Node(leaf.size, origins=leaf.origins)]
            family.bounds.insert(at + 1, cut)
            family.members[at : at + 1] = halves
            family.seen[at : at + 1] = [family.seen[at]] * 2
    first, last = family.bounds.index(start), family.bounds.index(stop)
    for at in range(first, last):
        family.seen[at] = True
        merge_nodes(family.members[first], family.members[at])
    return family.members[first]


def member_of(axis: Node, members: Sequence[Node]) -> Label:
    """The label of an axis that stands for one of these leaves at
    every position of another axis.
    """
    leaf = Node(members[0].size, origins=axis.origins | {axis.number})
    axis.origins |= {axis.number}
    leaf.family = MemberFamily(axis, list(range(len(members) + 1)), list(members))
    leaf.family.seen = [True] * len(members)
    return (leaf,)
