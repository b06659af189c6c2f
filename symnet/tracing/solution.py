"""From labels to symbols: what every leaf is once the whole network has been read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from symnet.tracing.axes import collapse, pin
from symnet.tracing.axis_labels import (
    Label,
    MemberFamily,
    Node,
    bounds_of,
    flat,
    leaves,
    root,
    size_of,
)
from symnet.tracing.copies import Dependence, Dims, dependences, join_mutual, settle
from symnet.tracing.loops import rows_are_treated_alike
from symnet.tracing.reading_state import SLICES, Labels, Reading
from symnet.tracing.recording import Value


@dataclass(frozen=True, slots=True)
class Solution:
    """Labels of the state's axes, with every leaf either pinned or an independent symbol."""

    state: dict[str, Labels]
    inputs: list[tuple[str, Labels]]
    outputs: list[tuple[str, Labels]]
    parents: Dependence  # leaf -> leaves over which it has copies, all of them
    joined: dict[Node, Label]  # adjacent leaves that became one
    # a family kept as copies over a fixed axis: leaf -> its members
    copies: dict[Node, tuple[Node, ...]]


def solve(reading: Reading, fixed: bool) -> Solution:
    """The symbols of a network that has been read; pins what no operation uses.

    Passes only ever make the group smaller, and each looks at what those before it have left. So
    what pins whole axes comes first, then families, which collapse where notation cannot write
    them, and last what only needs to be read off.

    Args:
        reading: the recording with a label for every axis of every value.
        fixed: whether the outputs' axes stay as they are (``io="fixed"``).
    """
    # What pins whole axes, in any order: pinning one never frees another.
    _pin_outputs(reading, fixed)
    outputs = _labels_of_outputs(reading, fixed)
    state = {name: reading.labels[value.number] for name, value in reading.recording.state.items()}
    _pin_used_orders(reading)
    _pin_unused(reading, state)
    _pin_hidden(reading)
    all_blocks = _all_blocks(reading)
    # Before families are judged, since this makes some. Without it the channels of "groups of four,
    # then groups of six" (tests/tracing/odd_models.py) move in all groups at once: the group is
    # sound, and 400,000 times too small.
    _copies_over_single_positions(all_blocks)
    # Without it families stay that no notation says: "fused attention, h 3 d" has no graph.
    copies = _settle_families(state, all_blocks)
    # After families, since what is dead is a slice, and slices are told apart by members: before
    # them "stacked, one norm for both" loses all its symmetry (1 in place of 24). Left out, the
    # rows of "every second" that nothing reads can be permuted: true of this forward pass, not of
    # the network.
    _pin_dead_slices(reading)
    # Pinning a member collapses its family: so blocks are written out once more, and families that
    # have collapsed since are no copies. No model of the tests shows a difference; a stale block
    # would name a leaf that stands for nothing any more.
    blocks = settle(all_blocks)
    copies = {leaf: members for leaf, members in copies.items() if leaf.family is not None}
    joined = join_mutual(blocks, settle(state.values()))
    return Solution(
        state,
        [(path, reading.labels[value.number]) for path, value in reading.recording.inputs],
        list(outputs.items()),
        dependences([_replace(dims, joined) for dims in blocks]),
        joined,
        copies,
    )


def _pin_outputs(reading: Reading, fixed: bool) -> None:
    """Pins the outputs' axes where they stay as they are, and positions that are output."""
    for path, value in reading.recording.outputs:
        for axis, label in enumerate(reading.label(value)) if fixed else ():
            place = " ".join(filter(None, (f"axis {axis} of the output", path)))
            pin(label, f"{place} (io='fixed')")
    for path, value in reading.recording.outputs:
        if value.number in reading.positions.of:
            along = reading.positions.of[value.number].along
            pin(along, f"positions along it are numbers in the output {path}")


