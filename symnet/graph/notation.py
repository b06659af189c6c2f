"""Axis notation: the text of a tensor's axes, read into values and printed back.

Grammar (as in einops, with ``+`` for concatenation)::

    tensor  = axis*                        one axis a word; "" is a scalar
    axis    = strand | integer | "(" join ")"
    strand  = name | name "*" | name "."   of degree 1, of degree -1 (dual), of degree 0
    join    = product ("+" product)*       parts laid one after another
            | product ("&" product)*       interleaved: a0 b0 a1 b1 ... (a channel shuffle)
            | product ("|" product)*       one per part of the tensor's joined axis: "(q + k)
                                           (x | y)" is q by x and k by y
    product = axis+                        row-major, the last factor varies fastest

A bare integer is an anonymous Fixed axis. Degrees matter where the group does more than reorder
neurons: what scales ``h`` divides ``h*`` and leaves ``h.`` (the outgoing weights of a ReLU layer
are ``h*``). ``parse_axes(print_axes(axes)) == axes`` always holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import assert_never

from symnet.errors import NotationError, TooLargeError

DEPTH_LIMIT = 100  # parentheses inside one another
NAME = re.compile(r"[^\s()+&|:#,\"']+")
_NAMES = re.compile(
    rf"\s*(?:(?=[a-zA-Z]){NAME.pattern}(?<![*.])\s+)*(?=[a-zA-Z]){NAME.pattern}(?<![*.])\s*"
)
_TOKEN = re.compile(rf"[()+&|]|{NAME.pattern}|(?P<other>\S)")


MARKS = {1: "", -1: "*", 0: "."}


@dataclass(frozen=True, slots=True)
class Symbol:
    """An axis indexed by one neuron set: a strand of it, of degree 1, -1
    (dual) or 0 (the order of the neurons alone).
    """

    name: str
    degree: int = 1


@dataclass(frozen=True, slots=True)
class Anonymous:
    """An axis of known size whose positions may be told apart."""

    size: int


@dataclass(frozen=True, slots=True)
class Composite:
    """Several axes flattened into one, row-major. Never empty, never nested directly."""

    factors: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Concatenation:
    """Several axes laid one after another. At least two parts, never nested directly."""

    parts: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Interleaving:
    """Axes of one size shuffled into one: position ``i * parts + p`` is position
    ``i`` of part ``p``. At least two parts.
    """

    parts: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One axis for each part of another axis of the tensor, which is
    joined of as many parts. All of one size.
    """

    parts: tuple[Axis, ...]


Axis = Symbol | Anonymous | Composite | Concatenation | Interleaving | Alternatives
Axes = tuple[Axis, ...]


def product(factors: list[Axis]) -> Axis:
    """The product of axes in normal form: flat, and one factor is itself."""
    flat: list[Axis] = []
    for factor in factors:
        flat.extend(factor.factors if isinstance(factor, Composite) else [factor])
    if not flat:
        return Anonymous(1)
    return flat[0] if len(flat) == 1 else Composite(tuple(flat))


def concatenation(parts: list[Axis]) -> Axis:
    """The concatenation of axes in normal form: flat, and one part is itself."""
    flat: list[Axis] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Concatenation) else [part])
    return flat[0] if len(flat) == 1 else Concatenation(tuple(flat))


def interleaving(parts: list[Axis]) -> Axis:
    """The interleaving of axes; one part is itself."""
    return parts[0] if len(parts) == 1 else Interleaving(tuple(parts))


def alternatives(parts: list[Axis]) -> Axis:
    """The alternatives of axes; one part is itself."""
    return parts[0] if len(parts) == 1 else Alternatives(tuple(parts))


_JOINS = {"+": concatenation, "&": interleaving, "|": alternatives}


def is_number(word: str) -> bool:
    """Whether a word is a whole number, in the digits 0 to 9 (other
    scripts' digits may stand in names).
    """
    return word.isascii() and word.removeprefix("-").isdigit()


def whole_numbers(texts: Iterable[str]) -> list[int] | None:
    """The numbers that texts of the digits 0 to 9 write; None if one of them is another text.

    Raises:
        TooLargeError: one has more than 18 digits.

    Example:
        >>> whole_numbers(["32", "8"]), whole_numbers(["32", "²"])
        ([32, 8], None)
    """
    numbers = []
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            return None
        if len(text) > 18:
            raise TooLargeError(
                f"{text[:8]}... is a number of {len(text):,} digits; up to 18 are read."
            )
        numbers.append(int(text))
    return numbers


def split_mark(word: str) -> tuple[str, int]:
    """A strand's name and degree: ``("h", -1)`` for ``h*``."""
    return (word[:-1], {"*": -1, ".": 0}[word[-1]]) if word[-1:] in ("*", ".") else (word, 1)


