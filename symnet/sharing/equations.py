"""The layer as equations of a paper, and as a table of dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from symnet.errors import TooLargeError
from symnet.sharing.sharing_pattern import PlacedDiagram, SharingPattern

if TYPE_CHECKING:
    from symnet.sharing.equivariant_maps import EquivariantMaps

TERM_LIMIT = 2_000
LETTERS = "ijklmnuvwxyz"
FIXED_LETTERS = "pqrstabcdefgh"


def summarize(maps: EquivariantMaps) -> str:
    """A table of dimensions: outputs down, inputs across, biases in the last column."""
    inputs, outputs = list(maps.inputs), list(maps.outputs)
    header = ["", *inputs, "total"]
    rows = []
    for s in outputs:
        counts = [maps.between(s, t).dimension for t in inputs]
        rows.append([s, *map(str, counts), str(sum(counts))])
    totals = [str(sum(int(row[k + 1]) for row in rows)) for k in range(len(inputs))]
    rows.append(["total", *totals, str(maps.dimension)])
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lines = [f"{maps!r}", "dimension of the maps into each output (down) from each input (across)"]
    for row in [header, *rows]:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]))
    return "\n".join(lines)


def write_latex(maps: EquivariantMaps) -> str:
    r"""An ``align*`` environment with one equation an output block.

    Means are written ``\overline{X}`` with a dot for every index averaged over; equal indices mark diagonals; indices of
    fixed sets are summed with a coefficient of their own for every pair.

    Raises:
        TooLargeError: there are more terms than anyone would read.
    """
    patterns = {(s, t): maps.between(s, t) for s in maps.outputs for t in maps.inputs}
    count = sum(len(pattern.diagrams) for pattern in patterns.values())
    if count > TERM_LIMIT:
        raise TooLargeError(f"The equations have {count} terms, more than {TERM_LIMIT}; derive fewer inputs or outputs.")
    lines, number = [], 0
    for s, tensor in maps.outputs.items():
        for block in range(len(tensor.blocks)):
            terms, indices = [], ""
            for t in maps.inputs:
                for placed in patterns[s, t].diagrams:
                    if placed.output_block == block:
                        number += 1
                        term, indices = _term(placed, patterns[s, t], number)
                        terms.append(term)
            part = f",{block + 1}" if len(tensor.blocks) > 1 else ""
            left = f"Y^{{{_text(s)}{part}}}_{{{indices}}}"
            chunks = [" + ".join(terms[k : k + 4]) for k in range(0, len(terms), 4)]
            lines.append(f"{left} &= " + (" \\\\\n&\\quad + ".join(chunks) if chunks else "0"))
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _term(placed: PlacedDiagram, pattern: SharingPattern, number: int) -> tuple[str, str]:
    """One term of the sum, and the indices of the output entry that it is written for."""
    diagram = placed.diagram
    letter: dict[int, str] = {}
    free = iter(LETTERS)
    fixed = iter(FIXED_LETTERS)
    for dim in range(diagram.split):
        letter[dim] = next(fixed) if dim in diagram.joint.folded else next(free)
    indices = "".join(letter[dim] for dim in range(diagram.split))
    first: dict[tuple[str, int], str] = {}
    deltas = []
    for dim in range(diagram.split):
        if dim in diagram.part_of:
            part = diagram.part_of[dim]
            if part in first:
                deltas.append(f"\\delta_{{{first[part]}{letter[dim]}}}")
            first.setdefault(part, letter[dim])
    repeats = [part for part in diagram.input.pattern.parts if len(part.dims) > 1]
    dots: dict[tuple[str, int], str] = {}
    theirs, summed, averaged = [], [], False
    for dim in range(diagram.split, len(diagram.joint.dims)):
        if dim not in diagram.part_of:
            name = next(fixed) + "'"
            theirs.append(name)
            summed.append(name)
            continue
        part = diagram.part_of[dim]
        if part in first:
            theirs.append(first[part])
        else:
            averaged = True
            several = any(dim - diagram.split in repeat.dims for repeat in repeats)
            theirs.append(dots.setdefault(part, f"\\bullet_{{{len(dots) + 1}}}" if several else "\\bullet"))
    symbol = "\\overline{X}" if averaged else "X"
    several_blocks = len(pattern.input.blocks) > 1
    name_of_input = _text(pattern.input.name) + (f",{placed.input_block + 1}" if several_blocks else "")
    folded = "".join(letter[d] for d in range(diagram.split) if d in diagram.joint.folded) + "".join(summed)
    coefficient = f"a_{{{number}}}" + (f"^{{{folded}}}" if folded else "")
    total = f"\\sum_{{{','.join(summed)}}} " if summed else ""
    entry = f"{symbol}^{{{name_of_input}}}" + (f"_{{{' '.join(theirs)}}}" if theirs else "")
    return f"{total}{coefficient} {''.join(deltas)}{entry}", indices


def _text(name: str) -> str:
    escaped = name.replace("\\", "\\backslash ").replace("_", "\\_").replace("&", "\\&").replace("%", "\\%").replace("#", "\\#")
    return f"\\text{{{escaped}}}"