def _labels_of_outputs(reading: Reading, fixed: bool) -> dict[str, Labels]:
    """Labels by path; where several recordings have the output, theirs merged.

    Another recording may have other sizes: such axes are not the same neurons, and stay apart.
    """
    outputs: dict[str, Labels] = {}
    for path, value in reading.recording.outputs:
        labels = reading.label(value)
        before = outputs.setdefault(path, labels)
        if not fixed and len(before) == len(labels):
            outputs[path] = tuple(
                reading.merge(a, b) if size_of(a) == size_of(b) else a
                for a, b in zip(before, labels, strict=True)
            )
    return outputs


def _pin_unused(reading: Reading, state: Mapping[str, Labels]) -> None:
    """Pins tensors that no operation with an effect on the outputs reads: they could be permuted in
    any way, which is true of this forward pass and not of the network.
    """
    for name, value in reading.recording.state.items():
        if value.number not in reading.used:
            for label in state[name]:
                pin(label, "no live use: the example's forward pass does not depend on it")


def _all_blocks(reading: Reading) -> list[Labels]:
    """Every distinct tuple of labels: of values, and of virtual blocks."""
    blocks: dict[Labels, None] = {}
    recording = reading.recording
    values = {v.number: v for o in recording.operations for v in o.outputs if v is not None}
    belonging = {
        n: reading.positions.elements_of([values[n]], reading.labels[n])
        for n in reading.positions.picked
    }
    with_belonging = [
        (*labels, *belonging.get(number, ())) for number, labels in reading.labels.items()
    ]
    for labels in (*with_belonging, *reading.virtual):
        kept = tuple(flat(label) for label in labels)
        if any(kept):
            blocks[kept] = None
    return list(blocks)


def _replace(dims: Dims, joined: Mapping[Node, Label]) -> Dims:
    if not joined:
        return dims
    # The joined symbol stands where its first half stood, whether or not the halves were in one
    # dim.
    return tuple(tuple(n for leaf in dim for n in joined.get(leaf, (leaf,))) for dim in dims)


def _copies_over_single_positions(blocks: list[Labels]) -> None:
    """Gives a symbol its own member for every position of an axis that is cut into single
    positions and always beside it.
    """
    beside: dict[Node, set[Node]] = {}
    for labels in blocks:
        nodes = [node for label in labels for node in flat(label)]
        cut = {n for n in nodes if n.parts is not None and not any(n.parts) and nodes.count(n) == 1}
        inside = {
            leaf for n in nodes if n.parts is not None for part in n.parts for leaf in leaves(part)
        }
        inside |= {m for n in nodes if n.family is not None for m in leaves(n.family.members)}
        for leaf in {*nodes, *inside}:
            single = leaf not in inside and nodes.count(leaf) == 1
            beside[leaf] = beside.get(leaf, cut) & (cut if single else set())
    for leaf, cuts in beside.items():
        plain = (
            leaf.parts is None and leaf.family is None and leaf.pin is None and not leaf.wildcard
        )
        if plain and cuts:
            axis = min(cuts, key=lambda n: n.number)
            leaf.family = MemberFamily(
                axis, list(range(axis.size + 1)), [Node(leaf.size) for _ in range(axis.size)]
            )
            leaf.family.seen = [True] * axis.size


# ---- families ------------------------------------------------------------------------------------
Copies = dict[Node, tuple[Node, ...]]


def _settle_families(state: Mapping[str, Labels], blocks: list[Labels]) -> Copies:
    """Families that the notation can write: beside their axis as a join, as copies over a fixed
    axis, or part by part of a join.

    All others become ordinary symbols. Returns those kept as copies, with their members.
    """
    while True:
        # A family that stands in a block without its axis collapses here, before it is judged. No
        # model of the tests shows a difference, as the last settling does the same; but what is
        # kept as copies would then be decided for families that do not last.
        settle(blocks)
        leaf, copies = first_family_to_collapse(state)
        if leaf is None:
            return copies
        collapse(leaf)


