"""Equivariant maps in words: which tensor to which, per which neurons,
averaged and broadcast over which.
"""

from __future__ import annotations

import numpy as np

from symnet.sharing import PlacedDiagram, SharingPattern
from symnet.sharing.patterns import Term


def describe_map(pattern: SharingPattern, placed: PlacedDiagram, parameter: int) -> str:
    """One map of the diagram basis in words.

    Args:
        pattern: the maps from one tensor to another.
        placed: a diagram of the pattern.
        parameter: which of its parameters, from 0; there is one for every combination of fixed
            positions.

    Example:
        >>> import symnet as sn
        >>> pattern = sn.derive(sn.catalogue.mlp([2, 3, 1])).between("2.weight", "0.bias")
        >>> [describe_map(pattern, placed, 0) for placed in pattern.diagrams]
        ["'0.bias' -> '2.weight': per h1, to out 0",
         "'0.bias' -> '2.weight': averaged over h1, broadcast over h1, to out 0"]
    """
    diagram = placed.diagram
    words = [f"per {name}" for name in _symbols(diagram.output, diagram.output.kept)]
    words += [f"trace over {name}" for name in _pairs(diagram.input)]
    words += [f"averaged over {name}" for name in _symbols(diagram.input, diagram.input.dropped)]
    words += [f"paired over {name}" for name in _pairs(diagram.output)]
    words += [f"broadcast over {name}" for name in _symbols(diagram.output, diagram.output.dropped)]
    words += [f"from the diagonal of {name}" for name in _diagonals(diagram.input)]
    words += [f"onto the diagonal of {name}" for name in _diagonals(diagram.output)]
    words += _positions(placed, parameter)
    output_tensor, input_tensor = pattern.output, pattern.input
    target = f"'{output_tensor.name}'" + (
        f", part {placed.output_block + 1}" if len(output_tensor.blocks) > 1 else ""
    )
    source = f"'{input_tensor.name}'" + (
        f", part {placed.input_block + 1}" if len(input_tensor.blocks) > 1 else ""
    )
    return f"{source} -> {target}" + (f": {', '.join(words)}" if words else "")


def _symbols(term: Term, parts: tuple[int, ...]) -> list[str]:
    return [part.symbol for part in (term.pattern.parts[k] for k in parts) if not part.is_pair]


def _pairs(term: Term) -> list[str]:
    """Sets that mix neurons, two of whose strands are contracted with each other."""
    return [part.symbol for part in term.pattern.parts if part.is_pair]


def _diagonals(term: Term) -> list[str]:
    return [part.symbol for part in term.pattern.parts if len(part.dims) > 1 and not part.is_pair]


def _positions(placed: PlacedDiagram, parameter: int) -> list[str]:
    """The fixed positions that the parameter belongs to (the first of
    them, where a group ties several).
    """
    diagram = placed.diagram
    rows, columns = np.nonzero(diagram.labels == parameter)
    row, column = int(rows[0]), int(columns[0])
    words = []
    for flat, inside, preposition in ((column, False, "from"), (row, True, "to")):
        dims = [k for k in diagram.joint.folded if (k < diagram.split) == inside]
        sizes = [diagram.joint.dims[k].size for k in dims]
        values = np.unravel_index(flat, sizes) if sizes else ()
        named = [
            f"{diagram.joint.dims[k].symbol or 'position'} {int(value)}"
            for k, value in zip(dims, values, strict=True)
        ]
        words += [f"{preposition} {' '.join(named)}"] if named else []
    return words
