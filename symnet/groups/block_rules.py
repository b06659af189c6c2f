"""One table for all groups: which strands of a neuron set may share a block of a partition.

Every axis carries a strand of a neuron set, with a degree: +1 for ``h``, -1 for the dual ``h*``, 0
for ``h.``, which shows the order of the neurons alone. An equivariant map is a partition of the
strands, those of its input counted with the opposite degree. A block is allowed if its degrees sum
to zero in the group's charges, and if it has no more strands than the group lets coincide::

    group                              charges           strands of a block
    Symmetric                          none              any number
    SignedSymmetric                    modulo 2          any number
    Scaled                             whole numbers     any number
    Orthogonal                         modulo 2          two at most
    Orthogonal(fixes_mean=True)        none              two at most
    GeneralLinear                      whole numbers     two at most

So the diagrams of permutations are all partitions, those of signs have even blocks, those of scales
balanced ones; matrices have matchings (Brauer 1937) and walled matchings. Banica and Speicher
(2009) call such families easy groups.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Blocks = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class BlockRule:
    """Which strands may share a block, and which diagrams are a basis when there are few neurons.

    Args:
        modulus: charges are whole numbers modulo this one; 0: whole numbers; 1: no charges.
        most: strands of a block at most; None: any number. At most two: the group mixes neurons,
            and diagrams are matchings.

    Example:
        >>> SCALED.allows([1, -1]), SCALED.allows([1, 1]), SCALED.allows([0])
        (True, False, True)
    """

    modulus: int
    most: int | None = None

    @property
    def action(self) -> str:
        """What the group does to neurons, for texts."""
        if self.most is not None:
            return "mixing" if self.modulus == 0 else "rotating"
        return {1: "permuting", 2: "permuting and flipping"}.get(
            self.modulus, "permuting and scaling"
        )

    def charge(self, degrees: Iterable[int]) -> int:
        """The sum of degrees as the group sees it."""
        total = sum(degrees)
        return total % self.modulus if self.modulus else total

    def allows(self, degrees: Sequence[int]) -> bool:
        """Whether strands of these degrees may be a block; those of an
        input count with the opposite degree.
        """
        return self.charge(degrees) == 0 and (self.most is None or len(degrees) <= self.most)

    def keeps(self, blocks: Blocks, degrees: Mapping[int, int], n: int) -> bool:
        """Whether a diagram of allowed blocks belongs to the basis for ``n`` neurons.

        Args:
            blocks: a partition of the strands, every block allowed; strands are numbered, alike for
                all diagrams compared.
            degrees: of every strand.
            n: the number of neurons.

        Permutations, signs and scales: at most n blocks, since more neurons cannot be told apart.
        Matchings of O(n): as involutions without an increasing subsequence longer than n. Walled
        matchings of GL(n): as permutations from the primal to the dual strands without a decreasing
        one longer than n (both by the correspondence of Robinson and Schensted).
        """
        if self.most is None:
            return len(blocks) <= n
        partner = {
            a: b
            for first, second in (b for b in blocks if len(b) == 2)
            for a, b in ((first, second), (second, first))
        }
        if self.modulus == 0:
            return longest_increasing([-partner[k] for k in sorted(partner) if degrees[k] > 0]) <= n
        fixed = int(self.modulus == 1)  # the mean is a direction of its own
        return longest_increasing([partner[k] for k in sorted(partner)]) <= n - fixed


def longest_increasing(values: Sequence[int]) -> int:
    """Length of the longest increasing subsequence, by patience sorting.

    Example:
        >>> longest_increasing([2, 1, 4, 3]), longest_increasing([4, 3, 2, 1])
        (2, 1)
    """
    tops: list[int] = []
    for value in values:
        place = bisect_left(tops, value)
        tops[place : place + 1] = [value]
    return len(tops)


# The rows of the table. Groups that are given by generators have no rule: their orbits are found.
PERMUTED = BlockRule(1)
SIGNED = BlockRule(2)
SCALED = BlockRule(0)
ROTATED = BlockRule(2, 2)
ROTATED_ABOUT_THE_MEAN = BlockRule(1, 2)
INVERTIBLE = BlockRule(0, 2)
