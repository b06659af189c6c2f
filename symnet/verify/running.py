"""The network of a check at random states moved by group elements:
loaded into a copy, or made while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from symnet.graph import GroupElement, NeuronGraph
from symnet.tracing.batch_norms import StatisticsWithGradients
from symnet.tracing.examples import Habits, outputs_by_path, run
from symnet.tracing.execution import double_precision
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.kept_between_calls import unchanged
from symnet.verify.random_networks import RandomState

Outputs = dict[str, Tensor]
# The trial whose state differs in every entry from that of the trial before, to see how much the
# outputs move.
OTHER_STATE = -1


def act_on_tensor(graph: NeuronGraph, element: GroupElement, name: str, tensor: Tensor) -> Tensor:
    """``g.tensor`` for one tensor of the state; by numpy on the CPU, which
    takes columns nearly three times as fast.
    """
    if tensor.device.type != "cpu":
        return graph.act(element, {name: tensor})[name]
    return torch.from_numpy(np.asarray(graph.act(element, {name: tensor.numpy()})[name], order="C"))


class LoadedNetwork:
    """A private copy of a network whose state is overwritten.

    Args:
        model: the private copy, in float64 and eval mode.
        outputs: which outputs count, by name.
    """

    def __init__(
        self, model: nn.Module, graph: NeuronGraph, state: RandomState, outputs: Any
    ) -> None:
        self.model, self.graph, self.outputs = model, graph, outputs
        self.state = state
        self.habits = Habits()
        self.trial: int | None = None
        self.theta: dict[str, Tensor] = {}
        self.moved: set[str] = set()
        entries = model.state_dict(keep_vars=True)
        self.places = {
            name: [
                entries[n]
                for n in (name, *(a for a, kept in graph.aliases.items() if kept == name))
                if n in entries
            ]
            for name in graph.weights
        }

    def run(self, inputs: Inputs, trial: int, element: GroupElement | None = None) -> Outputs:
        """The outputs at the random state of a trial, moved by an element."""
        self.load(trial, element)
        return run(self.model, inputs, self.outputs, self.habits)

    def rerun(self, inputs: Inputs) -> Outputs:
        """The outputs at whatever state the copy has."""
        return run(self.model, inputs, self.outputs, self.habits)

    def bring_near_its_own(self) -> bool:
        """Lets random states be near the network's own from now on; whether that can be."""
        if any(
            tensor.is_meta for tensor in self.state.state.values() if isinstance(tensor, Tensor)
        ):
            return False
        self.state.nearby, self.trial = True, None
        return True

    def load(self, trial: int, element: GroupElement | None = None) -> None:
        """Brings the copy to a state; writes those tensors alone that differ from what it holds."""
        # for the movement alone: no new entries are drawn
        if trial == OTHER_STATE and self.trial is not None:
            for name, theta in self.theta.items():
                self.write(name, 1.1 * theta.reshape(-1).roll(1).reshape(theta.shape))
            self.moved = set(self.theta)
            return
        if trial != self.trial:
            self.theta = {name: self.state.entries(name, trial) for name in self.graph.weights}
            self.trial, self.moved = trial, set(self.theta)
        moving = set() if element is None else {n for n in self.theta if self.is_moved(element, n)}
        for name in self.moved | moving:
            theta = self.theta[name]
            self.write(
                name,
                act_on_tensor(self.graph, element, name, theta)
                if element and name in moving
                else theta,
            )
        self.moved = moving

    def write(self, name: str, entries: Tensor) -> None:
        with torch.no_grad():
            for place in self.places[name]:
                place.copy_(entries)

    def is_moved(self, element: GroupElement, name: str) -> bool:
        return any(element.moves(symbol) for symbol in self.graph.weights[name].symbols)

    def gradients(self, inputs: Inputs, combine: Callable[[Outputs], Tensor]) -> dict[str, Tensor]:
        """The gradient of a combination of the outputs by every tensor of the state that has
        one, at the state that is loaded.
        """
        leaves = {name: places[0] for name, places in self.places.items()}
        before = {name: leaf.requires_grad for name, leaf in leaves.items()}
        try:
            for leaf in leaves.values():
                leaf.requires_grad_(True)
            with (
                torch.enable_grad(),
                unchanged(self.model),
                double_precision(),
                StatisticsWithGradients(),
            ):
                total = combine(outputs_by_path(self.model(*inputs[0], **inputs[1]), self.outputs))
                if not total.requires_grad:
                    return {}
                gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        except RuntimeError:
            return {}  # no derivative somewhere, or the state is written into
        finally:
            for name, leaf in leaves.items():
                leaf.requires_grad_(before[name])
        return {
            name: g
            for name, g in zip(leaves, gradients, strict=True)
            if g is not None and bool(g.isfinite().all())
        }
