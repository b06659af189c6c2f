"""The continuous part of a certificate of maximality: what is declared against what the solver and
the Jacobian allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from symnet.graph import NeuronGraph
from symnet.verify.jacobian_bound import JacobianBound, jacobian_bound
from symnet.verify.lie_pieces import LiePiece, named_dimension, pieces_of
from symnet.verify.report import entry


@dataclass(frozen=True, eq=False)
class ContinuousPart:
    """Whether a graph declares all the continuous symmetry that a declaration can express.

    ``declared`` is the graph's Lie dimension, ``declarable`` that of the scales, rotations and
    invertible maps which the solver found, ``bound`` the solver's and the Jacobian's dimensions.
    What lies between has a kind: rotary planes, the common scale of a stream, scales of other
        degrees, what is dead, what hides behind gains, hidden fibres.
    """

    declared: int
    declarable: int
    named: int
    pieces: tuple[LiePiece, ...]
    bound: JacobianBound

    @property
    def certified(self) -> bool:
        """Whether all that a declaration can express is declared, and all that was found has a
        name.
        """
        return self.declared == self.declarable and self.named == self.bound.algebra.dimension

    def lines(self) -> list[str]:
        """Lines of a report."""
        algebra = self.bound.algebra
        shown = f"{self.declared} declared, {self.declarable} can be declared, "
        shown += f"{algebra.dimension} found by the solver, "
        shown += f"{self.bound.dimension} by the Jacobian"
        return [*entry("dimension", [shown]), *entry("between", self._between())]

    def _between(self) -> Iterator[str]:
        beyond = Counter(
            piece.kind
            for piece in self.pieces
            for _ in range(piece.dimension)
            if not is_declarable(piece)
        )
        yield from (
            f"{count} of the kind '{kind}', which no group declares"
            for kind, count in beyond.items()
        )
        if unnamed := self.bound.algebra.dimension - self.named:
            yield f"{unnamed} that the solver found and that have no name here"
        if dead := sum(self.bound.dead.values()):
            yield f"{dead} without effect, in {', '.join(self.bound.dead)}"
        if self.bound.by_vectors:
            yield f"{self.bound.by_vectors} behind gains or biases: fold them to see these"
        if self.bound.hidden:
            yield f"{self.bound.hidden} hidden: no action along axes explains them"


def is_declarable(piece: LiePiece) -> bool:
    """Whether strands of degree 1, 0 and -1 can say what a piece does."""
    match piece.kind:
        case "maps" | "rotations":
            return True
        case "scale":
            return all(abs(abs(degree) - 1) < 1e-5 for degree in piece.degrees.values())
        case _:
            return False


def continuous_part(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    **keywords: Any,
) -> ContinuousPart:
    """The declared Lie dimension of a graph beside what its network has, at a small width.

    Raises:
        VerificationError: as ``lie_algebra`` and ``jacobian_bound``.
    """
    bound = jacobian_bound(model, *inputs, outputs=outputs, seed=seed, **keywords)
    pieces = pieces_of(bound.algebra)
    declarable = named_dimension(bound.algebra, [piece for piece in pieces if is_declarable(piece)])
    return ContinuousPart(
        graph.dimension, declarable, named_dimension(bound.algebra, pieces), pieces, bound
    )
