"""Repeated blocks, told by the numbers in tensors' names: each run of equal blocks is kept once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.notation import print_axes, rename_symbols

SHORT_RUN, LONG_BLOCK = 3, 8  # two blocks make a run only where each has many tensors


@dataclass(frozen=True, slots=True)
class Repeat:
    """A run of equal blocks: ``encoder.layer.0`` to ``encoder.layer.11``, of which the first is
    kept.
    """

    prefix: str  # what stands before the number, with its dot
    numbers: tuple[str, ...]
    inside: int | None  # the repeat that this one is a part of

    @property
    def title(self) -> str:
        """The blocks' names and how many they are, in one line."""
        return f"{self.prefix}{self.numbers[0]} … {self.numbers[-1]}   × {len(self.numbers)}"


@dataclass(frozen=True)
class FoldedGraph:
    """A graph with one block of every run.

    Attributes:
        tensors, sets: what is kept, and all that it stands for, itself first.
        repeats: the runs; ``repeat_of`` says in which of them a kept tensor or set is (not at all:
        ``None``).
        kept: for every neuron set of the graph the set that stands for it.
    """

    graph: NeuronGraph
    tensors: Mapping[str, tuple[str, ...]]
    sets: Mapping[str, tuple[str, ...]]
    repeats: tuple[Repeat, ...]
    repeat_of_tensor: Mapping[str, int | None]
    repeat_of_set: Mapping[str, int | None]

    @property
    def kept(self) -> dict[str, str]:
        return {name: first for first, names in self.sets.items() for name in names}


def fold(graph: NeuronGraph) -> FoldedGraph:
    """The graph with every run of equal blocks kept once; outer runs first, then those inside.

    Blocks are equal if a renaming of their numbers and of their own neuron sets turns one into the
    next: sets that the block before made, and sets that all share, are the same or correspond.

    Example:
        >>> import symnet as sn
        >>> fold(sn.catalogue.mlp([2, 8, 8, 8, 8, 1])).repeats[0].title
        '2 … 6   × 3'
    """
    folder = _Folder(graph)
    for prefix in sorted(_prefixes(graph), key=lambda prefix: (prefix.count("."), prefix)):
        folder.fold(prefix)
    return FoldedGraph(
        graph,
        {name: tuple(members) for name, members in folder.tensors.items()},
        {name: tuple(members) for name, members in folder.sets.items()},
        tuple(folder.repeats),
        folder.repeat_of_tensor,
        folder.repeat_of_set,
    )


def numbered_parts(name: str) -> Iterator[tuple[str, str, str]]:
    """Every ``(before, number, after)`` of a dotted name with a number among its words.

    Example:
        >>> list(numbered_parts("layer.3.mlp.0.bias"))
        [('layer.', '3', 'mlp.0.bias'), ('layer.3.mlp.', '0', 'bias')]
    """
    words = name.split(".")
    for k, word in enumerate(words):
        if word.isdecimal():
            yield "".join(f"{one}." for one in words[:k]), word, ".".join(words[k + 1 :])


def _prefixes(graph: NeuronGraph) -> set[str]:
    return {prefix for name in graph.tensors for prefix, *_ in numbered_parts(name)}


class _Folder:
    """What is kept so far."""

    def __init__(self, graph: NeuronGraph) -> None:
        self.graph = graph
        self.tensors = {name: [name] for name in graph.tensors}
        self.sets = {name: [name] for name in graph.neurons}
        self.repeats: list[Repeat] = []
        self.repeat_of_tensor: dict[str, int | None] = dict.fromkeys(graph.tensors)
        self.repeat_of_set: dict[str, int | None] = dict.fromkeys(graph.neurons)

    def fold(self, prefix: str) -> None:
        """Folds the runs among the blocks ``prefix + number``."""
        blocks: dict[
            str, dict[str, str]
        ] = {}  # number -> tensor's name without prefix and number -> its whole name
        for name in self.tensors:
            for before, number, after in numbered_parts(name):
                if before == prefix:
                    blocks.setdefault(number, {})[after] = name
        numbers = list(blocks)
        local = self._sets_of_blocks([blocks[number] for number in numbers])
        signatures = [self._signature(blocks[number], local, k) for k, number in enumerate(numbers)]
        exits = self._blocks_left_sideways([blocks[number] for number in numbers], local)
        for start, stop in _runs(signatures, exits):
            run = [blocks[number] for number in numbers[start:stop]]
            if len(run) >= (2 if len(run[0]) >= LONG_BLOCK else SHORT_RUN):
                self._merge(
                    prefix, tuple(numbers[start:stop]), run, [local[k] for k in range(start, stop)]
                )

    def _sets_of_blocks(self, blocks: list[dict[str, str]]) -> list[list[str]]:
        """Every block's own sets: it mentions them first, and after it at most the next block
        does.
        """
        mentioned: dict[str, list[int]] = {}
        for k, block in enumerate(blocks):
            for name in block.values():
                for symbol in self.graph.weights[name].symbols:
                    if k not in mentioned.setdefault(symbol, []):
                        mentioned[symbol].append(k)
        return [
            [symbol for symbol, places in mentioned.items() if places in ([k], [k, k + 1])]
            for k in range(len(blocks))
        ]

    def _signature(self, block: dict[str, str], local: list[list[str]], k: int) -> object:
        """Equal for two blocks just if one becomes the other by renaming."""
        names = {symbol: f"before{j}" for j, symbol in enumerate(local[k - 1])} if k else {}
        names |= {symbol: f"local{j}" for j, symbol in enumerate(local[k])}
        axes = []
        for after, name in block.items():
            renamed = tuple(rename_symbols(axis, names) for axis in self.graph.weights[name].axes)
            axes.append((after, print_axes(renamed), self.repeat_of_tensor[name]))
        sets = [
            (repr(neuron_set.group), tuple(names.get(parent, parent) for parent in neuron_set.over))
            for neuron_set in (self.graph.neurons[symbol] for symbol in local[k])
        ]
        return tuple(axes), tuple(sets)

    def _blocks_left_sideways(
        self, blocks: list[dict[str, str]], local: list[list[str]]
    ) -> set[int]:
        """Blocks with a set of their own that a tensor outside all blocks mentions: only a run's
        last may be one.
        """
        inside = {name for block in blocks for name in block.values()}
        outside = {
            symbol
            for name in self.tensors
            if name not in inside
            for symbol in self.graph.weights[name].symbols
        }
        return {k for k, symbols in enumerate(local) if outside & set(symbols)}

    def _merge(
        self,
        prefix: str,
        numbers: tuple[str, ...],
        run: list[dict[str, str]],
        local: list[list[str]],
    ) -> None:
        """Keeps the first block of the run; the others' tensors and sets are counted as its own."""
        first = next(iter(run[0].values()))
        self.repeats.append(Repeat(prefix, numbers, self.repeat_of_tensor[first]))
        for kept, *others in zip(*(block.values() for block in run), strict=True):
            self.repeat_of_tensor[kept] = len(self.repeats) - 1
            for name in others:
                self.tensors[kept] += self.tensors.pop(name)
        for kept, *others in zip(*local, strict=True):
            self.repeat_of_set[kept] = len(self.repeats) - 1
            for name in others:
                self.sets[kept] += self.sets.pop(name)


def _runs(signatures: list[object], exits: set[int]) -> Iterator[tuple[int, int]]:
    """Start and stop of every run of equal signatures; a block with an exit ends its run."""
    start = 0
    for k in range(1, len(signatures) + 1):
        if k == len(signatures) or signatures[k] != signatures[start] or k - 1 in exits:
            yield start, k
            start = k
