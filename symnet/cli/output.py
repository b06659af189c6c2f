"""What the commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.table import Column, Table
from rich.text import Text

from symnet.errors import printable
from symnet.files import write_file
from symnet.graph import NeuronGraph
from symnet.graph.decimal_text import decimal_text
from symnet.groups import Fixed
from symnet.sharing import EquivariantMaps

_MOST = 14  # tensors up to which the table of all pairs is printed


class PlainConsole(Console):
    """A terminal on which names are text: no markup, no emoji, and control sequences are shown instead of obeyed."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is printed or stands in a table comes by here."""
        return super().render_str(printable(text), **options)


def say(value: object) -> None:
    """Prints a report or a graph, whose names may be anybody's, as plain text on standard output."""
    print(printable(str(value)))


def say_aside(value: object) -> None:
    """The same on the error stream."""
    print(printable(str(value)), file=sys.stderr)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, indent=2))


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """A folder for a long run: made if it is missing, kept out of repositories, and named when Ctrl-C ends the run."""
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_file(
            ignore, "*\n", folders=True
        )  # gigabytes of fits and checkpoints belong into nobody's repository
    try:
        yield
    except KeyboardInterrupt:
        say_aside(f"symnet: stopped. The same command goes on where it was, in {folder}.")
        raise


def working(what: str) -> Status:
    """A sign on the terminal that something goes on; nothing where the error stream is no terminal."""
    return PlainConsole(stderr=True).status(what)


def describe_graph(graph: NeuronGraph) -> dict[str, Any]:
    """The graph for JSON: sets, tensors, and the exact order of the group as text (it outgrows every number type)."""
    return {
        "neurons": {
            name: {"group": repr(neuron_set.group), "over": list(neuron_set.over)}
            for name, neuron_set in graph.neurons.items()
        },
        "tensors": {
            name: {"axes": axes, "shape": list(graph.shapes[name])}
            for name, axes in graph.tensors.items()
        },
        "aliases": dict(graph.aliases),
        "notes": list(graph.notes),
        "order": decimal_text(graph.order) if isinstance(graph.order, int) else str(graph.order),
    }


def describe_maps(maps: EquivariantMaps) -> dict[str, Any]:
    """The counts for JSON."""
    return {
        "dimension": maps.dimension,
        "dimension_by_burnside": maps.dimension_by_burnside,
        "bias_dimension": maps.bias_dimension,
        "between": {
            output: {input: maps.between(output, input).dimension for input in maps.inputs}
            for output in maps.outputs
        },
    }


def print_graph(console: Console, graph: NeuronGraph) -> None:
    """The neuron sets and the tensors in one table each."""
    # Folded: on a narrow terminal a name takes two lines rather than lose its end.
    columns = [
        Column(title, overflow="fold")
        for title in ("neuron set", "group", "copies over", "tensors")
    ]
    sets = Table(*columns, title="Neuron sets", title_justify="left")
    for name, neuron_set in graph.neurons.items():
        style = "dim" if isinstance(neuron_set.group, Fixed) else "bold"
        used = sum(name in tensor.symbols for tensor in graph.weights.values())
        sets.add_row(
            name, repr(neuron_set.group), ", ".join(neuron_set.over), str(used), style=style
        )
    console.print(sets)
    dimension = f" (continuous, of dimension {graph.dimension:,})" if graph.dimension else ""
    console.print(
        f"Order of the group: {_short(graph.order)}{dimension}; {graph.weights.size:,} weights in {len(graph.tensors)} tensor{'s' * (len(graph.tensors) != 1)}."
    )


def print_maps(console: Console, maps: EquivariantMaps) -> None:
    """The number of maps between every two tensors, and both counts of the total."""
    if len(maps.inputs) <= _MOST and len(maps.outputs) <= _MOST:
        table = Table(
            title="Equivariant linear maps: outputs down, inputs across", title_justify="left"
        )
        table.add_column("", overflow="fold")
        for name in maps.inputs:
            table.add_column(name, justify="right", overflow="fold")
        for output in maps.outputs:
            table.add_row(
                output, *(str(maps.between(output, input).dimension) for input in maps.inputs)
            )
        console.print(table)
    console.print(
        f"{maps.dimension:,} maps from {len(maps.inputs)} to {len(maps.outputs)} tensors, "
        f"and {maps.bias_dimension:,} biases; a dense layer would have {maps.inputs.size * maps.outputs.size:,} weights."
    )


def _short(number: int | float) -> str:
    """All digits of a number of at most 18; else its size."""
    if not isinstance(number, int):
        return "infinite"
    text = str(number) if number < 10**18 else ""
    return text or f"about 10^{_digits(number) - 1}"


def _digits(number: int) -> int:
    # str() of an int refuses more than a few thousand digits; the logarithm of its leading bits does not.
    import math

    shift = max(number.bit_length() - 1000, 0)
    return math.floor(math.log10(number >> shift) + shift * math.log10(2)) + 1
