"""What a module computes, as a list of ATen operations between versioned values.

The module is run once, eagerly, under a ``TorchDispatchMode``: no graph breaks, constants keep their
values, and writing in place makes a new value of every tensor that shares the memory.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Value:
    """A tensor at one moment: its shape, and its entries if they depend on nothing but the code."""

    __slots__ = ("constant", "dtype", "kept", "number", "origin", "shape", "varies")

    def __init__(self, number: int, tensor: Tensor, origin: str | None = None, constant: bool = False) -> None:
        self.number = number
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.origin = origin  # 'state:weight' or 'input:0' for what the network starts from
        self.constant = constant
        self.kept: Tensor | None = tensor.detach().clone() if constant else None
        self.varies = False  # a whole number or mask of the state dict: constant, but another model may hold others

    def __repr__(self) -> str:
        return f"%{self.number}{list(self.shape)}"


@dataclasses.dataclass(slots=True)
class Operation:
    """One call of an ATen operation."""

    name: str  # 'add', 'convolution', ... ; an in-place operation has its underscore removed
    function: Any
    arguments: tuple[Any, ...]  # with a Value for every tensor
    keywords: dict[str, Any]
    outputs: list[Value | None]
    module: str

    def inputs(self) -> list[Value]:
        """Every value that the operation reads, in order."""
        return list(values_in((self.arguments, self.keywords)))

    def __str__(self) -> str:
        return f"{self.name} in {self.module or 'the model'}"


@dataclasses.dataclass(slots=True)
class Recording:
    """Operations in the order in which they ran, and where they start and end."""

    operations: list[Operation]
    state: dict[str, Value]
    inputs: list[tuple[str, Value]]
    outputs: list[tuple[str, Value]]
    skipped_outputs: list[str]
    mutated: set[int]  # numbers of constants that later received computed entries
    decisions: int = 0  # how often the code asked whether a computed tensor is true

    def last_number(self) -> int:
        """A number that no value's exceeds."""
        values = [v for o in self.operations for v in (*o.inputs(), *o.outputs) if v is not None]
        values += [*self.state.values(), *(v for _, v in (*self.inputs, *self.outputs))]
        return max((v.number for v in values), default=0)

    def reads_numbers(self) -> bool:
        """Whether the code read numbers out of computed tensors: its way may depend on them."""
        return any(o.name in SCALAR_READS and not all(v.constant for v in o.inputs()) for o in self.operations)

    def joined(self, other: Recording) -> Recording:
        """Both recordings, one after the other, of the same state."""
        return dataclasses.replace(
            self,
            operations=[*self.operations, *other.operations],
            inputs=[*self.inputs, *other.inputs],
            outputs=[*self.outputs, *other.outputs],
            mutated=self.mutated | other.mutated,
        )


def map_tensors(change: Callable[[Tensor], Tensor], structure: Any) -> Any:
    """The structure with every tensor changed, looking into dataclasses and any mapping as well."""

    def visit(item: Any) -> Any:
        if isinstance(item, Tensor):
            return change(item)
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            new = copy.copy(item)
            for field in dataclasses.fields(item):
                object.__setattr__(new, field.name, map_tensors(change, getattr(item, field.name)))
            return new
        if isinstance(item, MutableMapping):
            new_mapping = copy.copy(item)
            for key, entry in item.items():
                new_mapping[key] = map_tensors(change, entry)
            return new_mapping
        return item

    return tree_map(visit, structure)


def values_in(structure: Any) -> Iterator[Value]:
    """Every Value in nested arguments."""
    if isinstance(structure, Value):
        yield structure
    elif isinstance(structure, (list, tuple)):
        for item in structure:
            yield from values_in(item)
    elif isinstance(structure, dict):
        for item in structure.values():
            yield from values_in(item)


def tensors_in(structure: Any, path: str = "") -> Iterator[tuple[str, Tensor | None]]:
    """Every tensor in an input or output structure with its path; ``None`` for an object that is not looked into."""
    if isinstance(structure, Tensor):
        yield path, structure
    elif isinstance(structure, Mapping):
        for key, item in structure.items():
            yield from tensors_in(item, f"{path}.{key}" if path else str(key))
    elif isinstance(structure, (list, tuple)):
        for number, item in enumerate(structure):
            yield from tensors_in(item, f"{path}[{number}]")
    elif dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        for field in dataclasses.fields(structure):
            item = getattr(structure, field.name)
            yield from tensors_in(item, f"{path}.{field.name}" if path else field.name)
    elif not isinstance(structure, (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)):
        yield path, None


