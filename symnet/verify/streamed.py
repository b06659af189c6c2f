"""A network whose weights are made while it runs: one tensor at a time,
from a seed, for models larger than memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from symnet.graph import GroupElement, NeuronGraph
from symnet.tracing.examples import Habits, detached, outputs_by_path
from symnet.tracing.execution import ThreadMode, double_precision
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.kept_between_calls import unchanged
from symnet.verify.random_networks import RandomState
from symnet.verify.running import Outputs, act_on_tensor

# Bytes of tensors that are kept for operations that read them again soon (the weights of a
# recurrent layer).
_KEPT = 64 * 2**20


class StreamedNetwork:
    """The network on tensors without memory; what an operation reads is
    made before it and forgotten after.

    A tensor without memory knows its storage, and so does every view of it: of which tensor it is,
    and which part.

    Args:
        model: the caller's; only its structure is copied, its tensors are not.
        state: the random entries, tensor by tensor; it may be near the network's own, where these
            have values.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: NeuronGraph,
        state: RandomState,
        outputs: Sequence[str] | None,
    ) -> None:
        self.graph, self.state, self.outputs = graph, state, outputs
        self.habits = Habits()
        self.read: set[str] = set()  # tensors that some operation read
        self.names: dict[int, str] = {}  # by storage
        # what lies on the device meta and is not of the graph
        self.constants: dict[int, Tensor] = {}
        self.model = self._without_memory(model)

    def _without_memory(self, model: nn.Module) -> nn.Module:
        """A copy of the structure on fake tensors, tied ones still tied."""
        fakes, memo = FakeTensorMode(), {}
        for name, tensor in model.state_dict(keep_vars=True).items():
            key = self.graph.aliases.get(name, name)
            if isinstance(tensor, Tensor) and key in self.graph.weights and id(tensor) not in memo:
                memo[id(tensor)] = self._placeholder(tensor, fakes)
                self.names[_storage(memo[id(tensor)])] = key
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_meta and id(tensor) not in memo:
                memo[id(tensor)] = self._placeholder(tensor, fakes)
                self.constants[_storage(memo[id(tensor)])] = _made_up(tensor, len(self.constants))
        return copy.deepcopy(model, memo).eval()

    def _placeholder(self, tensor: Tensor, fakes: FakeTensorMode) -> Tensor:
        dtype = torch.float64 if tensor.is_floating_point() else tensor.dtype
        with fakes:
            fake = torch.empty(tensor.shape, dtype=dtype, device="cpu")
        return nn.Parameter(fake, requires_grad=False) if isinstance(tensor, nn.Parameter) else fake

    def run(self, inputs: Inputs, trial: int, element: GroupElement | None = None) -> Outputs:
        """The outputs at the random state of a trial, moved by an element."""
        inputs = detached(inputs)
        streaming = _Streaming(self, trial, element)
        with (
            torch.no_grad(),
            unchanged(self.model) as changes,
            double_precision() as execution,
            streaming,
        ):
            result = self.model(*inputs[0], **inputs[1])
            tensors = {
                path: t.detach().clone()
                for path, t in outputs_by_path(result, self.outputs).items()
            }
        self.habits.draws |= execution.draws
        self.habits.kept |= dict.fromkeys(changes)
        return tensors

    def entries(self, storage: int, trial: int, element: GroupElement | None) -> Tensor:
        """The entries of the tensor that a storage stands for, moved by an element."""
        if storage in self.constants:
            return self.constants[storage]
        name = self.names[storage]
        self.read.add(name)
        theta = self.state.entries(name, trial).cpu()
        moves = element is not None and any(
            element.moves(symbol) for symbol in self.graph.weights[name].symbols
        )
        return (
            act_on_tensor(self.graph, element, name, theta)
            if element is not None and moves
            else theta
        )

    def bring_near_its_own(self) -> bool:
        """Lets random states be near the network's own from now on; whether that can be."""
        if any(
            isinstance(tensor, Tensor) and tensor.is_meta for tensor in self.state.state.values()
        ):
            return False
        self.state.nearby = True
        return True


class _Streaming(ThreadMode):
    """Gives every operation the entries that it reads."""

    def __init__(self, network: StreamedNetwork, trial: int, element: GroupElement | None) -> None:
        super().__init__()
        self.network, self.trial, self.element = network, trial, element
        self.made: dict[int, Tensor] = {}
        self.written: dict[int, Tensor] = {}  # tensors that the model writes into are kept

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        fakes = [x for x in _flat((args, kwargs)) if isinstance(x, FakeTensor)]
        if not fakes:
            return function(*args, **kwargs)
        if function.is_view or function is torch.ops.aten.detach.default:
            return function(*args, **kwargs)  # a view of what has no memory has none
        writes = any(
            argument.alias_info is not None and argument.alias_info.is_write
            for argument in function._schema.arguments
        )
        replaced = {id(fake): self.real(fake, keep=writes) for fake in fakes}
        arguments, keywords = _map((args, kwargs), lambda x: replaced.get(id(x), x))
        return function(*arguments, **keywords)

    def real(self, fake: Tensor, keep: bool) -> Tensor:
        """What a tensor without memory stands for: a view of the entries of its storage."""
        storage = _storage(fake)
        entries = self.written.get(storage, self.made.get(storage))
        if entries is None:
            entries = self.network.entries(storage, self.trial, self.element)
            self.made[storage] = entries
            while len(self.made) > 1 and sum(t.nbytes for t in self.made.values()) > _KEPT:
                del self.made[next(iter(self.made))]
        if keep:
            self.written[storage] = entries
        return entries.as_strided(fake.shape, fake.stride(), fake.storage_offset())


def _made_up(tensor: Tensor, number: int) -> Tensor:
    """Entries for a buffer without values: random, positive; positions where they are whole
    numbers, true where they are not.
    """
    if tensor.is_floating_point():
        generator = torch.Generator().manual_seed(number)
        return 0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
    if tensor.dtype == torch.bool or not tensor.dim():
        return torch.ones(tensor.shape, dtype=tensor.dtype)
    return torch.arange(tensor.shape[-1]).to(tensor.dtype).expand(tensor.shape).contiguous()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _flat(item: Any) -> Iterator[Any]:
    if isinstance(item, (list, tuple)):
        for x in item:
            yield from _flat(x)
    elif isinstance(item, dict):
        yield from _flat(list(item.values()))
    else:
        yield item


def _map(item: Any, change: Any) -> Any:
    if isinstance(item, (list, tuple)):
        return type(item)(_map(x, change) for x in item)
    if isinstance(item, dict):
        return {key: _map(x, change) for key, x in item.items()}
    return change(item)
