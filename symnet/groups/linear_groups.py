"""The continuous groups a neuron set can carry: scales, rotations and invertible maps.

Their elements are matrices. Those of ``Scaled`` move neurons and multiply each by a positive
number, as ``SignedSymmetric`` multiplies by signs; those of ``Orthogonal`` and ``GeneralLinear``
mix neurons, so that no neuron keeps its name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from symnet.errors import GroupError
from symnet.groups.block_rules import INVERTIBLE, ROTATED, ROTATED_ABOUT_THE_MEAN, SCALED, BlockRule
from symnet.groups.permutation_groups import (
    Cyclic,
    Dihedral,
    Fixed,
    Generated,
    Permutation,
    SignedSymmetric,
    Symmetric,
    check_degree,
)

ROUNDING = 1e-9  # how far a product of matrices may have left the group


@dataclass(frozen=True, slots=True)
class Scaled:
    """All permutations of ``n`` neurons with any positive scales.

    The symmetry of a hidden layer with a positively homogeneous activation (ReLU, leaky ReLU, abs):
    multiply a neuron's incoming weights and bias by a positive number (strand ``h``), and divide
    its outgoing weights by it (strand ``h*``). What a strand ``h.`` indexes is not scaled; only the
    order of the neurons shows in it.

    Example:
        >>> Scaled(3).order, Scaled(3).dimension
        (inf, 3)
    """

    rule: ClassVar[BlockRule | None] = SCALED
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> float:
        return math.inf

    @property
    def dimension(self) -> int:
        """Lie dimension: one scale for each neuron."""
        return self.degree

    @property
    def generators(self) -> tuple[Permutation, ...]:
        """Generators of the permutations; the scales have no finite set of generators."""
        return Symmetric(self.degree).generators

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The permutations of ``count`` random elements: int64
        ``(count, degree)``; their scales are ``random_scales``.
        """
        return Symmetric(self.degree).random(rng, count)

    def random_scales(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The scales of ``count`` random elements: float64 ``(count, degree)``,
        between 1/e and e, uniform in the logarithm.
        """
        return np.exp(rng.uniform(-1, 1, size=(count, self.degree)))

    def __repr__(self) -> str:
        return f"Scaled({self.degree})"


@dataclass(frozen=True, slots=True)
class Orthogonal:
    """All rotations and reflections of the space that ``n`` neurons span.

    The symmetry of a residual stream that is read through RMSNorm, its gains folded into what reads
    it. With ``fixes_mean`` only those that leave the vector of ones as it is: the symmetry of a
    stream read through LayerNorm.

    Args:
        degree: the number of neurons.
        fixes_mean: whether the vector of ones stays fixed.

    Example:
        >>> Orthogonal(4).dimension, Orthogonal(4, fixes_mean=True).dimension
        (6, 3)
    """

    degree: int
    fixes_mean: bool = False

    def __post_init__(self) -> None:
        check_degree(self)
        if not isinstance(self.fixes_mean, bool | np.bool_):
            raise GroupError(
                f"Orthogonal({self.degree}, fixes_mean={self.fixes_mean!r:.60}): give True or "
                "False."
            )
        object.__setattr__(self, "fixes_mean", bool(self.fixes_mean))

    @property
    def rule(self) -> BlockRule:
        return ROTATED_ABOUT_THE_MEAN if self.fixes_mean else ROTATED

    @property
    def rotated(self) -> int:
        """Dimension of the space that is rotated: without the vector of ones, if that is fixed."""
        return self.degree - self.fixes_mean

    @property
    def order(self) -> int | float:
        """Exact order: 1 or 2 in no and in one dimension, else infinite."""
        return math.inf if self.rotated > 1 else 2**self.rotated

    @property
    def dimension(self) -> int:
        """Lie dimension: one rotation for each pair of directions."""
        return self.rotated * (self.rotated - 1) // 2

    def random_matrices(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Uniform elements (Haar measure): float64 ``(count, degree, degree)``."""
        rotations = _haar(rng, count, self.rotated)
        if not self.fixes_mean:
            return rotations
        basis = _basis_with_ones(self.degree)
        return basis[:, :1] @ basis[:, :1].T + basis[:, 1:] @ rotations @ basis[:, 1:].T

    def holds(self, matrices: np.ndarray) -> bool:
        """Whether matrices ``(..., degree, degree)`` are elements, up to rounding."""
        eye = np.eye(self.degree)
        rotates = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - eye).max(initial=0) <= ROUNDING
        still = (
            not self.fixes_mean
            or np.abs(matrices.sum(-1) - 1).max(initial=0) <= ROUNDING * self.degree
        )
        return bool(rotates and still)

    def __repr__(self) -> str:
        return f"Orthogonal({self.degree}{', fixes_mean=True' if self.fixes_mean else ''})"


