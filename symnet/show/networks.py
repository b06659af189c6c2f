"""The neuron-permutation graph as a picture: neuron sets as circles from left to right, tensors as boxes between them."""

from __future__ import annotations

from dataclasses import dataclass

import networkx
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symnet.errors import TooLargeError
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.notation import symbols_in
from symnet.graph.space import TensorSpace
from symnet.groups import Fixed
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure

NODE_LIMIT = 80  # neuron sets and boxes; more make a picture that nobody can read
_FULL, _VECTOR = 1.0, 0.8  # heights of a set or matrix, and of a vector below its set
_MOVED, _FIXED, _BOX = "#9ecae1", "#e0e0e0", "#fff3d6"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where everything stands: positions in columns (to the right) and rows (downwards)."""

    sets: dict[str, tuple[float, float]]
    boxes: dict[str, tuple[float, float]]  # by axis notation; tensors with equal axes share a box
    names: dict[str, list[str]]  # the tensors of each box


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
        named = [list(dict.fromkeys(_root(graph, s) for s in symbols_in(axis))) for axis in tensor.axes]
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


def place(graph: NeuronGraph) -> Placed:
    """Positions for the picture: sets in their columns, boxes of matrices between them, of vectors below.

    Raises:
        TooLargeError: too many sets and boxes for one picture.
    """
    names: dict[str, list[str]] = {}
    for name, notation in graph.tensors.items():
        names.setdefault(notation, []).append(name)
    if len(graph.neurons) + len(names) > NODE_LIMIT:
        raise TooLargeError(
            f"The graph has {len(graph.neurons)} neuron sets and {len(names)} kinds of tensors; a picture shows up to "
            f"{NODE_LIMIT} together. Show a network of the same kind with fewer layers."
        )
    columns = columns_of(graph)
    rows: dict[float, list[tuple[str, str, float]]] = {}  # column -> what stands there, downwards, with its height
    vectors: dict[str, list[str]] = {name: [] for name in graph.neurons}
    for notation, members in names.items():
        symbols = graph.weights[members[0]].symbols
        if len(symbols) == 1 and graph.tensors[members[0]] == symbols[0]:
            vectors[symbols[0]].append(notation)
    for name in graph.neurons:
        rows.setdefault(columns[name], []).append(("set", name, _FULL))
        rows[columns[name]] += [("box", notation, _VECTOR) for notation in vectors[name]]
    for notation, members in names.items():
        if not any(notation in boxes for boxes in vectors.values()):
            rows.setdefault(_column_of_box(graph.weights[members[0]], columns), []).append(("box", notation, _FULL))
    tallest = max(map(_core_height, rows.values()), default=0.0)
    found: dict[str, dict[str, tuple[float, float]]] = {"set": {}, "box": {}}
    for column, items in rows.items():
        y = (tallest - _core_height(items)) / 2
        for kind, key, height in items:
            found[kind][key] = (column, y + height / 2)
            y += height
    return Placed(found["set"], found["box"], names)


def _core_height(items: list[tuple[str, str, float]]) -> float:
    """Height of a column without the vectors that hang below its last set; columns are centred by it."""
    last = max((k for k, (*_, height) in enumerate(items) if height == _FULL), default=0)
    return sum(height for *_, height in items[: last + 1])


def _column_of_box(tensor: TensorSpace, columns: dict[str, int]) -> float:
    """Halfway between the first and last column that a tensor joins; a vector stands below its set."""
    found = sorted({columns[symbol] for symbol in tensor.symbols})
    if not found:
        return float(max(columns.values(), default=0)) + 1.0
    return float(found[0]) if len(found) == 1 else (found[0] + found[-1]) / 2


def graph_picture(graph: NeuronGraph, *, title: str | None = None) -> Figure:
    """A picture of the neuron-permutation graph, read from left to right.

    Blue circles are neuron sets that permutations move, grey ones are fixed; boxes are tensors, joined to the sets that
    index their axes (tensors with the same axes share one). A dashed line leads from a set to the parent that it has copies over.

    Raises:
        TooLargeError: too many sets and tensors for one picture.
    """
    placed = place(graph)
    everything = [*placed.sets.values(), *placed.boxes.values()]
    width = 1 + max((x for x, _ in everything), default=0)
    height = 0.5 + max((y for _, y in everything), default=0)
    figure = new_figure(max(2.9 * width + 0.6, 5.0), 1.15 * height + 0.9)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96 - 0.45 / figure.get_figheight()))
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(height + 0.1, -0.1)
    axes.axis("off")
    _draw_lines(axes, graph, placed)
    for name, (x, y) in placed.sets.items():
        group = graph.neurons[name].group
        style = {
            "boxstyle": "circle,pad=0.25",
            "facecolor": _FIXED if isinstance(group, Fixed) else _MOVED,
            "edgecolor": "0.3",
        }
        kind = repr(group).partition("(")[0]
        axes.text(x, y, f"{name}\n{kind} {group.degree}", ha="center", va="center", fontsize=NORMAL, bbox=style)
    for notation, (x, y) in placed.boxes.items():
        style = {"boxstyle": "round,pad=0.3", "facecolor": _BOX, "edgecolor": "0.5"}
        text = f"{_list_some(placed.names[notation])}\n[{notation}]"
        axes.text(x, y, text, ha="center", va="center", fontsize=SMALL, bbox=style)
    default = f"{len(graph.neurons)} neuron sets, {len(graph.tensors)} tensors: blue sets are permuted, grey ones fixed"
    figure.suptitle(default if title is None else title, fontsize=LARGE, y=1 - 0.1 / figure.get_figheight(), va="top")
    return figure


def _draw_lines(axes: Axes, graph: NeuronGraph, placed: Placed) -> None:
    for notation, (x, y) in placed.boxes.items():
        for symbol in graph.weights[placed.names[notation][0]].symbols:
            u, v = placed.sets[symbol]
            axes.plot([u, x], [v, y], color="0.65", linewidth=1.2, zorder=0)
    for name, neuron_set in graph.neurons.items():
        for parent in neuron_set.over:
            (x, y), (u, v) = placed.sets[name], placed.sets[parent]
            bow = {
                "arrowstyle": "-",
                "color": "#c0392b",
                "linewidth": 1.4,
                "linestyle": "--",
                "connectionstyle": "arc3,rad=0.5",
            }
            axes.annotate("", xy=(u, v), xytext=(x, y), arrowprops=bow, zorder=0)


def _list_some(names: list[str], most: int = 3) -> str:
    more = len(names) - most
    return "\n".join(names[:most]) + (f"\nand {more} more" if more > 0 else "")