class _Reader:
    """A recursive-descent reader over the tokens of one piece of notation."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, int]] = []
        for match in _TOKEN.finditer(text):
            if match["other"]:
                self.fail(f"'{match['other']}' may not stand in axis notation", match.start())
            self.tokens.append((match.group(), match.start()))
        self.next = 0
        self.depth = 0

    def fail(self, problem: str, position: int) -> None:
        raise NotationError(
            f"Axis notation {self.text!r:.200}, column {position + 1}: {problem}. "
            "Write names, whole numbers, '(a b)' for a flattened product, '(a + b)' for a "
            "concatenation, '(a & b)' for an interleaving and '(a | b)' for what differs from "
            "part to part."
        )

    def peek(self) -> str | None:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else None

    def position(self) -> int:
        return self.tokens[self.next][1] if self.next < len(self.tokens) else len(self.text)

    def axes(self) -> Axes:
        axes: list[Axis] = []
        while self.peek() is not None:
            axes.append(self.axis())
        return tuple(axes)

    def axis(self) -> Axis:
        token, position = self.tokens[self.next]
        if token in ")+&|":
            self.fail(f"'{token}' without an open parenthesis before it", position)
        self.next += 1
        if token == "(":
            return self.join(position)
        if is_number(token):
            if len(token) > 18:
                self.fail(f"an axis whose size has {len(token)} digits", position)
            if int(token) < 1:
                self.fail(f"an axis of size {token}", position)
            return Anonymous(int(token))
        return self.strand(token, position)

    def strand(self, token: str, position: int) -> Symbol:
        name, degree = split_mark(token)
        if not name or name[-1] in "*.":
            self.fail(
                f"'{token}' must be a name and one mark at most: 'h', its dual 'h*', or 'h.' of "
                "degree 0",
                position,
            )
        if is_number(name):
            self.fail(f"'{token}' marks a whole number, whose positions nothing moves", position)
        return Symbol(name, degree)

    def join(self, opened: int) -> Axis:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self.fail(f"more than {DEPTH_LIMIT} parentheses inside one another", opened)
        parts: list[Axis] = []
        factors: list[Axis] = []
        empty_allowed, kind = True, "+"
        while True:
            token, position = self.peek(), self.position()
            if token is None:
                self.fail("this parenthesis is never closed", opened)
            if token in (")", "+", "&", "|"):
                if parts and token not in (")", kind):
                    self.fail(
                        f"'{kind}' and '{token}' in one pair of parentheses; put the inner join "
                        "into its own",
                        position,
                    )
                kind = kind if token == ")" else token
                if not factors and not (token == ")" and empty_allowed):
                    self.fail(f"nothing stands before '{token}'", position)
                parts.append(product(factors))
                self.next += 1
                if token == ")":
                    self.depth -= 1
                    return _JOINS[kind](parts)
                factors, empty_allowed = [], False
            else:
                factors.append(self.axis())


@lru_cache(maxsize=65536)
def parse_axes(text: str) -> Axes:
    """Axes of a tensor from their notation.

    Raises:
        NotationError: the text is malformed; names the column.

    Example:
        >>> parse_axes("(c hw) 3")
        (Composite(factors=(Symbol(name='c', degree=1), Symbol(name='hw', degree=1))),
         Anonymous(size=3))
    """
    if _NAMES.fullmatch(text):  # nearly all, and three times as quick
        return tuple(map(Symbol, text.split()))
    return _Reader(text).axes()


def print_axis(axis: Axis) -> str:
    """Notation of one axis."""
    match axis:
        case Symbol(name, degree):
            return name + MARKS[degree]
        case Anonymous(size):
            return str(size)
        case Composite(factors):
            return f"({' '.join(map(print_axis, factors))})"
        case Concatenation(parts):
            return f"({' + '.join(map(print_axis, parts))})"
        case Interleaving(parts):
            return f"({' & '.join(map(print_axis, parts))})"
        case Alternatives(parts):
            return f"({' | '.join(map(print_axis, parts))})"
        case _:
            assert_never(axis)


def print_axes(axes: Axes) -> str:
    """Notation of a tensor's axes.

    Example:
        >>> print_axes(parse_axes("( (head qk)+(head vo) )  model"))
        '((head qk) + (head vo)) model'
    """
    return " ".join(map(print_axis, axes))


def rename_symbols(axis: Axis, names: Mapping[str, str]) -> Axis:
    """The axis with some of its neuron sets under other names.

    Example:
        >>> print_axes((rename_symbols(parse_axes("(head qk)")[0], {"head": "h"}),))
        '(h qk)'
    """
    match axis:
        case Symbol(name):
            return replace(axis, name=names.get(name, name))
        case Anonymous():
            return axis
        case Composite(factors):
            return Composite(tuple(rename_symbols(factor, names) for factor in factors))
        case Concatenation(parts) | Interleaving(parts) | Alternatives(parts):
            return type(axis)(tuple(rename_symbols(part, names) for part in parts))
        case _:
            assert_never(axis)


def strands_in(axis: Axis) -> Iterator[Symbol]:
    """Strands of neuron sets in an axis, in the order in which they are written."""
    match axis:
        case Symbol():
            yield axis
        case Anonymous():
            return
        case Composite(factors):
            for factor in factors:
                yield from strands_in(factor)
        case Concatenation(parts) | Interleaving(parts) | Alternatives(parts):
            for part in parts:
                yield from strands_in(part)
        case _:
            assert_never(axis)


def symbols_in(axis: Axis) -> Iterator[str]:
    """Names in an axis, in the order in which they are written."""
    return (strand.name for strand in strands_in(axis))