def first_family_to_collapse(state: Mapping[str, Labels]) -> tuple[Node | None, Copies]:
    """The first family, tensor by tensor, that notation cannot write where it stands, or that has
    one member everywhere; with it the families before it that are kept as copies.

    One at a time: collapsing merges members, and what is left of the others may fit then.
    """
    copies: Copies = {}
    for labels in state.values():
        families = _families_of(labels)
        copies |= _families_as_copies(families, state)
        parents = {_axis_of(leaf) for leaf in copies}
        for leaf, beside in families:
            across = _axis_of(leaf) not in parents and stands_across(leaf, labels)
            if _is_one(leaf) or not (beside or leaf in copies or across):
                return leaf, copies
    return None, copies


def _families_as_copies(
    families: Iterable[tuple[Node, bool]], state: Mapping[str, Labels]
) -> Copies:
    """Of a tensor's families those that may be copies over their axis, with their members.

    An axis is written as a join or as the parent of copies, not as both.
    """
    families = list(families)
    written_out = {_axis_of(leaf) for leaf, beside in families if beside}
    alone = [leaf for leaf, beside in families if not beside and _axis_of(leaf) not in written_out]
    members = {leaf: _private_members(leaf, state) for leaf in alone}
    return {leaf: nodes for leaf, nodes in members.items() if nodes is not None}


def _axis_of(leaf: Node) -> Node:
    """The axis at whose positions a family's members stand."""
    assert leaf.family is not None
    return root(leaf.family.axis)


def _families_of(labels: Labels) -> list[tuple[Node, bool]]:
    """The families in a tensor's labels, and whether each stands beside its axis:
    right behind it, or interleaved before it.
    """
    families = []
    for label in labels:
        nodes = flat(label)
        behind: Node | None = None
        for node in nodes:
            if node.parts is not None:
                behind = node
            elif node.family is not None:
                axis = root(node.family.axis)
                families.append((node, behind is axis or is_interleaved(node, nodes)))
            else:
                behind = behind if behind is not None and _runs_on(nodes, node, behind) else None
        for node in nodes:
            if node.parts is not None:
                for part in node.parts:
                    families += [(leaf, beside) for leaf, beside in _families_of((part,))]
    return families


def is_interleaved(leaf: Node, nodes: Label) -> bool:
    """Whether the axis of a family stands behind it, cut into single positions:
    the members are shuffled into one axis.
    """
    assert leaf.family is not None
    axis = _axis_of(leaf)
    single = axis.parts is not None and not any(axis.parts)
    return single and nodes.count(axis) == 1 and nodes.index(leaf) < nodes.index(axis)


def _is_one(leaf: Node) -> bool:
    """Whether a family has the same member everywhere: then it is that member."""
    return leaf.family is not None and len({root(member) for member in leaf.family.members}) == 1


def stands_across(leaf: Node, labels: Labels) -> bool:
    """Whether another axis of the tensor is joined along the axis of a
    family, so that each part has its member.
    """
    assert leaf.family is not None
    axis = root(leaf.family.axis)
    whole = [flat(label) for label in labels]
    joined = [nodes for nodes in whole if any(node.parts is not None for node in nodes)]
    # or it were not clear which join is meant
    if axis.parts is None or len(joined) != 1 or joined[0].count(axis) != 1:
        return False
    shuffled = any(n.family is not None and is_interleaved(n, joined[0]) for n in joined[0])
    beside = any(leaf in nodes for nodes in whole if nodes is not joined[0])
    # members of members have no place
    plain = all(node.family is None for node in leaves(leaf.family.members))
    return beside and plain and not shuffled and set(leaf.family.bounds) <= set(bounds_of(axis))


def _runs_on(nodes: Label, node: Node, axis: Node) -> bool:
    """Whether a family over ``axis`` still follows ``node``: then the node is copied along."""
    after = nodes[nodes.index(node) + 1 :]
    return any(n.family is not None and root(n.family.axis) is axis for n in after)


