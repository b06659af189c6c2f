"""The explorer: one self-contained page on which an architecture is solved, pointed at, and changed. No network access is needed.

What is drawn of the tying is computed in the page, by `explorer/solver.js`: from generators alone, by union-find. It shares no idea with
the closed form of `symnet.sharing`; tests hold one against the other. Equations and Burnside's count of large groups are
written into the page by symnet, for the architectures that can be chosen from its list.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment
from matplotlib.figure import Figure

from symnet.errors import TooLargeError
from symnet.files import write_file
from symnet.graph import catalogue
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Cyclic, Fixed, GeneralLinear, Orthogonal, Scaled, Symmetric
from symnet.plan import make_plan
from symnet.sharing import EquivariantMaps, derive
from symnet.show.labels import SIZE_LIMIT, label_matrix, narrowed
from symnet.show.networks import graph_picture
from symnet.show.page import Section, encode, pictured
from symnet.show.plans import plan_picture

SCRIPTS = (
    *("notation.js", "solver.js", "diagrams.js", "words.js", "matrix.js", "network.js"),
    *("readers.js", "start.js", "grid.js", "square.js", "sweep.js", "address.js", "explorer.js"),
)
LINES_SHOWN = 150  # of a summary


@dataclass(frozen=True, slots=True)
class Example:
    """An architecture of the page's list."""

    title: str
    graph: NeuronGraph


def read_asset(name: str) -> str:
    """One of the page's own files."""
    return (files("symnet.show") / "explorer" / name).read_text(encoding="utf-8")


def examples() -> list[Example]:
    """Small architectures to start from: each has a kind of axis or group that the others lack."""
    hidden = {"h": Symmetric(4)}
    return [
        Example("MLP 2-3-2", catalogue.mlp([2, 3, 2])),
        Example(
            "MLP 2-3-3-1, inputs and outputs permuted", catalogue.mlp([2, 3, 3, 1], io="permuted")
        ),
        Example("a set of four (DeepSets)", NeuronGraph(hidden, {"x": "h"})),
        Example("a graph of four nodes: 15 maps", NeuronGraph(hidden, {"edges": "h h"})),
        Example("CNN 1-2-2, kernels of 2 by 2", catalogue.cnn([1, 2, 2], kernel_size=2, classes=2)),
        Example("RNN 2-3", catalogue.rnn(2, 3)),
        Example("attention, two heads", catalogue.attention(2, 2, head_size=2)),
        Example("stacked experts", catalogue.experts(2, 3, 2)),
        Example("rotations: circulant matrices", NeuronGraph({"x": Cyclic(6)}, {"signal": "x"})),
        Example(
            "ReLU neurons with their scales",
            NeuronGraph(
                {"in": Fixed(2), "h": Scaled(3), "out": Fixed(1)},
                {"0.weight": "h in", "0.bias": "h", "2.weight": "out h*", "norms": "h."},
            ),
        ),
        Example(
            "LoRA: invertible maps between A and B",
            NeuronGraph(
                {"in": Fixed(2), "r": GeneralLinear(2), "out": Fixed(2)},
                {"A": "r in", "B": "out r*"},
            ),
        ),
        Example(
            "a rotated stream: matchings",
            NeuronGraph({"m": Orthogonal(3)}, {"weight": "m m", "gain": "m"}),
        ),
    ]


def explorer_page(
    title: str, given: NeuronGraph | None = None, sections: list[Section] | None = None
) -> str:
    """The HTML text of the page.

    Args:
        given: an architecture that stands first in the list.
        sections: what follows below the explorer.

    Raises:
        TooLargeError: the given architecture's matrix cannot be seen; says what to do.
    """
    chosen = [*([Example(title, given)] if given is not None else []), *examples()]
    if given is not None and given.weights.size > SIZE_LIMIT:
        label_matrix(derive(given))  # refuses with the remedy
    data = {"architectures": [_describe(example) for example in chosen]}
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        read_asset("template.html")
    )
    return template.render(
        title=html.escape(title),
        sections=[_escaped(section) for section in sections or []],
        encode=encode,
        style=read_asset("style.css"),
        script="\n".join(map(read_asset, SCRIPTS)),
        data=json.dumps(data).replace("<", "\\u003c"),  # so that no text in it can end the script
    )


@dataclass(frozen=True, slots=True)
class InlinePage:
    """A page that notebooks show in the cell that ends with it.

    Args:
        html: the text of a whole page.
        height: in pixels, of the frame that it is shown in.
    """

    html: str = field(repr=False)
    height: int = 720

    def _repr_html_(self) -> str:
        """A frame of the cell's width, the page inside it as text."""
        style = f"width:100%;height:{self.height}px;border:1px solid #8888"
        return f'<iframe title="symnet" style="{style}" srcdoc="{html.escape(self.html)}"></iframe>'


