"""Network: layers one after another, run as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from symnet.nn.linear import Linear
from symnet.nn.pointwise import Pointwise
from symnet.plan import NetworkPlan, Stage


class Network(nn.Module):
    """``torch.nn.Sequential`` for features: the same results and the same keys, with less memory traffic.

    A ``Pointwise(torch.nn.ReLU())`` after a ``Linear`` runs inside it, on outputs that are still in the layer's memory;
    only what the next layer saves anyway is saved for its derivative.

    Args:
        modules: layers, each called with the result of the one before.
        checkpoint: recompute each layer in the backward pass instead of saving what it needs
            (``torch.utils.checkpoint``): less memory, about a third more time.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 1])
        >>> net = sn.nn.Network(sn.nn.Linear(graph, 1, 4), sn.nn.Pointwise(torch.nn.ReLU()), sn.nn.Pool(graph))
        >>> net(sn.features(torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)), graph)).shape
        torch.Size([1, 20])
        >>> [stage.relu for stage in net.plan.stages]
        [True]
    """

    def __init__(self, *modules: nn.Module, checkpoint: bool = False) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        for number, module in enumerate(modules):
            self.add_module(str(number), module)

    def forward(self, x: Any) -> Any:
        for module, relu in self._steps():
            if self.checkpoint and torch.is_grad_enabled() and isinstance(x, Mapping):
                x = _recomputed(module, x, relu)
            else:
                x = _call(module, x, relu)
        return x

    def _steps(self) -> Iterator[tuple[nn.Module, bool]]:
        """Modules in order, each with whether the ReLU that follows runs inside it."""
        modules = list(self._modules.values())
        position = 0
        while position < len(modules):
            module = modules[position]
            assert module is not None
            following = modules[position + 1] if position + 1 < len(modules) else None
            fused = type(module) is Linear and _is_relu(following)
            yield module, fused
            position += 1 + fused

    @property
    def plan(self) -> NetworkPlan:
        """What the linear layers will run, with their cost: one line a layer."""
        names = {id(module): name for name, module in self._modules.items()}
        return NetworkPlan(
            tuple(
                Stage(names[id(module)], module.plan, module.in_channels, module.out_channels, relu)
                for module, relu in self._steps()
                if isinstance(module, Linear)
            )
        )

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, number: int) -> nn.Module:
        return list(self.children())[number]

    def __iter__(self) -> Iterator[nn.Module]:
        return self.children()

    def extra_repr(self) -> str:
        return "checkpoint=True" if self.checkpoint else ""


def _is_relu(module: nn.Module | None) -> bool:
    """Whether this is a ReLU of every entry that nobody listens to: hooks want the module itself to be called."""
    if type(module) is not Pointwise or type(module.module) is not nn.ReLU:
        return False
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(getattr(part, name) for part in (module, module.module) for name in hooks)


def _call(module: nn.Module, x: Any, relu: bool) -> Any:
    return module(x, relu=True) if relu else module(x)


def _recomputed(module: nn.Module, x: Mapping[str, Tensor], relu: bool) -> Any:
    """A module's result, what it saves thrown away and made again in the backward pass."""
    names = list(x)

    def run(*tensors: Tensor) -> Any:
        return _call(module, dict(zip(names, tensors, strict=True)), relu)

    return recompute(run, *x.values(), use_reentrant=False)
