"""What the site's build adds to Markdown: formulas as MathML (no script, no network), a layer's equations set, and the list of pages."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
EQUATIONS = re.compile(
    r"<!-- equations: (?P<arch>\S+) from (?P<inputs>.+?) to (?P<outputs>.+?) -->"
)
NOTEBOOK_LINK = re.compile(r"(\]\([\w./-]+)\.ipynb\)")
FILLED = {
    "Notebooks": "notebooks",
    "How-to": "how-to",
    "Tasks": "tasks",
    "Reference": "api",
}  # sections that list every page of a folder


class Examples(griffe.Extension):
    """Reads ``Example:`` in docstrings as the section of doctests that it is; the parser knows only ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every object that is read."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", obj.docstring.value)


def on_config(config: Any) -> Any:
    """Adds the pages of the filled sections, in order of their names."""
    root = Path(config["docs_dir"])
    for section in config["nav"]:
        for title, pages in section.items():
            if title in FILLED:
                sources = [
                    one
                    for one in (root / FILLED[title]).iterdir()
                    if one.suffix in (".md", ".ipynb")
                ]
                found = sorted(f"{FILLED[title]}/{path.stem}.md" for path in sources)
                pages += [page for page in found if page not in pages]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each notebook, with the outputs that are kept in it; the notebook itself can be downloaded."""
    for path in sorted(Path(config["docs_dir"]).glob("notebooks/*.ipynb")):
        files.append(
            File.generated(config, f"notebooks/{path.stem}.md", content=notebook_page(path))
        )
    return files


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: texts, code, and of each output its HTML, picture or text."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += map(_output, cell.get("outputs", ()))
    title, *rest = parts
    note = f'This page is a notebook: <a href="{path.name}" download>{path.name}</a>.'
    return "\n\n".join([title, note, *rest]) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    match data:
        case {"text/html": html}:
            return f'<div class="output" markdown="0">{html.replace(chr(10), " ")}</div>'
        case {"image/png": png}:
            return f'<div class="output" markdown="0"><img alt="the picture that this cell makes" src="data:image/png;base64,{png.strip()}"></div>'
        case _:
            text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
            return f"```text\n{text}\n```"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Sets the equations that a comment asks for, made by ``maps.latex()``; links to notebooks lead to their pages."""
    return NOTEBOOK_LINK.sub(r"\1.md)", EQUATIONS.sub(_equations, markdown))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Turns every formula into MathML."""
    html = INLINE.sub(lambda found: formula(found[1], "inline"), html)
    html = DISPLAY.sub(
        lambda found: f'<div class="formula">{formula(found[1], "block")}</div>', html
    )
    if "arithmatex" in html:
        raise PluginError(f"{page.file.src_path}: a formula was not understood")
    return html


def formula(latex: str, display: str) -> str:
    """MathML of one formula; a mistake in it stops the build."""
    text = unescape(latex).strip()
    try:
        found = convert(text, display=display)
    except Exception as error:
        raise PluginError(f"The formula {text!r} cannot be set: {error!r}") from error
    if "\\" in re.sub(r"<[^>]*>", "", found):
        raise PluginError(f"The formula {text!r} holds a command that cannot be set: {found}")
    return found


def _equations(found: re.Match[str]) -> str:
    import symnet as sn
    from symnet.cli.architectures import read_architecture

    maps = sn.derive(
        read_architecture(found["arch"]),
        inputs=found["inputs"].split(),
        outputs=found["outputs"].split(),
    )
    return "\n\n".join(f"$$\n{part}\n$$" for part in re.split(r"\n(?=\\begin)", maps.latex()))
