"""Trials: which tensors read a neuron set, found out by running a network on random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from symnet.errors import GraphError, VerificationError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.elements import image_shapes
from symnet.surgery.outlets import Copies, Outlets, Place, axis_of, places_of
from symnet.surgery.selection import make_selection
from symnet.tracing.examples import (
    copy_model,
    detached,
    float_state,
    initialise,
    randomise,
    refreshed,
    run,
)
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.recording import map_tensors

_TOLERANCE = 1e-9
_FELT = 1e-6  # what a shift changes at least, where it is to show something
# By how much weights are shifted, in units of their spread: far enough to cross the kinks of a
# ReLU.
_SHIFTS = (1.0, 4.0, 16.0)
# random weights that are tried until one lets a change through: of a ReLU's neurons many are off
_ROUNDS = 12


class Trial:
    """A private copy of a network, whose weights are set and whose outputs are compared."""

    def __init__(
        self,
        model: nn.Module,
        graph: NeuronGraph,
        inputs: Inputs,
        outputs: Sequence[str] | None,
        seed: int,
    ) -> None:
        self.graph, self.outputs = graph, outputs
        self.model = copy_model(model)
        with torch.no_grad():
            initialise(self.model, detached(inputs))
        self.model = self.model.double()
        self.state, _ = float_state(self.model)
        if missing := set(graph.weights) - set(self.state):
            raise GraphError(
                f"{type(model).__name__} has no state entry {', '.join(sorted(missing)[:3])} of "
                "the graph. Pass the network that the graph was traced from."
            )
        self.inputs, self.seed = inputs, seed
        self.generator = torch.Generator().manual_seed(seed)
        self.rounds: list[Round] = []

    def require_run(self) -> dict[str, Tensor]:
        """The outputs on the given inputs.

        Raises:
            VerificationError: the network cannot be run on them in float64, or returns no tensors.
        """
        try:
            outputs = self.outputs_at(self.inputs, {})
        except Exception as error:  # whatever a model's code raises
            raise VerificationError(
                f"{type(self.model).__name__} cannot be run on the inputs in float64: "
                f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.160}. Pass inputs "
                "that it takes."
            ) from error
        if not outputs:
            raise VerificationError(
                f"{type(self.model).__name__} returned no tensors (of the outputs named), to be "
                "compared."
            )
        return outputs

    def round(self, number: int) -> Round:
        """Fresh inputs and random weights, made when they are first asked for."""
        while len(self.rounds) <= number:
            seed = self.seed + len(self.rounds)
            randomise(self.state, seed)
            theta = {name: self.state[name].detach().clone() for name in self.graph.weights}
            inputs = refreshed(self.inputs, self.generator, torch.float64)
            self.rounds.append(Round(self, inputs, theta, _SHIFTS[len(self.rounds) % len(_SHIFTS)]))
        return self.rounds[number]

    def outlets(self, name: str) -> Outlets:
        """The places over which the network adds the set up: as many as
        can share a change at once.
        """
        if self.graph.neurons[name].size < 2:
            return Outlets((), Copies.none, proved=False)
        tied: list[Round] = []
        # By torch's layout first those that read: where a set passes linearly, either side may be
        # divided.
        order = sorted(
            places_of(self.graph, name), key=lambda p: axis_of(self.graph.weights[p.tensor], p) == 0
        )
        kept: list[Place] = []
        for place in order:
            if self.may_share(name, [place], tied) and (
                not kept or self.may_share(name, [*kept, place], tied)
            ):
                kept.append(place)
        return Outlets(
            tuple(sorted(kept)),
            Copies.any if self.silences(name, kept) else Copies.none,
            proved=True,
        )

    def with_equal_pair(self, name: str, number: int) -> Round:
        """A round with neuron 1 of every copy made equal to neuron 0."""
        shape = image_shapes(self.graph.neurons)[name]
        rows = np.arange(shape[-1])
        rows[1] = 0
        equal = make_selection(self.graph, {name: np.broadcast_to(rows, shape)})
        base = self.round(number)
        theta = {tensor: equal.take(tensor, array) for tensor, array in base.theta.items()}
        return Round(self, base.inputs, theta, base.shift)

    def may_share(self, name: str, places: list[Place], tied: list[Round]) -> bool:
        """Whether one of two equal neurons can give the other some of its
        weight, at all the places at once.

        Args:
            tied: rounds in which two neurons are equal; more are added where nothing is felt of a
                change.
        """
        has_effect = False
        for number in range(_ROUNDS):
            if number >= len(_SHIFTS) and has_effect:
                break
            if number == len(tied):
                tied.append(self.with_equal_pair(name, number))
            shared, gained = self._shifted(name, places, tied[number])
            if tied[number].change(shared) > _TOLERANCE:
                return False
            has_effect = has_effect or tied[number].change(gained) > _FELT
        return has_effect

    def _shifted(
        self, name: str, places: list[Place], base: Round
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights of which neuron 0 has gained what neuron 1 has lost, and
        those of which neuron 0 has gained alone.
        """
        both = {place.tensor: base.theta[place.tensor].clone() for place in places}
        one = {tensor: array.clone() for tensor, array in both.items()}
        for place in places:
            block = self.graph.weights[place.tensor].blocks[place.block]
            view, alone = (apply_views(arrays[place.tensor], block.views) for arrays in (both, one))
            noise = torch.randn(view.shape, generator=self.generator, dtype=torch.float64)
            noise *= base.shift * view.std(correction=0)
            # the equal neurons stay equal where the set stands a second time
            for dim in places_in(block, name):
                if dim != place.dim:
                    noise.select(dim, 1).copy_(noise.select(dim, 0))
            gain = noise.select(place.dim, 0)
            view.select(place.dim, 0).add_(gain)
            view.select(place.dim, 1).sub_(gain)
            alone.select(place.dim, 0).add_(gain)
        return both, one

    def silences(self, name: str, places: list[Place]) -> bool:
        """Whether a neuron with zeros at these places has no influence by its other weights."""
        for number in range(len(_SHIFTS) if places else 0):
            base = self.round(number)
            silent = dict(base.theta)
            touched = dict.fromkeys(place.tensor for place in places_of(self.graph, name))
            silent |= {tensor: base.theta[tensor].clone() for tensor in touched}
            self._silence(places, silent)
            other = {tensor: silent[tensor].clone() for tensor in touched}
            for place in places_of(self.graph, name):
                block = self.graph.weights[place.tensor].blocks[place.block]
                row = apply_views(other[place.tensor], block.views).select(place.dim, 0)
                drawn = torch.randn(row.shape, generator=self.generator, dtype=torch.float64)
                # a variance stays one
                row.copy_(row * (1.5 + drawn.abs()) if bool((row > 0).all()) else 2 * drawn)
            self._silence(places, other)
            if Round(self, base.inputs, silent, base.shift).change(other) > _TOLERANCE:
                return False
        return bool(places)

    def _silence(self, places: list[Place], weights: Mapping[str, Tensor]) -> None:
        for place in places:
            block = self.graph.weights[place.tensor].blocks[place.block]
            apply_views(weights[place.tensor], block.views).select(place.dim, 0).zero_()

    def outputs_at(self, inputs: Inputs, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, array in weights.items():
                self.state[name].copy_(array)
        return run(self.model, map_tensors(_double, inputs), self.outputs)


class Round:
    """Inputs and weights, with the outputs that belong to them."""

    def __init__(
        self, trial: Trial, inputs: Inputs, theta: Mapping[str, Tensor], shift: float
    ) -> None:
        self.trial, self.inputs, self.theta, self.shift = trial, inputs, dict(theta), shift
        self.outputs: dict[str, Tensor] | None = None

    def change(self, weights: Mapping[str, Tensor]) -> float:
        """By how much the outputs change when some of the weights become these."""
        if self.outputs is None:
            self.outputs = self.trial.outputs_at(self.inputs, self.theta)
        return largest_difference(
            self.outputs, self.trial.outputs_at(self.inputs, self.theta | dict(weights))
        )


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.dtype.is_floating_point else tensor


def places_in(block: Block, name: str) -> list[int]:
    """Dims of a block that a set indexes."""
    return [dim for dim, instance in enumerate(block.instances) if instance.symbol == name]


def largest_difference(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """The largest difference of two sets of outputs, relative to the largest entry of each;
    infinite where they differ in shape or are not finite.
    """
    errors = [0.0]
    for path, a in left.items():
        b = right.get(path)
        if b is None or a.shape != b.shape:
            return float("inf")
        if not a.numel():
            continue
        if not (a.dtype.is_floating_point or a.dtype.is_complex):
            errors.append(
                float((a != b).any()) if a.dtype == torch.bool else float((a - b).abs().max() > 0)
            )
            continue
        finite = a.isfinite()
        if not bool((finite == b.isfinite()).all()):
            return float("inf")
        spread = float(a[finite].abs().max()) if bool(finite.any()) else 0.0
        difference = float((a - b)[finite].abs().max()) if bool(finite.any()) else 0.0
        errors.append(difference / spread if spread else difference)
    return max(errors)
