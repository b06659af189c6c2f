"""Copies of a model and of its example inputs: never the caller's own, of other sizes, with fresh entries."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from symnet.errors import TraceError
from symnet.tracing.recording import map_tensors, plain_kernels, tensors_in

# What a model may raise when it does not take inputs of some shape.
REFUSALS = (
    RuntimeError,
    ValueError,
    IndexError,
    TypeError,
    AssertionError,
    KeyError,
    AttributeError,
    NotImplementedError,
)
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def copy_model(model: nn.Module) -> nn.Module:
    """A copy of the model in eval mode, with tied parameters still tied.

    Raises:
        TraceError: the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        # A computed tensor kept as an attribute (old weight norm) cannot be copied with its graph.
        for value in () if isinstance(module, torch.jit.ScriptModule) else vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo).eval()
    except (RuntimeError, TypeError) as error:
        raise TraceError(
            f"{type(model).__name__} cannot be copied ({error}), and trace works on a copy so that yours stays as it is. "
            "Keep only modules, parameters, buffers and plain values as attributes."
        ) from error


def initialise(model: nn.Module, inputs: Inputs) -> None:
    """Lets lazy modules make their parameters, by one call."""
    if any(nn.parameter.is_lazy(p) for p in [*model.parameters(), *model.buffers()]):
        model(*inputs[0], **inputs[1])


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
                f"An input of type {type(item).__name__} holds tensors ({', '.join(hidden[:3])}) that trace does not see. "
                "Pass them as tensors, or in a list, tuple, dict or dataclass."
            )


def float_state(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The floating-point entries of the state dict, each tensor once, and the further names of tied ones.

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


def detached(inputs: Inputs) -> Inputs:
    """The inputs with every tensor copied."""
    return map_tensors(lambda x: x.detach().clone(), inputs)


def resized(inputs: Inputs, axis: int, old: int, new: int) -> Inputs:
    """The inputs with every axis number ``axis`` of size ``old`` brought to size ``new`` by repeating entries."""

    def change(x: Tensor) -> Tensor:
        if x.dim() > axis and x.shape[axis] == old:
            return x.index_select(axis, torch.arange(new, device=x.device) % old)
        return x

    return map_tensors(change, inputs)


def other_sizes(inputs: Inputs) -> Iterator[tuple[int, int]]:
    """(axis, size) pairs that occur among the inputs, batch first."""
    found = {(axis, size) for _, t in tensors_in(inputs) if t is not None for axis, size in enumerate(t.shape) if size}
    yield from sorted(found)


def other_inputs(inputs: Inputs, generator: torch.Generator, few: bool) -> Iterator[list[tuple[str, Inputs]]]:
    """Fresh inputs of other sizes and with other whole numbers: lists with a description, of which the first that runs will do."""

    def sized(axis: int, size: int, new: int) -> tuple[str, Inputs]:
        changed = refreshed(resized(inputs, axis, size, new), generator, torch.float64)
        return f", axis {axis} of the inputs of size {new} instead of {size}", changed

    sizes = list(other_sizes(inputs))
    if few:  # the batch alone, and a smaller one if it can be: a large model takes seconds for every sample
        yield from ([sized(axis, size, 1 if size > 1 else 2)] for axis, size in sizes[:1])
    else:
        yield from ([sized(axis, size, size + 1), sized(axis, size, 2 * size)] for axis, size in sizes[:4])
        yield from ([sized(axis, size, 1)] for axis, size in [pair for pair in sizes if pair[1] > 1][:2])
        numbers = [t for _, t in tensors_in(inputs) if t is not None and _counts(t) and t.device.type == "cpu"]
        if numbers:
            yield [(", other whole numbers in the inputs", _with_numbers(inputs, generator, k)) for k in (2, 1)]


def _counts(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and tensor.dtype in (torch.int64, torch.int32, torch.int16)


def _with_numbers(inputs: Inputs, generator: torch.Generator, factor: int) -> Inputs:
    """Fresh inputs whose whole numbers may be some that did not occur, up to a multiple of the largest."""

    def change(x: Tensor) -> Tensor:
        if not _counts(x):
            return x
        return torch.randint(factor * max(int(x.max()), 0) + factor, x.shape, generator=generator).to(x.dtype)

    return map_tensors(change, refreshed(inputs, generator, torch.float64))


def accepts(model: nn.Module, inputs: Inputs) -> bool:
    """Whether the model runs on the inputs."""
    try:
        with torch.no_grad(), plain_kernels():
            model(*inputs[0], **inputs[1])
    except REFUSALS:
        return False
    return True


def without_single_sizes(model: nn.Module, inputs: Inputs) -> Inputs:
    """The inputs with axes of size 1 made larger where the model takes that: one token or one sample hides what mixes."""
    for axis, size in other_sizes(inputs):
        if size == 1:
            larger = resized(inputs, axis, 1, 2)
            if accepts(model, larger):
                inputs = larger
    return inputs


def refreshed(inputs: Inputs, generator: torch.Generator, dtype: torch.dtype | None) -> Inputs:
    """The inputs with new entries: normal numbers, or whole numbers drawn from those that were there."""

    def change(x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x
        if x.dtype.is_floating_point:
            kind = dtype or x.dtype
            if not bool(torch.isfinite(x).all()):
                return x.to(kind)
            return torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, kind)
        if x.dtype == torch.bool or x.dtype.is_complex:
            return x
        chosen = torch.randint(x.numel(), (x.numel(),), generator=generator).to(x.device)
        return x.reshape(-1)[chosen].reshape(x.shape)

    return map_tensors(change, inputs)


def randomise(state: Mapping[str, Tensor], seed: int, positive: bool = False) -> None:
    """Overwrites every entry with moderate random numbers, so that no default (zeros, ones) hides a dependence."""
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


class _DoublePrecision(TorchDispatchMode):
    """Models cast inside (norms to float32); here such casts give float64, so that errors are not hidden."""

    _LOW = (torch.float32, torch.float16, torch.bfloat16)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in self._LOW:
            kwargs["dtype"] = torch.float64
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dtype.is_floating_point]
        if len({x.dtype for x in tensors}) > 1 and not any(a.alias_info for a in function._schema.arguments):
            raise_to = lambda x: x.double() if isinstance(x, Tensor) and x.dtype in self._LOW else x  # noqa: E731
            args, kwargs = tree_map(raise_to, (args, kwargs))
        return function(*args, **kwargs)


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Inside, new tensors and casts are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _DoublePrecision():
            yield
    finally:
        torch.set_default_dtype(before)


def is_chosen(path: str, outputs: Sequence[str] | None) -> bool:
    """Whether an output path is one of the named outputs or lies inside one."""
    return outputs is None or any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in outputs)


def run(model: nn.Module, inputs: Inputs, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
    """The model's output tensors by path, without gradients, in float64 where it can; random numbers repeat."""
    inputs = detached(inputs)  # the model may write into them
    with torch.no_grad(), plain_kernels(), double_precision():
        torch.manual_seed(0)
        result = model(*inputs[0], **inputs[1])
    return {p: t.detach().clone() for p, t in tensors_in(result) if t is not None and is_chosen(p, outputs)}