_FACTORIES = {
    "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like",
    "randn_like", "new_empty_strided", "empty_strided",
}  # fmt: skip
# Reading one number out of a tensor: control flow may depend on it.
SCALAR_READS = {"_local_scalar_dense", "equal", "is_nonzero"}


class _Recorder(TorchDispatchMode):
    def __init__(
        self, state: Mapping[str, Tensor], modules: list[str], known: Mapping[str, Value], flipped: int | None
    ) -> None:
        super().__init__()
        self.flipped = flipped  # which decision takes the other branch
        self.decisions = 0
        self.operations: list[Operation] = []
        self.modules = modules
        self.alive: list[Tensor] = []  # keeps ids unique
        self.current: dict[int, tuple[Value, int]] = {}  # tensor id -> its value, and the writes it has seen
        self.writes: dict[int, list[tuple[int, Value]]] = {}  # storage -> (tensor id, value) of every write
        self.constant_storages: dict[int, list[Value]] = {}
        self.mutated: set[int] = set()
        self.state_places: dict[tuple[Any, ...], Value] = {}
        self.count = 0
        for name, tensor in state.items():
            if name in known:
                self.alive.append(tensor)
                self.current[id(tensor)] = known[name], 0
            value = known.get(name) or self.start(tensor, f"state:{name}")
            self.state_places[_place(tensor)] = value

    def new_value(self, tensor: Tensor, origin: str | None = None, constant: bool = False) -> Value:
        self.count += 1
        value = Value(self.count, tensor, origin, constant)
        self.alive.append(tensor)
        storage = _storage(tensor)
        if constant:
            self.constant_storages.setdefault(storage, []).append(value)
        self.current[id(tensor)] = value, len(self.writes.get(storage, ()))
        return value

    def start(self, tensor: Tensor, origin: str) -> Value:
        return self.new_value(tensor, origin)

    def read(self, tensor: Tensor) -> Value:
        """The value that a tensor has now."""
        if id(tensor) not in self.current:
            known = self.state_places.get(_place(tensor))
            if known is not None:
                self.alive.append(tensor)
                self.current[id(tensor)] = known, 0
            else:
                return self.new_value(tensor, constant=True)
        value, seen = self.current[id(tensor)]
        writes = self.writes.get(_storage(tensor), [])
        if seen < len(writes):
            news = [written for who, written in writes[seen:] if who != id(tensor)]
            if news:
                constant = value.constant and all(new.constant for new in news)
                updated = self.new_value(tensor, constant=constant)
                if not constant:
                    self.operations.append(
                        Operation("alias_update", None, (value, news), {}, [updated], self.modules[-1])
                    )
                value = updated
            self.current[id(tensor)] = value, len(writes)
        return value

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments, keywords = tree_map(lambda x: self.read(x) if isinstance(x, Tensor) else x, (args, kwargs))
        result = function(*args, **kwargs)
        name = function._schema.name.split("::")[-1]
        operation = Operation(name, function, tuple(arguments), dict(keywords), [], self.modules[-1])
        constant = name in _FACTORIES or all(value.constant for value in operation.inputs())
        varies = name not in _FACTORIES and any(value.varies for value in operation.inputs())
        varies |= torch.Tag.nondeterministic_seeded in function.tags
        if isinstance(result, bool) and name in SCALAR_READS and not constant:
            self.decisions += 1
            result = result != (self.flipped == self.decisions)
        written = [
            (schema.name, args[k] if k < len(args) else kwargs.get(schema.name))
            for k, schema in enumerate(function._schema.arguments)
            if schema.alias_info is not None and schema.alias_info.is_write
        ]
        for tensor in _tensors([tensor for _, tensor in written]):
            self.write(tensor, operation, constant)
        if written:
            for value in operation.outputs:
                if value is not None:
                    value.varies = varies
            operation.name = name.rstrip("_") if not name.endswith("__") else name
            if not constant:
                self.operations.append(operation)
            return result
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        operation.outputs = [self.new_value(x, constant=constant) if isinstance(x, Tensor) else None for x in outputs]
        for value in operation.outputs:
            if value is not None:
                value.varies = varies
        # Views of constants are kept: something computed may be written into the constant later.
        if not constant or function.is_view:
            self.operations.append(operation)
        return result

    def write(self, tensor: Tensor, operation: Operation, constant: bool) -> None:
        storage = _storage(tensor)
        if not constant:
            for value in self.constant_storages.get(storage, []):
                self.mutated.add(value.number)
        new = self.new_value(tensor, constant=constant)
        writes = self.writes.setdefault(storage, [])
        writes.append((id(tensor), new))
        self.current[id(tensor)] = new, len(writes)
        operation.outputs.append(new)


