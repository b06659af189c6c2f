"""A network drawn as neurons: circles in columns from left to right, its weights as lines between them and dots beside them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import networkx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch

from symnet.errors import TooLargeError
from symnet.graph import GroupElement
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.notation import symbols_in
from symnet.groups import Fixed
from symnet.show.figures import NORMAL

WEIGHT_LIMIT = 600  # lines and dots; more cannot be told apart
RADIUS = 0.24
_WIDE, _GAP = 2.6, 0.45  # between columns at least, and between sets or copies of a set

Neuron = tuple[str | int, ...]  # its set, its ancestors' values, its value
Place = tuple[float, float]


def columns_of(graph: NeuronGraph) -> dict[str, int]:
    """The column of every neuron set: signals run from left to right.

    A tensor's last named axis feeds its first one, as in ``"out in"``. Tensors are read in their order; one that would
    close a circle (a recurrent or residual connection) moves nothing. Children stand in their first parent's column.

    Example:
        >>> import symnet as sn
        >>> columns_of(sn.NeuronGraph({"a": sn.Fixed(2), "b": sn.Symmetric(3)}, {"weight": "b a"}))
        {'a': 0, 'b': 1}
    """
    flow = networkx.DiGraph()
    flow.add_nodes_from(name for name in graph.neurons if not graph.neurons[name].over)
    for tensor in graph.weights.values():
        named = [
            list(dict.fromkeys(_root(graph, s) for s in symbols_in(axis))) for axis in tensor.axes
        ]
        named = [symbols for symbols in named if symbols]
        for source in named[-1] if len(named) > 1 else []:
            for target in named[0]:
                if not networkx.has_path(flow, target, source):
                    flow.add_edge(source, target)
    column: dict[str, int] = {}
    for name in networkx.topological_sort(flow):
        column[name] = max((column[before] + 1 for before in flow.predecessors(name)), default=0)
    return {name: column[_root(graph, name)] for name in graph.neurons}


def _root(graph: NeuronGraph, name: str) -> str:
    while graph.neurons[name].over:
        name = graph.neurons[name].over[0]
    return name


@dataclass(frozen=True)
class Drawing:
    """Where every neuron of a graph stands, and which neurons each weight belongs to.

    Raises:
        TooLargeError: more weights than can be seen.
    """

    graph: NeuronGraph

    def __post_init__(self) -> None:
        if self.graph.weights.size > WEIGHT_LIMIT:
            raise TooLargeError(
                f"The network has {self.graph.weights.size} weights; {WEIGHT_LIMIT} can be drawn one by one. Draw the same architecture "
                "with 2 to 4 neurons a set: narrowed(graph, 3), or symnet show --narrow 3."
            )

    @cached_property
    def places(self) -> dict[Neuron, Place]:
        """The centre of every neuron; columns are centred, copies of a set stand below each other."""
        columns = columns_of(self.graph)
        heights: dict[int, float] = {}
        found: dict[Neuron, tuple[int, float]] = {}
        for name, neuron_set in self.graph.neurons.items():
            column = columns[name]
            y = heights.get(column, 0.0) + (1.0 if column in heights else 0.0)
            for copy in np.ndindex(*self._copies(name)):
                for value in range(neuron_set.size):
                    found[name, *copy, value] = (column, y)
                    y += 1.0
                y += _GAP
            heights[column] = y
        tallest = max(heights.values(), default=0.0)
        wide = max(_WIDE, tallest / max(1, len(heights)))  # tall networks are not drawn narrow
        return {
            neuron: (wide * column, y + (tallest - heights[column]) / 2)
            for neuron, (column, y) in found.items()
        }

    @cached_property
    def ends(self) -> dict[str, list[tuple[Neuron, ...]]]:
        """For every entry of every tensor, in reading order: its neurons, those left out that others of them are over."""
        found = {}
        for name, tensor in self.graph.weights.items():
            entries: list[tuple[Neuron, ...]] = [()] * tensor.size
            for block in tensor.blocks:
                positions = apply_views(np.arange(tensor.size).reshape(tensor.shape), block.views)
                for values, position in np.ndenumerate(positions):
                    entries[int(position)] = self._neurons_at(block, values)
            found[name] = entries
        return found

    def image(self, element: GroupElement, neuron: Neuron) -> Neuron:
        """The place that an element moves a neuron to."""
        name, *values = neuron
        ancestors = self.graph.weights.ancestors[str(name)]
        at = {
            key: np.array(value) for key, value in zip((*ancestors, str(name)), values, strict=True)
        }
        return (name, *(int(element.image(key, at)) for key in at))

    def _copies(self, name: str) -> tuple[int, ...]:
        return tuple(
            self.graph.neurons[ancestor].size for ancestor in self.graph.weights.ancestors[name]
        )

    def _neurons_at(self, block: Block, values: tuple[int, ...]) -> tuple[Neuron, ...]:
        parents = {place for instance in block.instances for _, place in instance.parents}
        found: list[Neuron] = []
        for k, instance in enumerate(block.instances):
            if instance.symbol is not None and k not in parents:
                above = dict(instance.parents)
                ancestors = self.graph.weights.ancestors[instance.symbol]
                found.append(
                    (instance.symbol, *(values[above[name]] for name in ancestors), values[k])
                )
        return tuple(found)


@dataclass(frozen=True)
class Stroke:
    """How a weight is drawn."""

    colour: str | tuple[float, ...] = "0.75"
    width: float = 1.0
    above: int = 1  # drawn later than those of a lower number


def draw_neurons(
    axes: Axes,
    drawing: Drawing,
    strokes: Mapping[str, list[Stroke]],
    places: Mapping[Neuron, Place] | None = None,
    *,
    names: bool = True,
) -> None:
    """Draws a network into axes.

    Args:
        strokes: by tensor, one for each entry in reading order.
        places: of the neurons; default: where they stand at rest.
        names: whether the sets are named above their first neuron.
    """
    places = drawing.places if places is None else places
    xs, ys = zip(*drawing.places.values(), strict=True) if drawing.places else ((0.0,), (0.0,))
    axes.set_xlim(min(xs) - 0.9, max(xs) + 1.3)
    axes.set_ylim(max(ys) + 0.9, min(ys) - 1.1)
    axes.set_aspect("equal")
    axes.axis("off")
    used: Counter[tuple[Neuron, ...]] = Counter()
    for name, entries in drawing.ends.items():
        for ends, stroke in zip(entries, strokes[name], strict=True):
            _draw_weight(axes, ends, stroke, places, used)
    for neuron, centre in places.items():
        still = isinstance(drawing.graph.neurons[str(neuron[0])].group, Fixed)
        axes.add_patch(
            Circle(
                centre, RADIUS, facecolor="0.85" if still else "white", edgecolor="0.25", zorder=5
            )
        )
    for name in drawing.graph.neurons if names else ():
        x, y = min(
            (place for neuron, place in drawing.places.items() if neuron[0] == name),
            key=lambda place: place[1],
        )
        axes.text(x, y - 0.42, name, ha="center", va="bottom", fontsize=NORMAL)


def _draw_weight(
    axes: Axes,
    ends: tuple[Neuron, ...],
    stroke: Stroke,
    places: Mapping[Neuron, Place],
    used: Counter[tuple[Neuron, ...]],
) -> None:
    """A line from the last of its neurons to the first, bent where there are several; a dot for one neuron alone."""
    style: dict[str, Any] = {
        "edgecolor": stroke.colour,
        "linewidth": stroke.width,
        "zorder": stroke.above,
    }
    key = ends if len(ends) < 2 else (ends[-1], ends[0])
    number, used[key] = used[key], used[key] + 1
    if not ends:
        lowest = max((y for _, y in places.values()), default=0.0)
        axes.add_patch(Circle((0.3 * number, lowest + 0.6), 0.1, facecolor=stroke.colour, **style))
        return
    (x, y), (u, v) = places[ends[-1]], places[ends[0]]
    if len(ends) == 1:
        centre = (x + RADIUS + 0.14 + 0.2 * (number % 3), y + RADIUS + 0.2 * (number // 3))
        axes.add_patch(Circle(centre, 0.09, facecolor=stroke.colour, **style | {"zorder": 6}))
    elif ends[0] == ends[-1]:
        axes.add_patch(
            Circle((x, y - RADIUS - 0.12 - 0.05 * number), 0.2 + 0.05 * number, fill=False, **style)
        )
    else:
        bend = (-1) ** number * 0.09 * math.ceil(number / 2) + (0.35 if x == u else 0.0)
        curve = f"arc3,rad={bend:.3f}"
        axes.add_patch(
            FancyArrowPatch((x, y), (u, v), arrowstyle="-", connectionstyle=curve, **style)
        )
