"""``trace``: the neuron-permutation graph of any module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

# The rules register themselves when they are loaded.
import symnet.tracing.rules_compute
import symnet.tracing.rules_index
import symnet.tracing.rules_shape
import symnet.tracing.rules_windows  # noqa: F401
from symnet.errors import TraceError
from symnet.graph import NeuronGraph
from symnet.graph.notation import Axes
from symnet.groups import Fixed
from symnet.tracing.branches import record_after, record_every_way
from symnet.tracing.checking import Check, Checker, Mismatch
from symnet.tracing.continuous import with_larger_groups
from symnet.tracing.examples import (
    copy_model,
    detached,
    float_state,
    is_chosen,
    refuse_hidden_tensors,
    run_plainly,
    without_single_sizes,
)
from symnet.tracing.fallback import read_unknown
from symnet.tracing.kept_between_calls import kept_notes, unchanged
from symnet.tracing.reading import Reading
from symnet.tracing.recording import Recording
from symnet.tracing.solution import solve
from symnet.tracing.writing import write_graph

# Recordings of inputs on which the check failed, before it is given up.
_ATTEMPTS = 4
OTHER_WAY = (
    "the self-check found inputs (fresh ones, of other sizes, or with other whole numbers) that take another way through the code; "
    "it was recorded too"
)


def trace(
    model: nn.Module,
    *example_inputs: Any,
    io: Literal["fixed", "permuted"] = "fixed",
    groups: Literal["permutations", "all"] = "permutations",
    check: Check | None = None,
    outputs: Sequence[str] | None = None,
    **keyword_inputs: Any,
) -> NeuronGraph:
    """The symmetry graph of a module: its floating-point state, every axis, every group of permutations.

    Args:
        model: any module; it is copied, traced in eval mode, and left as it is.
        example_inputs: what to call it with. Several tokens and samples show more than one.
        io: ``"fixed"``: inputs and outputs keep their order. ``"permuted"``: ``f(g.x; g.theta) = g.f(x; theta)``.
        groups: ``"all"``: every set gets the largest group that keeps the function: signs, scales, rotations, invertible maps. A
            gain of a norm hides the rotations of its stream until it is folded into what reads the stream.
        check: how thoroughly the result is checked before it is returned.
        outputs: which outputs are to be kept unchanged, by name (``["logits"]``); all of them unless given.
        keyword_inputs: keyword arguments of the model.

    Returns:
        A graph keyed like ``model.state_dict()``; ``graph.aliases`` names tied tensors, ``graph.notes`` says why each
        pinned axis is pinned.

    Raises:
        TraceError: the module cannot be run or copied, or the self-check found the result wrong.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        >>> trace(model, torch.randn(3, 2))
        neurons
          layer0: Symmetric(4)
        tensors
          0.weight: layer0 2
          0.bias: layer0
          2.weight: 1 layer0
          2.bias: 1
    """
    if io not in ("fixed", "permuted"):
        raise TraceError(f"trace(..., io={io!r}): expected 'fixed' or 'permuted'.")
    if groups not in ("permutations", "all") or (groups == "all" and io != "fixed"):
        raise TraceError(f"trace(..., groups={groups!r}): expected 'permutations', or 'all' where io='fixed'.")
    if not isinstance(model, nn.Module):
        raise TraceError(
            f"trace expected a torch.nn.Module, but was given a {type(model).__name__}. Wrap the function in a module."
        )
    refuse_hidden_tensors((example_inputs, keyword_inputs))
    private = copy_model(model)
    if any(tensor.is_meta for tensor in (*private.parameters(), *private.buffers())):
        raise TraceError(
            f"{type(model).__name__} is on the device 'meta', without entries to compute with. Give it memory: "
            "model.to_empty(device='cpu'); trace randomises the entries of its copy."
        )
    inputs = detached((example_inputs, dict(keyword_inputs)))
    run_plainly(private, inputs)
    inputs = without_single_sizes(private, inputs)
    state, aliases = float_state(private)
    try:
        with unchanged(private) as changes:
            recording, notes = record_every_way(private, state, inputs, lambda path: is_chosen(path, outputs))
        notes += kept_notes(changes)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as error:
        raise TraceError(
            f"{type(model).__name__} runs on the example inputs, but could not be recorded: {type(error).__name__}: {error}. "
            "This is no fault of the inputs: symnet records dense tensors (no sparse or nested ones) and what torch computes."
        ) from error
    _require_a_function(model, recording, state, outputs)
    thorough = check or Check()
    if recording.reads_numbers():  # more inputs, for more of the ways through the code
        thorough = replace(thorough, rounds=max(thorough.rounds, 6))
    given = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}
    for attempt in range(_ATTEMPTS):
        graph, input_axes, output_axes = read_graph(recording, aliases, notes, io)
        checker = Checker(private, graph, inputs, thorough, input_axes, output_axes, outputs, given)
        try:
            checker.run_all()
            if input_axes or output_axes:  # inputs that move keep their sizes; what is inside is also checked at others
                inside = with_fixed_io(graph, {**(input_axes or {}), **(output_axes or {})})
                Checker(private, inside, inputs, thorough, outputs=outputs, given=given).run_all()
            return graph if groups == "permutations" else with_larger_groups(private, graph, inputs, outputs)
        except Mismatch as error:
            # These inputs show a way through the model that the recording did not take.
            other = record_after(recording, private, checker.state, error.inputs, lambda path: is_chosen(path, outputs))
            if other is None or attempt == _ATTEMPTS - 1:
                raise
            recording = recording.joined(other)
            if attempt == 0:
                notes.append(OTHER_WAY)
    raise AssertionError("the last attempt returns or raises")


def read_graph(
    recording: Recording, aliases: Mapping[str, str], notes: Sequence[str], io: str
) -> tuple[NeuronGraph, dict[str, Axes] | None, dict[str, Axes] | None]:
    """The graph that a recording shows, and the axes of inputs and outputs where these move."""
    reading = Reading(recording, fixed=io == "fixed")
    reading.run(read_unknown)
    solution = solve(reading, fixed=io == "fixed")
    unseen = [
        f"output {path}: an object that is not looked into, so it counts as no output"
        for path in recording.skipped_outputs
    ]
    graph, writer = write_graph(solution, reading, _first_use(recording), aliases, [*notes, *unseen])
    if io == "fixed":
        return graph, None, None
    return (
        graph,
        {path: writer.axes(labels) for path, labels in reversed(solution.inputs)},  # sizes as in the first recording
        {path: writer.axes(labels) for path, labels in solution.outputs},
    )


def with_fixed_io(graph: NeuronGraph, axes: Mapping[str, Axes]) -> NeuronGraph:
    """The same network with the neurons of its inputs and outputs held still."""
    outside = {name for tensor in graph.space(axes).values() for name in tensor.symbols}
    return graph.with_groups({name: Fixed(graph.neurons[name].size) for name in outside})


def _require_a_function(
    model: nn.Module, recording: Recording, state: Mapping[str, Tensor], outputs: Sequence[str] | None
) -> None:
    if not recording.outputs:
        named = f"named {', '.join(outputs)} " if outputs else ""
        raise TraceError(
            f"{type(model).__name__} returned no tensor {named}in a tuple, list, dict or dataclass, "
            "so there is no function to keep unchanged. Return the tensors that matter."
        )
    for name, tensor in state.items():
        if 0 in tensor.shape:
            axis = tensor.shape.index(0)
            raise TraceError(
                f"'{name}' has size 0 on axis {axis} (shape {tuple(tensor.shape)}): a set without neurons cannot be permuted. "
                "Trace the model with at least one neuron there."
            )


def _first_use(recording: Recording) -> dict[str, int]:
    """When each state entry is first read."""
    names = {value.number: name for name, value in recording.state.items()}
    found: dict[str, int] = {}
    for number, operation in enumerate(recording.operations):
        for value in operation.inputs():
            if value.number in names:
                found.setdefault(names[value.number], number)
    return found