@dataclass(frozen=True, slots=True)
class GeneralLinear:
    """All invertible linear maps of the space that ``n`` neurons span.

    The symmetry between two matrices that are multiplied: the factors of LoRA, a low-rank
    bottleneck, queries and keys or values and outputs of an attention head. Strands ``r`` are
    multiplied by the matrix, strands ``r*`` by its inverse, transposed.

    Example:
        >>> GeneralLinear(3).dimension
        9
    """

    rule: ClassVar[BlockRule | None] = INVERTIBLE
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> float:
        return math.inf

    @property
    def dimension(self) -> int:
        """Lie dimension: all matrices."""
        return self.degree**2

    def random_matrices(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Random elements: float64 ``(count, degree, degree)``, singular values between 1/e and
        e, so a condition of at most e^2.
        """
        scales = np.exp(rng.uniform(-1, 1, size=(count, 1, self.degree)))
        return (_haar(rng, count, self.degree) * scales) @ _haar(rng, count, self.degree)

    def holds(self, matrices: np.ndarray) -> bool:
        """Whether matrices ``(..., degree, degree)`` are invertible, so
        that their inverse can be trusted.
        """
        return bool((np.linalg.cond(matrices) < 1 / ROUNDING).all())

    def __repr__(self) -> str:
        return f"GeneralLinear({self.degree})"


def _haar(rng: np.random.Generator, count: int, n: int) -> np.ndarray:
    """Uniform orthogonal matrices ``(count, n, n)``: Q of a normal matrix, the signs of R's
    diagonal put into Q (Mezzadri 2007).
    """
    q, r = np.linalg.qr(rng.standard_normal((count, n, n)))
    return q * np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[:, None, :]


def _basis_with_ones(n: int) -> np.ndarray:
    """An orthogonal matrix whose first column is the normalised vector
    of ones: a Householder reflection.
    """
    vector = np.ones(n) / math.sqrt(n)
    vector[0] += 1.0
    return 2 * np.outer(vector, vector) / (vector @ vector) - np.eye(n)


LinearGroup = Orthogonal | GeneralLinear
Group = Symmetric | SignedSymmetric | Scaled | LinearGroup | Fixed | Cyclic | Dihedral | Generated


@lru_cache(maxsize=4096)
def is_trivial(group: Group) -> bool:
    """Whether the group holds only the identity (every group of
    permutations does on one neuron).
    """
    if isinstance(group, Generated):
        return not group.generators
    if isinstance(group, Orthogonal):
        return group.rotated == 0
    if isinstance(group, SignedSymmetric | Scaled | GeneralLinear):
        return False
    # without listing generators, which are as long as the set
    return isinstance(group, Fixed) or group.degree == 1


def is_linear(group: Group | None) -> bool:
    """Whether the group mixes neurons, so that they have neither an order nor names."""
    return isinstance(group, LinearGroup)


def is_charged(group: Group | None, degree: int = 1) -> bool:
    """Whether the group changes what a strand of this degree indexes by more than its order."""
    if group is None or group.rule is None:
        return False
    return is_linear(group) or group.rule.charge([degree]) != 0


def lie_dimension(group: Group) -> int:
    """Lie dimension of a group: 0 for the finite ones."""
    return group.dimension if isinstance(group, Scaled | LinearGroup) else 0
