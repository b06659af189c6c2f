"""Balanced scales: of all networks that differ by the scales of their neurons, the one whose
weights are smallest together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from symnet.errors import ShapeError
from symnet.graph import GroupElement, NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.elements import image_shapes
from symnet.groups import Scaled, Symmetric
from symnet.matching.problem_reading import State, as_array

_SWEEPS = 2000
_CLOSE = 1e-13  # logarithm of a factor that changes nothing any more


def scaled_sets(graph: NeuronGraph) -> tuple[str, ...]:
    """Neuron sets whose scale is free."""
    return tuple(
        name for name, neuron_set in graph.neurons.items() if isinstance(neuron_set.group, Scaled)
    )


def without_scales(graph: NeuronGraph) -> NeuronGraph:
    """The same network with scales held: Scaled sets are Symmetric ones."""
    return graph.with_groups(
        {name: Symmetric(graph.neurons[name].size) for name in scaled_sets(graph)}
    )


def balance(graph: NeuronGraph, state: State) -> GroupElement:
    """The scales that make the sum of squares of all weights smallest: equal
    for networks that differ by scales alone.

    Each neuron in turn gets the factor at which what comes in (strands ``h``) is as large as what
    goes out (``h*``); a neuron of which one of the two is zero keeps its scale. The minimum is
    unique, since the sum is convex in the factors' logarithms.

    Raises:
        ShapeError: the factors do not settle: the weights are too far out of balance for float64.

    Source: Stock, Graham, Gribonval & Jégou, Equi-normalization of neural networks, ICLR 2019.
    """
    names = scaled_sets(graph)
    touched = [t for t, space in graph.weights.items() if set(names) & set(space.symbols)]
    squares = {name: np.square(as_array(state[name], np.float64)) for name in touched}
    total = {name: np.ones(image_shapes(graph.neurons)[name]) for name in names}
    for _ in range(_SWEEPS):
        largest = 0.0
        for name in names:
            factors = _balancing_factors(graph, squares, name)
            total[name] = total[name] * factors
            largest = max(largest, float(np.abs(np.log(factors)).max(initial=0.0)))
            squares = graph.act(_scales(graph, {name: factors**2}), squares)
        if largest <= _CLOSE:
            return _scales(graph, total)
    raise ShapeError(
        f"The scales of {', '.join(names)} cannot be balanced in {_SWEEPS} sweeps; are some "
        "weights near zero?"
    )


def _scales(graph: NeuronGraph, factors: Mapping[str, np.ndarray]) -> GroupElement:
    identity = graph.identity()
    return GroupElement(
        graph.neurons, {name: identity[name] for name in graph.neurons}, dict(factors)
    )


def _balancing_factors(graph: NeuronGraph, squares: Mapping[str, Any], name: str) -> np.ndarray:
    """By neuron the factor that makes both sides equal."""
    sides = {degree: np.zeros(image_shapes(graph.neurons)[name]) for degree in (1, -1)}
    twice = False
    for tensor, array in squares.items():
        for block in graph.weights[tensor].blocks:
            places = [
                d for d, i in enumerate(block.instances) if i.symbol == name and i.degree in sides
            ]
            twice = twice or len(places) > 1
            for d in places:
                front = [*(place for _, place in block.instances[d].parents), d]
                rest = tuple(k for k in range(len(block.instances)) if k not in front)
                view = apply_views(array, block.views)
                summed = view.sum(axis=rest)  # the dims in front, in the order of the block
                order = np.argsort(np.argsort(front))
                sides[block.instances[d].degree] += np.transpose(summed, order)
    coming, going = sides[1], sides[-1]
    free = (coming > 0) & (going > 0)
    # A set that feeds itself is on both sides of one tensor: half the step, so that neurons that
    # move together do not overshoot.
    power = 0.125 if twice else 0.25
    ratio = np.divide(going, coming, out=np.ones_like(coming), where=free)
    factors: np.ndarray = ratio**power
    return factors
