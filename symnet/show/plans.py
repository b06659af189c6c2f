"""The plan of a layer as a dataflow picture: statistics of the inputs, tables that mix them, outputs."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symnet.errors import TooLargeError
from symnet.graph.notation import print_axes
from symnet.plan import LayerPlan
from symnet.plan.layer_plan import statistic_in_words
from symnet.show.colours import as_seen, distinct_colours
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure

ROW_LIMIT = 60  # boxes in one column
_HEADINGS = ("statistics of the inputs", "tables: one matrix each", "outputs")
_COLUMNS = (0.0, 1.0, 2.0)


def plan_picture(plan: LayerPlan, *, title: str | None = None) -> Figure:
    """A picture of what the layer computes, from left to right, one colour for each table.

    Every statistic enters the tables that live on its axes; a table's matrix mixes its rows into slots; every output is
    the sum of its slots, broadcast over the axes that they lack.

    Raises:
        TooLargeError: more boxes than fit below one another.
    """
    columns = [_statistics(plan), _tables(plan), _outputs(plan)]
    longest = max(map(len, columns))
    if longest > ROW_LIMIT:
        raise TooLargeError(
            f"The plan has {' / '.join(str(len(column)) for column in columns)} statistics / tables / outputs; a picture shows up "
            f"to {ROW_LIMIT} of each. print(plan) lists them, or show a network with fewer layers."
        )
    figure = new_figure(11.0, 0.42 * longest + 1.3)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96 - 0.4 / figure.get_figheight()))
    axes.set_xlim(-0.45, 2.45)
    axes.set_ylim(longest - 0.4, -1.3)
    axes.axis("off")
    places = [
        [(x, (k + 0.5) * longest / len(column) - 0.5) for k in range(len(column))]
        for x, column in zip(_COLUMNS, columns, strict=True)
    ]
    _draw_flow(axes, plan, places)
    for x, heading in zip(_COLUMNS, _HEADINGS, strict=True):
        axes.text(x, -1.0, heading, ha="center", va="center", fontsize=NORMAL, color="0.35")
    for column, places_of in zip(columns, places, strict=True):
        for text, (x, y) in zip(column, places_of, strict=True):
            style = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "0.45"}
            axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, bbox=style)
    default = f"The plan: {plan.dimension} maps and {plan.bias_dimension} biases in {len(plan.tables)} tables"
    figure.suptitle(default if title is None else title, fontsize=LARGE, y=1 - 0.1 / figure.get_figheight(), va="top")
    return figure


def _statistics(plan: LayerPlan) -> list[str]:
    return [f"{statistic.tensor}: {statistic_in_words(statistic)}" for statistic in plan.statistics]


def _tables(plan: LayerPlan) -> list[str]:
    return [f"[{table.name}]  {table.height} x {table.width}, {_count(table.parameters)}" for table in plan.tables]


def _count(parameters: int) -> str:
    return "1 parameter" if parameters == 1 else f"{parameters:,} parameters"


def _line_colours(count: int) -> np.ndarray:
    """Distinct colours that are dark enough for a thin line on white; they repeat where there are not enough."""
    colours = distinct_colours(200)
    dark = colours[as_seen(colours)[:, 0, 0] < 72]
    return dark[np.arange(count) % len(dark)]


def _outputs(plan: LayerPlan) -> list[str]:
    return [f"{name}  [{print_axes(tensor.axes)}]" for name, tensor in plan.outputs.items()]


def _draw_flow(axes: Axes, plan: LayerPlan, places: list[list[tuple[float, float]]]) -> None:
    """A curve from every statistic to its tables, and from every table to its outputs."""
    statistics, tables, outputs = places
    row_of = dict(zip(plan.outputs, outputs, strict=True))
    for table, place, colour in zip(plan.tables, tables, _line_colours(len(plan.tables)), strict=True):
        for number in dict.fromkeys(row.statistic for row in table.rows):
            _draw_curve(axes, statistics[number], place, colour)
        for name in dict.fromkeys(slot.tensor for slot in table.slots):
            _draw_curve(axes, place, row_of[name], colour)


def _draw_curve(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: np.ndarray) -> None:
    # Flat beside the boxes, which lie above it, and bent only between them.
    x, u = start[0] + 0.15, end[0] - 0.15
    steps = np.linspace(0, 1, 25)
    across = [start[0], *(x + (u - x) * steps), end[0]]
    down = [start[1], *(start[1] + (end[1] - start[1]) * steps**2 * (3 - 2 * steps)), end[1]]
    axes.plot(across, down, color=colour, linewidth=1.1, alpha=0.8, zorder=0)
