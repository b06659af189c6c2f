"""The plan of a layer: an immutable description of the computation, its cost, and its text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from symnet.display import Displayed
from symnet.graph.notation import print_axes
from symnet.graph.space import Space
from symnet.plan.steps import Slot, Statistic, Table


@dataclass(frozen=True, slots=True)
class Cost:
    """What one forward pass takes, for one network of a batch.

    parameters: numbers learnt; multiplies: of all matrix products; read, written: numbers moved at
    least.
    """

    parameters: int
    multiplies: int
    read: int
    written: int

    def bytes(self, item_size: int = 4) -> int:
        """Bytes moved at least, with numbers of ``item_size`` bytes."""
        return (self.read + self.written) * item_size


@dataclass(frozen=True, eq=False)
class LayerPlan(Displayed):
    """What a layer computes: statistics of the inputs, tables that mix
    them, slots that make up the outputs.

    Example:
        >>> import symnet as sn
        >>> from symnet.plan import make_plan
        >>> plan = make_plan(sn.NeuronGraph({"h": sn.Symmetric(8)}, {"bias": "h"}))
        >>> plan.dimension, len(plan.statistics)
        (2, 2)
    """

    inputs: Space
    outputs: Space
    statistics: tuple[Statistic, ...]
    tables: tuple[Table, ...]
    interactions: str = "full"

    @cached_property
    def dimension(self) -> int:
        """Parameters per channel pair."""
        return sum(table.parameters for table in self.tables)

    @cached_property
    def bias_dimension(self) -> int:
        """Bias parameters per output channel."""
        return sum(table.bias_parameters for table in self.tables)

    @cached_property
    def bias_starts(self) -> tuple[int, ...]:
        """For every table its first column in the bias vector, which runs
        over the tables without axes.
        """
        widths = [0 if table.sizes else table.width for table in self.tables]
        return tuple(sum(widths[:number]) for number in range(len(widths)))

    @cached_property
    def slots(self) -> dict[tuple[str, int], tuple[tuple[int, Slot], ...]]:
        """For every output block, the slots it is made of, each with the number of its table."""
        slots: dict[tuple[str, int], list[tuple[int, Slot]]] = {
            (tensor.name, number): []
            for tensor in self.outputs.values()
            for number in range(len(tensor.blocks))
        }
        for number, table in enumerate(self.tables):
            for slot in table.slots:
                slots[slot.tensor, slot.block].append((number, slot))
        return {key: tuple(value) for key, value in slots.items()}

    def cost(self, in_channels: int = 1, out_channels: int = 1) -> Cost:
        """The cost of one forward pass for one network."""
        pairs = in_channels * out_channels
        return Cost(
            parameters=self.dimension * pairs + self.bias_dimension * out_channels,
            multiplies=sum(table.positions * table.height * table.width for table in self.tables)
            * pairs,
            read=self.inputs.size * in_channels,
            written=self.outputs.size * out_channels,
        )

    def __repr__(self) -> str:
        return describe(self)


def describe(plan: LayerPlan, in_channels: int = 1, out_channels: int = 1, most: int = 60) -> str:
    """The plan in words, at most about ``most`` lines of each part."""
    cost = plan.cost(in_channels, out_channels)
    lines = [
        f"LayerPlan: {len(plan.inputs)} tensors -> {len(plan.outputs)} tensors, channels "
        f"{in_channels} -> {out_channels}, {plan.interactions} interactions",
        f"  {plan.dimension} maps, {plan.bias_dimension} biases; {cost.parameters:,} parameters; "
        f"for each network {cost.multiplies:,} multiplies, {cost.bytes():,} bytes (float32)",
        "1. statistics of the inputs",
    ]
    by_tensor: dict[str, list[str]] = {}
    for statistic in plan.statistics:
        by_tensor.setdefault(statistic.tensor, []).append(statistic_in_words(statistic))
    width = max(map(len, [*plan.inputs, *plan.outputs]))
    for name, words in list(by_tensor.items())[:most]:
        lines.append(
            f"     {name:<{width}}  [{print_axes(plan.inputs[name].axes)}]  "
            f"{', '.join(dict.fromkeys(words))}"
        )
    lines += [f"     ... and {len(by_tensor) - most} more tensors"] * (len(by_tensor) > most)
    lines.append("2. tables: statistics on the same axes, mixed by one matrix")
    for table in plan.tables[:most]:
        tied = "" if table.index is None else f", tied to {table.parameters}"
        reach = ", ".join(dict.fromkeys(slot.tensor for slot in table.slots))
        axes = f"[{table.name}]" if table.sizes else "[global]"
        shape = "x".join(map(str, table.sizes)) or "1"
        lines.append(
            f"     {axes:<{width + 2}}  {shape} positions, {table.height} -> {table.width}{tied} "
            f" into {_shorten(reach)}"
        )
    lines += [f"     ... and {len(plan.tables) - most} more tables"] * (len(plan.tables) > most)
    lines.append("3. outputs: every term broadcast over the axes it lacks, and added")
    names = list(plan.outputs)
    for name in names[:most]:
        words = [
            slot_in_words(slot, plan.tables[number])
            for block in range(len(plan.outputs[name].blocks))
            for number, slot in plan.slots[name, block]
        ]
        lines.append(
            f"     {name:<{width}}  [{print_axes(plan.outputs[name].axes)}] = "
            f"{' + '.join(dict.fromkeys(words)) or '0'}"
        )
    lines += [f"     ... and {len(names) - most} more tensors"] * (len(names) > most)
    return "\n".join(lines)


def statistic_in_words(statistic: Statistic) -> str:
    """'itself', 'mean over h1', 'diagonal h=h', 'trace over m', 'mean over everything'."""
    parts = statistic.pattern.parts
    diagonals = [
        "=".join([part.symbol] * len(part.dims))
        for part in parts
        if len(part.dims) > 1 and not part.is_pair
    ]
    averaged = [
        part.symbol for k, part in enumerate(parts) if k not in statistic.kept and not part.is_pair
    ]
    traces = [part.symbol for part in parts if part.is_pair]
    words = [f"diagonal {' '.join(diagonals)}"] if diagonals else []
    if traces:
        words.append(f"trace over {' '.join(traces)}")
    if averaged:
        words.append(f"mean over {' '.join(averaged)}")
    return ", ".join(words) or "itself"


def slot_in_words(slot: Slot, table: Table) -> str:
    """'[h2,h1]': the table, and the diagonal that it is written on, or
    the pairs of strands that it joins.
    """
    parts = slot.term.pattern.parts
    diagonals = [
        "=".join([part.symbol] * len(part.dims))
        for part in parts
        if len(part.dims) > 1 and not part.is_pair
    ]
    pairs = [part.symbol for part in parts if part.is_pair]
    where = [f" on the diagonal {' '.join(diagonals)}"] if diagonals else []
    where += [f" paired over {' '.join(pairs)}"] if pairs else []
    return f"[{table.name}]" + ",".join(where)


def _shorten(text: str, most: int = 70) -> str:
    return text if len(text) <= most else text[: most - 4].rsplit(", ", 1)[0] + ", ..."
