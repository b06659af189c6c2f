"""The plan of the products along a network, by the graph's own order: a
chain of contractions from end to end.

Every tensor between two neuron sets is a matrix of the network; in the order of the declaration
(that of a state dict) it takes what was computed at the set that it reads to the set that it
writes. What several tensors write into one set is added, as in a residual stream. The same chain is
run backwards from the ends. The first two axes of a tensor are what it writes and what it reads,
named or not. Taps (Fixed axes besides these ends) are kept beside the end they come from while that
stays small, and averaged when it does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from symnet.errors import GraphError
from symnet.graph.blocks import Instance, axes_of_dims
from symnet.graph.neuron_graph import NeuronGraph, SpaceLike
from symnet.graph.space import Space, TensorSpace
from symnet.groups import is_trivial
from symnet.plan.layer_plan import Cost

MOST = 1024  # positions of an end together with taps, up to which taps are kept

# the strands that index one end of a tensor: ("h",), ("head", "qk"), ("h*",)
Node = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A block of a tensor as a matrix between two ends.

    writes, reads: the strands of what it writes, and of what can be contracted with it.
    reversed_writes, reversed_reads: the same for its transpose.
    output, input: dims of the block that index the ends; taps: its other dims.
    """

    tensor: str
    block: int
    writes: Node
    reads: Node
    reversed_writes: Node
    reversed_reads: Node
    output: tuple[int, ...]
    input: tuple[int, ...]
    taps: tuple[int, ...]
    sizes: tuple[int, int, int]  # of output, input, taps

    def reversed(self) -> Link:
        ends = (
            self.reversed_writes,
            self.reversed_reads,
            self.writes,
            self.reads,
            self.input,
            self.output,
        )
        rows, columns, taps = self.sizes
        return Link(self.tensor, self.block, *ends, self.taps, (columns, rows, taps))


@dataclass(frozen=True, slots=True)
class PathStep:
    """``value[target] (+)= link value[source]``; without a source the link itself.

    keeps_taps: whether the link's taps are kept (they follow the positions of the end) or averaged.
    """

    link: Link
    source: int | None
    target: int
    adds: bool
    keeps_taps: bool


@dataclass(frozen=True, slots=True)
class PathValue:
    """A product of tensors: ``(batch, node positions, end positions, channels)``.

    Args:
        node: the sets at which it has arrived.
        end: the Fixed sets where it began.
        taps: sizes of the taps kept beside the end.
        forward: whether it came from the input side.
    """

    node: Node
    end: Node
    taps: tuple[int, ...]
    size: tuple[int, int]
    forward: bool

    def notation(self) -> str:
        """Axes: the output side first, ``"out (in 3 3)"``."""
        node, end = _axis(self.node, ()), _axis(self.end, self.taps)
        return f"{node} {end}" if self.forward else f"{end} {node}"


def _axis(node: Node, taps: tuple[int, ...]) -> str:
    words = [*node, *(str(size) for size in taps)]
    return words[0] if len(words) == 1 else f"({' '.join(words)})"


@dataclass(frozen=True, eq=False)
class PathPlan:
    """Contractions in order, and which values come out under which names.

    Example:
        >>> import symnet as sn
        >>> plan = plan_path(sn.catalogue.mlp([2, 8, 4, 1]))
        >>> {name: plan.values[number].notation() for name, number in plan.outputs.items()}
        {'out in': 'out in', 'h1 in': 'h1 in', 'h2 in': 'h2 in',
         'out h2': 'out h2', 'out h1': 'out h1'}
    """

    inputs: Space
    values: tuple[PathValue, ...]
    steps: tuple[PathStep, ...]
    outputs: dict[str, int] = field(hash=False)

    def is_between_ends(self, number: int) -> bool:
        """Whether a value is an invariant: it leads from one Fixed set to another."""
        return _is_end(self.values[number].node, self.inputs)

    def cost(self, channels: int = 1) -> Cost:
        """The cost of one forward pass for one network."""
        multiplies = sum(_multiplies(self, step) for step in self.steps)
        written = sum(math.prod(self.values[number].size) for number in self.outputs.values())
        return Cost(0, multiplies * channels, self.inputs.size * channels, written * channels)

    def __repr__(self) -> str:
        cost = self.cost()
        lines = [
            f"PathPlan: {len(self.steps)} contractions, {cost.multiplies:,} multiplies, "
            f"{cost.bytes():,} bytes per channel (float32)"
        ]
        for step in self.steps:
            value = self.values[step.target]
            way = "from" if value.forward else "back to"
            source = (
                ""
                if step.source is None
                else f" x {self.values[step.source].size[0]} x {self.values[step.source].size[1]}"
            )
            taps = (
                ""
                if step.link.sizes[2] == 1
                else f", taps {'kept' if step.keeps_taps else 'averaged'}"
            )
            sign = "+=" if step.adds else "="
            rows, columns, _ = step.link.sizes
            lines.append(
                f"  {value.notation()} {sign} {step.link.tensor} ({rows} x {columns}){source}, "
                f"{way} {' '.join(value.end)}{taps}"
            )
        return "\n".join(lines)


