"""Network: layers one after another, run as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from symnet.nn.executor import is_recorded
from symnet.nn.gathering import StatisticsAhead, TakenStatistics
from symnet.nn.linear import Linear, run_linear
from symnet.nn.pointwise import Pointwise
from symnet.plan import NetworkPlan, Stage


class Network(nn.Module):
    """``torch.nn.Sequential`` for features: the same results and the
    same keys, with less memory traffic.

    A ``Pointwise(torch.nn.ReLU())`` after a ``Linear`` runs inside it, on outputs that are still in
    the layer's memory; only what the next layer saves anyway is saved for its derivative. The means
    that a layer starts from are taken by the layer before it, or by the ``Pointwise`` between them,
    of every tensor when it has just been written.

    Args:
        modules: layers, each called with the result of the one before.
        checkpoint: recompute each layer in the backward pass instead of saving what it needs
            (``torch.utils.checkpoint``): less memory, about a third more time.

    Example:
        >>> import symnet as sn, torch
        >>> graph = sn.catalogue.mlp([2, 8, 1])
        >>> net = sn.nn.Network(
        ...     sn.nn.Linear(graph, 1, 4), sn.nn.Pointwise(torch.nn.ReLU()), sn.nn.Pool(graph)
        ... )
        >>> net(
        ...     sn.features(
        ...         torch.nn.Sequential(
        ...             torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)
        ...         ),
        ...         graph,
        ...     )
        ... ).shape
        torch.Size([1, 20])
        >>> [stage.relu for stage in net.plan.stages]
        [True]
    """

    def __init__(self, *modules: nn.Module, checkpoint: bool = False) -> None:
        super().__init__()
        self.checkpoint = checkpoint
        written = None
        for number, module in enumerate(modules):
            if isinstance(module, Pointwise) and isinstance(written, Linear):
                module.check(written.outputs, written.out_channels)
            written = module
            self.add_module(str(number), module)

    def forward(self, x: Any) -> Any:
        if self.checkpoint and torch.is_grad_enabled() and isinstance(x, Mapping):
            for module, relu in self._steps():
                x = (
                    _recomputed(module, x, relu)
                    if isinstance(x, Mapping)
                    else _call(module, x, relu)
                )
            return x
        taken: TakenStatistics | None = None
        for (module, relu), ahead in zip(*self._statistics_ahead(x), strict=True):
            if type(module) is Linear and (relu or taken or ahead is not None):
                x = run_linear(module, x, relu=relu, taken=taken, ahead=ahead)
            elif ahead is not None:
                x = _pointwise(module, x, ahead)
            else:
                x = module(x)
            taken = None if ahead is None else ahead.taken
        return x

    def _statistics_ahead(
        self, x: Any
    ) -> tuple[list[tuple[nn.Module, bool]], list[StatisticsAhead | None]]:
        """The steps, and for each that writes the inputs of a layer which comes
        next, where to put their statistics.
        """
        steps = list(self._steps())
        ahead: list[StatisticsAhead | None] = [None] * len(steps)
        some = next(iter(x.values()), None) if isinstance(x, Mapping) else None
        if not isinstance(some, Tensor) or is_recorded(some.device):
            return steps, ahead
        written = None  # the space of what a step writes, as far as it is known
        for number, (module, _) in enumerate(steps[:-1]):
            following = steps[number + 1][0]
            if type(module) is Linear:
                written = module.outputs
            elif type(module) is not Pointwise:
                written = None
            if (
                type(following) is Linear
                and written == following.inputs
                and _unheard(module)
                and _unheard(following)
            ):
                ahead[number] = StatisticsAhead(following.compiled)
        return steps, ahead

    def _steps(self) -> Iterator[tuple[nn.Module, bool]]:
        """Modules in order, each with whether the ReLU that follows runs inside it."""
        modules = list(self._modules.values())
        position = 0
        while position < len(modules):
            module = modules[position]
            assert module is not None
            following = modules[position + 1] if position + 1 < len(modules) else None
            fused = type(module) is Linear and _unheard(module) and _is_relu(following)
            yield module, fused
            position += 1 + fused

    @property
    def plan(self) -> NetworkPlan:
        """What the linear layers will run, with their cost: one line per layer."""
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
    """Whether this is a ReLU of every entry that nobody listens to."""
    inner: object = module.module if isinstance(module, Pointwise) else None
    return module is not None and type(inner) is nn.ReLU and _unheard(module)


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _unheard(module: nn.Module) -> bool:
    """Whether a module has no hooks: they want it to be called itself, and
    may change what it is given and gives.
    """
    parts = (module, module.module) if isinstance(module, Pointwise) else (module,)
    everywhere = (getattr(torch.nn.modules.module, f"_global{name}") for name in _HOOKS)
    return not any(everywhere) and not any(getattr(part, name) for part in parts for name in _HOOKS)


def _pointwise(
    module: nn.Module, x: Mapping[str, Tensor], ahead: StatisticsAhead
) -> dict[str, Tensor]:
    """``Pointwise`` tensor by tensor, the statistics of each taken when it has been written."""
    assert isinstance(module, Pointwise)
    results = {}
    for number, name in enumerate(ahead.plan.plan.inputs):
        results[name] = module.module(x[name])
        if results[name].shape[:-1] == x[name].shape[:-1]:  # else the layer says what is wrong
            with torch.no_grad():
                ahead.read(number, results[name])
    return results


def _call(module: nn.Module, x: Any, relu: bool) -> Any:
    return run_linear(module, x, relu=True) if relu and isinstance(module, Linear) else module(x)


def _recomputed(module: nn.Module, x: Mapping[str, Tensor], relu: bool) -> Any:
    """A module's result, what it saves thrown away and made again in the backward pass."""
    names = list(x)

    def run(*tensors: Tensor) -> Any:
        return _call(module, dict(zip(names, tensors, strict=True)), relu)

    return recompute(run, *x.values(), use_reentrant=False)