def explore(graph: NeuronGraph, *, title: str = "symnet", most: int | None = None) -> InlinePage:
    """The explorable page of a graph, shown inline where a notebook's cell ends with it.

    Args:
        graph: stands first in the page's list of architectures.
        title: the page's heading.
        most: draw neuron sets with at most this many neurons; default: as many as can be seen.

    Returns:
        The page; its text is ``.html``, and ``write_architecture_page`` writes a file.

    Raises:
        TooLargeError: no narrower graph of its kind can be seen either; says what to do.

    Example:
        >>> import symnet as sn
        >>> from symnet.show import explore
        >>> explore(sn.catalogue.mlp([2, 3, 2]))
        InlinePage(height=720)
    """
    shown = _small_enough(graph, most) or graph
    narrowed_to = max((one.size for one in shown.neurons.values()), default=0)
    heading = (
        title if shown == graph else f"{title} (sets of at most {most or narrowed_to} neurons)"
    )
    return InlinePage(explorer_page(heading, shown))


def write_architecture_page(
    path: str | Path, graph: NeuronGraph, *, title: str, most: int | None = None
) -> Path:
    """The path of a page that explores a graph, and shows the counts, the plan and the equations of its layer.

    Args:
        most: draw neuron sets with at most this many neurons; default: as many as can be seen. The counts below the explorer stay
            those of the given graph. What is too large to be drawn even so is told in a sentence.
    """
    maps = derive(graph)
    shown = _small_enough(graph, most)
    counts = (
        f"{maps.dimension:,} free parameters for each pair of channels, and {maps.bias_dimension:,} biases, where a dense layer "
        f"would have {graph.weights.size**2:,}. Burnside's lemma counts {maps.dimension_by_burnside:,}."
    )
    match shown:
        case None:
            counts += f" Its {graph.weights.size:,} weights are too many to explore one by one: above are smaller networks."
        case NeuronGraph() if shown != graph:
            widest = max((one.size for one in shown.neurons.values()), default=0)
            counts += f" Above, each set is drawn with at most {most or widest} neurons."

    def plan_and_text() -> tuple[Figure, str]:
        plan = make_plan(graph)
        return plan_picture(plan), str(plan)

    sections = [
        pictured(
            "The neuron-permutation graph",
            "Signals run from left to right.",
            lambda: (graph_picture(graph), str(graph)),
        ),
        Section(
            "The layer of this network, at its full size", counts, text=_shortened(maps.summary())
        ),
        pictured("The plan", "What the layer computes.", plan_and_text),
        Section("The equations in LaTeX", text=_latex(maps)),
    ]
    return write_file(path, explorer_page(title, shown, sections))


def _small_enough(graph: NeuronGraph, most: int | None) -> NeuronGraph | None:
    """The graph to explore: narrowed as asked for, else as little as makes its matrix one that can be seen; None if nothing does."""
    choices = (
        [graph, *(narrowed(graph, width) for width in (4, 3, 2))]
        if most is None
        else [narrowed(graph, most)]
    )
    return next((one for one in choices if one.weights.size <= SIZE_LIMIT), None)


def _shortened(text: str) -> str:
    lines = text.splitlines()
    left = len(lines) - LINES_SHOWN
    return (
        text
        if left <= 0
        else "\n".join(
            [*lines[:LINES_SHOWN], f"... {left:,} more lines: print(sn.derive(graph).summary())"]
        )
    )


def _describe(example: Example) -> dict[str, object]:
    maps = derive(example.graph)
    return {
        "title": example.title,
        "text": str(example.graph),
        "dimension": maps.dimension,
        "burnside": maps.dimension_by_burnside,
        "equations": _equations(_latex(maps)),
    }


def _latex(maps: EquivariantMaps) -> str:
    try:
        return maps.latex()
    except TooLargeError as error:
        return str(error)


def _equations(latex: str) -> str:
    """MathML where a converter is installed, the LaTeX text where none is."""
    if not latex.startswith("\\begin"):
        return f"<p>{html.escape(latex)}</p>"
    try:
        from latex2mathml.converter import convert
    except ModuleNotFoundError:
        return f"<pre>{html.escape(latex)}</pre>"
    plain = latex.replace(r"\_", "_")  # the converter takes underscores in texts as they are
    return "".join(convert(part, display="block") for part in re.split(r"\n(?=\\begin)", plain))


def _escaped(section: Section) -> Section:
    return Section(
        html.escape(section.heading),
        html.escape(section.words),
        section.picture,
        html.escape(section.text),
    )