class _Rewritten(TorchFunctionMode):
    """``one_hot`` looks at its largest and smallest entries; as a comparison it does not."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.nn.functional.one_hot:
            index = args[0] if args else kwargs["tensor" if "tensor" in kwargs else "input"]
            classes = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
            if classes > 0:
                return (index.unsqueeze(-1) == torch.arange(classes, device=index.device)).to(torch.int64)
        return function(*args, **kwargs)


def _tensors(items: Sequence[Any]) -> Iterator[Tensor]:
    for item in items:
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _tensors(item)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return (_storage(tensor), tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))


@contextlib.contextmanager
def plain_kernels() -> Iterator[None]:
    """Inside, attention and recurrent layers run as the operations they are made of; settings are restored."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    mkldnn, fastpath = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch._C._set_mkldnn_enabled(mkldnn)
        torch.backends.mha.set_fastpath_enabled(fastpath)


@contextlib.contextmanager
def module_paths(model: nn.Module) -> Iterator[list[str]]:
    """The stack of paths of the modules that are running, the innermost last."""
    stack: list[str] = [""]
    handles = []
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue  # takes no hooks; its operations count as those of the module around it

        def enter(_module: nn.Module, _args: Any, path: str = path) -> None:
            stack.append(path)

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            stack.pop()

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()


def record(
    model: nn.Module,
    state: Mapping[str, Tensor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    is_output: Callable[[str], bool] = lambda path: True,
    after: Recording | None = None,
    flipped: int | None = None,
) -> Recording:
    """The recording of ``model(*args, **kwargs)``.

    Args:
        model: a module whose hooks may be changed for the duration of the call.
        state: its floating-point state by name, tied tensors once.
        is_output: which of the returned tensors count, by path.
        after: an earlier recording of the same network, whose state this one starts from.
        flipped: the number of a decision (from 1) for which the code is told the opposite, to see the other branch.
    """
    with module_paths(model) as modules, plain_kernels(), torch.enable_grad():
        recorder = _Recorder(state, modules, after.state if after else {}, flipped)
        recorder.count = after.last_number() if after else recorder.count
        for tensor in model.state_dict(keep_vars=True).values():
            if isinstance(tensor, Tensor) and not tensor.dtype.is_floating_point:
                recorder.new_value(tensor, constant=True).varies = True
        given = [(path, t) for path, t in tensors_in((args, dict(kwargs))) if t is not None]
        inputs = [(path, recorder.start(tensor, f"input:{path}")) for path, tensor in given]
        with _Rewritten(), recorder:
            result = model(*args, **kwargs)
        found = list(tensors_in(result))
        outputs = [(path, recorder.read(t)) for path, t in found if t is not None and is_output(path)]
        skipped = [path for path, t in found if t is None]
    states = {value.origin.removeprefix("state:"): value for value in recorder.state_places.values() if value.origin}
    recording = Recording(recorder.operations, states, inputs, outputs, skipped, recorder.mutated, recorder.decisions)
    return drop_dead_code(recording)


def drop_dead_code(recording: Recording) -> Recording:
    """The recording without operations that no output (and no number read by the code) depends on."""
    live = {value.number for _, value in recording.outputs}
    kept = []
    for operation in reversed(recording.operations):
        if operation.name in SCALAR_READS or any(o is not None and o.number in live for o in operation.outputs):
            kept.append(operation)
            live.update(value.number for value in operation.inputs())
    return dataclasses.replace(recording, operations=kept[::-1])
