"""What both verifiers share: flattening what a function returns,
comparing it, and the group elements to try.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from symnet.errors import VerificationError
from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import Group, LinearGroup, is_trivial

# elements that generate one set's group, tried besides random ones; of more, some are drawn
GENERATORS = 16


def make_seed(seed: int | None) -> int:
    """The given seed, or a new one to report.

    Raises:
        VerificationError: it is no whole number of at least 0.
    """
    if seed is not None and (
        isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0
    ):
        raise VerificationError(
            f"seed={seed!r}: give a whole number of at least 0, or None for a new one."
        )
    return int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)


def check_tolerance(tolerance: float) -> None:
    """Raise unless errors can be compared with it: nothing is larger than NaN.

    Raises:
        VerificationError: it is no finite number of at least 0.
    """
    if not isinstance(tolerance, float | int) or not 0 <= tolerance < math.inf:
        raise VerificationError(
            f"tolerance={tolerance!r}: give the largest relative error that passes, a finite "
            "number of at least 0."
        )


def check_whole(**counts: object) -> None:
    """Raise unless every count is a whole number of at least 1.

    Raises:
        VerificationError: with all of them.
    """
    if any(
        isinstance(count, bool) or not isinstance(count, int) or count < 1
        for count in counts.values()
    ):
        shown = ", ".join(f"{name}={count!r}" for name, count in counts.items())
        raise VerificationError(f"{shown}: each must be a whole number of at least 1.")


def flatten(value: object, path: str = "") -> dict[str, Tensor]:
    """The tensors inside tuples, lists, mappings and dataclasses, by dotted
    path; a lone tensor has the path ``""``.

    Numbers become tensors; texts, None and the like are left out.
    """
    if isinstance(value, Tensor):
        return {path: value}
    if isinstance(value, bool | int | float | complex):
        return {path: torch.tensor(value)}
    items: Iterator[tuple[object, object]]
    if isinstance(value, Mapping):
        items = iter(value.items())
    elif isinstance(value, tuple | list):
        items = iter(enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    else:
        return {}
    tensors: dict[str, Tensor] = {}
    for key, item in items:
        tensors |= flatten(item, f"{path}.{key}" if path else str(key))
    return tensors


def as_double(tensor: Tensor) -> Tensor:
    """Detached, in float64; a complex tensor as pairs of real numbers in a last dim."""
    tensor = tensor.detach()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(torch.float64)


def largest(tensors: Mapping[str, Tensor]) -> float:
    """Largest finite absolute entry of all tensors."""
    maximum = 0.0
    for tensor in tensors.values():
        values = as_double(tensor).abs()
        values = values[values.isfinite()]
        maximum = max(maximum, float(values.max()) if values.numel() else 0.0)
    return maximum


def relative_error(left: Tensor, right: Tensor, floor: float) -> float:
    """Largest difference, relative to the largest entry (at least ``floor``);
    infinite for other shapes, NaN or infinities.
    """
    left, right = as_double(left), as_double(right)
    if left.shape != right.shape:
        return math.inf
    if not left.numel():
        return 0.0
    same = (left == right) | (left.isnan() & right.isnan())
    difference = torch.where(same, 0.0, (left - right).abs())
    if not bool(difference.isfinite().all()):
        return math.inf
    return float(difference.max()) / max(largest({"": left}), floor, 1e-300)


def errors_between(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> dict[str, float]:
    """Relative error of every tensor. A tensor that is tiny beside the
    others is measured against them.
    """
    if left.keys() != right.keys():
        raise VerificationError(
            f"Two runs returned different outputs: {', '.join(map(repr, left))} and "
            f"{', '.join(map(repr, right))}. What is returned must not depend on the values."
        )
    floor = 1e-6 * largest(left)
    return {name: relative_error(left[name], right[name], floor) for name in left}


def moving_sets(graph: NeuronGraph) -> list[str]:
    """Neuron sets that can move at all."""
    return [name for name, neuron_set in graph.neurons.items() if not is_trivial(neuron_set.group)]


def said_of(graph: NeuronGraph, name: str | None = None) -> str:
    """What is done to a neuron set, or to all of them: "rotating 's'", "permuting all sets"."""
    if name is None:
        actions = {_action(graph.neurons[name].group) for name in moving_sets(graph)}
        return f"{actions.pop() if len(actions) == 1 else 'moving'} all sets"
    return f"{_action(graph.neurons[name].group)} '{name}'"


def _action(group: Group) -> str:
    return group.rule.action if group.rule is not None else "permuting"


def elements_of_set(
    graph: NeuronGraph, name: str, rng: np.random.Generator, count: int, most: int = GENERATORS
) -> list[GroupElement]:
    """Elements that move one neuron set alone: ``count`` random ones, and at
    most ``most`` generators of its group.

    Generators decide: if they all leave a function unchanged, so does everything they generate.
    """
    elements = [moving_element(graph, rng, name) for _ in range(count)]
    identity = graph.identity()
    copies = list(np.ndindex(*identity[name].shape[:-1]))
    group = graph.neurons[name].group
    generators = () if isinstance(group, LinearGroup) else group.generators
    pairs = [(copy, generator) for generator in generators for copy in copies]
    if len(pairs) > most:
        pairs = [pairs[k] for k in sorted(rng.choice(len(pairs), most, replace=False))]
    for copy, generator in pairs:
        images = {other: identity[other] for other in graph.neurons}
        images[name] = images[name].copy()
        images[name][copy] = generator
        elements.append(GroupElement(graph.neurons, images))
    return elements


def element_that_moves_all(graph: NeuronGraph, rng: np.random.Generator) -> GroupElement:
    """A random element that moves every neuron set which can move: of small
    sets a random one often moves none.
    """
    element = graph.random_element(rng)
    for name in moving_sets(graph):
        if not element.moves(name):
            element = element @ moving_element(graph, rng, name)
    return element


def moving_element(graph: NeuronGraph, rng: np.random.Generator, name: str) -> GroupElement:
    """A random element that moves this neuron set and no other."""
    while True:
        element = graph.random_element(rng, only={name})
        if element.moves(name):
            return element
