"""Readable names for symbols: what they do, and the shortest module path that tells them apart.

A symbol has a *stem*, the module path whose parameters it indexes, and perhaps a role.
``layers.0.head`` is the role ``head`` under as much of its stem as tells it from all other heads,
at least up to its last numbered module.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from symnet.tracing.axis_labels import Node


class Role(StrEnum):
    """What a neuron set does; its value is the last word of the set's name."""

    STREAM = "stream"  # what the blocks of a residual network add to
    HEAD = "head"
    KV = "kv"  # heads of keys and values that several query heads share
    QUERY = "query_of_group"  # the query heads of one of them
    KEY_DIM = "key_dim"  # dimensions along which queries and keys are compared
    HEAD_DIM = "head_dim"  # dimensions of the values of a head
    MLP = "mlp"  # the inner layer beside an attention, or inside an expert
    EXPERT = "expert"
    GROUP = "group"  # groups of a grouped convolution or norm
    UNIT = "unit"  # what is inside one of them


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Where a symbol indexes a parameter."""

    tensor: str
    axis: int
    rank: int
    order: int  # when the parameter is first used
    in_product: bool


Path = tuple[str, ...]
_NUMBER = re.compile(r"\d+|l\d+(_reverse)?")  # of a module, or of a layer inside a recurrent module


def owner(tensor: str) -> str:
    """The module path of a state entry: 'layer1.0.conv1' of 'layer1.0.conv1.weight'.

    Example:
        >>> owner("parametrizations.weight.original0"), owner("rnn.weight_hh_l0")
        ('', 'rnn')
    """
    path = tensor.rpartition(".")[0]
    return re.sub(r"\.?parametrizations\.\w+$", "", path)


def _path(text: str) -> Path:
    return tuple(text.split(".")) if text else ()


def common_path(paths: Iterable[Path]) -> Path:
    """The longest path that all of them begin with."""
    common: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return tuple(common)


def _maker(occurrences: Sequence[Occurrence]) -> Path:
    """The module whose weight the symbol is the output axis of, first in the order of running."""

    def rank(item: Occurrence) -> tuple[bool, bool, int]:
        return (item.rank < 2, item.axis != 0, item.order)

    best = min(occurrences, key=rank)
    name = owner(best.tensor) or best.tensor
    # Recurrent layers hold several layers in one module.
    layer = re.search(r"_(l\d+(?:_reverse)?)$", best.tensor)
    return _path(f"{name}.{layer.group(1)}" if layer else name)


def _stem(occurrences: Sequence[Occurrence], role: Role | None) -> Path:
    """The module path that a name is made of."""
    if role is None:
        return _maker(occurrences)
    matrices = [item for item in occurrences if item.rank > 1] or occurrences
    # where it is made, not where it is read
    if role in (Role.STREAM, Role.GROUP, Role.HEAD, Role.KV, Role.UNIT):
        matrices = [item for item in matrices if item.axis == 0] or matrices
    return (
        _maker(matrices)
        if role is Role.UNIT
        else common_path(_path(owner(item.tensor)) for item in matrices)
    )


def _numbered(path: Path, last: bool = False) -> int:
    """How many components lead to the first (or last) numbered module,
    that one included; 0 if there is none.
    """
    numbers = [k for k, word in enumerate(path, start=1) if _NUMBER.fullmatch(word)]
    return numbers[-1 if last else 0] if numbers else 0


def add_inner_layers(where: Mapping[Node, Sequence[Occurrence]], roles: dict[Node, Role]) -> None:
    """Gives the role ``mlp`` to layers beside an attention: in its
    numbered block, but not in its own module.
    """
    attention: dict[Path, list[Path]] = {}
    for node, role in roles.items():
        stem = _stem(where[node], role)
        if role in (Role.HEAD, Role.KV, Role.KEY_DIM, Role.HEAD_DIM) and _numbered(stem):
            attention.setdefault(stem[: _numbered(stem)], []).append(stem)
    for node, occurrences in where.items():
        if node in roles or not any(item.axis > 0 for item in occurrences):
            continue
        stem = _stem(occurrences, Role.MLP)
        block = stem[: _numbered(stem)]
        inside = [
            a for a in attention.get(block, ()) if len(a) > len(block) and stem[: len(a)] == a
        ]
        if block and block in attention and not inside:
            roles[node] = Role.MLP


def name_symbols(
    where: Mapping[Node, Sequence[Occurrence]], roles: Mapping[Node, Role]
) -> dict[Node, str]:
    """A unique name for every symbol; the same for the same network, however it was traced.

    Args:
        where: occurrences of every symbol.
        roles: what symbols do, where that is known.
    """
    stems = _without_common(
        {node: _stem(occurrences, roles.get(node)) for node, occurrences in where.items()}, roles
    )
    matrices = {
        _path(owner(item.tensor)) for several in where.values() for item in several if item.rank > 1
    }
    children = Counter(path[:k] for path in matrices for k in range(len(path)))
    shared: dict[Role | None, Counter[Path]] = {}
    for stem, role in {(stem, roles.get(node)) for node, stem in stems.items()}:
        shared.setdefault(role, Counter()).update(stem[:k] for k in range(len(stem) + 1))
    paths = {}
    for node, stem in stems.items():
        role = roles.get(node)
        if role is None:
            paths[node] = _without_single_children(stem, children)
        else:
            least = 0 if role is Role.STREAM else _numbered(stem, last=True)
            count = next(
                (k for k in range(least, len(stem)) if shared[role][stem[:k]] == 1), len(stem)
            )
            paths[node] = stem[:count]
    short = _short_containers(paths.values())
    names: dict[Node, str] = {}
    taken: set[str] = set()
    for node, path in paths.items():
        words = short[_container(path)] + path[len(_container(path)) :]
        names[node] = unused(
            printable([*words, *([roles[node].value] if node in roles else [])]), taken
        )
        taken.add(names[node])
    return names


def _without_common(stems: Mapping[Node, Path], roles: Mapping[Node, Role]) -> dict[Node, Path]:
    """The stems; those of streams without what all stems begin with: a stream
    that spans the network needs no path.
    """
    common = common_path(stems.values())
    count = _numbered(common) - 1 if _numbered(common) else len(common)
    spanning = {
        node
        for node, stem in stems.items()
        if roles.get(node) is Role.STREAM and not _numbered(stem)
    }
    return {node: stem[count:] if node in spanning else stem for node, stem in stems.items()}


def _without_single_children(path: Path, children: Mapping[Path, int]) -> Path:
    """The path without last components that tell nothing:
    ``pooler.dense`` if the pooler has nothing else.
    """
    while len(path) > 1 and children.get(path[:-1], 0) == 1:
        path = path[:-1]
    return path


def _container(path: Path) -> Path:
    """What stands before the first number."""
    count = _numbered(path)
    return path[: count - 1] if count else path


def _short_containers(paths: Iterable[Path]) -> dict[Path, Path]:
    """For what stands before the first numbers, the shortest endings that tell them apart."""
    containers = {_container(path) for path in paths}
    endings = Counter(container[k:] for container in containers for k in range(len(container)))
    return {
        container: next(
            (
                container[k:]
                for k in range(len(container) - 1, 0, -1)
                if endings[container[k:]] == 1
            ),
            container,
        )
        for container in containers
    }


def printable(words: Sequence[str]) -> str:
    """A path as a name that notation can hold."""
    name = re.sub(r"[\s()+:#,\"']", "_", ".".join(words)).strip(".") or "neurons"
    return f"layer{name}" if name.lstrip("-").isdigit() else name


def unused(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where it is taken."""
    number, unique = 2, name
    while unique in taken:
        unique, number = f"{name}.{number}", number + 1
    return unique
