"""How thoroughly a traced graph is checked, and the error of one that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from symnet.errors import TraceError
from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import Symmetric
from symnet.tracing.fresh_inputs import Inputs

# Entries times elements above which every neuron set is not also moved alone.
EACH_ALONE = 200_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """How thoroughly trace checks its result.

    Args:
        rounds: random elements of the whole group, each on fresh inputs; at least one.
        shapes: whether inputs of other sizes are tried as well.
        tolerance: largest error, relative to how much the output moves over random states, in
            float64.
        seed: of the randomised state, the inputs and the elements.
        end_to_end: whether whole forward passes are compared as well as single operations; unless
            given, where that takes a few seconds.
    """

    rounds: int = 2
    shapes: bool = True
    tolerance: float = 1e-9
    seed: int = 0
    end_to_end: bool | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise TraceError(
                f"Check(rounds={self.rounds}): at least one round; the self-check cannot be "
                "skipped."
            )


def moving_element(
    graph: NeuronGraph, rng: np.random.Generator, only: str | None = None
) -> GroupElement:
    """A random element in which every copy of every neuron set (or
    of one set alone) really moves.
    """
    element = graph.random_element(rng, only=None if only is None else {only})
    images = {}
    for name, neuron_set in graph.neurons.items():
        image = element[name].copy()
        if isinstance(neuron_set.group, Symmetric) and neuron_set.size > 1 and only in (None, name):
            rows = image.reshape(-1, neuron_set.size)
            still = np.flatnonzero((rows == np.arange(neuron_set.size)).all(1))
            rows[still, 0], rows[still, 1] = 1, 0
            image = rows.reshape(image.shape)
        images[name] = image
    return GroupElement(dict(graph.neurons), images)


class Mismatch(TraceError):
    """The claimed group changes the function; holds inputs on which it does."""

    def __init__(self, message: str, inputs: Inputs) -> None:
        super().__init__(message)
        self.inputs = inputs
