"""Every element of a small graph's group, by products over sets and copies: slow and plainly complete."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import product

import numpy as np

from symnet import GroupElement, NeuronGraph
from symnet.graph.elements import image_shapes
from symnet.groups import is_signed
from symnet.groups.permutation_groups import elements


def all_elements(graph: NeuronGraph, only: Collection[str] | None = None) -> Iterator[GroupElement]:
    """All elements; with ``only``, those that move no other sets."""
    shapes = image_shapes(graph.neurons)
    moving = [name for name in shapes if only is None or name in only]
    choices: list[list[tuple[np.ndarray, np.ndarray]]] = []
    for name in moving:
        group, (*copies, n) = graph.neurons[name].group, shapes[name]
        signs = list(product((1, -1), repeat=n)) if is_signed(group) else [(1,) * n]
        one = [(images, np.array(sign)) for images in elements(group) for sign in signs]
        many = product(one, repeat=int(np.prod(copies)))
        choices.append(
            [
                tuple(np.stack(part).reshape(*copies, n) for part in zip(*each, strict=True))
                for each in many
            ]
        )
    identity = graph.identity()
    for chosen in product(*choices):
        images = {name: identity[name] for name in shapes}
        images |= {name: found[0] for name, found in zip(moving, chosen, strict=True)}
        signs = {
            name: found[1]
            for name, found in zip(moving, chosen, strict=True)
            if is_signed(graph.neurons[name].group)
        }
        yield GroupElement(graph.neurons, images, signs)
