"""Readable names for symbols, from the modules whose parameters they index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symnet.tracing.labels import Node


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a symbol indexes a parameter."""

    tensor: str
    axis: int
    rank: int
    order: int  # when the parameter is first used
    in_product: bool


def owner(tensor: str) -> str:
    """The module path of a state entry: 'layer1.0.conv1' of 'layer1.0.conv1.weight'.

    Example:
        >>> owner("parametrizations.weight.original0"), owner("rnn.weight_hh_l0")
        ('', 'rnn')
    """
    path = tensor.rpartition(".")[0]
    return re.sub(r"\.?parametrizations\.\w+$", "", path)


def _prefix(paths: Sequence[str]) -> str:
    """The longest common path."""
    split = [path.split(".") for path in paths]
    common = []
    for names in zip(*split, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return ".".join(common)


def _stem(occurrences: Sequence[Occurrence]) -> str:
    """The module that makes the symbol: whose weight it is the output axis of, first in the order of running."""

    def rank(item: Occurrence) -> tuple[bool, bool, int]:
        return (item.rank < 2, item.axis != 0, item.order)

    best = min(occurrences, key=rank)
    name = owner(best.tensor) or best.tensor
    layer = re.search(r"_(l\d+(?:_reverse)?)$", best.tensor)  # recurrent layers hold several layers in one module
    return f"{name}.{layer.group(1)}" if layer else name


def name_symbols(
    where: Mapping[Node, Sequence[Occurrence]], parents: Mapping[Node, Sequence[Node]], attention: set[Node]
) -> dict[Node, str]:
    """A unique name for every symbol.

    Args:
        where: occurrences of every symbol.
        parents: the direct parents of every symbol.
        attention: symbols that index the weights of a softmax (attention heads).
    """
    is_parent = {p for several in parents.values() for p in several}
    names: dict[Node, str] = {}
    taken: set[str] = set()
    for node, occurrences in where.items():
        stem = _stem(occurrences)
        if node in is_parent and any(o.in_product for o in occurrences):
            outputs = [owner(o.tensor) for o in occurrences if o.axis == 0 and o.in_product] or [stem]
            stem = _prefix(outputs) or stem
            stem += ".head" if node in attention else ".group"
        elif any(p in attention for p in parents.get(node, ())):
            # A key is made and compared with queries; a value goes on into the output's weights.
            stem += ".value" if any(o.axis > 0 for o in occurrences) else ".key"
        elif parents.get(node):
            stem += ".unit"
        name = re.sub(r"[\s()+:#,\"']", "_", stem).strip(".") or "neurons"
        if name.lstrip("-").isdigit():
            name = f"layer{name}"
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}.{number}", number + 1
        taken.add(unique)
        names[node] = unique
    return names
