"""Effects: on which entries of its state a network's outputs depend. Of the others no check can say anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from symnet.graph import NeuronGraph
from symnet.groups import is_trivial
from symnet.verify.comparison import as_double, errors_between
from symnet.verify.random_networks import load

_TINY = 1e-12  # a gradient or change this much smaller than the largest is rounding


class Effects:
    """Which tensors, and which of their entries, were felt in the outputs so far."""

    def __init__(self, graph: NeuronGraph) -> None:
        self.graph = graph
        self.entries: dict[str, Tensor] = {}  # felt entries of tensors whose gradients are known
        self.felt: set[str] = set()
        self.read: set[str] = set()

    def look(
        self,
        model: nn.Module,
        theta: Mapping[str, Tensor],
        call: Callable[[], dict[str, Tensor]],
        generator: torch.Generator,
    ) -> None:
        """Take gradients of a random combination of the outputs; perturb what shows none (buffers have none)."""
        gradients = self._gradients(model, call, generator)
        largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
        for name, gradient in gradients.items():
            own = float(gradient.abs().max()) if gradient.numel() else 0.0
            if own > 1e-14 * largest and own > 0:
                self.felt.add(name)
                self.read.add(name)
                alive = gradient.abs() > _TINY * own
                self.entries[name] = self.entries.get(name, torch.zeros_like(alive)) | alive
        with torch.no_grad():
            before = call()
            for name in theta:
                if name not in self.felt:
                    self._perturb(name, model, theta, before, call, generator)

    def _gradients(
        self, model: nn.Module, call: Callable[[], dict[str, Tensor]], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Gradient by name, of trainable parameters that have one; none if the model cannot be differentiated."""
        parameters = {
            self.graph.aliases.get(name, name): parameter
            for name, parameter in model.named_parameters()
            if self.graph.aliases.get(name, name) in self.graph.weights
        }
        total = torch.zeros(())
        try:
            with torch.enable_grad():
                for parameter in parameters.values():
                    parameter.requires_grad_(True)
                for tensor in call().values():
                    if tensor.requires_grad and tensor.numel():
                        values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
                        noise = torch.randn(values.shape, generator=generator).to(values)
                        total = total.to(values.device) + (torch.where(values.isfinite(), values, 0.0) * noise).sum()
                if not total.requires_grad:
                    return {}
                found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
        except RuntimeError:
            return {}  # no derivative somewhere: everything is perturbed instead
        finally:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
        return {
            name: as_double(g)
            for name, g in zip(parameters, found, strict=True)
            if g is not None and bool(g.isfinite().all())
        }

    def _perturb(
        self,
        name: str,
        model: nn.Module,
        theta: Mapping[str, Tensor],
        before: Mapping[str, Tensor],
        call: Callable[[], dict[str, Tensor]],
        generator: torch.Generator,
    ) -> None:
        factor = 1 + torch.rand(theta[name].shape, generator=generator).to(theta[name])
        load(model, self.graph, {name: theta[name] * factor})
        after = call()
        load(model, self.graph, {name: theta[name]})
        if any(not torch.equal(before[path], after[path]) for path in before):
            self.read.add(name)
        if any(error > _TINY for error in errors_between(before, after).values()):
            self.felt.add(name)

    # ---- what it means ------------------------------------------------------------------------------------------
    def moved(self, name: str) -> bool:
        """Whether the group moves this tensor."""
        symbols = self.graph.weights[name].symbols
        return any(not is_trivial(self.graph.neurons[symbol].group) for symbol in symbols)

    def problems(self, allow_unread: bool) -> list[str]:
        """Reasons why the check could not have noticed a wrong declaration."""
        if self.graph.weights and not self.felt:
            return ["the outputs do not depend on any tensor of the state: nothing can be noticed."]
        unread = [name for name in self.graph.weights if name not in self.read and self.moved(name)]
        if not unread or allow_unread:
            return []
        return [
            f"{', '.join(map(repr, unread[:6]))}{' and more' if len(unread) > 6 else ''} are moved by the group, but never read on "
            "these inputs, so nothing was checked for them. Pass inputs that reach them, hold their sets fixed, or pass "
            "allow_unread=True."
        ]

    def dead(self) -> dict[str, str]:
        """By name, tensors without an effect on the outputs, and how many entries of the others have none."""
        found = {}
        for name, tensor in self.graph.weights.items():
            if name not in self.read:
                found[name] = "never read on these inputs"
            elif name not in self.felt:
                found[name] = "read, but without any effect on the outputs"
            elif name in self.entries and not bool(self.entries[name].all()):
                count = int((~self.entries[name]).sum())
                found[name] = f"{count} of {tensor.size} entries have no effect on the outputs"
        return found
