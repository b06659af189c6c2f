"""The plan of a layer as a dataflow picture: statistics of the inputs, tables that mix them, outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symnet.errors import TooLargeError
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.notation import print_axes
from symnet.graph.space import Space
from symnet.plan import LayerPlan
from symnet.plan.layer_plan import statistic_in_words
from symnet.show.colours import as_seen, distinct_colours
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure
from symnet.show.folding import FoldedGraph, fold

ROW_LIMIT = 60  # boxes in one column
_HEADINGS = ("statistics of the inputs", "tables: one matrix each", "outputs")
_COLUMNS = (0.0, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class _Flow:
    """What stands in the three columns, and which rows of them lines join: by ``(column, row, row of the next column)``."""

    columns: tuple[list[str], list[str], list[str]]
    lines: tuple[
        list[tuple[int, int]], list[tuple[int, int]]
    ]  # (statistic, table) and (table, output)
    note: str = ""


def plan_picture(plan: LayerPlan, *, title: str | None = None) -> Figure:
    """A picture of what the layer computes, from left to right, one colour for each table.

    Every statistic enters the tables that live on its axes; a table's matrix mixes its rows into slots; every output is
    the sum of its slots, broadcast over the axes that they lack. Of a plan too long for that, tensors stand for their statistics,
    and one of several equal blocks for all of them.

    Raises:
        TooLargeError: more boxes than fit below one another, though equal blocks are drawn once.
    """
    flow = _whole_flow(plan)
    if max(map(len, flow.columns)) > ROW_LIMIT:
        flow = _folded_flow(plan)
    longest = max(map(len, flow.columns))
    if longest > ROW_LIMIT:
        raise TooLargeError(
            f"The plan has {' / '.join(str(len(column)) for column in flow.columns)} tensors read / tables / outputs, equal blocks "
            f"counted once; a picture shows up to {ROW_LIMIT} of each. print(plan) lists them, or show a network with fewer layers."
        )
    figure = new_figure(11.0, 0.42 * longest + 1.3)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96 - 0.4 / figure.get_figheight()))
    axes.set_xlim(-0.45, 2.45)
    axes.set_ylim(longest - 0.4, -1.3)
    axes.axis("off")
    places = [
        [(x, (k + 0.5) * longest / len(column) - 0.5) for k in range(len(column))]
        for x, column in zip(_COLUMNS, flow.columns, strict=True)
    ]
    _draw_flow(axes, flow, places)
    for x, heading in zip(_COLUMNS, _HEADINGS, strict=True):
        axes.text(x, -1.0, heading, ha="center", va="center", fontsize=NORMAL, color="0.35")
    for column, places_of in zip(flow.columns, places, strict=True):
        for text, (x, y) in zip(column, places_of, strict=True):
            style = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "0.45"}
            axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, bbox=style)
    default = f"The plan: {plan.dimension:,} maps and {plan.bias_dimension:,} biases in {len(plan.tables)} tables{flow.note}"
    figure.suptitle(
        default if title is None else title,
        fontsize=LARGE,
        y=1 - 0.1 / figure.get_figheight(),
        va="top",
    )
    return figure


def _whole_flow(plan: LayerPlan) -> _Flow:
    row_of = {name: k for k, name in enumerate(plan.outputs)}
    into = [(row.statistic, k) for k, table in enumerate(plan.tables) for row in table.rows]
    out_of = [
        (k, row_of[slot.tensor]) for k, table in enumerate(plan.tables) for slot in table.slots
    ]
    columns = (_statistics(plan), _tables(plan), _outputs(plan))
    return _Flow(columns, (list(dict.fromkeys(into)), list(dict.fromkeys(out_of))))


def _folded_flow(plan: LayerPlan) -> _Flow:
    """The plan with a row for each tensor that is read, and equal blocks once."""
    read, written = _folded(plan.inputs), _folded(plan.outputs)
    kept_inputs, kept_outputs = _kept_tensors(read), _kept_tensors(written)
    counts = Counter(statistic.tensor for statistic in plan.statistics)
    inputs = [name for name in read.tensors if counts[name]]
    tables: dict[str, list[int]] = {}  # axes in the kept sets' names -> tables
    for k, table in enumerate(plan.tables):
        tables.setdefault(
            ",".join(read.kept[symbol] for symbol in table.symbols) or "global", []
        ).append(k)
    row_of = {k: row for row, numbers in enumerate(tables.values()) for k in numbers}
    input_rows, output_rows = (
        {name: k for k, name in enumerate(names)} for names in (inputs, written.tensors)
    )
    into: dict[tuple[int, int], None] = {}
    out_of: dict[tuple[int, int], None] = {}
    for k, table in enumerate(plan.tables):
        for entry in table.rows:
            into[input_rows[kept_inputs[plan.statistics[entry.statistic].tensor]], row_of[k]] = None
        for slot in table.slots:
            out_of[row_of[k], output_rows[kept_outputs[slot.tensor]]] = None
    columns = (
        [f"{name}: {counts[name]} statistics{_times(read.tensors[name])}" for name in inputs],
        [f"[{name}]{_times(numbers)}" for name, numbers in tables.items()],
        [f"{name}{_times(members)}" for name, members in written.tensors.items()],
    )
    return _Flow(columns, (list(into), list(out_of)), ", equal blocks once")


def _folded(space: Space) -> FoldedGraph:
    return fold(NeuronGraph(space.neurons, {name: tensor.axes for name, tensor in space.items()}))


def _kept_tensors(folded: FoldedGraph) -> dict[str, str]:
    return {name: first for first, names in folded.tensors.items() for name in names}


def _times(members: Sequence[object]) -> str:
    return f"   × {len(members)}" if len(members) > 1 else ""


def _statistics(plan: LayerPlan) -> list[str]:
    return [f"{statistic.tensor}: {statistic_in_words(statistic)}" for statistic in plan.statistics]


def _tables(plan: LayerPlan) -> list[str]:
    return [
        f"[{table.name}]  {table.height} x {table.width}, {_count(table.parameters)}"
        for table in plan.tables
    ]


def _count(parameters: int) -> str:
    return "1 parameter" if parameters == 1 else f"{parameters:,} parameters"


def _line_colours(count: int) -> np.ndarray:
    """Distinct colours that are dark enough for a thin line on white; they repeat where there are not enough."""
    colours = distinct_colours(200)
    dark = colours[as_seen(colours)[:, 0, 0] < 72]
    return dark[np.arange(count) % len(dark)]


def _outputs(plan: LayerPlan) -> list[str]:
    return [f"{name}  [{print_axes(tensor.axes)}]" for name, tensor in plan.outputs.items()]


def _draw_flow(axes: Axes, flow: _Flow, places: list[list[tuple[float, float]]]) -> None:
    """A curve from every statistic to its tables, and from every table to its outputs."""
    statistics, tables, outputs = places
    colours = _line_colours(len(tables))
    into, out_of = flow.lines
    for statistic, table in into:
        _draw_curve(axes, statistics[statistic], tables[table], colours[table])
    for table, output in out_of:
        _draw_curve(axes, tables[table], outputs[output], colours[table])


def _draw_curve(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: np.ndarray
) -> None:
    # Flat beside the boxes, which lie above it, and bent only between them.
    x, u = start[0] + 0.15, end[0] - 0.15
    steps = np.linspace(0, 1, 25)
    across = [start[0], *(x + (u - x) * steps), end[0]]
    down = [start[1], *(start[1] + (end[1] - start[1]) * steps**2 * (3 - 2 * steps)), end[1]]
    axes.plot(across, down, color=colour, linewidth=1.1, alpha=0.8, zorder=0)
