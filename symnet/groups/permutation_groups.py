"""The permutation groups a neuron set can carry.

A group is an immutable value: its degree, its generators, its exact order, and uniform random
elements. Permutations are arrays ``p`` with ``i -> p[i]``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np

from symnet.errors import GroupError, TooLargeError
from symnet.groups.block_rules import PERMUTED, SIGNED, BlockRule
from symnet.groups.stabilizer_chain import chain_order, random_elements

Permutation = tuple[int, ...]

ELEMENT_LIMIT = 50_000  # elements that are listed


DEGREE_LIMIT = 10**15  # neurons of a set; a network of that many has never been made
# neurons whose factorial is multiplied out, in seconds; it has 5.6 million digits
ORDER_LIMIT = 1_000_000


def _factorial(degree: int) -> int:
    if degree > ORDER_LIMIT:
        digits = degree * (math.log10(degree) - math.log10(math.e))
        raise TooLargeError(
            f"The order of a group on {degree} neurons has about {digits:.3g} digits; orders are "
            f"multiplied out up to {ORDER_LIMIT} neurons."
        )
    return math.factorial(degree)


class _HasDegree(Protocol):
    @property
    def degree(self) -> int: ...


def check_degree(group: _HasDegree) -> None:
    """Raise unless the degree is a whole number of at least 1; numpy's
    become Python's, which do not overflow.
    """
    degree: object = group.degree
    if isinstance(degree, bool) or not isinstance(degree, (int, np.integer)) or degree < 1:
        raise GroupError(
            f"{type(group).__name__}({degree!r}): the degree must be a whole number of at least "
            "1, the number of neurons."
        )
    if degree > DEGREE_LIMIT:
        raise TooLargeError(
            f"{type(group).__name__} of a number of neurons with "
            f"{len(str(degree)) if degree < 10**1000 else 'thousands of'} digits: at most "
            f"{DEGREE_LIMIT:,} are counted."
        )
    object.__setattr__(group, "degree", int(degree))


@dataclass(frozen=True, slots=True)
class Symmetric:
    """All ``n!`` permutations of ``n`` neurons: the symmetry of a hidden layer.

    Example:
        >>> Symmetric(4).order
        24
    """

    rule: ClassVar[BlockRule | None] = PERMUTED
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> int:
        return _factorial(self.degree)

    @property
    def generators(self) -> tuple[Permutation, ...]:
        """A transposition and a full cycle (one suffices for two neurons, none for one)."""
        n = self.degree
        if n == 1:
            return ()
        swap = (1, 0, *range(2, n))
        return (swap,) if n == 2 else (swap, (*range(1, n), 0))

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` uniform elements: int64 ``(count, degree)``."""
        return rng.permuted(np.tile(np.arange(self.degree), (count, 1)), axis=1)

    def __repr__(self) -> str:
        return f"Symmetric({self.degree})"


@dataclass(frozen=True, slots=True)
class SignedSymmetric:
    """All permutations of ``n`` neurons with any signs, ``2**n * n!`` of
    them (the hyperoctahedral group).

    The symmetry of a hidden layer with an odd activation (tanh, sin): flipping the sign of a
    neuron's incoming weights and bias, and of its outgoing weights, leaves the network as it is.
    Every axis of the set carries a sign.

    Example:
        >>> SignedSymmetric(3).order
        48
    """

    rule: ClassVar[BlockRule | None] = SIGNED
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> int:
        return _factorial(self.degree) << self.degree

    @property
    def generators(self) -> tuple[Permutation, ...]:
        """Generators of the permutations; the sign of one neuron
        generates the rest (see ``is_signed``).
        """
        return Symmetric(self.degree).generators

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The permutations of ``count`` uniform elements: int64
        ``(count, degree)``; their signs are ``random_signs``.
        """
        return Symmetric(self.degree).random(rng, count)

    def random_signs(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """The signs of ``count`` uniform elements: int64 ``(count, degree)`` of 1 and -1."""
        return rng.choice(np.array([1, -1]), size=(count, self.degree))

    def __repr__(self) -> str:
        return f"SignedSymmetric({self.degree})"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Only the identity: neurons that may be told apart (inputs, outputs, kernel offsets, gates).

    Example:
        >>> Fixed(3).order, Fixed(3).generators
        (1, ())
    """

    rule: ClassVar[BlockRule | None] = None
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> int:
        return 1

    @property
    def generators(self) -> tuple[Permutation, ...]:
        return ()

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` copies of the identity: int64 ``(count, degree)``."""
        return np.tile(np.arange(self.degree), (count, 1))

    def __repr__(self) -> str:
        return f"Fixed({self.degree})"


@dataclass(frozen=True, slots=True)
class Cyclic:
    """The ``n`` rotations of ``n`` neurons on a circle.

    Example:
        >>> Cyclic(4).generators
        ((1, 2, 3, 0),)
    """

    rule: ClassVar[BlockRule | None] = None
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> int:
        return self.degree

    @property
    def generators(self) -> tuple[Permutation, ...]:
        return () if self.degree == 1 else ((*range(1, self.degree), 0),)

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` uniform rotations: int64 ``(count, degree)``."""
        shifts = rng.integers(self.degree, size=(count, 1))
        return (np.arange(self.degree) + shifts) % self.degree

    def __repr__(self) -> str:
        return f"Cyclic({self.degree})"


@dataclass(frozen=True, slots=True)
class Dihedral:
    """Rotations and reflections of ``n`` neurons on a circle, as permutations of the ``n`` points.

    On fewer than three points a reflection moves nothing that a rotation does not, so the order is
    ``2n`` only from ``n = 3`` on.

    Example:
        >>> [Dihedral(n).order for n in (1, 2, 3, 4)]
        [1, 2, 6, 8]
    """

    rule: ClassVar[BlockRule | None] = None
    degree: int

    def __post_init__(self) -> None:
        check_degree(self)

    @property
    def order(self) -> int:
        return 2 * self.degree if self.degree > 2 else self.degree

    @property
    def generators(self) -> tuple[Permutation, ...]:
        rotation = Cyclic(self.degree).generators
        return rotation if self.degree < 3 else (*rotation, tuple(range(self.degree - 1, -1, -1)))

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` uniform elements: int64 ``(count, degree)``."""
        rotations = Cyclic(self.degree).random(rng, count)
        signs = rng.choice(np.array([1, -1]), size=(count, 1))
        return (signs * rotations) % self.degree

    def __repr__(self) -> str:
        return f"Dihedral({self.degree})"


