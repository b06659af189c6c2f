"""What trace works on: a private copy of a model, with its weights if it
is small, without them if it is large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from symnet.errors import TraceError
from symnet.tracing.examples import accepts, copy_model, float_state
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.progress import Progress
from symnet.tracing.weightless import Weightless, stand_ins

# Entries of the state up to which a copy is made with its weights.
SMALL_STATE = 5_000_000


@dataclass(frozen=True)
class Subject:
    """A private copy of a model in eval mode.

    Args:
        model: the copy; what is written into it is not seen by anyone else.
        state: its floating-point state by name, tied tensors once.
        aliases: further names of tied tensors.
        weightless: how operations run if the copy has no weights; ``None`` if it has.
    """

    model: nn.Module
    state: dict[str, Tensor]
    aliases: dict[str, str]
    weightless: Weightless | None
    progress: Progress = field(default_factory=Progress)

    @property
    def entries(self) -> int:
        """How many entries its state has."""
        return sum(tensor.numel() for tensor in self.state.values())

    def accepts(self, inputs: Inputs) -> bool:
        """Whether the model runs on the inputs."""
        with self.running():
            return accepts(self.model, inputs)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Inside, the model can be called."""
        if self.weightless is None:
            yield
            return
        self.weightless.written.clear()
        with self.weightless:
            yield


def has_memory(model: nn.Module) -> bool:
    """Whether every parameter and buffer has entries, or will have once it is made."""
    return not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def make_subject(model: nn.Module, weights: bool | None = None) -> Subject:
    """The private copy of a model.

    Args:
        model: the caller's.
        weights: whether the copy has weights; unless given, if the model has some and is small.

    Raises:
        TraceError: the model cannot be copied, or two entries of its state share some of their
            memory.
    """
    lazy = any(nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers()))
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
    if lazy or scripted:
        if not has_memory(model):
            raise TraceError(
                f"{type(model).__name__} is on the device 'meta' and holds "
                f"{'lazy' if lazy else 'scripted'} modules, which run with weights only. Give it "
                "memory: make it without torch.device('meta')."
            )
        copied = copy_model(model)
        return Subject(copied, {}, {}, None)  # the state is read when lazy modules have made it
    state, aliases = float_state(model)
    if weights is None:
        weights = (
            has_memory(model) and sum(tensor.numel() for tensor in state.values()) <= SMALL_STATE
        )
    if weights:
        copied = copy_model(model)
        return Subject(copied, *float_state(copied), None)
    weightless = Weightless()
    copied = copy_model(model, stand_ins(model, weightless.empty, weightless.empty))
    entries = copied.state_dict(keep_vars=True)
    return Subject(copied, {name: entries[name] for name in state}, aliases, weightless)


def copy_with_memory(model: nn.Module) -> nn.Module | None:
    """A copy that can be run with random weights; None where whole numbers
    or masks of the model are not known.
    """
    if has_memory(model):
        return copy_model(model)
    unknown: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        unknown.append(tensor)
        return tensor

    memo = stand_ins(model, lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype), note)
    return None if unknown else copy_model(model, memo)
