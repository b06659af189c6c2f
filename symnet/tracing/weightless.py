"""Running a network without its weights: what touches one has shapes and
number types, all else is computed really.

Parameters and the float entries of the state are *fake* tensors of torch (shape, type, device, no
memory). Masks, positions and rotary tables depend on no parameter: they run really, so that their
values are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._pytree import tree_map

from symnet.tracing.execution import ThreadMode

# Made from the shape of a tensor, not from its entries.
FACTORIES = {
    "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like",
    "empty_like", "rand_like", "randn_like", "new_empty_strided", "empty_strided",
}  # fmt: skip
# Constants of more entries than this have no values where weights have none.
_MOST = 1 << 24


def _grouped_shape(a: Tensor, b: Tensor, *_: Any, **__: Any) -> Tensor:
    """Something of the shape of products of groups of rows with a matrix each."""
    if a.dim() == b.dim() == 3:
        return torch.bmm(a, b)
    return torch.mm(a[0] if a.dim() == 3 else a, b[0] if b.dim() == 3 else b)


# Whose own shape rule asks for more than it must, or for entries.
_SHAPES: dict[Any, Callable[..., Any]] = {torch.ops.aten._grouped_mm.default: _grouped_shape}


class NeedsEntriesError(RuntimeError):
    """The code asked for the value of something that depends on the weights."""


class Weightless(ThreadMode):
    """While it is active, operations with a fake argument make fake results,
    also where they write into real tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fakes = FakeTensorMode(allow_non_fake_inputs=True)
        # memory of real tensors into which fake entries were written
        self.written: dict[int, Tensor] = {}

    def empty(self, like: Tensor) -> Tensor:
        """A fake tensor of the same shape, strides and type; of a tensor
        without memory one that seems to have some.
        """
        device = "cpu" if like.is_meta else like.device
        with self.fakes:
            return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=device)

    def lacks_entries(self, tensor: Tensor) -> bool:
        return isinstance(tensor, FakeTensor) or tensor.untyped_storage()._cdata in self.written

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = list(_tensors((args, kwargs)))
        if not any(self.lacks_entries(tensor) for tensor in tensors):
            return function(*args, **kwargs)
        name = function._schema.name.split("::")[-1]
        if name in FACTORIES:
            return self._make(function, args, kwargs)
        if function.is_view and not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            # a view of memory with fake entries is known by its memory
            return function(*args, **kwargs)
        stand_ins = {
            id(t): self.empty(t)
            for t in tensors
            if not isinstance(t, FakeTensor) and self.lacks_entries(t)
        }
        replaced = tree_map(
            lambda x: stand_ins.get(id(x), x) if isinstance(x, Tensor) else x, (args, kwargs)
        )
        written = list(_written_by(function, args, kwargs))
        function = _SHAPES.get(function, function)
        try:
            result = function(*replaced[0], **replaced[1])
        except (DataDependentOutputException, DynamicOutputShapeException):
            raise NeedsEntriesError(name) from None
        outgoing = {id(t) for t in written}
        for tensor in tensors:
            if id(tensor) in outgoing and not isinstance(tensor, FakeTensor):
                self.written[tensor.untyped_storage()._cdata] = tensor
        originals = {
            id(stand_in): t for t in tensors if (stand_in := stand_ins.get(id(t))) is not None
        }
        return tree_map(lambda x: originals.get(id(x), x) if isinstance(x, Tensor) else x, result)

    @staticmethod
    def _make(function: Any, args: Any, kwargs: Any) -> Any:
        """A constant with entries, from a stand-in that takes one entry of memory."""

        def shape_only(x: Any) -> Any:
            if isinstance(x, FakeTensor) and x.numel() <= _MOST:
                return torch.empty((), dtype=x.dtype, device=x.device).expand(x.shape)
            return x

        arguments, keywords = tree_map(shape_only, (args, kwargs))
        return function(*arguments, **keywords)


def lacks_entries(tensor: Tensor) -> bool:
    """Whether a tensor has a shape but no entries."""
    return isinstance(tensor, FakeTensor) or tensor.is_meta


def _tensors(structure: Any) -> Iterator[Tensor]:
    if isinstance(structure, Tensor):
        yield structure
    elif isinstance(structure, (list, tuple)):
        for item in structure:
            yield from _tensors(item)
    elif isinstance(structure, dict):
        yield from _tensors(list(structure.values()))


def _written_by(function: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    for k, schema in enumerate(function._schema.arguments):
        if schema.alias_info is not None and schema.alias_info.is_write:
            yield from _tensors(args[k] if k < len(args) else kwargs.get(schema.name))


def constant_entries(tensor: Tensor) -> Tensor | None:
    """What stands for a tensor that is no entry of the state: its
    entries, or random ones if it has none.

    Whole numbers and truth values cannot be made up, and neither can very many numbers: then it is
    None.
    """
    if not tensor.is_meta:
        return tensor.detach().clone()
    if not tensor.dtype.is_floating_point or tensor.numel() > _MOST:
        return None
    generator = torch.Generator().manual_seed(tensor.numel())
    return torch.rand(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype) + 0.5


def stand_ins(
    model: nn.Module, weight: Callable[[Tensor], Tensor], unknown: Callable[[Tensor], Tensor]
) -> dict[int, Any]:
    """For ``copy.deepcopy``: by its id, what stands for each tensor of a model.

    Args:
        weight: what stands for a float entry of the state.
        unknown: what stands for a constant that has no entries and cannot be given any.
    """
    state = {
        id(t)
        for t in model.state_dict(keep_vars=True).values()
        if isinstance(t, Tensor) and t.is_floating_point()
    }
    memo: dict[int, Any] = {}
    places: dict[tuple[Any, ...], Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        place = (
            tensor.untyped_storage()._cdata,
            tensor.storage_offset(),
            tuple(tensor.shape),
            tuple(tensor.stride()),
        )
        if place not in places or not tensor.numel():
            if id(tensor) in state:
                made = weight(tensor)
            else:
                entries = constant_entries(tensor)
                made = unknown(tensor) if entries is None else entries
            places[place] = (
                nn.Parameter(made, tensor.requires_grad)
                if isinstance(tensor, nn.Parameter)
                else made
            )
        memo[id(tensor)] = places[place]
    return memo
