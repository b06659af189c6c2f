"""``trace``: the neuron-permutation graph of any module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

# The rules register themselves when they are loaded.
import symnet.tracing.rules_along
import symnet.tracing.rules_compute
import symnet.tracing.rules_index
import symnet.tracing.rules_shape
import symnet.tracing.rules_values
import symnet.tracing.rules_windows  # noqa: F401
from symnet.errors import TraceError
from symnet.graph import NeuronGraph
from symnet.graph.notation import Axes
from symnet.groups import Fixed
from symnet.tracing.branches import record_after, record_every_way
from symnet.tracing.certificate import Certifier, Evidence
from symnet.tracing.check_options import Check, Mismatch
from symnet.tracing.checking import Checker
from symnet.tracing.continuous import with_larger_groups
from symnet.tracing.examples import (
    all_larger,
    detached,
    float_state,
    is_chosen,
    larger_inputs,
    refuse_hidden_tensors,
    run_plainly,
)
from symnet.tracing.fallback import read_unknown
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.graph_writing import write_graph
from symnet.tracing.kept_between_calls import kept_notes, unchanged
from symnet.tracing.progress import Progress
from symnet.tracing.reading_state import Reading
from symnet.tracing.recording import Recording
from symnet.tracing.solution import Solution, solve
from symnet.tracing.subject import SMALL_STATE, Subject, copy_with_memory, has_memory, make_subject
from symnet.tracing.weightless import NeedsEntriesError

# Recordings of inputs on which the check failed, before it is given up.
_ATTEMPTS = 4
# Multiplications of one forward pass up to which whole forward passes are compared unless asked.
_QUICK = 300_000_000
OTHER_WAY = (
    "the self-check found inputs (fresh ones, of other sizes, or with other whole numbers) that "
    "take another way through the code; it was recorded too"
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
    """The symmetry graph of a module: its floating-point state, every
    axis, every group of permutations.

    Args:
        model: any module; it is copied, traced in eval mode, and left as it is.
        example_inputs: what to call it with. Several tokens and samples show more than one.
        io: ``"fixed"``: inputs and outputs keep their order. ``"permuted"``:
            ``f(g.x; g.theta) = g.f(x; theta)``.
        groups: ``"all"``: every set gets the largest group that keeps the function: signs, scales,
            rotations, invertible maps. A gain of a norm hides the rotations of its stream until it
            is folded into what reads the stream.
        check: how thoroughly the result is checked before it is returned.
        outputs: which outputs are to be kept unchanged, by name (``["logits"]``); all of them
            unless given.
        keyword_inputs: keyword arguments of the model.

    Returns:
        A graph keyed like ``model.state_dict()``; ``graph.aliases`` names tied tensors,
        ``graph.notes`` says why each pinned axis is pinned.

    Raises:
        TraceError: the module cannot be run or copied, or the self-check found the result wrong.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)
        ... )
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
        raise TraceError(
            f"trace(..., groups={groups!r}): expected 'permutations', or 'all' where io='fixed'."
        )
    if not isinstance(model, nn.Module):
        raise TraceError(
            f"trace expected a torch.nn.Module, but was given a {type(model).__name__}. Wrap the "
            "function in a module."
        )
    refuse_hidden_tensors((example_inputs, keyword_inputs))
    inputs = detached((example_inputs, dict(keyword_inputs)))
    subject, inputs, recording, notes = record_model(
        model, inputs, lambda path: is_chosen(path, outputs)
    )
    _require_a_function(model, recording, subject.state, outputs)
    thorough = check or Check()
    if groups == "all":  # proven on whole forward passes
        thorough = replace(thorough, end_to_end=True)
    if recording.reads_numbers():  # more inputs, for more of the ways through the code
        thorough = replace(thorough, rounds=max(thorough.rounds, 6))
    evaluated, skipped = _to_evaluate(model, subject, recording, thorough)
    state = {
        name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)
    }
    for attempt in range(_ATTEMPTS):
        claim = read_graph(recording, subject.aliases, notes, io)
        evidence = check_operations(recording, claim, subject.progress)
        if evaluated is None:
            require_no_failure(evidence)
            return with_evidence(claim.graph, evidence, skipped)
        try:
            worst = _compare_forward_passes(evaluated, claim, inputs, thorough, outputs, state)
        except Mismatch as error:
            # These inputs show a way through the model that the recording did not take.
            other = record_after(
                recording, subject, error.inputs, lambda path: is_chosen(path, outputs)
            )
            if other is None or attempt == _ATTEMPTS - 1:
                raise
            recording = recording.joined(other)
            if attempt == 0:
                notes.append(OTHER_WAY)
            continue
        graph = with_evidence(claim.graph, evidence, f"whole forward passes agree to {worst:.0e}")
        return (
            graph
            if groups == "permutations"
            else with_larger_groups(evaluated, graph, inputs, outputs)
        )
    raise AssertionError("the last attempt returns or raises")