@dataclass(frozen=True, slots=True)
class Generated:
    """The group generated by given permutations (also intransitive ones).

    Args:
        degree: the number of neurons.
        generators: permutations of ``range(degree)``, each a sequence with ``i -> perm[i]``.

    Raises:
        GroupError: a generator is not a permutation of ``range(degree)``.

    Example:
        >>> Generated(4, [[1, 0, 2, 3], [0, 1, 3, 2]]).order
        4
    """

    rule: ClassVar[BlockRule | None] = None
    degree: int
    generators: tuple[Permutation, ...]

    def __init__(self, degree: int, generators: Iterable[Sequence[int]] = ()) -> None:
        object.__setattr__(self, "degree", degree)
        check_degree(self)
        kept: dict[Permutation, None] = {}
        for number, generator in enumerate(_listed(degree, generators)):
            permutation = _whole_numbers(generator)
            # Its length first: a degree that comes from a text may be one that no list could have.
            if (
                permutation is None
                or len(permutation) != degree
                or sorted(permutation) != list(range(degree))
            ):
                raise GroupError(
                    f"Generator {number} of Generated({degree}, ...) is {generator!r:.60}, "
                    f"which is not a permutation of 0..{degree - 1}. List every index once: i -> "
                    "perm[i]."
                )
            if permutation != tuple(range(degree)):
                kept[permutation] = None
        object.__setattr__(self, "generators", tuple(kept))

    @property
    def order(self) -> int:
        """Exact order by the Schreier-Sims algorithm (Sims 1970)."""
        return chain_order(self.degree, self.generators)

    def random(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """``count`` uniform elements from a stabilizer chain: int64 ``(count, degree)``."""
        return random_elements(self.degree, self.generators, rng, count)

    def __repr__(self) -> str:
        return f"Generated({self.degree}, {[list(g) for g in self.generators]})"


def _listed(degree: int, generators: object) -> Iterable[object]:
    if isinstance(generators, str) or not isinstance(generators, Iterable):
        raise GroupError(
            f"Generated({degree}, {generators!r:.60}): give a list of permutations, for instance "
            "[[1, 2, 0]]."
        )
    return generators


def _whole_numbers(values: object) -> Permutation | None:
    """The values as a tuple of int; None if they are no sequence of
    whole numbers (0.5 is not rounded).
    """
    try:
        return tuple(operator.index(value) for value in values)  # type: ignore[attr-defined]
    except TypeError:
        return None


PermutationGroup = Symmetric | SignedSymmetric | Fixed | Cyclic | Dihedral | Generated


def is_signed(group: object) -> bool:
    """Whether the group's elements carry signs."""
    return isinstance(group, SignedSymmetric)


@lru_cache(maxsize=256)
def elements(group: PermutationGroup, limit: int = ELEMENT_LIMIT) -> np.ndarray:
    """Every permutation in the group, int64 ``(count, degree)``, found by
    closing the generators; for small groups.

    Raises:
        GroupError: the group has more than ``limit`` elements.
    """
    identity = tuple(range(group.degree))
    seen = {identity}
    frontier = [identity]
    while frontier:
        products = [tuple(g[i] for i in p) for p in frontier for g in group.generators]
        frontier = list(dict.fromkeys(p for p in products if p not in seen))
        seen.update(frontier)
        if len(seen) > limit:
            raise GroupError(
                f"{group!r:.80} has more than {limit} elements; use its generators instead."
            )
    return np.array(sorted(seen))
