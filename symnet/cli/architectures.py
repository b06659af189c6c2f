"""Architectures that a user names by text: catalogue calls, files, and spaces over their neurons."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from symnet.errors import GraphError, NotationError
from symnet.graph import NeuronGraph, catalogue, load
from symnet.graph.notation import whole_numbers
from symnet.groups import Fixed, Symmetric


def catalogue_functions() -> dict[str, Callable[..., NeuronGraph]]:
    """The catalogue's functions that make a graph from sizes, by name."""
    functions = {name: getattr(catalogue, name) for name in catalogue.__all__}
    return {
        name: value
        for name, value in functions.items()
        if inspect.isfunction(value) and _takes_sizes(value)
    }


def _takes_sizes(function: Callable[..., object]) -> bool:
    signature = inspect.signature(function)
    first = next(iter(signature.parameters.values()))
    return signature.return_annotation == "NeuronGraph" and "Mapping" not in str(first.annotation)


def read_architecture(text: str) -> NeuronGraph:
    """The graph that ``mlp:2-32-32-1``, ``cnn:1-16-16-10:kernel_size=5`` or the path of a file names.

    After the name stand sizes joined by ``-`` and ``option=value`` pairs, parted by colons or commas.

    Raises:
        NotationError: neither a call of the catalogue nor a file; or a malformed file, with line and column.

    Example:
        >>> read_architecture("mlp:2-3-1:io=permuted").shapes["0.weight"]
        (3, 2)
    """
    name, _, rest = text.partition(":")
    functions = catalogue_functions()
    if name not in functions:
        if Path(text).is_file():
            return load(text)
        if Path(text).is_dir():
            raise NotationError(
                f"{text} is a folder. Name a file in it that holds a graph's text form."
            )
        near = difflib.get_close_matches(name, functions, n=1)
        raise NotationError(
            f"{text!r:.200} is neither a file nor a call of the catalogue.{f' Did you mean {near[0]!r}?' if near else ''} "
            f"Give the path of a graph's text form, or one of {', '.join(functions)} with its sizes, such as "
            "mlp:2-32-32-1."
        )
    widths, options = _read_arguments(text, rest)
    function = functions[name]
    if name == "cnn" and len(widths) > 1 and "classes" not in options:
        options["classes"] = widths.pop()
    # Some take a list of widths, others one size after another: attention:64-8 is attention(64, 8).
    takes_list = "Sequence" in str(
        next(iter(inspect.signature(function).parameters.values())).annotation
    )
    arguments: list[Any] = ([widths] if widths else []) if takes_list else widths
    try:
        inspect.signature(function).bind(*arguments, **options)
    except TypeError as error:
        raise NotationError(
            f"{text!r} does not fit the catalogue's {name}{inspect.signature(function)}: {error}. "
            f"Write widths as {name}:2-32-1 and options as {name}:2-32-1:option=value."
        ) from None
    for option, value in options.items():
        if inspect.signature(function).parameters[option].annotation == "bool" and not isinstance(
            value, bool
        ):
            raise NotationError(
                f"{text!r:.200}: {option}={value!s:.40} is neither true nor false; write {option}=false."
            )
    try:
        return function(*arguments, **options)
    except (
        TypeError,
        AttributeError,
    ) as error:  # a text or a number where the function counts on something else
        raise NotationError(
            f"{text!r:.200}: {name}{inspect.signature(function)} does not take these values ({error})."
        ) from error


def _read_arguments(text: str, rest: str) -> tuple[list[int], dict[str, Any]]:
    widths: list[int] = []
    options: dict[str, Any] = {}
    for item in filter(None, rest.replace(",", ":").split(":")):
        key, equals, value = item.partition("=")
        if equals:
            options[key.strip()] = _read_value(value.strip())
            continue
        sizes = whole_numbers(item.split("-"))
        if widths or sizes is None:
            raise NotationError(
                f"{text!r}: expected widths such as 2-32-32-1 and then option=value, but found {item!r}."
            )
        widths = sizes
    return widths, options


def _read_value(text: str) -> Any:
    """A whole number, a list of them (``2-3``), a truth value, or the text itself."""
    numbers = whole_numbers(text.split("-"))
    if numbers is not None:
        return numbers[0] if len(numbers) == 1 else numbers
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def complete_architecture(incomplete: str) -> list[str]:
    """What an unfinished architecture can become: catalogue calls, folders, and ``*.symnet`` files."""
    calls = [f"{name}:" for name in catalogue_functions()]
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [
        f"{path}/" if path.is_dir() else str(path)
        for path in entries
        if path.is_dir() or path.suffix == ".symnet"
    ]
    return [text for text in (*calls, *files) if text.startswith(incomplete)]


def change_groups(graph: NeuronGraph, fixed: Iterable[str], permuted: Iterable[str]) -> NeuronGraph:
    """The same network with some neuron sets held fixed and others permuted."""
    groups: dict[str, Fixed | Symmetric] = {}
    for names, kind in ((fixed, Fixed), (permuted, Symmetric)):
        for name in names:
            if name not in graph.neurons:
                raise GraphError(
                    f"There is no neuron set '{name}'; they are {', '.join(graph.neurons)}."
                )
            groups[name] = kind(graph.neurons[name].size)
    return graph.with_groups(groups) if groups else graph


def read_spaces(entries: Iterable[str]) -> Mapping[str, str] | None:
    """Axis notation by name from ``name=axes`` texts; ``None`` for none, which stands for all tensors."""
    found = {}
    for entry in entries:
        name, equals, axes = entry.partition("=")
        if not equals or not name.strip():
            raise NotationError(
                f"{entry!r} is not a space. Write name=axes, such as 'score=h1', or 'z=' for a single number."
            )
        found[name.strip()] = axes.strip()
    return found or None


def read_entries(
    graph: NeuronGraph, text: str | None
) -> tuple[tuple[str, tuple[int, ...]], tuple[str, tuple[int, ...]]]:
    """An output weight and an input weight from ``'0.bias[1] 0.weight[1,0]'``; the first weight twice if nothing is said.

    Example:
        >>> read_entries(catalogue.mlp([2, 3, 1]), "0.bias[1] 0.weight[1, 0]")
        (('0.bias', (1,)), ('0.weight', (1, 0)))
    """
    if text is None:
        name = next(iter(graph.shapes))
        first = (name, (0,) * len(graph.shapes[name]))
        return first, first
    found = [
        (
            match[1],
            whole_numbers(part.strip() for part in (match[2] or "").split(",") if part.strip()),
        )
        for match in re.finditer(r"([^\s\[]+)(?:\[([0-9,\s]*)\])?", text)
    ]
    entries = [(name, tuple(place)) for name, place in found if place is not None]
    if len(found) != 2 or len(entries) != 2:
        raise NotationError(
            f"{text!r} does not name two weights. Write an output and an input, as in '0.bias[1] 0.weight[1,0]'."
        )
    return entries[0], entries[1]
