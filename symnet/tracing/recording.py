"""What a module computes, as a list of ATen operations between versioned values."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

# Reading numbers out of a tensor: control flow may depend on them.
SCALAR_READS = {"_local_scalar_dense", "equal", "allclose", "is_nonzero", "numpy"}


class Value:
    """A tensor at one moment: its shape, and its entries if they depend on
    nothing but the code and are known.
    """

    __slots__ = ("constant", "dtype", "kept", "number", "origin", "shape", "varies")

    def __init__(
        self,
        number: int,
        tensor: Tensor,
        origin: str | None = None,
        constant: bool = False,
        has_entries: bool = True,
    ) -> None:
        self.number = number
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.origin = origin  # 'state:weight' or 'input:0' for what the network starts from
        self.constant = constant
        self.kept: Tensor | None = tensor.detach().clone() if constant and has_entries else None
        self.varies = (
            # whole numbers or masks of the state dict, or made of numbers the code read: others may
            # follow
            False
        )

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
    # numbers of the other answers to what it tells the code about a computed tensor
    answers: range = range(0)
    # what was in the outputs' memory, if in place
    overwritten: list[Value] = dataclasses.field(default_factory=list)

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
    excused: set[int] = dataclasses.field(
        default_factory=set
    )  # ids of operations that another recording shows with entries
    chose_nothing: bool = False  # whether a choice by entries, of rows or positions, came out empty
    # ids of operations whose answers cannot be others
    certain: set[int] = dataclasses.field(default_factory=set)
    # how many other answers there are to what the code asked of computed tensors
    decisions: int = 0

    def last_number(self) -> int:
        """A number that no value's exceeds."""
        values = [v for o in self.operations for v in (*o.inputs(), *o.outputs) if v is not None]
        values += [*self.state.values(), *(v for _, v in (*self.inputs, *self.outputs))]
        return max((v.number for v in values), default=0)

    def reads_numbers(self) -> bool:
        """Whether the code read numbers out of computed tensors: its way may depend on them."""
        return any(
            o.name in SCALAR_READS
            and id(o) not in self.certain
            and not all(v.constant for v in o.inputs())
            for o in self.operations
        )

    def multiplications(self) -> int:
        """About how many multiplications one run takes."""
        total = 0
        for operation in self.operations:
            shapes = [value.shape for value in operation.inputs()]
            output = operation.outputs[0] if operation.outputs else None
            if output is None:
                continue
            if operation.name in ("mm", "bmm", "addmm", "baddbmm", "linear") and len(shapes) > 1:
                total += (
                    math.prod(output.shape) * shapes[-2 if operation.name != "linear" else 0][-1]
                )
            elif operation.name in ("convolution", "_convolution"):
                total += math.prod(output.shape) * math.prod(shapes[1][1:])
        return total

    def joined(self, other: Recording) -> Recording:
        """Both recordings, one after the other, of the same state."""
        return dataclasses.replace(
            self,
            operations=[*self.operations, *other.operations],
            inputs=[*self.inputs, *other.inputs],
            outputs=[*self.outputs, *other.outputs],
            mutated=self.mutated | other.mutated,
            excused=self.excused | other.excused,
            certain=self.certain | other.certain,
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


def tensors_in(
    structure: Any, path: str = "", numbers: bool = False
) -> Iterator[tuple[str, Tensor | None]]:
    """Every tensor in an input or output structure with its path; ``None``
    for an object that is not looked into.

    Args:
        numbers: whether numbers count as tensors without axes.
    """
    if isinstance(structure, Tensor):
        yield path, structure
    elif numbers and isinstance(structure, (bool, int, float, complex)):
        yield path, torch.tensor(structure)
    elif isinstance(structure, Mapping):
        for key, item in structure.items():
            yield from tensors_in(item, f"{path}.{key}" if path else str(key), numbers)
    elif isinstance(structure, (list, tuple)):
        for number, item in enumerate(structure):
            yield from tensors_in(item, f"{path}[{number}]", numbers)
    elif dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        for field in dataclasses.fields(structure):
            item = getattr(structure, field.name)
            yield from tensors_in(item, f"{path}.{field.name}" if path else field.name, numbers)
    elif not isinstance(
        structure, (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)
    ):
        yield path, None


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

        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()
