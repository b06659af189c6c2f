"""A module run once under the recorder: its operations, inputs and outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from symnet.tracing.execution import plain_kernels
from symnet.tracing.recorder import Recorder, Rewritten
from symnet.tracing.recording import (
    SCALAR_READS,
    Recording,
    map_tensors,
    module_paths,
    tensors_in,
)
from symnet.tracing.rewriting import join_halves
from symnet.tracing.subject import Subject


def record(
    subject: Subject,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    is_output: Callable[[str], bool] = lambda path: True,
    after: Recording | None = None,
    flipped: tuple[int, ...] = (),
    filled: bool = False,
) -> Recording:
    """The recording of ``model(*args, **kwargs)``.

    Args:
        subject: the copy to run; its modules' hooks are changed for the duration of the call.
        is_output: which of the returned tensors count, by path.
        after: an earlier recording of the same network, whose state this one starts from.
        flipped: which of the other answers (from 1) the code is given for what it asks of a
            computed tensor: the opposite of a truth value, extreme or small numbers, to see other
            branches.
        filled: makes masks that hold nowhere hold everywhere, to see what is done with what they
            choose.

    Raises:
        NeedsEntriesError: the copy has no weights, and the code asks for values that depend on
            them.
    """
    model = subject.model
    # the model may write into them
    args, kwargs = map_tensors(lambda x: x.detach().clone(), (args, dict(kwargs)))
    with module_paths(model) as modules, torch.enable_grad():
        recorder = Recorder(
            subject.state,
            modules,
            after.state if after else {},
            flipped,
            filled,
            subject.weightless,
            subject.progress,
        )
        recorder.count = after.last_number() if after else recorder.count
        for tensor in model.state_dict(keep_vars=True).values():
            if isinstance(tensor, Tensor) and not tensor.dtype.is_floating_point:
                recorder.foreign(tensor, varies=True)
        for tensor in model.buffers():  # those that are not in the state dict
            recorder.read(tensor)
        argument_tensors = [
            (path, t) for path, t in tensors_in((args, dict(kwargs))) if t is not None
        ]
        inputs = [
            (path, recorder.start(tensor, f"input:{path}")) for path, tensor in argument_tensors
        ]
        with subject.running(), Rewritten(recorder), recorder, plain_kernels():
            result = model(*args, **kwargs)
        tensors = list(tensors_in(result))
        outputs = [
            (path, recorder.read(t)) for path, t in tensors if t is not None and is_output(path)
        ]
        skipped = [path for path, t in tensors if t is None]
    states = {
        value.origin.removeprefix("state:"): value
        for value in recorder.state_places.values()
        if value.origin
    }
    recording = Recording(
        recorder.operations,
        states,
        inputs,
        outputs,
        skipped,
        recorder.mutated,
        chose_nothing=recorder.chose_nothing,
        decisions=recorder.decisions,
    )
    return drop_dead_code(join_halves(drop_dead_code(recording)))


def drop_dead_code(recording: Recording) -> Recording:
    """The recording without operations that no output (and no number
    read by the code) depends on.
    """
    live = {value.number for _, value in recording.outputs}
    kept = []
    for operation in reversed(recording.operations):
        if operation.name in SCALAR_READS or any(
            o is not None and o.number in live for o in operation.outputs
        ):
            kept.append(operation)
            live.update(value.number for value in operation.inputs())
    return dataclasses.replace(recording, operations=kept[::-1])
