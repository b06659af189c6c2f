"""operations: does every operation of a network commute with the
declared group, checked one by one?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.graph.notation import Axes, parse_axes
from symnet.tracing.certificate import TOLERANCE, Certifier, Evidence
from symnet.tracing.examples import detached, is_chosen
from symnet.tracing.recording import Value
from symnet.tracing.tracer import read_labels, record_model
from symnet.verify.io_axes import AxesLike, expand, read_axes
from symnet.verify.report import Difference, Report


def operations(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    input_axes: AxesLike = None,
    output_axes: AxesLike = None,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
) -> Report:
    """Whether every operation commutes with the group, each alone, in float64: a report.

    The model is recorded as ``trace`` does it, without its weights if it is large or on the device
    ``meta``. What the graph says of parameters, inputs and outputs is carried to all activations,
    and every operation is run on random operands before and after a random element. Operations that
    differ only in names are run once, and those without sizes among their arguments at a few
    neurons per axis. By induction the network then has the symmetry.

    The report names the operation, its module and the neuron sets of everything that does not
    commute. What cannot be checked alone is a problem, so that the report does not pass: compare
    whole forward passes with ``network``. Ways through the code that the inputs do not show are not
    seen.

    Args:
        model: the network; its state dict is what the graph describes. It may be on the device
            ``meta``.
        inputs, kwargs: example inputs, as for ``trace``.
        input_axes, output_axes: where I/O neurons move, as for ``network``.
        outputs: which outputs are to be kept, by name; all of them unless given.
        seed: of the operands and the elements.

    Raises:
        ShapeError: the graph does not cover the state dict.
        TraceError: the model cannot be recorded on these inputs.

    Example:
        >>> import torch
        >>> import symnet as sn
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        ... )
        >>> sn.verify.operations(model, sn.catalogue.mlp([2, 8, 1]), torch.randn(5, 2)).passed
        True
    """
    require_graph(graph, "operations")
    arguments = detached((inputs, dict(kwargs or {})))
    subject, _, recording, notes = record_model(
        model, arguments, lambda path: is_chosen(path, outputs)
    )
    _check_shapes(graph, {name: value.shape for name, value in recording.state.items()})
    moved_inputs = _axes_of(input_axes, recording.inputs, "input")
    moved_outputs = _axes_of(output_axes, recording.outputs, "output")
    reading, _ = read_labels(recording, "permuted" if moved_inputs or moved_outputs else "fixed")
    certifier = Certifier(
        recording, reading, graph, moved_inputs, moved_outputs, seed, subject.progress
    )
    evidence = certifier.run()
    subject.progress.done()
    return _report(type(model).__name__, evidence, notes, seed)


def _check_shapes(graph: NeuronGraph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    read_shapes = {graph.aliases.get(name, name): shape for name, shape in shapes.items()}
    missing = [name for name in read_shapes if name not in graph.weights]
    unknown = [name for name in graph.weights if name not in read_shapes]
    wrong = [
        f"'{n}' {read_shapes[n]} for {s}"
        for n, s in graph.shapes.items()
        if n in read_shapes and read_shapes[n] != s
    ]
    if missing or unknown or wrong:
        parts = [
            ("lacks", missing),
            ("has, though the state does not,", unknown),
            ("has other shapes:", wrong),
        ]
        said = "; ".join(f"{what} {', '.join(names[:6])}" for what, names in parts if names)
        raise ShapeError(f"The graph {said}. Pass the graph of this network, or trace it again.")


def _axes_of(texts: AxesLike, values: Sequence[tuple[str, Value]], what: str) -> dict[str, Axes]:
    """Axis notation by path of what moves, with the sizes of the values written out."""
    shapes = {path: value.shape for path, value in reversed(values)}
    axes_by_path: dict[str, Axes] = {}
    for path, text in read_axes(
        texts, list(dict.fromkeys(path for path, _ in values)), what
    ).items():
        if text:
            words, start = expand(text, len(shapes[path]), f"{what} '{path}'")
            sizes = shapes[path]
            named = [
                str(size) if word == "_" else word
                for word, size in zip(words, sizes[start:], strict=True)
            ]
            axes_by_path[path] = parse_axes(" ".join([*map(str, sizes[:start]), *named]))
    return axes_by_path


def _report(name: str, evidence: Evidence, notes: Sequence[str], seed: int) -> Report:
    checks = [
        Difference(
            f"{failure.operation}",
            None,
            f"permuting {', '.join(map(repr, failure.sets[:4])) or 'nothing'}",
            failure.error,
            0,
        )
        for failure in evidence.failures
    ]
    if evidence.distinct or not checks:
        what = f"the worst of {evidence.distinct} distinct operations that move"
        checks.append(Difference(what, None, "permuting their operands", evidence.worst, 0))
    problems = tuple(f"not checked: {finding}" for finding in evidence.unsupported)
    counts = (
        f"{evidence.operations} operations were recorded; {evidence.distinct} distinct ones move "
        f"something, of which {evidence.narrow} were run at a few neurons per axis."
    )
    subject = f"operations of {name}, each alone, commute with the group"
    return Report(subject, seed, TOLERANCE, tuple(checks), problems, notes=(counts, *notes))
