"""The layer as equations of a paper, and as a table of dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from symnet.errors import TooLargeError
from symnet.graph.space import Space, TensorSpace
from symnet.sharing.diagrams import Diagram
from symnet.sharing.sharing_pattern import PlacedDiagram, SharingPattern

if TYPE_CHECKING:
    from symnet.sharing.equivariant_maps import EquivariantMaps

TERM_LIMIT = 2_000
_TERMS_A_LINE = 4
_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "_&%#${}"
}


def summarize(maps: EquivariantMaps) -> str:
    """A table of dimensions: outputs down, inputs across; a dot where
    ``interactions`` leaves the maps out.

    Example:
        >>> import symnet as sn
        >>> graph = sn.NeuronGraph({"h": sn.Symmetric(4)}, {"weight": "h 2", "bias": "h"})
        >>> print(summarize(sn.derive(graph)))
        EquivariantMaps(2 tensors -> 2 tensors: 18 maps, 3 biases)
        dimension of the maps into each output (down) from each input (across)
                weight  bias  total
        weight       8     4     12
        bias         4     2      6
        total       12     6     18
    """
    counts = {(s, t): maps.between(s, t).dimension for s, t in maps.pairs()}
    inputs, outputs = list(maps.inputs), list(maps.outputs)
    rows = [["", *inputs, "total"]]
    for s in outputs:
        cells = [str(counts.get((s, t), ".")) for t in inputs]
        rows.append([s, *cells, str(sum(counts.get((s, t), 0) for t in inputs))])
    totals = [str(sum(counts.get((s, t), 0) for s in outputs)) for t in inputs]
    rows.append(["total", *totals, str(maps.dimension)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{maps!r}", "dimension of the maps into each output (down) from each input (across)"]
    for first, *cells in rows:
        right = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]))
    return "\n".join(lines)


def write_latex(maps: EquivariantMaps) -> str:
    r"""An ``align*`` environment with one equation per output block, and
    another that defines the means.

    Coefficients are ``a_{1}, a_{2}, ...``, those of biases ``b_{1}, ...``. Means are written
    ``\overline{X}`` with a dot for every index averaged over; equal indices mark diagonals.
    Positions of fixed sets are upper indices of the coefficients, those of the input primed and
    summed; in ``a^{\langle p q'\rangle}`` pairs of one orbit share their coefficient.

    Raises:
        TooLargeError: there are more terms than anyone would read.

    Example:
        >>> import symnet as sn
        >>> print(write_latex(sn.derive(sn.NeuronGraph({"h": sn.Symmetric(4)}, {"x": "h"}))))
        \begin{align*}
        Y^{\text{x}}_{i} &= a_{1} X^{\text{x}}_{i} + a_{2} \overline{X}^{\text{x}}_{\bullet} + b_{1}
        \end{align*}
        \begin{align*}
        \overline{X}^{\text{x}}_{\bullet} &:= \frac{1}{4} \sum_{i} X^{\text{x}}_{i}
            && \text{mean over h}
        \end{align*}
    """
    patterns = {pair: maps.between(*pair) for pair in maps.pairs()}
    count = sum(len(pattern.diagrams) for pattern in patterns.values())
    if count > TERM_LIMIT:
        raise TooLargeError(
            f"The equations have {count} terms, more than {TERM_LIMIT}; derive fewer inputs or "
            "outputs."
        )
    constant = Space(maps.outputs.neurons, {"constant": ""})["constant"]
    writer, lines = _Writer(), []
    for s, tensor in maps.outputs.items():
        incoming = [patterns[s, t] for t in maps.inputs if (s, t) in patterns]
        biases = SharingPattern(tensor, constant, maps.outputs.neurons)
        lines += [
            writer.equation(tensor, block, incoming, biases) for block in range(len(tensor.blocks))
        ]
    return "\n".join(_align(part) for part in (lines, list(writer.legend.values())) if part)


def _align(lines: list[str]) -> str:
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _letters(pool: str) -> Iterator[str]:
    """The letters of a pool, then the first with a number."""
    yield from pool
    yield from (f"{pool[0]}_{{{number}}}" for number in itertools.count(1))


@dataclass
class _Writer:
    """Numbers the coefficients, and keeps the definition of every mean that occurs."""

    maps: int = 0
    biases: int = 0
    legend: dict[object, str] = field(default_factory=dict)

    def equation(
        self,
        tensor: TensorSpace,
        block: int,
        patterns: list[SharingPattern],
        biases: SharingPattern,
    ) -> str:
        joint = biases.output_dims[block]
        sym, folded = _letters("ijklmnuvwxyz"), _letters("pqrstabcdefgh")
        indices = [next(folded) if k in joint.folded else next(sym) for k in range(len(joint.dims))]
        terms = [
            self.term(pattern, placed, indices)
            for pattern in patterns
            for placed in pattern.diagrams
            if placed.output_block == block
        ]
        terms += [
            self.bias(placed, indices) for placed in biases.diagrams if placed.output_block == block
        ]
        starts = range(0, len(terms), _TERMS_A_LINE)
        lines = [" + ".join(terms[k : k + _TERMS_A_LINE]) for k in starts] or ["0"]
        return f"{_entry('Y', tensor, block, indices)} &= " + " \\\\\n&\\quad + ".join(lines)

    def bias(self, placed: PlacedDiagram, indices: list[str]) -> str:
        self.biases += 1
        upper = [indices[k] for k in placed.diagram.joint.folded]
        written = (
            f"b_{{{self.biases}}}{self._upper('b', placed.diagram, upper)} "
            f"{_deltas(placed.diagram, indices)}"
        )
        return written.rstrip()

    def term(self, pattern: SharingPattern, placed: PlacedDiagram, indices: list[str]) -> str:
        """One term of the sum for the output entry with these indices."""
        self.maps += 1
        diagram = placed.diagram
        input_letters, summed = _input_indices(diagram, indices)
        averaged = bool(diagram.input.dropped)
        if averaged:
            self._define(pattern, placed)
        upper = [indices[k] for k in diagram.joint.folded if k < diagram.split] + summed
        total = f"\\sum_{{{','.join(summed)}}} " if summed else ""
        entry = _entry(
            "\\overline{X}" if averaged else "X", pattern.input, placed.input_block, input_letters
        )
        return (
            f"{total}a_{{{self.maps}}}{self._upper('a', diagram, upper)} "
            f"{_deltas(diagram, indices)}{entry}"
        )

    def _upper(self, letter: str, diagram: Diagram, upper: list[str]) -> str:
        """The folded positions that a coefficient depends on."""
        if not upper:
            return ""
        if diagram.is_free:
            return f"^{{{' '.join(upper)}}}"
        tied = f"{letter}^{{\\langle \\cdot \\rangle}}"
        self.legend[letter] = (
            f"{tied} &: \\text{{one coefficient for each orbit of positions, and zero where "
            "there is none}"
        )
        return f"^{{\\langle {' '.join(upper)}\\rangle}}"

    def _define(self, pattern: SharingPattern, placed: PlacedDiagram) -> None:
        """Adds the definition of a term's mean, with letters of its own."""
        term, dims = placed.diagram.input, pattern.input_dims[placed.input_block]
        kept = frozenset(term.kept)
        key = (pattern.input.name, placed.input_block, term.pattern, kept)
        if key in self.legend:
            return
        sym, folded = _letters("ijklmnuvwxyz"), _letters("pqrstabcdefgh")
        letter_of = {k: next(sym) for k in range(len(term.pattern.parts))}
        part_of = {k: number for number, part in enumerate(term.pattern.parts) for k in part.dims}
        full = [
            letter_of[part_of[k]] if k in part_of else next(folded) for k in range(len(dims.dims))
        ]
        short = [
            _dot(placed.diagram, part_of[k]) if part_of.get(k) in term.dropped else letter
            for k, letter in enumerate(full)
        ]
        sums = ",".join(letter_of[k] for k in term.dropped)
        left = _entry("\\overline{X}", pattern.input, placed.input_block, short)
        right = _entry("X", pattern.input, placed.input_block, full)
        words = _text(_name_of_mean(placed.diagram, len(dims.dims)))
        self.legend[key] = (
            f"{left} &:= \\frac{{1}}{{{term.dropped_size}}} \\sum_{{{sums}}} {right} && {words}"
        )


def _input_indices(diagram: Diagram, indices: list[str]) -> tuple[list[str], list[str]]:
    """Indices of the input entry for an output entry with the given ones,
    and those among them that are summed.
    """
    letter_of = {
        diagram.part_of[k]: indices[k]
        for k in reversed(range(diagram.split))
        if k in diagram.part_of
    }
    fresh = _letters("pqrstabcdefgh")
    letters, summed = [], []
    for k in range(diagram.split, len(diagram.joint.dims)):
        part = diagram.part_of.get(k)
        if part is None:
            letters.append(next(letter for letter in fresh if letter not in indices) + "'")
            summed.append(letters[-1])
        else:
            letters.append(letter_of[part] if part in letter_of else _dot(diagram, part[1]))
    return letters, summed


def _dot(diagram: Diagram, part: int) -> str:
    """The mark of an averaged index: numbered where a mean over a diagonal
    must be told from one over everything.
    """
    diagonal = any(len(diagram.input.pattern.parts[k].dims) > 1 for k in diagram.input.dropped)
    return f"\\bullet_{{{diagram.input.dropped.index(part) + 1}}}" if diagonal else "\\bullet"


def _deltas(diagram: Diagram, indices: list[str]) -> str:
    """The diagonals that the output is written on."""
    deltas = ""
    for part in diagram.output.pattern.parts:
        deltas += "".join(
            f"\\delta_{{{indices[a]} {indices[b]}}} " for a, b in itertools.pairwise(part.dims)
        )
    return deltas


def _name_of_mean(diagram: Diagram, dims: int) -> str:
    """``row mean, over h1``; plain words where there are no rows and columns."""
    parts, dropped = diagram.input.pattern.parts, diagram.input.dropped
    traces = [parts[k].symbol for k in dropped if parts[k].is_pair]
    if traces:
        others = [parts[k].symbol for k in dropped if not parts[k].is_pair]
        size = "".join(f", over {parts[k].size}" for k in dropped if parts[k].is_pair)
        return f"trace over {' and '.join(traces)}{size}" + (
            f", mean over {' and '.join(others)}" if others else ""
        )
    names = list(dict.fromkeys(parts[k].symbol for k in dropped))
    diagonals = [part.symbol for part in parts if len(part.dims) > 1]
    if diagonals:
        of = " and ".join(dict.fromkeys(diagonals))
        return f"mean over {' and '.join(names)}, on the diagonal of {of}"
    if dims == len(parts) == 2:
        kind = (
            "total" if len(dropped) == 2 else "row" if parts[dropped[0]].dims == (1,) else "column"
        )
        return f"{kind} mean, over {' and '.join(names)}"
    return f"mean over {' and '.join(names)}"


def _entry(symbol: str, tensor: TensorSpace, block: int, indices: list[str]) -> str:
    part = f",{block + 1}" if len(tensor.blocks) > 1 else ""
    return f"{symbol}^{{{_text(tensor.name)}{part}}}" + (
        f"_{{{' '.join(indices)}}}" if indices else ""
    )


def _text(name: str) -> str:
    return f"\\text{{{''.join(_ESCAPES.get(sign, sign) for sign in name)}}}"
