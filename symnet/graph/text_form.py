"""The text form of a graph: what ``str(graph)`` prints, ``symnet.parse`` reads, and files hold.

::

    neurons
      in: Fixed(2)
      head: Symmetric(4)
      qk: Symmetric(16) over head
    tensors
      0.weight: h1 in
    aliases
      decoder.weight: encoder.weight

Everything after ``#`` is a comment; lines inside a section are indented. A file begins with a
comment that announces the one that ends it: without it, a text that was cut off in the midst of a
name would be that of another graph.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from symnet.errors import GraphError, NotationError, SymnetError, TooLargeError, printable
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.notation import NAME, Axes, is_number, parse_axes, print_axes, split_mark
from symnet.groups import (
    Cyclic,
    Dihedral,
    Fixed,
    GeneralLinear,
    Generated,
    Group,
    Orthogonal,
    Scaled,
    SignedSymmetric,
    Symmetric,
)

SECTIONS = ("neurons", "tensors", "aliases")
_GROUPS: dict[str, Callable[..., Group]] = {
    group.__name__: group
    for group in (
        *(Symmetric, SignedSymmetric, Scaled, Orthogonal, GeneralLinear),
        *(Fixed, Cyclic, Dihedral, Generated),
    )
}
BEGIN = "# A graph of symnet; the last line of this file is: # end"
END = "# end"
UNMARKED = "this file does not show whether it is whole; graph.save(path) writes one that does."
_PLAIN = re.compile(r"\s*[0-9]{1,18}\s*")
_GROUP = re.compile(
    r"(?P<kind>\w+)\s*\((?P<arguments>.*?)\)\s*(over\s+(?P<over>[^()]*))?", re.DOTALL
)


class Declaration(NamedTuple):
    """What the text of a graph says, before it is checked."""

    neurons: dict[str, NeuronSet]
    tensors: dict[str, str]
    aliases: dict[str, str]


def print_graph(
    neurons: Mapping[str, NeuronSet], tensors: Mapping[str, Axes], aliases: Mapping[str, str]
) -> str:
    """The text form."""
    lines = ["neurons"]
    for name, neuron_set in neurons.items():
        over = f" over {', '.join(neuron_set.over)}" if neuron_set.over else ""
        lines.append(f"  {name}: {neuron_set.group!r}{over}")
    lines.append("tensors")
    lines += [f"  {name}: {print_axes(axes)}".rstrip() for name, axes in tensors.items()]
    if aliases:
        lines.append("aliases")
        lines += [f"  {name}: {kept}" for name, kept in aliases.items()]
    return "\n".join(lines)


def print_file(text: str) -> str:
    """The text form of a graph as a file holds it, between marks that show that it is whole."""
    return f"{BEGIN}\n{text}\n{END}\n"


def shows_its_end(text: str) -> bool:
    """Whether a text begins with the mark that announces its end."""
    return text.startswith(BEGIN)


def read_graph(text: str) -> Declaration:
    """What the text declares.

    Raises:
        NotationError: the text is malformed, or has been cut off; names the line and column.
        GraphError: a name that is not declared; names the line and column.
    """
    if shows_its_end(text) and text.rstrip().rpartition("\n")[2] != END:
        _fail(
            text.count("\n") + 1,
            1,
            f"the text ends without its last line '{END}': it has been cut off",
        )
    declaration = Declaration({}, {}, {})
    section: str | None = None
    seen: set[str] = set()
    lines = [raw.split("#", 1)[0].rstrip() for raw in text.splitlines()]
    # Line numbers alone: tuples of them, of 100,000 lines, are visited by every garbage collection.
    numbers: dict[str, dict[str, int]] = {section: {} for section in SECTIONS}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        if not line[0].isspace():
            section = line.rstrip(":")
            seen.add(section)
            if section not in SECTIONS:
                _fail(
                    number,
                    1,
                    f"'{section}' is not a section; the sections are {', '.join(SECTIONS)}, "
                    "their lines indented",
                )
            continue
        column = len(line) - len(line.lstrip()) + 1
        if section is None:
            _fail(
                number, column, "this line stands before any section; begin with a line 'neurons'"
            )
        if ":" not in line:
            _fail(number, column, "expected 'name: ...'")
        name, value, start = _entry(line)
        entries: dict[str, Any] = getattr(declaration, section)
        if name in entries:
            _fail(number, column, f"'{name}' is declared twice")
        entries[name] = _read_value(section, value, number, start)
        numbers[section][name] = number
    if missing := [name for name in ("neurons", "tensors") if name not in seen]:
        _fail(
            len(lines) + 1,
            1,
            f"the text ends without a section '{missing[0]}' (an empty section will do): has it "
            "been cut off?",
        )
    # Nearly all lines of a large declaration use no name, or one that is a declared set.
    neurons, tensors, aliases = declaration
    in_doubt = {
        "neurons": [name for name, neuron_set in neurons.items() if neuron_set.over],
        "tensors": [name for name, axes in tensors.items() if axes not in neurons],
        "aliases": list(aliases),
    }
    for section, names in in_doubt.items():
        for name in names:
            number = numbers[section][name]
            _check_names(declaration, section, number, lines[number - 1])
    return declaration


def _entry(line: str) -> tuple[str, str, int]:
    """Name and value of a line, and the column where the value begins, counted from 1."""
    name, _, value = line.rpartition(":")
    value = value.strip()
    return name.strip(), value, len(line) - len(value) + 1


def _check_names(declaration: Declaration, section: str, number: int, line: str) -> None:
    """Refuses a name that is used and not declared, where it stands
    (sections come in any order).
    """
    neurons = declaration.neurons
    name, value, start = _entry(line)
    if section == "aliases":
        if value not in declaration.tensors:
            _fail(
                number,
                start,
                f"'{name}' is an alias of '{value}', which is not declared as a tensor",
                GraphError,
            )
        return
    used = set(neurons[name].over) if section == "neurons" else None
    for match in NAME.finditer(value):
        word = match.group() if used is not None else split_mark(match.group())[0]
        if word not in neurons and (word in used if used is not None else not is_number(word)):
            _fail(
                number,
                start + match.start(),
                f"no neuron set '{word}' is declared; the neuron sets are {', '.join(neurons)}. "
                "Declare it"
                + (
                    ", or write a whole number for positions that may be told apart"
                    if used is None
                    else ""
                ),
                GraphError,
            )


def _read_value(section: str, value: str, line: int, column: int) -> NeuronSet | str:
    if section == "neurons":
        return _read_neuron_set(value, line, column)
    if section == "tensors":
        try:
            parse_axes(value)
        except NotationError as error:
            _fail(line, column, str(error))
    return value


def _read_neuron_set(text: str, line: int, column: int) -> NeuronSet:
    try:
        return _neuron_set(text)
    except TooLargeError as error:
        _fail(line, column, str(error), TooLargeError)
    except SymnetError as error:
        _fail(line, column, str(error))


@lru_cache(maxsize=4096)
def _neuron_set(text: str) -> NeuronSet:
    """The value of a neuron set's line.

    Most lines of a large declaration say the same: it is read once and shared.
    """
    match = _GROUP.fullmatch(text)
    if not match or match["kind"] not in _GROUPS:
        raise NotationError(
            f"{text!r:.80} is not a group; write {'(n), '.join(_GROUPS)}(n, [[...]]), and 'over "
            "parent' after it"
        )
    try:
        arguments, options = _read_arguments(match["arguments"])
        group = _GROUPS[match["kind"]](*arguments, **options)
    except SymnetError:
        raise
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise NotationError(
            f"the arguments of {match['kind']} in {text!r:.80} cannot be read; "
            "expected whole numbers"
        ) from error
    return NeuronSet(group, _parents(match["over"]))


def _read_arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    if _PLAIN.fullmatch(text):  # nearly all, and ten times as quick
        return [int(text)], {}
    call = ast.parse(f"group({text})", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise SyntaxError
    options = {option.arg or "": ast.literal_eval(option.value) for option in call.keywords}
    return [ast.literal_eval(argument) for argument in call.args], options


def _parents(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _fail(
    line: int, column: int, problem: str, kind: type[SymnetError] = NotationError
) -> NoReturn:
    # Names and whole lines of anybody's file stand in it.
    short = printable(problem.rstrip("."), 600)
    raise kind(f"line {line}, column {column}: {short}{'' if problem.endswith('?') else '.'}")
