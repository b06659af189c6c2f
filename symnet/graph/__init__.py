"""Neuron-permutation graphs: declaration, notation, blocks, and the
group's action (no torch at import).
"""

from symnet.graph.elements import GroupElement
from symnet.graph.neuron_graph import NeuronGraph, SpaceLike, load, parse
from symnet.graph.neuron_sets import NeuronSet
from symnet.graph.space import Space, TensorSpace

__all__ = [
    "GroupElement",
    "NeuronGraph",
    "NeuronSet",
    "Space",
    "SpaceLike",
    "TensorSpace",
    "load",
    "parse",
]


def __dir__() -> list[str]:
    return __all__