def _compare_forward_passes(
    model: nn.Module,
    claim: Claim,
    inputs: Inputs,
    check: Check,
    outputs: Sequence[str] | None,
    original: Mapping[str, Tensor],
) -> float:
    """The largest relative error of whole forward passes.

    Raises:
        Mismatch: the group changes the function.
    """
    worst = Checker(
        model, claim.graph, inputs, check, claim.inputs, claim.outputs, outputs, original
    ).run_all()
    # inputs that move keep their sizes; what is inside is checked at others
    if claim.inputs or claim.outputs:
        inside = with_fixed_io(claim.graph, {**(claim.inputs or {}), **(claim.outputs or {})})
        worst = max(
            worst,
            Checker(model, inside, inputs, check, outputs=outputs, original=original).run_all(),
        )
    return worst


def _to_evaluate(
    model: nn.Module, subject: Subject, recording: Recording, check: Check
) -> tuple[nn.Module | None, str]:
    """The model whose whole forward passes are compared; None and why not, if they are not."""
    large = subject.entries > SMALL_STATE or recording.multiplications() > _QUICK
    if check.end_to_end is False or (check.end_to_end is None and large):
        return (
            None,
            "whole forward passes were not compared; check=Check(end_to_end=True) asks for it",
        )
    if subject.weightless is None:
        return subject.model, ""
    copied = copy_with_memory(model)
    if copied is None and check.end_to_end:
        raise TraceError(
            f"{type(model).__name__} holds whole numbers or masks on the device 'meta', without "
            "values; whole forward passes cannot be compared. Make the model without "
            "torch.device('meta')."
        )
    if copied is None:
        return (
            None,
            "whole forward passes were not compared: whole numbers or masks of the model have "
            "no values",
        )
    return copied, ""


def check_operations(recording: Recording, claim: Claim, progress: Progress) -> Evidence:
    """What the operations show one by one."""
    certifier = Certifier(
        recording, claim.reading, claim.graph, claim.inputs, claim.outputs, progress=progress
    )
    evidence = certifier.run()
    progress.done()
    return evidence


def require_no_failure(evidence: Evidence) -> None:
    """Refuses what has no other evidence than operations that do not commute.

    Raises:
        TraceError: some do not commute with the group; names the first.
    """
    if evidence.failures:
        raise TraceError(
            f"The traced group does not leave every operation unchanged: {evidence.failures[0]}. "
            "A rule of tracing is wrong there (one of your own, or a fault of symnet). Declare "
            "the graph by hand."
        )


def with_evidence(graph: NeuronGraph, evidence: Evidence, forward_passes: str) -> NeuronGraph:
    """The graph with a note of what it rests on."""
    axes = {name: tensor.axes for name, tensor in graph.weights.items()}
    notes = [*graph.notes, f"evidence: {evidence}; {forward_passes}"]
    return NeuronGraph(graph.neurons, axes, aliases=graph.aliases, notes=notes)


def record_model(
    model: nn.Module, inputs: Inputs, is_output: Callable[[str], bool]
) -> tuple[Subject, Inputs, Recording, list[str]]:
    """The copy that was run, the inputs that it took, what was recorded, and notes.

    A model that is recorded without its weights is recorded with them if its code asks for values
    that depend on them.

    Raises:
        TraceError: the model cannot be run or copied.
    """
    subject = make_subject(model)
    try:
        return _record_subject(subject, inputs, is_output)
    except NeedsEntriesError as error:
        if not has_memory(model):
            raise TraceError(
                f"{type(model).__name__} has no weights, and its code asks for a value (or a "
                f"shape) that depends on them: {error}. Give it memory: "
                "model.to_empty(device='cpu'); trace randomises the entries of its copy."
            ) from None
    return _record_subject(make_subject(model, weights=True), inputs, is_output)


