"""jacobian_bound: the kernel of the outputs' derivative at one state bounds every smooth symmetry,
linear along axes or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from symnet.errors import VerificationError
from symnet.tracing.differentials import Differential, has_settled, of_unit_length, singular_vectors
from symnet.verify.lie_algebra import LieAlgebra, solve_axes
from symnet.verify.report import entry

ENTRIES = 4000  # entries of the state: the work grows with their cube
_ROUNDS = 400
# A neuron that no input switches off makes the kernel larger at some states of a ReLU network; a
# symmetry acts at all of them.
_STATES = 8
_ALIKE = 3  # states with the same kernel in a row, after which others are not tried
_NULL, _SOLID = 1e-11, 1e-9  # as for the solver
_RANK = 1e-8  # of spans of unit vectors


@dataclass(frozen=True, eq=False)
class JacobianBound:
    """How large any smooth symmetry can be at a generic state, and what lies between that and the
    axis-wise ones.

    ``dimension`` is that of the kernel of ``d f(x_1 .. x_N) / d theta``. By kind, in this order:
    ``symmetric`` are the directions of the Lie algebra; ``dead`` those of entries without influence
    and of directions within one tensor (a key's bias under a softmax, what a layer norm takes out);
    ``by_vectors`` those that are axis-wise once gains and biases keep their values (rotations of a
    stream whose gains are not folded); ``hidden`` all others (a value's bias against the output's
    bias, fibres that no linear action explains).
    """

    algebra: LieAlgebra
    dimension: int
    symmetric: int
    dead: Mapping[str, int]
    by_vectors: int
    gap: float

    @property
    def hidden(self) -> int:
        return self.dimension - self.symmetric - sum(self.dead.values()) - self.by_vectors

    def __str__(self) -> str:
        lines = [f"Jacobian bound {self.dimension}, axis-wise symmetries {self.algebra.dimension}"]
        moved = f"{self.symmetric} directions of the Lie algebra at this state"
        lines += entry("symmetric", [moved])
        lines += entry("dead", [f"{name}: {count}" for name, count in self.dead.items()])
        if self.by_vectors:
            lines += entry(
                "vectors",
                [
                    f"{self.by_vectors} while gains and biases keep their values: fold them to "
                    "see these"
                ],
            )
        if self.hidden:
            lines += entry("hidden", [f"{self.hidden} that no action along axes explains"])
        return "\n".join([*lines, f"  {'gap':<9} {self.gap:.1e}"])

    __repr__ = __str__


def jacobian_bound(
    model: nn.Module,
    *inputs: Any,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    **keyword_inputs: Any,
) -> JacobianBound:
    """A bound on the dimension of every smooth symmetry, and what it has beyond the axis-wise
    linear ones, by kind.

    Args:
        model, inputs, outputs, seed, keyword_inputs: as in ``lie_algebra``.

    Raises:
        VerificationError: more than ``ENTRIES`` entries, or as in ``lie_algebra``.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> jacobian_bound(model, torch.randn(8, 3)).dimension
        5
    """
    differential = Differential(model, (inputs, dict(keyword_inputs)), outputs, seed)
    total = sum(tensor.numel() for tensor in differential.state.values())
    if total > ENTRIES:
        raise VerificationError(
            f"{type(model).__name__} has {total} entries, and the limit of the bound is {ENTRIES}. "
            "Bound the same architecture "
            "with narrow layers."
        )
    dead = differential.dead_tensors()
    algebra = solve_axes(differential, dead, seed)
    vectors = {
        name: tensor.clone()
        for name, tensor in differential.state.items()
        if sum(size > 1 for size in tensor.shape) < 2
    }
    held = solve_axes(differential, dead, seed, held=vectors) if vectors else algebra
    bounds: list[JacobianBound] = []
    while len(bounds) < _STATES:
        differential.draw(vectors)
        bounds.append(_bound_at_present_state(differential, algebra, held))
        if not bounds[-1].hidden or _are_alike(bounds):
            break
    return min(bounds, key=lambda bound: bound.dimension)


def _are_alike(bounds: Sequence[JacobianBound]) -> bool:
    return len(bounds) >= _ALIKE and len({bound.dimension for bound in bounds[-_ALIKE:]}) == 1


def _bound_at_present_state(
    differential: Differential, algebra: LieAlgebra, held: LieAlgebra
) -> JacobianBound:
    values = differential.values()
    kernel, gap = _kernel(differential, sum(value.size for value in values.values()))
    span = _Span(len(kernel))
    symmetric = span.add(algebra.tangents(values))
    dead = {name: span.add(part) for name, part in _within_tensors(kernel, values)}
    by_vectors = span.add(held.tangents(values))
    return JacobianBound(
        algebra,
        kernel.shape[1],
        symmetric,
        {name: n for name, n in dead.items() if n},
        by_vectors,
        gap,
    )


def _kernel(differential: Differential, total: int) -> tuple[np.ndarray, float]:
    """Orthonormal basis ``(total, dimension)`` of the directions that leave the outputs at all
    inputs.
    """
    triangle, nullities = np.zeros((0, total)), []
    for _ in range(_ROUNDS):
        rows = differential.rows(max(64, total // 4))
        block = np.concatenate([array.reshape(len(array), -1) for array in rows.values()], axis=1)
        triangle = np.asarray(
            np.linalg.qr(np.concatenate([triangle, of_unit_length(block)]), mode="r")
        )
        if len(triangle) < total:
            continue
        values, vectors = singular_vectors(triangle)
        zero = values <= _NULL * values.max(initial=0.0)
        nullities.append(int(zero.sum()))
        if has_settled(nullities):
            smallest, largest = (
                values[~zero].min(initial=np.inf),
                max(values[zero].max(initial=0.0), 1e-300),
            )
            if smallest < _SOLID * values.max(initial=0.0):
                raise VerificationError(
                    f"A singular value of {smallest / values.max():.0e} of the largest is neither "
                    "zero nor clearly not. Use "
                    "larger epsilons in norms, or inputs of another scale."
                )
            return vectors[zero].T, float(smallest / largest)
    raise VerificationError(
        "The kernel of the derivative did not settle; give inputs with more samples."
    )


class _Span:
    """A growing span of vectors; ``add`` says by how much it grew."""

    def __init__(self, size: int) -> None:
        self.basis = np.zeros((size, 0))

    def add(self, vectors: np.ndarray) -> int:
        """Number of new dimensions that these columns bring."""
        norms = np.linalg.norm(vectors, axis=0)
        kept = vectors[:, norms > _RANK] / norms[norms > _RANK]
        for _ in range(2):  # once more against rounding
            kept = kept - self.basis @ (self.basis.T @ kept)
        values, vectors = singular_vectors(kept.T)
        fresh = vectors[values > _RANK].T
        self.basis = np.concatenate([self.basis, fresh], axis=1)
        return int(fresh.shape[1])


def _within_tensors(
    kernel: np.ndarray, values: Mapping[str, np.ndarray]
) -> list[tuple[str, np.ndarray]]:
    """By tensor, the directions of the kernel that move this tensor alone."""
    parts, start = [], 0
    for name, value in values.items():
        place = slice(start, start := start + value.size)
        outside = np.delete(kernel, np.arange(place.start, place.stop), axis=0)
        sizes, mixtures = singular_vectors(outside)
        parts.append((name, kernel @ mixtures[sizes < _RANK].T))
    return parts
