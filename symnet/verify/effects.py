"""Effects: on which entries of its state a network's outputs depend. Of
the others no check can say anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import is_trivial
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.movement import Movement, as_double
from symnet.verify.running import LoadedNetwork, Outputs, act_on_tensor

_TINY = 1e-12  # a gradient or change this much smaller than the largest is rounding
# What a tensor's own motion does to the outputs, relative to what random states do, below which
# nothing could be noticed; and relative to the largest such motion, below which it is rounding: the
# outputs do not depend on the tensor.
_NOTICEABLE, _NOTHING = 1e-8, 1e-13


class Effects:
    """Which tensors, and which of their entries, had influence on the outputs so far."""

    def __init__(self, graph: NeuronGraph) -> None:
        self.graph = graph
        # influential entries of tensors whose gradients are known
        self.entries: dict[str, Tensor] = {}
        self.influential: set[str] = set()
        self.read: set[str] = set()
        # what moving a tensor alone does to the outputs, to first order
        self.motions: dict[str, float] = {}
        self.dependent: set[str] = set()  # outputs that have a gradient

    def observe(
        self,
        network: LoadedNetwork,
        trial: int,
        inputs: Inputs,
        outputs: Outputs,
        movements: Mapping[str, Movement],
        element: GroupElement | None,
    ) -> None:
        """Take gradients of a random combination of the outputs; perturb what shows none.

        Args:
            outputs: those at this trial's state, which is loaded, and these inputs.
            movements: how far each output moves: the combination weighs all alike.
            element: one that moves all neuron sets, to see what it does to each tensor alone.
        """
        rng = torch.Generator().manual_seed(trial)

        def combine(tensors: Outputs) -> Tensor:
            total = torch.zeros((), dtype=torch.float64)
            for path, tensor in tensors.items():
                if not tensor.requires_grad or not tensor.numel():
                    continue
                self.dependent.add(path)
                values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
                noise = torch.randn(values.shape, generator=rng, dtype=torch.float64).to(
                    values.device
                )
                moved = movements[path].distance if path in movements else 0.0
                term = (torch.where(values.isfinite(), values, 0.0) * noise).sum()
                total = total.to(values.device) + term / (moved or 1.0)
            return total

        gradients = {name: as_double(g) for name, g in network.gradients(inputs, combine).items()}
        largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
        for name, gradient in gradients.items():
            largest_entry = float(gradient.abs().max()) if gradient.numel() else 0.0
            if largest_entry > 1e-14 * largest and largest_entry > 0:
                self.influential.add(name)
                self.read.add(name)
                alive = gradient.abs() > _TINY * largest_entry
                self.entries[name] = self.entries.get(name, torch.zeros_like(alive)) | alive
            if element is not None and self.moved(name):
                theta = network.theta[name]
                change = as_double(act_on_tensor(self.graph, element, name, theta)) - as_double(
                    theta
                )
                # masks of minus infinity stay where they are
                motion = float((gradient * torch.where(change.isfinite(), change, 0.0)).sum().abs())
                self.motions[name] = max(self.motions.get(name, 0.0), motion)
        for name in self.graph.weights:
            if name not in self.influential:
                self._perturb(name, network, trial, inputs, outputs, movements)

    def trust(self, read: set[str]) -> None:
        """Take what was read for influential: where weights are made while
        a network runs, no more is known.
        """
        self.read |= read
        self.influential |= read
        self.motions |= dict.fromkeys(read, 1.0)

    def _perturb(
        self,
        name: str,
        network: LoadedNetwork,
        trial: int,
        inputs: Inputs,
        before: Outputs,
        movements: Mapping[str, Movement],
    ) -> None:
        theta = network.theta[name]
        words = np.random.SeedSequence([trial, len(self.graph.weights)]).generate_state(1)
        rng = torch.Generator().manual_seed(int(words[0]))
        factor = 1 + torch.rand(theta.shape, generator=rng, dtype=torch.float64).to(theta.device)
        network.write(name, theta * factor)
        after = network.rerun(inputs)
        network.write(name, theta)
        if any(
            path not in after or not torch.equal(tensor, after[path])
            for path, tensor in before.items()
        ):
            self.read.add(name)
        if any(
            path not in after or movements[path].error(t, after[path]) > _TINY
            for path, t in before.items()
        ):
            self.influential.add(name)

    # ---- what it means ---------------------------------------------------------------------------
    def moved(self, name: str) -> bool:
        """Whether the group moves this tensor."""
        symbols = self.graph.weights[name].symbols
        return any(not is_trivial(self.graph.neurons[symbol].group) for symbol in symbols)

    def problems(self, allow_unread: bool) -> list[str]:
        """Reasons why the check could not have noticed a wrong declaration;
        ``allow_unread`` excuses single tensors.
        """
        moved = [name for name in self.graph.weights if self.moved(name)]
        if self.graph.weights and not self.influential:
            return ["the outputs do not depend on any tensor of the state: nothing can be noticed."]
        if moved and not any(name in self.influential for name in moved):
            return ["the outputs depend on no tensor that the group moves: nothing was shown."]
        largest = max(self.motions.values(), default=1.0)
        if largest < _NOTICEABLE:
            return [
                f"moving any tensor changes the outputs by at most {largest:.0e} of what random "
                "states do (are they saturated?): nothing was shown. Verify the network without "
                "its last operations."
            ]
        if allow_unread:
            return []
        unread = [name for name in moved if name not in self.read]
        faint = [
            name
            for name in moved
            if _NOTHING * largest < self.motions.get(name, largest) < _NOTICEABLE
        ]
        problems = []
        if unread:
            problems.append(
                f"{_listed(unread)} are moved by the group, but never read on these inputs, so "
                "nothing was checked for them. Pass inputs that reach them, hold their sets "
                "fixed, or pass allow_unread=True."
            )
        if faint:
            problems.append(
                f"moving {_listed(faint)} changes the outputs by less than {_NOTICEABLE:.0e} of "
                "what random states do, so nothing was shown for them. Verify the part of the "
                "network before the outputs become so insensitive, or pass allow_unread=True."
            )
        return problems

    def dead(self) -> dict[str, str]:
        """By name, tensors without an effect on the outputs, and how many
        entries of the others have none.
        """
        dead = {}
        for name, tensor in self.graph.weights.items():
            if name not in self.read:
                dead[name] = "never read on these inputs"
            elif name not in self.influential:
                dead[name] = "read, but without any effect on the outputs"
            elif name in self.entries and not bool(self.entries[name].all()):
                count = int((~self.entries[name]).sum())
                dead[name] = f"{count} of {tensor.size} entries have no effect on the outputs"
        return dead


def _listed(names: list[str]) -> str:
    return f"{', '.join(map(repr, names[:6]))}{' and more' if len(names) > 6 else ''}"
