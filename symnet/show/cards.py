"""What a graph's picture holds: cards for neuron sets and kinds of tensors, their lines, frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from symnet.errors import TooLargeError, printable
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.notation import Axes, print_axes, rename_symbols, symbols_in
from symnet.groups import Fixed, Group, PermutationGroup
from symnet.show.folding import FoldedGraph, fold

CARD_LIMIT = 150  # more make a picture that nobody can read
MOST_NAMES = 5  # of the tensors on one card
MOVED, MIXED, FIXED = "#9ecae1", "#b5dcae", "#e0e0e0"
TENSOR, UNMOVED = "#fff3d6", "#f3f3f3"  # tensors; those that nothing moves

CardKey = tuple[str, ...]  # ("set", name), ("tensor", repeat, notation)
FrameKey = tuple[str, str]  # ("repeat", number), ("copies", name of the parent set)


@dataclass(frozen=True, slots=True)
class Card:
    """Lines of text on a colour; below a set's card stand the tensors that only this set indexes."""

    lines: tuple[str, ...]
    colour: str
    frame: FrameKey | None
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What is drawn around cards: one block of a run, or the copies that a set has over its
    parent.
    """

    heading: str
    colour: str
    frame: FrameKey | None


@dataclass(frozen=True)
class Cards:
    """Cards and frames by key, and the pairs that lines join, from left to right."""

    cards: dict[CardKey, Card]
    edges: tuple[tuple[CardKey, CardKey], ...]
    frames: dict[FrameKey, Frame]


def cards_of(graph: NeuronGraph) -> Cards:
    """The cards of a graph, repeated blocks folded.

    A tensor's last named axis feeds its first one, as in ``"out in"``; but where the bias of the
    same module lies on the last axis alone, the module is stored the other way round.

    Raises:
        TooLargeError: too many cards for one picture.
    """
    return _Dealer(fold(graph)).deal()


def short_names(names: Iterable[str], least: int = 2) -> dict[str, str]:
    """Every dotted name cut to its last words: as many as tell it from the others, at least two.

    Example:
        >>> short_names(["block.mlp.up.weight", "block.mlp.down.weight"])
        {'block.mlp.up.weight': 'up.weight', 'block.mlp.down.weight': 'down.weight'}
    """
    words = {name: name.split(".") for name in names}
    counts = Counter(
        ".".join(parts[-k:]) for parts in words.values() for k in range(1, len(parts) + 1)
    )
    result = {}
    for name, parts in words.items():
        tails = [".".join(parts[-k:]) for k in range(min(least, len(parts)), len(parts) + 1)]
        result[name] = next((tail for tail in tails if counts[tail] == 1), name)
    return result


class _Dealer:
    """Deals the cards of a folded graph."""

    def __init__(self, folded: FoldedGraph) -> None:
        self.folded = folded
        self.graph = folded.graph
        self.kept = folded.kept
        self.tensor_names = short_names(map(self._inside, folded.tensors))
        self.frames: dict[FrameKey, Frame] = {}
        self.by_card: dict[CardKey, list[str]] = {}  # a card's tensors
        for name in folded.tensors:
            self.by_card.setdefault(self._card_of(name), []).append(name)

    def deal(self) -> Cards:
        """All of it."""
        for number, repeat in enumerate(self.folded.repeats):
            self.frames["repeat", str(number)] = Frame(
                printable(repeat.title), "0.45", _repeat_key(repeat.inside)
            )
        cards: dict[CardKey, Card] = {}
        edges: dict[tuple[CardKey, CardKey], None] = {}
        for key, tensors in self.by_card.items():
            for name in tensors[:1]:  # all tensors of a card join the same sets
                sources, targets = self._ends(name)
                for symbol in sources:
                    cards.setdefault(("set", symbol), self._set_card(symbol))
                if key[0] == "tensor":
                    cards[key] = self._tensor_card(key, tensors)
                    edges |= dict.fromkeys((("set", symbol), key) for symbol in sources)
                    edges |= dict.fromkeys((key, ("set", symbol)) for symbol in targets)
                for symbol in targets:
                    cards.setdefault(("set", symbol), self._set_card(symbol))
        for symbol in self.folded.sets:
            if not self._is_parent(symbol):
                cards.setdefault(("set", symbol), self._set_card(symbol))
        if len(cards) > CARD_LIMIT:
            raise TooLargeError(
                f"The graph's picture would have {len(cards)} neuron sets and kinds of tensors, "
                f"repeated blocks counted once; up to {CARD_LIMIT} can be read. Show a network of the "
                "same kind with fewer different layers, or print(graph)."
            )
        return Cards(cards, tuple(edges), self.frames)

    # ---- tensors --------------------------------------------------------------------------------
    # ----------------
    def _axes(self, name: str) -> Axes:
        return tuple(rename_symbols(axis, self.kept) for axis in self.graph.weights[name].axes)

    def _symbols(self, name: str) -> list[list[str]]:
        """The sets of every axis, without those that others of them have copies over."""
        per_axis = [list(dict.fromkeys(symbols_in(axis))) for axis in self._axes(name)]
        above = {
            self.kept[parent]
            for one in per_axis
            for symbol in one
            for parent in self.graph.ancestors(symbol)
        }
        # An axis of parents alone tells which copy is meant: it is no end of its own. Axes of mere
        # sizes are ends without a set.
        return [
            [symbol for symbol in one if symbol not in above]
            for one in per_axis
            if not one or set(one) - above
        ]

    def _ends(self, name: str) -> tuple[list[str], list[str]]:
        """The sets that a tensor reads from, and those that it writes to."""
        per_axis = self._symbols(name)
        if len(per_axis) < 2:
            return [symbol for one in per_axis for symbol in one], []
        if self._is_stored_reversed(name, per_axis):
            per_axis = per_axis[::-1]
        targets = per_axis[0]
        sources = [symbol for one in per_axis[1:] for symbol in one]
        return list(dict.fromkeys(sources)), [symbol for symbol in targets if symbol not in sources]

    def _is_stored_reversed(self, name: str, per_axis: list[list[str]]) -> bool:
        bias = "".join(name.rpartition(".")[:2]) + "bias"
        if name == bias or bias not in self.graph.weights:
            return False
        onto = self._symbols(bias)
        return bool(len(onto) == 1 and onto[0] and onto[0] == per_axis[-1] != per_axis[0])

    def _card_of(self, name: str) -> CardKey:
        """A vector over one set stands on the set's card, other tensors on that of their axes;
        those over no set share one.
        """
        repeat = self.folded.repeat_of_tensor[name]
        per_axis = self._symbols(name)
        symbols = [symbol for one in per_axis for symbol in one]
        if not symbols:
            return ("tensor", str(repeat), "")
        if len(per_axis) == len(symbols) == 1 and self.folded.repeat_of_set[symbols[0]] == repeat:
            return ("set", symbols[0])
        return ("tensor", str(repeat), print_axes(self._axes(name)))

    def _inside(self, name: str) -> str:
        """A tensor's name without the prefix and number of its repeat."""
        number = self.folded.repeat_of_tensor[name]
        if number is None:
            return name
        repeat = self.folded.repeats[number]
        return name.removeprefix(f"{repeat.prefix}{repeat.numbers[0]}.") if repeat.prefix else name

    def _tensor_card(self, key: CardKey, tensors: list[str]) -> Card:
        notation = self._short_axes(tensors[0])
        frame = _repeat_key(self.folded.repeat_of_tensor[tensors[0]])
        if not key[2]:
            return Card(self._listed(tensors, ""), UNMOVED, frame)
        return Card((*self._listed(tensors, notation), f"[{notation}]"), TENSOR, frame)

    def _listed(self, tensors: list[str], expected: str) -> tuple[str, ...]:
        """The first names, each with its axes where they are not the expected ones."""
        lines = []
        for name in tensors[:MOST_NAMES]:
            notation = self._short_axes(name)
            axes = f" [{notation}]" if notation != expected else ""
            lines.append(printable(self.tensor_names[self._inside(name)]) + axes)
        more = len(tensors) - MOST_NAMES
        return (*lines, f"and {more} more") if more > 0 else tuple(lines)

    def _short_axes(self, name: str) -> str:
        names = {
            symbol: self._set_name(self.kept[symbol]) for symbol in self.graph.weights[name].symbols
        }
        return printable(
            print_axes(tuple(rename_symbols(axis, names) for axis in self.graph.weights[name].axes))
        )

    # ---- sets -----------------------------------------------------------------------------------
    # ----------------
    def _is_parent(self, symbol: str) -> bool:
        return any(
            symbol in map(self.kept.get, self.graph.neurons[one].over) for one in self.folded.sets
        )

    def _set_name(self, symbol: str) -> str:
        """Cut, in a repeat, to what comes after the block's number; with the last one's where no
        number tells them apart.
        """
        number = self.folded.repeat_of_set[symbol]
        if number is None:
            return symbol
        words, first = symbol.split("."), self.folded.repeats[number].numbers[0]
        rest = words[words.index(first) + 1 :] if first in words else []
        return (
            ".".join(rest) if rest and not rest[0].isdecimal() else symbol
        )  # a bare number would read as a size

    def _set_card(self, symbol: str) -> Card:
        group = self.graph.neurons[symbol].group
        members = self.folded.sets[symbol]
        name = self._set_name(symbol)
        if len(members) > 1 and name == symbol:
            name = f"{symbol} … {members[-1]}"
        lines = [printable(name), _in_words(group)]
        frame, hidden = self._frame_of_set(symbol)
        lines += [printable(f"copies over {parent}") for parent in hidden]
        tensors = self.by_card.get(("set", symbol), [])
        above = [self._set_name(self.kept[one]) for one in self.graph.ancestors(symbol)]
        plain = self._set_name(symbol)
        below = self._listed(tensors, f"({' '.join([*above, plain])})" if above else plain)
        return Card(tuple(lines), colour_of(group), frame, below)

    def _frame_of_set(self, symbol: str) -> tuple[FrameKey | None, list[str]]:
        """The frame that a set stands in, and the parents that no frame shows."""
        repeat = self.folded.repeat_of_set[symbol]
        parents = [self.kept[parent] for parent in self.graph.neurons[symbol].over]
        around = [parent for parent in parents if self.folded.repeat_of_set[parent] == repeat]
        if not around:
            # A parent that is linked itself stands, with its own links, in the frame of its copies.
            return (
                self._copies_key(symbol) if self._is_parent(symbol) else _repeat_key(repeat)
            ), parents
        return self._copies_key(around[-1]), [parent for parent in parents if parent != around[-1]]

    def _copies_key(self, parent: str) -> FrameKey:
        key = ("copies", parent)
        if key not in self.frames:
            self.frames[key] = Frame("", "0.5", None)  # a place, so that frames come parents first
            over = [self.kept[one] for one in self.graph.neurons[parent].over]
            outer = (
                self._copies_key(over[-1])
                if over
                else _repeat_key(self.folded.repeat_of_set[parent])
            )
            group = self.graph.neurons[parent].group
            heading = printable(f"each {self._set_name(parent)} ({_in_words(group)})")
            self.frames[key] = Frame(heading, "#3182bd", outer)
        return key


def colour_of(group: Group) -> str:
    """Of a set's card: what moves it."""
    if isinstance(group, Fixed):
        return FIXED
    return MOVED if isinstance(group, PermutationGroup) else MIXED


def _in_words(group: Group) -> str:
    return f"{repr(group).partition('(')[0]} {group.degree:,}"


def _repeat_key(number: int | None) -> FrameKey | None:
    return None if number is None else ("repeat", str(number))