def _record_subject(
    subject: Subject, inputs: Inputs, is_output: Callable[[str], bool]
) -> tuple[Subject, Inputs, Recording, list[str]]:
    if subject.weightless is None:
        run_plainly(subject.model, inputs)
        if not subject.state:  # lazy modules have made it by now
            subject = Subject(subject.model, *float_state(subject.model), None)
    try:
        with unchanged(subject.model) as changes:
            larger, recording, notes = _record_larger(subject, inputs, is_output)
        return subject, larger, recording, [*notes, *kept_notes(changes)]
    except (NeedsEntriesError, TraceError):
        raise
    except Exception as error:
        if subject.weightless is not None:
            with subject.running():
                run_plainly(subject.model, inputs)
        raise TraceError(
            f"{type(subject.model).__name__} runs on the example inputs, but could not be "
            f"recorded: {type(error).__name__}: {error}. This is no fault of the inputs: symnet "
            "records dense tensors (no sparse or nested ones) and what torch computes."
        ) from error


def _record_larger(
    subject: Subject, inputs: Inputs, is_output: Callable[[str], bool]
) -> tuple[Inputs, Recording, list[str]]:
    """The recording of inputs with all axes of size 1 enlarged; of fewer
    where the model does not take that.
    """
    everywhere = all_larger(inputs)
    try:
        return everywhere, *record_every_way(subject, everywhere, is_output)
    except NeedsEntriesError:
        raise
    except Exception:  # of any class: these inputs are invented
        larger = larger_inputs(inputs, subject.accepts)
        return larger, *record_every_way(subject, larger, is_output)


@dataclass(frozen=True)
class Claim:
    """What a recording shows: the graph, the labels it was written from, and
    the axes of inputs and outputs that move.
    """

    graph: NeuronGraph
    reading: Reading
    inputs: dict[str, Axes] | None
    outputs: dict[str, Axes] | None


def read_labels(recording: Recording, io: str) -> tuple[Reading, Solution]:
    """The labels of every value of a recording, solved."""
    reading = Reading(recording, fixed=io == "fixed")
    reading.run(read_unknown)
    return reading, solve(reading, fixed=io == "fixed")


def read_graph(
    recording: Recording, aliases: Mapping[str, str], notes: Sequence[str], io: str
) -> Claim:
    """The graph that a recording shows."""
    reading, solution = read_labels(recording, io)
    unseen = [
        f"output {path}: an object that is not looked into, so it counts as no output"
        for path in recording.skipped_outputs
    ]
    graph, writer = write_graph(
        solution, reading, _first_use(recording), aliases, [*notes, *unseen]
    )
    if io == "fixed":
        return Claim(graph, reading, None, None)
    return Claim(
        graph,
        reading,
        # sizes as in the first recording
        {path: writer.axes(labels) for path, labels in reversed(solution.inputs)},
        {path: writer.axes(labels) for path, labels in solution.outputs},
    )


def with_fixed_io(graph: NeuronGraph, axes: Mapping[str, Axes]) -> NeuronGraph:
    """The same network with the neurons of its inputs and outputs held still."""
    outside = {name for tensor in graph.space(axes).values() for name in tensor.symbols}
    return graph.with_groups({name: Fixed(graph.neurons[name].size) for name in outside})


def _require_a_function(
    model: nn.Module,
    recording: Recording,
    state: Mapping[str, Tensor],
    outputs: Sequence[str] | None,
) -> None:
    if not recording.outputs:
        named = f"named {', '.join(outputs)} " if outputs else ""
        raise TraceError(
            f"{type(model).__name__} returned no tensor {named}in a tuple, list, dict or "
            "dataclass, so there is no function to keep unchanged. Return the tensors that "
            "matter."
        )
    for name, tensor in state.items():
        if 0 in tensor.shape:
            axis = tensor.shape.index(0)
            raise TraceError(
                f"'{name}' has size 0 on axis {axis} (shape {tuple(tensor.shape)}): a set "
                "without neurons cannot be permuted. Trace the model with at least one neuron "
                "there."
            )


def _first_use(recording: Recording) -> dict[str, int]:
    """When each state entry is first read."""
    names = {value.number: name for name, value in recording.state.items()}
    first_use: dict[str, int] = {}
    for number, operation in enumerate(recording.operations):
        for value in operation.inputs():
            if value.number in names:
                first_use.setdefault(names[value.number], number)
    return first_use
