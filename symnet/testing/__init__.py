"""Hypothesis strategies for property tests of weight-space code: groups, graphs, elements, features, wrong layers.

Needs hypothesis: ``pip install 'symnet[test]'``.
"""

from symnet.testing.strategies import features, graphs, group_elements, groups, spaces
from symnet.testing.wrong_layers import WrongLayer, wrong_layers

__all__ = ["WrongLayer", "features", "graphs", "group_elements", "groups", "spaces", "wrong_layers"]
