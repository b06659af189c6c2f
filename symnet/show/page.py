"""A self-contained HTML page of sections with pictures and texts; no network access needed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment
from matplotlib.figure import Figure

from symnet.errors import TooLargeError
from symnet.show.figures import draw


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page: a heading, a sentence, and a picture or text to be set as it is."""

    heading: str
    words: str = ""
    picture: Figure | None = None
    text: str = ""


def pictured(heading: str, words: str, make: Callable[[], tuple[Figure | None, str]]) -> Section:
    """A section with the picture and text that ``make`` returns; where they would be too large, a sentence that says what to do.

    Example:
        >>> def too_many():
        ...     raise TooLargeError("9,999 boxes; show fewer.")
        >>> pictured("The plan", "What runs.", too_many).words
        'What runs. It is too large to be shown: 9,999 boxes; show fewer.'
    """
    try:
        picture, text = make()
    except TooLargeError as error:
        return Section(heading, f"{words} It is too large to be shown: {error}")
    return Section(heading, words, picture, text)


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


def encode(figure: Figure) -> str:
    """A picture as it stands inside a page."""
    return base64.b64encode(draw(figure)).decode("ascii")


def make_page(title: str, sections: list[Section]) -> str:
    """The HTML text of a page; pictures are inside it, every text is escaped."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE
    )
    return template.render(title=title, sections=sections, encode=encode)