def _multiplies(plan: PathPlan, step: PathStep) -> int:
    rows, columns, taps = step.link.sizes
    if step.source is None:
        return 0
    return rows * columns * (taps if step.keeps_taps else 1) * plan.values[step.source].size[1]


def plan_path(graph: NeuronGraph, *, inputs: SpaceLike = None, most: int = MOST) -> PathPlan:
    """The products along a network by its graph's own order.

    Raises:
        GraphError: no chain of tensors leads from one Fixed set to another.
    """
    space = graph.space(inputs)
    links = [link for tensor in space.values() for link in _links(tensor, space)]
    chain = _PathChain(space, most)
    for link in links:
        chain.take(link)
    outputs = {f"{_word(v.node)} {_word(v.end)}": v for v in chain.values if chain.is_end(v.node)}
    if not outputs:
        raise GraphError(
            "No chain of tensors leads from one Fixed set to another, so there are no products "
            "along this network. Ends that may be told apart are Fixed: with_groups({'in': "
            "sn.Fixed(2), ...}), or trace with io='fixed'."
        )
    chain.back()
    return chain.plan()


def _word(node: Node) -> str:
    return _axis(node, ())


class _PathChain:
    """Values and steps, while the chain is followed."""

    def __init__(self, space: Space, most: int) -> None:
        self.space, self.most = space, most
        self.values: list[PathValue] = []
        self.steps: list[PathStep] = []
        # node -> value numbers by end and taps
        self.at: dict[Node, dict[tuple[Node, tuple[int, ...]], int]] = {}

    def is_end(self, node: Node) -> bool:
        return _is_end(node, self.space)

    def take(self, link: Link) -> None:
        """Follow one matrix, from the set it reads to the set it writes."""
        if not self.at.get(link.reads):
            if self.is_end(link.reads):
                self._write(link, None, link.reads, ())
                return
            link = link.reversed()
            if self.is_end(link.reads):
                if not self.at.get(link.reads):  # a table that is looked up: its rows are the input
                    self._write(link, None, link.reads, ())
                return
            if not self.at.get(link.reads):
                return
        for (end, taps), number in list(self.at[link.reads].items()):
            if self.is_end(link.reads):
                self._write(link, None, link.reads, ())
                break
            self._write(link, number, end, taps)

    def _write(
        self, link: Link, source: int | None, end: Node, taps: tuple[int, ...], forward: bool = True
    ) -> None:
        begin = link.sizes[1] if source is None else self.values[source].size[1]
        keeps = link.sizes[2] > 1 and begin * link.sizes[2] <= self.most
        if keeps:
            taps = (*taps, link.sizes[2])
        where = self.at.setdefault(link.writes, {})
        adds = (end, taps) in where
        if not adds:
            size = link.sizes[0], begin * (link.sizes[2] if keeps else 1)
            where[end, taps] = len(self.values)
            self.values.append(PathValue(link.writes, end, taps, size, forward))
        self.steps.append(PathStep(link, source, where[end, taps], adds, keeps))

    def back(self) -> None:
        """The same links backwards, from the ends: what each set in between does to them."""
        forwards, self.at = list(self.steps), {}
        seen: set[tuple[str, int]] = set()
        for step in reversed(forwards):
            link = step.link
            if (link.tensor, link.block) in seen or step.source is None:
                continue
            seen.add((link.tensor, link.block))
            if self.is_end(link.writes):
                self._write(link.reversed(), None, link.writes, (), forward=False)
                continue
            back = link.reversed()
            for (end, taps), number in list(self.at.get(back.reads, {}).items()):
                self._write(back, number, end, taps, forward=False)

    def plan(self) -> PathPlan:
        outputs: dict[str, int] = {}
        ends = [
            n for n, value in enumerate(self.values) if self.is_end(value.node) and value.forward
        ]
        others = [n for n, value in enumerate(self.values) if not self.is_end(value.node)]
        for number in (*ends, *others):
            value = self.values[number]
            pair = (value.node, value.end) if value.forward else (value.end, value.node)
            base = f"{_word(pair[0])} {_word(pair[1])}"
            name, count = base, 2
            while name in outputs:
                name, count = f"{base} ({count})", count + 1
            outputs[name] = number
        return PathPlan(self.space, tuple(self.values), tuple(self.steps), outputs)


