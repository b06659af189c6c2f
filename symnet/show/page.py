"""A self-contained HTML page about an architecture: pictures, counts, plan and equations, no network access needed."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from matplotlib.figure import Figure

from symnet.graph.neuron_graph import NeuronGraph
from symnet.plan import make_plan
from symnet.sharing import derive
from symnet.show.figures import draw
from symnet.show.labels import narrowed
from symnet.show.networks import graph_picture
from symnet.show.plans import plan_picture
from symnet.show.tying import tying_matrix


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page: a heading, a sentence, and a picture or text to be set as it is."""

    heading: str
    words: str = ""
    picture: Figure | None = None
    text: str = ""


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
  h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
  img { max-width: 100%; height: auto; }
  pre { overflow-x: auto; background: #f6f6f4; padding: 1rem; font-size: 0.85rem; line-height: 1.35; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for section in sections %}
<section>
<h2>{{ section.heading }}</h2>
{% if section.words %}<p>{{ section.words }}</p>{% endif %}
{% if section.picture %}<img alt="{{ section.heading }}" src="data:image/png;base64,{{ encode(section.picture) }}">{% endif %}
{% if section.text %}<pre>{{ section.text }}</pre>{% endif %}
</section>
{% endfor %}
</body>
</html>
"""


def _encode(figure: Figure) -> str:
    return base64.b64encode(draw(figure)).decode("ascii")


def make_page(title: str, sections: list[Section]) -> str:
    """The HTML text of a page; pictures are inside it, every text is escaped."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_TEMPLATE)
    return template.render(title=title, sections=sections, encode=_encode)


def write_architecture_page(path: str | Path, graph: NeuronGraph, *, title: str, most: int | None = None) -> Path:
    """The path of a page that shows a graph, the counts of its layer, its tying matrix, and its plan.

    Args:
        most: draw neuron sets with at most this many neurons; the counts stay those of the given graph.

    Raises:
        TooLargeError: the tying matrix cannot be seen at this size; says to pass ``most``.
    """
    maps = derive(graph)
    shown = graph if most is None else narrowed(graph, most)
    drawn = "" if most is None else f" Drawn with at most {most} neurons in each set."
    counts = (
        f"{maps.dimension:,} free parameters for each pair of channels, and {maps.bias_dimension:,} biases, where a dense layer "
        f"would have {graph.weights.size**2:,}. Burnside's lemma counts {maps.dimension_by_burnside:,}."
    )
    sections = [
        Section("The neuron-permutation graph", "Signals run from left to right.", graph_picture(graph), str(graph)),
        Section("The tying matrix", f"{counts} Equal colours are tied weights.{drawn}", tying_matrix(derive(shown))),
        Section("The plan", "What the layer computes.", plan_picture(make_plan(graph)), str(make_plan(graph))),
        Section("The counts, outputs down and inputs across", text=maps.summary()),
        Section("The equations", "In LaTeX, one line for each output tensor.", text=maps.latex()),
    ]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(make_page(title, sections), encoding="utf-8")
    return target
