"""Recordings of a network whose code asks about values: other inputs,
and the other way at every decision.

A recording sees one way through the code. Where the code turned a computed tensor into a number or
a truth value, the network is recorded again; the symmetry must hold on all recordings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch

from symnet.tracing.examples import randomise
from symnet.tracing.fallback import read_unknown
from symnet.tracing.fresh_inputs import FreshInputs, Inputs
from symnet.tracing.reading_state import Reading
from symnet.tracing.recording import Recording
from symnet.tracing.recording_runs import record
from symnet.tracing.subject import Subject
from symnet.tracing.weightless import NeedsEntriesError

# Recordings with other answers, and on further inputs.
_WAYS, _INPUTS = 40, 3

NOTE = (
    "control flow may depend on values that the code reads out of tensors: {count} ways through "
    "it were recorded; a way that none of them took is not covered"
)


def record_every_way(
    subject: Subject, inputs: Inputs, is_output: Callable[[str], bool]
) -> tuple[Recording, list[str]]:
    """A recording of the ways through the model that could be found, and
    notes about ways that may be missing.

    Args:
        subject: the copy to run; its state is overwritten if its way depends on values.
        inputs: example inputs.
        is_output: which of the returned tensors count, by path.
    """
    recording = with_certain_answers(record(subject, *inputs, is_output))
    if recording.chose_nothing:
        other = record_after(recording, subject, inputs, is_output, filled=True)
        if other is not None:
            recording.excused.update(id(operation) for operation in recording.operations)
            recording = recording.joined(other)
    if not recording.reads_numbers():
        return recording, []
    recording, count = _with_other_answers(recording, subject, inputs, is_output)
    generator = torch.Generator().manual_seed(0)
    for seed in range(_INPUTS):
        if subject.weightless is None:
            randomise(subject.state, seed)
        other = record_after(
            recording, subject, FreshInputs(inputs).draw(generator, None), is_output
        )
        if other is not None:
            recording, count = recording.joined(other), count + 1
    return recording, [NOTE.format(count=count)]


def _with_other_answers(
    recording: Recording,
    subject: Subject,
    inputs: Inputs,
    is_output: Callable[[str], bool],
) -> tuple[Recording, int]:
    """The recording with those of other answers, one changed first, then two
    and more, and how many ways these are.
    """
    count = 1
    left = _WAYS
    waiting: deque[tuple[tuple[int, ...], list[int]]] = deque([((), open_answers(recording))])
    while waiting:
        answers, open_now = waiting.popleft()
        for answer in [number for number in open_now if number > max(answers, default=0)]:
            if left == 0:
                return recording, count
            left -= 1
            other = record_after(recording, subject, inputs, is_output, (*answers, answer))
            if other is not None:
                waiting.append(((*answers, answer), open_answers(other)))
                recording, count = recording.joined(other), count + 1
    return recording, count


def with_certain_answers(recording: Recording) -> Recording:
    """The recording with the reads marked whose answers are the same
    whatever the weights and inputs are.
    """
    if recording.decisions:
        reading = Reading(recording, fixed=True)
        reading.run(read_unknown)
        recording.certain |= reading.certain
    return recording


def open_answers(recording: Recording) -> list[int]:
    """Numbers of the other answers that the code could have been given."""
    certain = {
        answer for o in recording.operations if id(o) in recording.certain for answer in o.answers
    }
    return [number for number in range(1, recording.decisions + 1) if number not in certain]


def record_after(
    earlier: Recording,
    subject: Subject,
    inputs: Inputs,
    is_output: Callable[[str], bool],
    flipped: tuple[int, ...] = (),
    filled: bool = False,
) -> Recording | None:
    """One more recording; ``None`` where that way ends in an error, as a refused input does.

    Raises:
        NeedsEntriesError: that way cannot be followed without weights.
    """
    try:
        again = record(subject, *inputs, is_output, after=earlier, flipped=flipped, filled=filled)
    except NeedsEntriesError:
        raise
    except Exception:  # of any class: these answers are invented
        return None
    return with_certain_answers(again)