# ---- tensors as matrices -------------------------------------------------------------------------
def _links(tensor: TensorSpace, space: Space) -> Iterator[Link]:
    """A tensor's blocks that lie between two ends."""
    for number, block in enumerate(tensor.blocks):
        owner = axes_of_dims(block, len(tensor.axes))
        moving = [k for k, one in enumerate(block.instances) if _moves(one.symbol, space)]
        groups: dict[int, list[int]] = {}
        for k in moving:
            # A set that others of the tensor have copies over belongs to them.
            children = [
                child
                for child in moving
                if k in {place for _, place in block.instances[child].parents}
            ]
            groups.setdefault(owner[children[-1]] if children else owner[k], []).append(k)
        for axis in range(len(tensor.axes)):
            named = [
                k
                for k, one in enumerate(block.instances)
                if owner[k] == axis and one.symbol is not None
            ]
            if (
                named
                and axis not in groups
                and not any(k in dims for k in named for dims in groups.values())
            ):
                groups[axis] = named
        # an axis without a name may be the other end, if it is where weights have one
        if len(groups) == 1:
            (axis,) = groups
            other = 1 - axis if axis < 2 else 0
            free = [
                k
                for k in range(len(block.instances))
                if owner[k] == other and k not in groups[axis]
            ]
            groups |= {other: free} if free else {}
        if len(groups) != 2:
            continue
        first, second = (tuple(groups[axis]) for axis in sorted(groups))
        taps = tuple(k for k in range(len(block.instances)) if k not in (*first, *second))
        sizes = tuple(
            math.prod(block.instances[k].size for k in dims) for dims in (first, second, taps)
        )
        (writes, reversed_reads), (reversed_writes, reads) = (
            tuple(tuple(_strand(block.instances[k], space, sign) for k in dims) for sign in (1, -1))
            for dims in (first, second)
        )
        nodes = writes, reads, reversed_writes, reversed_reads
        yield Link(tensor.name, number, *nodes, first, second, taps, (sizes[0], sizes[1], sizes[2]))


def _strand(instance: Instance, space: Space, sign: int) -> str:
    """A dim's strand as the group sees it, or the one that it can be
    contracted with (``sign`` -1).
    """
    if instance.symbol is None:
        return str(instance.size)
    name = instance.symbol
    rule = space.neurons[name].group.rule
    if rule is None or not rule.charge([1]):
        return name
    charge = rule.charge([sign * instance.degree])
    return {0: f"{name}.", -1: f"{name}*"}.get(charge, name)


def _is_end(node: Node, space: Space) -> bool:
    """Whether all of it is Fixed; axes without a name are."""
    sets = [strand.rstrip("*.") for strand in node]
    return all(name not in space.neurons or is_trivial(space.neurons[name].group) for name in sets)


def _moves(symbol: str | None, space: Space) -> bool:
    return symbol is not None and not is_trivial(space.neurons[symbol].group)
