"""Recording a module: it is run once, eagerly, under a dispatch mode.

There are no graph breaks, constants keep their values, and writing in place makes a new value of
every tensor that shares the memory. What the code reads out of computed tensors (truth values,
numbers, arrays) can be changed, to see where else it would go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from symnet.tracing.execution import REFERENCES, ThreadMode
from symnet.tracing.progress import Progress
from symnet.tracing.recording import (
    SCALAR_READS,
    Operation,
    Value,
    values_in,
)
from symnet.tracing.weightless import FACTORIES, NeedsEntriesError, Weightless, lacks_entries

_EMPTY = {
    "empty",
    "new_empty",
    "empty_like",
    "empty_strided",
    "new_empty_strided",
    "empty_permuted",
}
# Their results may be empty, depending on entries.
_CHOICES = {"nonzero", "index", "masked_select", "_unique2"}
# Change a tensor's shape, not its entries.
_RESHAPES = {
    "t",
    "transpose",
    "squeeze",
    "unsqueeze",
    "swapaxes",
    "as_strided",
    "resize",
    "set",
    "detach",
}
# Answers other than the number that was read; thresholds lie between them.
_EXTREMES, _SMALL = (2e6, -2e6, 0.0), (0, 1, 2, 3)
_WHOLE = (torch.int64, torch.int32, torch.int16)
# Longest tensor whose list is read number by number; operations of a way through the code before it
# is given up.
_LISTED, _LONGEST = 256, 200_000


class Recorder(ThreadMode):
    def __init__(
        self,
        state: Mapping[str, Tensor],
        modules: list[str],
        earlier_values: Mapping[str, Value],
        flipped: tuple[int, ...],
        filled: bool = False,
        weightless: Weightless | None = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__()
        self.progress = progress or Progress()
        self.weightless = weightless  # how operations run if the model has no weights
        self.filled = filled  # whether masks that hold nowhere are made to hold everywhere
        self.flipped = flipped  # which other answers the code is given
        self.decisions = 0
        self.chose_nothing = False
        self.exported = False  # whether numbers of computed tensors are in the code's hands
        self.operations: list[Operation] = []
        self.modules = modules
        self.alive: list[Tensor] = []  # keeps ids unique
        # tensor id -> value, writes it has seen, storage
        self.current: dict[int, tuple[Value, int, int]] = {}
        # where entries lie -> id of the tensor that came there last
        self.places: dict[tuple[Any, ...], int] = {}
        # storage -> (tensor id, value) of every write
        self.writes: dict[int, list[tuple[int, Value]]] = {}
        # of written values: offset, shape and strides in memory
        self.geometry: dict[int, tuple[Any, ...]] = {}
        self.constant_storages: dict[int, list[Value]] = {}
        self.mutated: set[int] = set()
        self.state_places: dict[tuple[Any, ...], Value] = {}
        self.count = 0
        for name, tensor in state.items():
            if name in earlier_values:
                self.place(tensor, earlier_values[name], 0)
            value = earlier_values.get(name) or self.start(tensor, f"state:{name}")
            self.state_places[_place(tensor)] = value

    def new_value(self, tensor: Tensor, origin: str | None = None, constant: bool = False) -> Value:
        self.count += 1
        has_entries = self.weightless is None or not self.weightless.lacks_entries(tensor)
        value = Value(self.count, tensor, origin, constant, has_entries)
        storage = _storage(tensor)
        if constant:
            self.constant_storages.setdefault(storage, []).append(value)
        self.place(tensor, value, len(self.writes.get(storage, ())))
        return value

    def place(self, tensor: Tensor, value: Value, seen: int) -> None:
        """Notes the value that a tensor has now."""
        self.alive.append(tensor)
        self.current[id(tensor)] = value, seen, _storage(tensor)
        self.places[_place(tensor)] = id(tensor)

    def start(self, tensor: Tensor, origin: str) -> Value:
        return self.new_value(tensor, origin)

    def read(self, tensor: Tensor) -> Value:
        """The value that a tensor has now."""
        placed = self.current.get(id(tensor))
        # its data was replaced: it is what it shares memory with
        if placed is not None and placed[2] != _storage(tensor):
            placed = self.current.get(self.places.get(_place(tensor), id(tensor)))
            if placed is None or placed[2] != _storage(tensor):
                return self.foreign(tensor, varies=True)
            self.place(tensor, placed[0], placed[1])
        if placed is None:
            state_value = self.state_places.get(_place(tensor))
            if state_value is None:
                return self.foreign(tensor, varies=self.exported)
            self.place(tensor, state_value, 0)
        value, seen, _ = self.current[id(tensor)]
        writes = self.writes.get(_storage(tensor), [])
        if seen < len(writes):
            others = [(who, written) for who, written in writes[seen:] if who != id(tensor)]
            news = [written for _, written in others]
            if news:
                constant = value.constant and all(new.constant for new in news)
                updated = self.new_value(tensor, constant=constant)
                if not constant:
                    places = [
                        _place(tensor)[1:],
                        *(self.geometry[written.number] for written in news),
                    ]
                    self.operations.append(
                        Operation(
                            "alias_update",
                            None,
                            (value, news),
                            {"places": places},
                            [updated],
                            self.modules[-1],
                        )
                    )
                value = updated
            self.place(tensor, value, len(writes))
        return value

    def foreign(self, tensor: Tensor, varies: bool) -> Value:
        """A tensor that comes from outside the recorded operations."""
        value = self.new_value(tensor, constant=True)
        value.varies = varies
        return value

    def answer(self, actual: Any) -> Any:
        """What the code is told that it read: the truth, or another answer if it is its turn."""
        if isinstance(actual, bool):
            others: list[Any] = [not actual]
        elif isinstance(actual, int):
            others = [n for n in (*_SMALL, actual + 1) if n != actual]
        elif isinstance(actual, float):
            others = [*_EXTREMES]
        else:
            others = [
                np.full_like(actual, number)
                for number in (_EXTREMES if actual.dtype.kind == "f" else (0, 1))
            ]
        self.exported |= not isinstance(actual, bool)
        first, self.decisions = self.decisions, self.decisions + len(others)
        turns = [answer - first - 1 for answer in self.flipped if first < answer <= self.decisions]
        return others[turns[0]] if turns else actual

    def taken_out(self, tensor: Tensor, array: Any) -> Any:
        """The entries of a tensor as a numpy array, or others."""
        value = self.read(tensor)
        if value.constant or array.dtype.kind not in "fiub":
            return array
        self.operations.append(Operation("numpy", None, (value,), {}, [], self.modules[-1]))
        return self.answer(array)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's compiler takes seconds to load

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        arguments, keywords = tree_map(
            lambda x: self.read(x) if isinstance(x, Tensor) else x, (args, kwargs)
        )
        run = function if self.weightless is not None else REFERENCES.get(function, function)
        try:
            result = run(*args, **kwargs)
        except NeedsEntriesError as error:
            raise NeedsEntriesError(f"'{error}' in '{self.modules[-1]}'") from None
        name = function._schema.name.split("::")[-1]
        if name in _EMPTY and isinstance(result, Tensor):
            result.zero_()  # whatever lay in that memory means nothing
        if len(self.operations) % 64 == 0:
            self.progress.show(
                f"recording: {len(self.operations)} operations, in "
                f"{self.modules[-1] or 'the model'}"
            )
        if len(self.operations) > _LONGEST and self.flipped:
            raise RuntimeError("this way through the code does not end")
        if (
            self.filled
            and isinstance(result, Tensor)
            and result.dtype == torch.bool
            and not bool(result.any())
        ):
            result.fill_(not constant_inputs(arguments, keywords))
        outgoing = [argument.name for argument in function._schema.arguments if argument.is_out]
        keywords = {key: value for key, value in keywords.items() if key not in outgoing}
        operation = Operation(name, function, tuple(arguments), keywords, [], self.modules[-1])
        constant = name in FACTORIES or all(value.constant for value in operation.inputs())
        varies = name not in FACTORIES and any(value.varies for value in operation.inputs())
        varies |= torch.Tag.nondeterministic_seeded in function.tags
        if isinstance(result, (bool, int, float)) and name in SCALAR_READS and not constant:
            first = self.decisions
            result = self.answer(result)
            operation.answers = range(first + 1, self.decisions + 1)
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
            if operation.name in _RESHAPES:
                operation.overwritten.clear()
            if not constant:
                self.operations.append(operation)
            return result
        self.chose_nothing |= (
            name in _CHOICES and not constant and isinstance(result, Tensor) and 0 in result.shape
        )
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        operation.outputs = [
            self.new_value(x, constant=constant) if isinstance(x, Tensor) else None for x in outputs
        ]
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
        operation.overwritten.append(self.current[id(tensor)][0])
        new = self.new_value(tensor, constant=constant)
        writes = self.writes.setdefault(storage, [])
        writes.append((id(tensor), new))
        self.geometry[new.number] = _place(tensor)[1:]
        self.place(tensor, new, len(writes))
        operation.outputs.append(new)


class Rewritten(TorchFunctionMode):
    """``one_hot`` looks at its largest and smallest entries; as a comparison
    it does not. Lists and arrays are noted.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.nn.functional.one_hot:
            index = args[0] if args else kwargs["tensor" if "tensor" in kwargs else "input"]
            classes = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
            if classes > 0:
                return (index.unsqueeze(-1) == torch.arange(classes, device=index.device)).to(
                    torch.int64
                )
        if function is Tensor.__getitem__ and (picked := self.picked_by_number(*args)) is not None:
            return picked
        if (
            function is Tensor.tolist
            and not lacks_entries(args[0])
            and args[0].numel() <= _LISTED
            and not self.recorder.read(args[0]).constant
        ):
            return _numbers(args[0])
        if function in (Tensor.numpy, Tensor.__array__, Tensor.tolist) and lacks_entries(args[0]):
            raise NeedsEntriesError(f"'{function.__name__}' in '{self.recorder.modules[-1]}'")
        result = function(*args, **kwargs)
        if function in (Tensor.numpy, Tensor.__array__, Tensor.tolist) and isinstance(
            args[0], Tensor
        ):
            taken = self.recorder.taken_out(args[0], np.asarray(result))
            return taken.tolist() if function is Tensor.tolist else taken
        return result

    def picked_by_number(self, tensor: Tensor, key: Any) -> Tensor | None:
        """``tensor[e]`` for a computed whole number: the number would be read and
        forgotten, so it is kept as an index.
        """
        first, *rest = key if isinstance(key, tuple) and key else (key,)
        single = isinstance(first, Tensor) and first.dim() == 0 and first.dtype in _WHOLE
        if (
            not single
            or any(isinstance(item, Tensor) for item in rest)
            or self.recorder.read(first).constant
        ):
            return None
        row = torch.index_select(tensor, 0, first.reshape(1)).squeeze(0)
        return row[tuple(rest)] if rest else row


def constant_inputs(*structure: Any) -> bool:
    """Whether no value in nested arguments is computed."""
    return all(value.constant for value in values_in(structure))


def _numbers(tensor: Tensor) -> Any:
    """A tensor as nested lists, read number by number."""
    return tensor.item() if tensor.dim() == 0 else [_numbers(row) for row in tensor.unbind(0)]


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
