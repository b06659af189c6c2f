"""The orbit of one matrix entry in words: "same row (h2), different column (h1)"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from symnet.errors import GraphError
from symnet.graph.action import apply_views
from symnet.graph.space import TensorSpace
from symnet.sharing.dims import BlockDims, topological
from symnet.sharing.set_partitions import classes
from symnet.sharing.tuple_orbits import tuple_orbits

if TYPE_CHECKING:
    from symnet.sharing.sharing_pattern import SharingPattern

Index = int | Iterable[int]


def describe_orbit(pattern: SharingPattern, output: Index, input: Index) -> str:
    """What all entries of an orbit have in common, in words.

    Args:
        pattern: the maps from one tensor to another.
        output, input: an entry of either tensor: its index along every axis, or its position in
            row-major order.

    Raises:
        GraphError: there is no such entry.

    Example:
        >>> import symnet as sn
        >>> maps = sn.derive(sn.catalogue.mlp([2, 4, 3, 1]))
        >>> describe_orbit(maps.between("2.weight", "2.weight"), (0, 1), (0, 2))
        'same row (h2), different column (h1)'
        >>> describe_orbit(maps.between("0.bias", "2.weight"), (1,), (0, 1))
        "the input's column is the output's neuron (h1)"
        >>> describe_orbit(maps.between("0.weight", "4.weight"), (0, 1), (0, 2))
        'no neuron set in common; from out 0 to in 1'
    """
    rows, columns = _locate(pattern.output, output), _locate(pattern.input, input)
    joint = pattern.output_dims[rows[0]] + pattern.input_dims[columns[0]]
    values = [*rows[1], *columns[1]]
    split = len(rows[1])
    names = _dim_names(pattern.output, rows[0]) + _dim_names(pattern.input, columns[0])
    words: list[str] = []
    order = sorted(
        topological(joint), key=lambda item: (len(joint.dims[item[1][0]].parents), item[1])
    )
    for symbol, places in order:
        # Only neurons of one copy can be compared: their parents' neurons have to be equal.
        for copy in classes(
            places, [tuple(values[p] for _, p in joint.dims[k].parents) for k in places]
        ):
            words += _compare(
                symbol, joint, copy, split, values, names, alone=len(copy) == len(places)
            )
    blocks = [
        f"{side} part {number + 1}"
        for side, number, tensor in (
            ("input", columns[0], pattern.input),
            ("output", rows[0], pattern.output),
        )
        if len(tensor.blocks) > 1
    ]
    words = words or ["no neuron set in common"]
    return "; ".join(
        [*filter(None, [", ".join(blocks)]), ", ".join(words), *_positions(joint, split, values)]
    )


def _locate(tensor: TensorSpace, index: Index) -> tuple[int, list[int]]:
    """The block that an entry lies in, and its index along the block's dims."""
    try:
        place = (
            tuple(np.unravel_index(index, tensor.shape)) if isinstance(index, int) else tuple(index)
        )
        flat = (
            int(np.ravel_multi_index(tuple(map(int, place)), tensor.shape)) if tensor.shape else 0
        )
        if len(place) != len(tensor.shape):
            raise ValueError
    except ValueError:
        raise GraphError(
            f"Tensor '{tensor.name}' of shape {tensor.shape} has no entry {index}."
        ) from None
    entries = np.arange(tensor.size).reshape(tensor.shape)
    for number, block in enumerate(tensor.blocks):
        positions = np.argwhere(apply_views(entries, block.views) == flat)
        if len(positions):
            return number, [int(k) for k in positions[0]]
    raise AssertionError(f"entry {index} of {tensor!r} lies in no block")


def _dim_names(tensor: TensorSpace, block: int) -> list[str]:
    """What a reader calls the dims: row and column of a matrix, the neuron
    of a vector, else the axis by number.
    """
    count = len(tensor.blocks[block].instances)
    if count == len(tensor.shape) <= 2:
        return {0: [], 1: ["neuron"], 2: ["row", "column"]}[count]
    return [f"dim {k + 1}" for k in range(count)]


def _compare(
    symbol: str,
    joint: BlockDims,
    copy: tuple[int, ...],
    split: int,
    values: list[int],
    names: list[str],
    *,
    alone: bool,
) -> list[str]:
    """What the neurons of one copy of a set have to do with each other;
    ``alone`` if there is no other copy here.
    """
    group = joint.dims[copy[0]].group
    full = {k: f"{'output' if k < split else 'input'} {names[k]}" for k in copy}
    if joint.dims[copy[0]].kind == "generic":
        assert group is not None
        orbits = tuple_orbits(group, len(copy))
        number = int(orbits.labels[tuple(values[k] for k in copy)])
        of = "" if alone else f" of {', '.join(full.values())}"
        return (
            [f"{symbol}{of}: orbit {number + 1} of {orbits.count} under {group!r}"]
            if orbits.count > 1
            else []
        )
    if len(copy) == 1:
        return []
    equal = classes(copy, [values[k] for k in copy])
    if alone and len(copy) == 2 and copy[0] < split <= copy[1]:
        return [_compare_two(symbol, names[copy[0]], names[copy[1]], len(equal) == 1)]
    return [
        f"{symbol}: "
        + " \N{NOT EQUAL TO} ".join(" = ".join(full[k] for k in part) for part in equal)
    ]


def _compare_two(symbol: str, output_word: str, input_word: str, same: bool) -> str:
    if output_word.startswith("dim") or input_word.startswith("dim"):
        return f"{'same' if same else 'different'} {symbol}"
    if output_word == input_word:
        return f"{'same' if same else 'different'} {output_word} ({symbol})"
    return (
        f"the input's {input_word} is {'' if same else 'not '}the output's {output_word} ({symbol})"
    )


def _positions(joint: BlockDims, split: int, values: list[int]) -> list[str]:
    """Positions of fixed sets, each of which is an orbit of its own."""
    sides = []
    for word, places in (("from", range(split, len(values))), ("to", range(split))):
        fixed = [
            f"{joint.dims[k].symbol or 'position'} {values[k]}"
            for k in places
            if joint.dims[k].kind == "fixed"
        ]
        sides += [f"{word} {', '.join(fixed)}"] if fixed else []
    return [" ".join(sides)] if sides else []
