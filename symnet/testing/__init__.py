"""Hypothesis strategies for property tests of weight-space code: groups, graphs, elements, features, wrong layers.

Needs hypothesis: ``pip install 'symnet[test]'``.
"""

from symnet.testing.mistakes import WrongLayer, wrong_layers
from symnet.testing.strategies import (
    CONTINUOUS,
    EVERY_GROUP,
    features,
    graphs,
    group_elements,
    groups,
    spaces,
)

__all__ = [
    "CONTINUOUS",
    "EVERY_GROUP",
    "WrongLayer",
    "features",
    "graphs",
    "group_elements",
    "groups",
    "spaces",
    "wrong_layers",
]


def __dir__() -> list[str]:
    return __all__
