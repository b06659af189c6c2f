"""Groups of neuron sets, and the rule which strands may share a block (no torch here)."""

from symnet.groups.block_rules import BlockRule
from symnet.groups.linear_groups import (
    GeneralLinear,
    Group,
    LinearGroup,
    Orthogonal,
    Scaled,
    is_charged,
    is_linear,
    is_trivial,
    lie_dimension,
)
from symnet.groups.permutation_groups import (
    Cyclic,
    Dihedral,
    Fixed,
    Generated,
    PermutationGroup,
    SignedSymmetric,
    Symmetric,
    elements,
    is_signed,
)

__all__ = [
    "BlockRule",
    "Cyclic",
    "Dihedral",
    "Fixed",
    "GeneralLinear",
    "Generated",
    "Group",
    "LinearGroup",
    "Orthogonal",
    "PermutationGroup",
    "Scaled",
    "SignedSymmetric",
    "Symmetric",
    "elements",
    "is_charged",
    "is_linear",
    "is_signed",
    "is_trivial",
    "lie_dimension",
]


def __dir__() -> list[str]:
    return __all__
