"""Permutation groups of neuron sets (no torch here)."""

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
    is_trivial,
)

__all__ = [
    "Cyclic",
    "Dihedral",
    "Fixed",
    "Generated",
    "PermutationGroup",
    "SignedSymmetric",
    "Symmetric",
    "elements",
    "is_signed",
    "is_trivial",
]
