"""The neuron-permutation graph as a picture: sets from left to right, tensors between them."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from symnet.graph.neuron_graph import NeuronGraph
from symnet.show.cards import MIXED, TENSOR, UNMOVED, Card, Cards, cards_of, colour_of
from symnet.show.figures import LARGE, NORMAL, SMALL, new_figure
from symnet.show.layering import Box, Outline
from symnet.show.placement import Layout, Rectangle, lay_out

_PAD = 0.07  # inches around a card's text
_LEADING = 1.25  # a line's height in units of its letters' size
_MARGIN, _TITLE = 0.15, 0.45  # inches around the picture, and above it


def graph_picture(graph: NeuronGraph, *, title: str | None = None) -> Figure:
    """A picture of the neuron-permutation graph, read from left to right.

    Blue cards are neuron sets that permutations move, green ones are scaled or mixed as well, grey
    ones are fixed. Yellow cards are tensors, joined to the sets that index their axes (those with
    the same axes share one); vectors stand below their set. A frame holds the sets that have a
    copy for each neuron of a parent, or one block of a run of equal ones.

    Args:
        title: default: how many sets and tensors there are.

    Raises:
        TooLargeError: too many sets and tensors for one picture, though repeated blocks are drawn
        once.

    Example:
        >>> import symnet as sn
        >>> picture = graph_picture(sn.catalogue.mlp([2, 8, 8, 8, 8, 1]))
    """
    cards, layout = placed(graph)
    rectangles = [*layout.boxes.values(), *layout.frames.values()]
    points = [point for line in layout.lines.values() for point in line]
    right = max([one.right for one in rectangles] + [x for x, _ in points], default=1.0)
    bottom = max([one.bottom for one in rectangles] + [y for _, y in points], default=1.0)
    words = title if title is not None else _title(graph)
    width = max(right, text_width(words, LARGE), 2.5) + 2 * _MARGIN
    figure = new_figure(width, bottom + 2 * _MARGIN + _TITLE)
    height = figure.get_figheight()
    axes = figure.add_axes((0, 0, 1, (height - _TITLE) / height))
    spare = (width - 2 * _MARGIN - right) / 2
    axes.set_xlim(-_MARGIN - spare, width - _MARGIN - spare)
    axes.set_ylim(bottom + _MARGIN, -_MARGIN)
    axes.axis("off")
    for key, frame in cards.frames.items():
        if key in layout.frames:
            _draw_frame(axes, layout.frames[key], frame.heading, frame.colour)
    for line in layout.lines.values():
        _draw_line(axes, line)
    for card_key, card in cards.cards.items():
        _draw_card(axes, layout.boxes[card_key], card)
    figure.suptitle(words, fontsize=LARGE, y=1 - 0.12 / height, va="top")
    return figure


def _title(graph: NeuronGraph) -> str:
    mixed = any(colour_of(one.group) == MIXED for one in graph.neurons.values())
    colours = (
        "blue sets are permuted, "
        + ("green ones scaled or mixed, " if mixed else "")
        + "grey ones fixed"
    )
    return f"{len(graph.neurons)} neuron sets, {len(graph.tensors)} tensors: {colours}"


def placed(graph: NeuronGraph) -> tuple[Cards, Layout]:
    """The cards of a graph's picture, and where they stand, in inches.

    Raises:
        TooLargeError: too many cards for one picture.
    """
    cards = cards_of(graph)
    boxes = {key: _box(card) for key, card in cards.cards.items()}
    outlines = {
        key: Outline(text_width(one.heading, NORMAL) + 0.3, one.frame)
        for key, one in cards.frames.items()
    }
    return cards, lay_out(boxes, cards.edges, outlines)


def text_width(text: str, size: float) -> float:
    """Inches that a line of text takes."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(width) / 72


def _box(card: Card) -> Box:
    upper = _text_height(card.lines, _size(card))
    lower = _text_height(card.below, SMALL) if card.below else 0.0
    width = max(_text_width(card.lines, _size(card)), _text_width(card.below, SMALL))
    return Box(width, upper + lower, upper / 2, card.frame)


def _size(card: Card) -> float:
    return SMALL if card.colour in (TENSOR, UNMOVED) else NORMAL


def _text_width(lines: Iterable[str], size: float) -> float:
    return max((text_width(line, size) for line in lines), default=0.0) + 2 * _PAD + 0.04


def _text_height(lines: tuple[str, ...], size: float) -> float:
    return len(lines) * size * _LEADING / 72 + 2 * _PAD


def _draw_card(axes: Axes, place: Rectangle, card: Card) -> None:
    middle = (place.left + place.right) / 2
    upper = _text_height(card.lines, _size(card))
    if card.below:
        lower = _text_width(card.below, SMALL)
        _draw_patch(
            axes,
            Rectangle(middle - lower / 2, place.top + upper, middle + lower / 2, place.bottom),
            TENSOR,
            0.04,
        )
        _write(axes, card.below, middle, place.top + upper + _PAD, SMALL)
    rounding = 0.04 if card.colour in (TENSOR, UNMOVED) else upper / 2.2
    width = place.right - place.left  # lines end at the rectangle's sides
    _draw_patch(
        axes,
        Rectangle(middle - width / 2, place.top, middle + width / 2, place.top + upper),
        card.colour,
        rounding,
    )
    _write(axes, card.lines, middle, place.top + _PAD, _size(card))


def _draw_patch(axes: Axes, place: Rectangle, colour: str, rounding: float) -> None:
    style = f"round,pad=0,rounding_size={rounding:g}"
    size = (place.right - place.left, place.bottom - place.top)
    axes.add_patch(
        FancyBboxPatch(
            (place.left, place.top),
            *size,
            boxstyle=style,
            facecolor=colour,
            edgecolor="0.4",
            linewidth=0.9,
        )
    )


def _write(axes: Axes, lines: tuple[str, ...], x: float, top: float, size: float) -> None:
    step = size * _LEADING / 72
    for k, line in enumerate(lines):
        axes.text(x, top + (k + 0.5) * step, line, ha="center", va="center_baseline", fontsize=size)


def _draw_frame(axes: Axes, place: Rectangle, heading: str, colour: str) -> None:
    size = (place.right - place.left, place.bottom - place.top)
    style = "round,pad=0,rounding_size=0.08"
    border = FancyBboxPatch(
        (place.left, place.top), *size, boxstyle=style, facecolor="none", edgecolor=colour
    )
    border.set(linewidth=1.2, linestyle="--", zorder=0.4)
    axes.add_patch(border)
    paper = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    axes.text(
        place.left + 0.1,
        place.top + 0.13,
        heading,
        va="center",
        fontsize=NORMAL,
        color=colour,
        zorder=0.9,
        bbox=paper,
    )


def _draw_line(axes: Axes, points: tuple[tuple[float, float], ...]) -> None:
    """Flat over a column, bent between two."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x, y), (u, v) in zip(points, points[1:], strict=False):
        if y == v:
            vertices.append((u, v))
            codes.append(Path.LINETO)
        else:
            middle = (x + u) / 2
            vertices += [(middle, y), (middle, v), (u, v)]
            codes += [Path.CURVE4] * 3
    axes.add_patch(
        PathPatch(
            Path(vertices, codes), facecolor="none", edgecolor="0.6", linewidth=1.1, zorder=0.6
        )
    )
