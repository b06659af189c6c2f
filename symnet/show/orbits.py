"""One orbit of a layer: its entries in the tying matrix, and in the network the weights that enter one output weight alike."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from symnet.errors import GraphError
from symnet.graph.neuron_graph import NeuronGraph
from symnet.sharing import derive
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure
from symnet.show.labels import TyingPattern, label_matrix
from symnet.show.neurons import Drawing, Stroke, draw_neurons

CHOSEN = "#d55e00"  # vermilion of Okabe and Ito's palette
_OUTPUT = "0.55"

Entry = tuple[str, tuple[int, ...]]  # tensor and index


def orbit_picture(graph: NeuronGraph, output: Entry, input: Entry) -> Figure:
    """A picture of the orbit that holds an output weight and an input weight, with its words.

    At the left the entries that share the coefficient, in the layer's matrix; at the right the network, with the output weight as a
    broad grey line (or dot) and the input weights that enter it with this coefficient in colour.

    Args:
        graph: the architecture; the maps are those from its weights to its weights.
        output, input: a tensor's name and an index each.

    Raises:
        GraphError: there is no such entry.
        TooLargeError: too many weights to be seen.

    Example:
        >>> import symnet as sn
        >>> picture = orbit_picture(sn.catalogue.mlp([2, 3, 1]), ("0.bias", (0,)), ("0.weight", (0, 1)))
    """
    maps = derive(graph)
    pattern = label_matrix(maps)
    row, column = (
        _place(graph, bands, entry)
        for bands, entry in ((pattern.rows, output), (pattern.columns, input))
    )
    label = int(pattern.labels[row, column])
    figure = new_figure(11.0, 5.4)
    left, right = figure.add_axes((0.1, 0.04, 0.4, 0.68)), figure.add_axes((0.53, 0.04, 0.46, 0.72))
    _draw_matrix(left, pattern, label, (row, column))
    drawing = Drawing(graph)
    draw_neurons(right, drawing, _strokes(pattern, drawing, row, label))
    words = maps.between(output[0], input[0]).describe(output[1], input[1])
    size, here = int((pattern.labels == label).sum()), int((pattern.labels[row] == label).sum())
    told = (
        f"{size} entries share one coefficient, {here} of them in this row"
        if label >= 0
        else "must be zero"
    )
    title = f"from {_name(input)} to {_name(output)}: {words}"
    figure.suptitle(fill(title, 100), fontsize=LARGE, y=0.98, va="top")
    figure.text(0.5, 0.895, told, ha="center", fontsize=NORMAL, color="0.3")
    return figure


def _name(entry: Entry) -> str:
    return entry[0] + (f"[{', '.join(map(str, entry[1]))}]" if entry[1] else "")


def _place(graph: NeuronGraph, bands: dict[str, range], entry: Entry) -> int:
    name, index = entry
    if name not in bands:
        raise GraphError(f"There is no tensor '{name}'; they are {', '.join(bands)}.")
    shape = graph.shapes[name]
    if len(index) != len(shape) or any(
        not 0 <= i < size for i, size in zip(index, shape, strict=True)
    ):
        raise GraphError(f"Tensor '{name}' of shape {shape} has no entry {index}.")
    return (
        bands[name].start + int(np.ravel_multi_index(index, shape)) if shape else bands[name].start
    )


def _draw_matrix(axes: Axes, pattern: TyingPattern, label: int, chosen: tuple[int, int]) -> None:
    shades = 0.97 - 0.12 * ((pattern.labels % 3) / 2.0)  # the other orbits stay visible, quietly
    image = np.repeat(np.where(pattern.labels < 0, 1.0, shades)[..., None], 3, axis=-1)
    image[pattern.labels == label] = [int(CHOSEN[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    height, width = pattern.labels.shape
    axes.imshow(image, interpolation="nearest", extent=(0, width, height, 0))
    row, column = chosen
    axes.plot(
        [column, column + 1, column + 1, column, column],
        [row, row, row + 1, row + 1, row],
        color="black",
        lw=1.6,
    )
    for bands, line, set_ticks in (
        (pattern.rows, axes.axhline, axes.set_yticks),
        (pattern.columns, axes.axvline, axes.set_xticks),
    ):
        for band in list(bands.values())[1:]:
            line(band.start, color="white", linewidth=1.6)
        set_ticks([(band.start + band.stop) / 2 for band in bands.values()], list(bands))
    axes.tick_params(length=0, labelsize=SMALL)
    axes.tick_params(
        axis="x", rotation=90, top=True, labeltop=True, bottom=False, labelbottom=False
    )
    for spine in axes.spines.values():
        spine.set_visible(False)


def _strokes(
    pattern: TyingPattern, drawing: Drawing, row: int, label: int
) -> dict[str, list[Stroke]]:
    found = {}
    for name, band in pattern.columns.items():
        strokes = []
        for column in band:
            tied = label >= 0 and pattern.labels[row, column] == label
            stroke = Stroke(CHOSEN, 2.6, 3) if tied else Stroke()
            if column == row:
                stroke = Stroke(CHOSEN if tied else _OUTPUT, 6.0, 2)
            strokes.append(stroke)
        found[name] = strokes
    return found
