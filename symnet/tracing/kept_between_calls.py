"""What modules keep between calls: put back after every run, so that a
second call finds what the first one did.
"""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

# What every module has: hooks and the like, which are not the user's.
_STANDARD = set(vars(nn.Module()))
_CONTAINERS = (list, dict, set, deque)
# Longest container that is copied.
_MOST = 1000


@contextlib.contextmanager
def unchanged(model: nn.Module) -> Iterator[list[str]]:
    """Inside, the model may run; afterwards its attributes and its buffers that are no
    floating-point state are as before.

    Caches, counters, hidden states, whether replaced, grown, or written into. Floating-point
    entries of the state dict are the caller's to restore; objects that are no plain containers are
    not looked into.

    Returns:
        A list that afterwards names what had changed, with the paths of the modules.
    """
    memories = [
        _Memory(path, module)
        for path, module in model.named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    changes: list[str] = []
    try:
        yield changes
    finally:
        for memory in memories:
            changes += memory.restore()


def kept_notes(changes: list[str]) -> list[str]:
    """What is said of a network that keeps something."""
    if not changes:
        return []
    shown = ", ".join(f"'{name}'" for name in changes[:4]) + (
        " and more" if len(changes) > 4 else ""
    )
    return [
        f"the network keeps {shown} between calls; they were put back, so that each call counts "
        "as a first one"
    ]


class _Memory:
    """What one module holds besides its floating-point state."""

    def __init__(self, path: str, module: nn.Module) -> None:
        self.path, self.module = path, module
        self.attributes = {
            name: value for name, value in vars(module).items() if name not in _STANDARD
        }
        self.copies = {
            name: _copy(value)
            for name, value in self.attributes.items()
            if _is_plain_container(value)
        }
        self.buffers = dict(module._buffers)
        tensors = {
            name: value for name, value in self.attributes.items() if isinstance(value, Tensor)
        }
        for name, value in self.copies.items():
            inside = (
                x
                for x in tree_leaves(value)
                if isinstance(x, Tensor) and not isinstance(x, nn.Parameter)
            )
            tensors |= {f"{name}[{number}]": tensor for number, tensor in enumerate(inside)}
        tensors |= {
            name: tensor
            for name, tensor in self.buffers.items()
            if tensor is not None
            and (not tensor.is_floating_point() or name in module._non_persistent_buffers_set)
        }
        self.entries = {
            name: (tensor, tensor._version, tensor.detach().clone())
            for name, tensor in tensors.items()
            if type(tensor) is Tensor and not tensor.is_meta and not tensor.is_inference()
        }

    def restore(self) -> list[str]:
        """Puts everything back; the names of what had changed."""
        attributes = vars(self.module)
        changed = [
            name for name in attributes if name not in _STANDARD and name not in self.attributes
        ]
        for name in changed:
            del attributes[name]
        for name, value in self.attributes.items():
            grown = name in self.copies and not _same_items(self.copies[name], value)
            if grown or attributes.get(name) is not value:
                attributes[name] = self.copies.get(name, value)
                changed.append(name)
        changed += [
            name
            for name, tensor in self.module._buffers.items()
            if self.buffers.get(name) is not tensor
        ]
        self.module._buffers.clear()
        self.module._buffers.update(self.buffers)
        for name, (tensor, version, before) in self.entries.items():
            if tensor._version != version:
                with torch.no_grad():
                    tensor.copy_(before)
                changed.append(name)
        return [f"{self.path}.{name}".lstrip(".") for name in dict.fromkeys(changed)]


def _copy(value: Any) -> Any:
    """A copy of a container, with copies of the containers inside."""
    if isinstance(value, Tensor):
        return value  # what is written into it is put back by itself
    if isinstance(value, dict):
        return type(value)({key: _copy(item) for key, item in value.items()})
    if isinstance(value, (list, set, deque, tuple)):
        return type(value)(map(_copy, value))
    return copy.copy(value)


def _is_plain_container(value: Any) -> bool:
    return type(value) in _CONTAINERS and _is_plain(value)


def _is_plain(value: Any, depth: int = 0) -> bool:
    if isinstance(
        value, (Tensor, int, float, str, bytes, complex, type(None), torch.dtype, torch.device)
    ):
        return True
    if type(value) not in (*_CONTAINERS, tuple) or len(value) > _MOST or depth > 4:
        return False
    items = [*value, *value.values()] if isinstance(value, dict) else value
    return all(_is_plain(item, depth + 1) for item in items)


def _same_items(left: Any, right: Any) -> bool:
    """Whether two plain containers hold the same things, and the same tensors."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return left is right
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            _same_items(left[key], right[key]) for key in left
        )
    if isinstance(left, (list, tuple, deque)):
        return len(left) == len(right) and all(map(_same_items, left, right))
    return bool(left == right)
