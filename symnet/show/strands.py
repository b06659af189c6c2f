"""Pictures of diagrams: strands as points, outputs above inputs, blocks as what connects them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from symnet.graph.notation import MARKS
from symnet.sharing import SharingPattern
from symnet.sharing.diagrams import Diagram

STEP, HEIGHT, MARGIN = 22, 46, 16  # pixels between strands, between rows, around a diagram
_COLOURS = ("#1f6f8b", "#c44536", "#6a994e", "#8e5aa8", "#d08c28", "#4a4e69")


def draw_strands(rows: Mapping[str, SharingPattern], most: int = 12) -> str:
    """An SVG picture of the diagrams between two tensors, one row for each title.

    Args:
        rows: patterns by title: ``{"O(n)": maps.between("y", "x")}``.
        most: diagrams of a row that are drawn; the others are counted.

    Returns:
        SVG text. Above the strands of the output, below those of the input, each with its mark; what is connected is one block.

    Example:
        >>> import symnet as sn
        >>> maps = sn.derive(sn.NeuronGraph({"m": sn.Orthogonal(3)}, {"w": "m m"}))
        >>> draw_strands({"O(3)": maps.between("w", "w")}).count("<g")
        3
    """
    body, y, width = [], MARGIN, 0
    for title, pattern in rows.items():
        diagrams = [placed.diagram for placed in pattern.diagrams][:most]
        left = len(pattern.diagrams) - len(diagrams)
        note = f" ({len(pattern.diagrams)})" + (f", {left} more not drawn" if left else "")
        body.append(
            f'<text x="{MARGIN}" y="{y + 8}" font-weight="bold">{escape(title + note)}</text>'
        )
        x = MARGIN
        for diagram in diagrams:
            body.append(f'<g transform="translate({x},{y + 34})">{_one(diagram)}</g>')
            x += STEP * max(diagram.split, len(diagram.joint.dims) - diagram.split, 1) + MARGIN
        width, y = max(width, x, 260), y + HEIGHT + 64
    style = 'font-family="sans-serif" font-size="11"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" {style}>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _one(diagram: Diagram) -> str:
    """One diagram: a star from the middle of every block to its strands."""
    places = {k: _place(diagram, k) for k in diagram.part_of}
    blocks: dict[tuple[str, int], list[int]] = {}
    for k, part in diagram.part_of.items():
        blocks.setdefault(part, []).append(k)
    drawn = []
    for number, strands in enumerate(blocks.values()):
        colour = _COLOURS[number % len(_COLOURS)]
        x = sum(places[k][0] for k in strands) / len(strands)
        y = _middle([places[k][1] for k in strands])
        drawn += [
            f'<path d="M{places[k][0]},{places[k][1]} Q{places[k][0]},{y:g} {x:g},{y:g}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for k in strands
            if len(strands) > 1
        ]
        drawn += [
            f'<circle cx="{places[k][0]}" cy="{places[k][1]}" r="3.5" fill="{colour}"/>'
            for k in strands
        ]
    drawn += [
        f'<text x="{places[k][0] - 4}" y="{places[k][1] + (-7 if k < diagram.split else 16)}">{_label(diagram, k)}</text>'
        for k in places
    ]
    return "".join(drawn)


def _place(diagram: Diagram, k: int) -> tuple[int, int]:
    return (k * STEP + 6, 0) if k < diagram.split else ((k - diagram.split) * STEP + 6, HEIGHT)


def _middle(heights: list[int]) -> float:
    """Height at which a block's lines meet: between the rows, or bent towards them where all are in one."""
    return HEIGHT / 2 if len(set(heights)) > 1 else abs(heights[0] - 0.32 * HEIGHT)


def _label(diagram: Diagram, k: int) -> str:
    """The strand's name and mark; of an input that of the declaration, which is counted with the opposite degree."""
    dim = diagram.joint.dims[k]
    group = dim.group
    assert dim.symbol is not None and group is not None and group.rule is not None
    if group.rule.modulus:  # the group does not tell duals apart
        return escape(dim.symbol)
    return escape(dim.symbol + MARKS.get(dim.degree if k < diagram.split else -dim.degree, ""))
