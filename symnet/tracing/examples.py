"""Copies of a model and of its example inputs: never the caller's own,
of other sizes, with fresh entries.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from symnet.errors import TraceError
from symnet.tracing.execution import double_precision, plain_kernels
from symnet.tracing.fresh_inputs import FreshInputs, Inputs
from symnet.tracing.kept_between_calls import kept_notes, unchanged
from symnet.tracing.recording import map_tensors, tensors_in
from symnet.tracing.weightless import lacks_entries


def copy_model(model: nn.Module, stand_ins: Mapping[int, Any] | None = None) -> nn.Module:
    """A copy of the model in eval mode, with tied parameters still tied.

    Args:
        stand_ins: by the id of an object of the model, what takes its place in the copy.

    Raises:
        TraceError: the module cannot be copied.
    """
    memo: dict[int, Any] = dict(stand_ins or {})
    for module in model.modules():
        # A computed tensor kept as an attribute (old weight norm) cannot be copied with its graph.
        for value in () if isinstance(module, torch.jit.ScriptModule) else vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo).eval()
    except (RuntimeError, TypeError) as error:
        raise TraceError(
            f"{type(model).__name__} cannot be copied ({error}), and trace works on a copy so "
            "that yours stays as it is. Keep only modules, parameters, buffers and plain values "
            "as attributes."
        ) from error


def run_plainly(model: nn.Module, inputs: Inputs) -> None:
    """Runs a private copy once as it is, before anything of ours is around
    it; lazy modules make their parameters.

    Raises:
        TraceError: it does not run on these inputs; a tuple of inputs in place of several is told.
    """
    is_lazy = any(nn.parameter.is_lazy(p) for p in [*model.parameters(), *model.buffers()])
    try:
        with (
            torch.no_grad(),
            contextlib.nullcontext() if is_lazy else unchanged(model),
            plain_kernels(),
        ):
            model(*detached(inputs)[0], **detached(inputs)[1])
    except Exception as error:  # of any class: it is the model's own
        raise TraceError(
            f"{type(model).__name__} does not run on these inputs: {type(error).__name__}: "
            f"{error}. {_advice(model, inputs)}"
        ) from error


def initialise(model: nn.Module, inputs: Inputs) -> None:
    """Lets lazy modules make their parameters, by one call."""
    if any(nn.parameter.is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
        model(*inputs[0], **inputs[1])


def refreshed(inputs: Inputs, generator: torch.Generator, dtype: torch.dtype | None) -> Inputs:
    """The inputs with new entries of the same domains."""
    return FreshInputs(inputs).draw(generator, dtype)


def _advice(model: nn.Module, inputs: Inputs) -> str:
    """What to do about inputs on which a model does not run."""
    args, kwargs = inputs
    if (
        len(args) == 1
        and isinstance(args[0], (tuple, list))
        and accepts(model, (tuple(args[0]), kwargs))
    ):
        return "It runs on the entries of your one tuple as inputs of their own: pass *inputs."
    return "Pass inputs that the model takes."


def refuse_hidden_tensors(structure: Any) -> None:
    """Refuses inputs that hold tensors out of sight.

    Raises:
        TraceError: an object that is no tensor, list, tuple, mapping or dataclass holds tensors.
    """
    for item in tree_leaves(structure):
        if (
            isinstance(item, (Tensor, nn.Module, Mapping))
            or dataclasses.is_dataclass(item)
            or not hasattr(item, "__dict__")
        ):
            continue
        hidden = [name for name, value in vars(item).items() if isinstance(value, Tensor)]
        if hidden:
            raise TraceError(
                f"An input of type {type(item).__name__} holds tensors ({', '.join(hidden[:3])}) "
                "that trace does not see. Pass them as tensors, or in a list, tuple, dict or "
                "dataclass."
            )


def float_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The floating-point entries of the state dict, each tensor once,
    and the further names of tied ones.

    Raises:
        TraceError: two entries share some of their memory, but are not the same tensor.
    """
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    places: dict[tuple[Any, ...], str] = {}
    storages: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not tensor.dtype.is_floating_point:
            continue
        storage = tensor.untyped_storage()._cdata
        place = (storage, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
        if place in places and tensor.numel():
            aliases[name] = places[place]
            continue
        if storage in storages and tensor.numel():
            raise TraceError(
                f"'{name}' and '{storages[storage]}' share memory without being the same tensor. "
                "Give each its own memory (tensor.clone()), or tie the whole tensor."
            )
        places[place] = storages[storage] = name
        kept[name] = tensor
    return kept, aliases


@contextlib.contextmanager
def differentiable(state: Mapping[str, Tensor]) -> Iterator[list[Tensor]]:
    """All entries of a state with gradients on, buffers too."""
    leaves = list(state.values())
    for tensor in leaves:
        tensor.requires_grad_(True)
    try:
        yield leaves
    finally:
        for tensor in leaves:
            tensor.requires_grad_(False)


def detached(inputs: Inputs) -> Inputs:
    """The inputs with every tensor copied."""
    return map_tensors(lambda x: x.detach().clone(), inputs)


def other_sizes(inputs: Inputs) -> Iterator[tuple[int, int]]:
    """(axis, size) pairs that occur among the inputs, batch first."""
    sizes = {
        (axis, size)
        for _, t in tensors_in(inputs)
        if t is not None
        for axis, size in enumerate(t.shape)
        if size
    }
    yield from sorted(sizes)


def other_inputs(
    fresh: FreshInputs, generator: torch.Generator, few: bool
) -> Iterator[list[tuple[str, Inputs]]]:
    """Fresh inputs of other sizes and with other whole numbers: lists with a description, of
    which the first that runs will do.
    """

    def sized(axis: int, size: int, new: int) -> tuple[str, Inputs]:
        changed = fresh.of_size(axis, size, new).draw(generator)
        return f", axis {axis} of the inputs of size {new} instead of {size}", changed

    inputs = fresh.inputs
    sizes = list(other_sizes(inputs))
    # the batch alone, and a smaller one if it can be: a large model takes seconds for every sample
    if few:
        yield from ([sized(axis, size, 1 if size > 1 else 2)] for axis, size in sizes[:1])
    else:
        yield from (
            [sized(axis, size, size + 1), sized(axis, size, 2 * size)] for axis, size in sizes[:4]
        )
        yield from (
            [sized(axis, size, 1)] for axis, size in [pair for pair in sizes if pair[1] > 1][:2]
        )
        numbers = [
            t
            for _, t in tensors_in(inputs)
            if t is not None and _counts(t) and t.device.type == "cpu"
        ]
        if numbers:
            yield [
                (", other whole numbers in the inputs", _with_numbers(fresh, generator, k))
                for k in (2, 1)
            ]


def _counts(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and tensor.dtype in (torch.int64, torch.int32, torch.int16)


def _with_numbers(fresh: FreshInputs, generator: torch.Generator, factor: int) -> Inputs:
    """Fresh inputs whose whole numbers may be some that did not occur,
    up to a multiple of the largest.
    """

    def change(x: Tensor) -> Tensor:
        if not _counts(x):
            return x
        return torch.randint(
            factor * max(int(x.max()), 0) + factor, x.shape, generator=generator
        ).to(x.dtype)

    return map_tensors(change, fresh.draw(generator))


def all_larger(inputs: Inputs) -> Inputs:
    """The inputs with every axis of size 1 made larger: one token or
    one sample hides what mixes.
    """
    for axis, size in list(other_sizes(inputs)):
        if size == 1:
            inputs = FreshInputs(inputs).of_size(axis, 1, 2).inputs
    return inputs


def larger_inputs(inputs: Inputs, accepts: Callable[[Inputs], bool]) -> Inputs:
    """The inputs with axes of size 1 made larger, one after another, where the model takes that."""
    for axis, size in list(other_sizes(inputs)):
        if size == 1:
            larger = FreshInputs(inputs).of_size(axis, 1, 2).inputs
            if accepts(larger):
                inputs = larger
    return inputs


def accepts(model: nn.Module, inputs: Inputs) -> bool:
    """Whether the model runs on the inputs."""
    try:
        with torch.no_grad(), unchanged(model), plain_kernels():
            model(*inputs[0], **inputs[1])
    except Exception:  # of any class: these inputs are invented
        return False
    return True


def without_single_sizes(model: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs with axes of size 1 made larger where the model takes that."""
    return larger_inputs(inputs, lambda larger: accepts(model, larger))


def randomise(state: Mapping[str, Tensor], seed: int, positive: bool = False) -> None:
    """Overwrites every entry with moderate random numbers, so that no
    default (zeros, ones) hides a dependence.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in state.values():
            if tensor.dim() < 2:
                entries = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
            else:
                fan_in = max(tensor.numel() // tensor.shape[0], 1)
                entries = (
                    torch.randn(tensor.shape, generator=generator).double() / fan_in**0.5
                )  # float32 is drawn faster
                if tensor.numel() == max(tensor.shape) or positive:
                    entries = entries.abs() + 0.5 / (fan_in if positive else 1)
            tensor.copy_(entries)


def is_chosen(path: str, outputs: Sequence[str] | None) -> bool:
    """Whether an output path is one of the named outputs or lies inside one."""
    return outputs is None or any(
        path == name or path.startswith((f"{name}.", f"{name}[")) for name in outputs
    )


@dataclasses.dataclass
class Habits:
    """What runs of a network showed of it: whether it draws random
    numbers, and what it keeps between calls.
    """

    draws: bool = False
    kept: dict[str, None] = dataclasses.field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """The same in words."""
        drawn = (
            ["the network draws random numbers; they were the same in every run"]
            if self.draws
            else []
        )
        return drawn + kept_notes(list(self.kept))


def outputs_by_path(result: Any, outputs: Sequence[str] | None) -> dict[str, Tensor]:
    """The tensors and numbers among what a network returned, of those outputs that count."""
    return {
        path: tensor
        for path, tensor in tensors_in(result, numbers=True)
        if tensor is not None and is_chosen(path, outputs)
    }


def run(
    model: nn.Module,
    inputs: Inputs,
    outputs: Sequence[str] | None = None,
    habits: Habits | None = None,
) -> dict[str, Tensor]:
    """The model's output tensors by path, without gradients, in float64;
    random numbers repeat, and nothing is kept.
    """
    inputs = detached(inputs)  # the model may write into them
    with torch.no_grad(), unchanged(model) as changes, double_precision() as execution:
        result = model(*inputs[0], **inputs[1])
        tensors = {
            path: tensor.detach().clone()
            for path, tensor in outputs_by_path(result, outputs).items()
        }
    if any(map(lacks_entries, tensors.values())):
        raise TraceError(
            f"{type(model).__name__} answers with a tensor of an earlier run, so it gives other "
            "outputs when it is called a second time. Reset what it keeps outside of itself "
            "between calls."
        )
    if habits is not None:
        habits.draws |= execution.draws
        habits.kept |= dict.fromkeys(changes)
    return tensors
