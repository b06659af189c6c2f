"""The commuting square of equivariance: permute and then apply the layer, or apply it and then permute."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from symnet.errors import SymnetError
from symnet.files import write_file
from symnet.graph import GroupElement
from symnet.graph.neuron_graph import NeuronGraph
from symnet.nn import Linear
from symnet.show.figures import LARGE, NORMAL, new_figure, take_names_as_text
from symnet.show.neurons import Drawing, Neuron, Place, Stroke, draw_neurons
from symnet.tracing.execution import random_numbers

Weights = Mapping[str, np.ndarray]
STEPS = 24  # pictures of a motion, besides the first
_COLOURS = "PuOr"  # orange to violet, told apart by colour-blind eyes


class Square:
    """A random network, its image under a layer, and an element that acts on both.

    Args:
        graph: the architecture; few neurons can be seen best.
        element: default: a random one that moves many sets.
        seed: of the weights, the layer's coefficients and the element.

    Attributes:
        error: the largest difference between the two ways round, relative to the largest entry.
    """

    def __init__(
        self, graph: NeuronGraph, element: GroupElement | None = None, *, seed: int = 0
    ) -> None:
        self.graph, self.drawing = graph, Drawing(graph)
        self.element = _moving_element(graph, seed) if element is None else element
        rng = np.random.default_rng(seed)
        self.before = {name: rng.normal(size=shape) for name, shape in graph.shapes.items()}
        with random_numbers(seed):
            self._layer = Linear(graph, 1, 1, dtype=torch.float64)
        self.after = self._apply(self.before)
        self.moved = graph.act(self.element, self.before)
        moved_after, after_moved = self._apply(self.moved), graph.act(self.element, self.after)
        scale = max((float(np.abs(values).max()) for values in self.after.values()), default=1.0)
        self.error = (
            max(float(np.abs(moved_after[name] - after_moved[name]).max()) for name in self.after)
            / scale
        )
        self.moved_after = moved_after

    def _apply(self, weights: Weights) -> dict[str, np.ndarray]:
        with torch.no_grad():
            found = self._layer(
                {name: torch.from_numpy(value)[None, ..., None] for name, value in weights.items()}
            )
        return {name: value[0, ..., 0].numpy() for name, value in found.items()}


def _moving_element(graph: NeuronGraph, seed: int) -> GroupElement:
    """Of some random elements the one that moves the most sets: a picture of neurons that stay says little."""
    rng = np.random.default_rng(seed)
    drawn = [graph.random_element(rng) for _ in range(16)]
    return max(drawn, key=lambda element: sum(element.moves(name) for name in graph.neurons))


def commuting_square(
    graph: NeuronGraph, element: GroupElement | None = None, *, seed: int = 0
) -> Figure:
    """Four pictures of one network: x, L(x), g.x and L(g.x), which is g.L(x) as well.

    Lines and dots are weights, coloured by their values; L is a layer with random coefficients, g acts on the neurons.

    Raises:
        TooLargeError: more weights than can be seen.
    """
    square = Square(graph, element, seed=seed)
    figure = new_figure(10.5, 8.2)
    panels = (
        ((0.03, 0.5), "weights x", square.before),
        ((0.55, 0.5), "L(x)", square.after),
        ((0.03, 0.03), "g · x: neurons in another order", square.moved),
        ((0.55, 0.03), "L(g · x) = g · L(x)", square.moved_after),
    )
    for (x, y), title, weights in panels:
        axes = figure.add_axes((x, y, 0.42, 0.36))
        draw_neurons(axes, square.drawing, _strokes(weights))
        axes.set_title(title, fontsize=LARGE, pad=10)
    arrows = [
        ((0.455, 0.68), (0.545, 0.68), "L"),
        ((0.455, 0.21), (0.545, 0.21), "L"),
        ((0.24, 0.485), (0.24, 0.44), "g"),
        ((0.76, 0.485), (0.76, 0.44), "g"),
    ]
    for start, end, name in arrows:
        style: dict[str, Any] = {"arrowstyle": "-|>", "linewidth": 1.6, "color": "0.2"}
        figure.add_artist(FancyArrowPatch(start, end, mutation_scale=16, **style))
        figure.text(
            (start[0] + end[0]) / 2 + 0.008, (start[1] + end[1]) / 2 + 0.008, name, fontsize=LARGE
        )
    words = (
        f"Both ways round give the same weights (largest relative difference {square.error:.0e})"
    )
    figure.suptitle(words, fontsize=LARGE, y=0.985, va="top")
    return figure


def _strokes(weights: Weights) -> dict[str, list[Stroke]]:
    """Colour and width by value, each tensor by its own largest entry."""
    found = {}
    for name, values in weights.items():
        scaled = values.reshape(-1) / max(float(np.abs(values).max(initial=0.0)), 1e-12)
        colours = colormaps[_COLOURS](0.5 + 0.5 * scaled)
        found[name] = [
            Stroke(tuple(map(float, colour)), 0.8 + 3.0 * abs(value))
            for colour, value in zip(colours, scaled, strict=True)
        ]
    return found


def commuting_frames(
    graph: NeuronGraph, element: GroupElement | None = None, *, seed: int = 0, steps: int = STEPS
) -> Iterator[Figure]:
    """The square in motion: the neurons of x walk to their new places, and those of L(x) with them.

    The last picture has g.x at the left, and L(g.x), computed anew, at the right.
    """
    square = Square(graph, element, seed=seed)
    rest = square.drawing.places
    goal = {neuron: rest[square.drawing.image(square.element, neuron)] for neuron in rest}
    for step in range(steps + 1):
        share = 0.5 - 0.5 * math.cos(math.pi * step / steps)
        places = {neuron: _between(rest[neuron], goal[neuron], share) for neuron in rest}
        last = step == steps
        yield _frame(
            square,
            (square.moved, square.moved_after) if last else (square.before, square.after),
            rest if last else places,
            ("g · x", "L(g · x), computed anew") if last else ("weights x", "L(x)"),
        )


def _between(start: Place, end: Place, share: float) -> Place:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _frame(
    square: Square,
    weights: tuple[Weights, Weights],
    places: Mapping[Neuron, Place],
    titles: tuple[str, str],
) -> Figure:
    figure = new_figure(9.6, 4.2)
    for x, values, title in zip((0.02, 0.53), weights, titles, strict=True):
        axes = figure.add_axes((x, 0.04, 0.45, 0.72))
        draw_neurons(axes, square.drawing, _strokes(values), places)
        axes.set_title(title, fontsize=LARGE, pad=8)
    figure.text(0.5, 0.42, "L  →", ha="center", fontsize=LARGE)
    words = f"Permuting neurons moves the layer's output in the same way (relative difference {square.error:.0e})"
    figure.suptitle(words, fontsize=NORMAL + 1, y=0.97, va="top")
    return figure


def save_animation(
    frames: Iterable[Figure], path: str | Path, *, dpi: int = 80, milliseconds: int = 70
) -> Path:
    """The path of an animated picture (``.gif``), which rests a while on its first and last frame.

    Raises:
        SymnetError: another ending than ``.gif``.
    """
    from PIL import Image

    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise SymnetError(
            f"An animation cannot be written as {target.suffix.lstrip('.')!r}; write a .gif."
        )
    images = []
    for figure in frames:
        buffer = io.BytesIO()
        take_names_as_text(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
        images.append(Image.open(buffer).convert("RGB"))
    palette = images[-1].quantize(64)
    quantized = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [1200, *[milliseconds] * (len(images) - 2), 1800][: len(images)]
    film = io.BytesIO()
    options = {"append_images": quantized[1:], "duration": durations, "loop": 0, "optimize": True}
    quantized[0].save(film, "GIF", save_all=True, **options)
    return write_file(target, film.getvalue())