def _private_members(leaf: Node, state: Mapping[str, Labels]) -> tuple[Node, ...] | None:
    """The members of a family if they are independent symbols that only such families hold."""
    assert leaf.family is not None
    members = tuple(m for member in leaf.family.members for m in flat((member,)))
    axis = root(leaf.family.axis)
    alone = len(members) == len(leaf.family.members) == len(set(members)) == axis.size
    if not alone or any(
        m.pin is not None or m.parts is not None or m.family is not None for m in members
    ):
        return None
    direct = {n for labels in state.values() for label in labels for n in leaves(label)}
    return None if direct & set(members) else members


# ---- what the example hides ----------------------------------------------------------------------
def _pin_hidden(reading: Reading) -> None:
    """Pins axes that were only ever summed against constants."""
    seen = {leaf for label, _ in reading.summed for leaf in leaves(label)}
    for label, reason in reading.hidden:
        pin([leaf for leaf in leaves(label) if leaf not in seen], reason)


def _pin_used_orders(reading: Reading) -> None:
    """Pins what was sorted by its positions wherever the resulting order is used.

    Experts are often called in the order of their numbers, which says nothing; but where the first
    is treated differently ("first row", "weighted by turn" in tests/tracing/test_experts.py) they
    cannot change places. Left out, twelve of those tests fail.
    """
    recording = reading.recording
    outside = [*recording.state.values(), *(v for _, v in (*recording.inputs, *recording.outputs))]
    symbols = {
        leaf for value in outside for label in reading.label(value) for leaf in leaves(label)
    }
    for order in reading.positions.free_orders:
        if order.is_used(symbols):
            pin(order.along, "the order of positions along it, sorted, is used")
    for source, axis, along in reading.positions.loops:
        if not rows_are_treated_alike(recording, source, axis, reading.certain):
            pin(
                along,
                "the code goes through positions along it one by one, and treats them differently",
            )


# ---- dead slices ---------------------------------------------------------------------------------
def _pin_dead_slices(reading: Reading) -> None:
    """Pins symbols of state entries that no output depends on: of such
    entries only other slices are read.
    """
    live = _live_symbols(reading)
    for value in reading.recording.state.values():
        for leaf in _symbols([reading.labels[value.number]]):
            if leaf not in live.get(value.number, ()) and leaf.pin is None and not leaf.wildcard:
                pin((leaf,), "no live use: only other slices of the tensor are read")


def _live_symbols(reading: Reading) -> dict[int, set[Node]]:
    """For every value, its symbols that outputs depend on, by going
    through the operations backwards.
    """
    symbols_by_labels: dict[Labels, set[Node]] = {}

    def symbols_of(value: Value) -> set[Node]:
        labels = reading.labels.get(value.number, ())
        if labels not in symbols_by_labels:
            symbols_by_labels[labels] = set(_symbols([labels]))
        return symbols_by_labels[labels]

    live = {value.number: set(symbols_of(value)) for _, value in reading.recording.outputs}
    for operation in reversed(reading.recording.operations):
        outputs = [o for o in operation.outputs if o is not None]
        if outputs and not any(o.number in live for o in outputs):
            continue
        after = set().union(*(live.get(o.number, ()) for o in outputs))
        # What a slice does not hold is not read; what another result does not hold was summed over.
        gone = set() if operation.name in SLICES else set().union(*map(symbols_of, outputs))
        # All positions of an axis that is summed over count, even if of the same symbol on a
        # result's axis one is read.
        summed = {
            leaf
            for label in reading.contracted.get(id(operation), ())
            for leaf in _symbols([(label,)])
        }
        for value in operation.inputs():
            mine = symbols_of(value)
            kept = mine & after if operation.name in SLICES else mine - (gone - after - summed)
            live.setdefault(value.number, set()).update(kept)
    return live


def _symbols(blocks: Iterable[Labels]) -> list[Node]:
    return [leaf for dims in settle(blocks) for dim in dims for leaf in dim]
