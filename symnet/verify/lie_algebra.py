"""lie_algebra: every continuous symmetry that acts linearly on the axes of a network's tensors,
found by a null space.

Unknown is one n x n matrix ``A`` for every axis of every tensor. Moving theta along ``A theta``
keeps the function iff ``sum_t J_t (A theta)_t = 0`` at every theta, with J the derivative of the
outputs. The equations of several random states
are stacked until the null space stops falling: what is left *is* the Lie algebra, with no rule
    about any operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from symnet.errors import VerificationError
from symnet.tracing.differentials import Differential, has_settled, of_unit_length, singular_vectors
from symnet.verify.report import entry

UNKNOWNS = 3000  # entries of all matrices: the work grows with their cube, at 3,000 some minutes
_ROUNDS = 400  # states at which the null space must have stopped falling
_NULL, _SOLID = (
    1e-11,
    1e-9,
)  # singular values below the first are zeros, above the second not; between them: undecided


@dataclass(frozen=True, slots=True)
class AxisUnknown:
    """The matrix sought on one axis of a tensor: where its entries stand among all unknowns."""

    tensor: str
    axis: int  # -1 for a tensor without axes, which has one number
    size: int
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.size**2

    def __str__(self) -> str:
        return f"{self.tensor}, axis {self.axis}" if self.axis >= 0 else self.tensor


@dataclass(frozen=True, eq=False)
class LieAlgebra:
    """All axis-wise linear continuous symmetries of a network, as a basis of the null space.

    ``basis`` is float64 ``(unknowns, vectors)``, orthonormal; ``trivial`` of its dimensions change
    nothing at all (c on one axis and -c on another axis of the same tensor), so ``dimension`` is
    what is left. ``gap`` is the ratio between the
    smallest singular value that is no zero and the largest that is: with less than about 1e3
        nothing would be shown.
    """

    axes: tuple[AxisUnknown, ...]
    shapes: Mapping[str, tuple[int, ...]]
    basis: np.ndarray
    trivial: int
    gap: float
    states: int
    dead: tuple[str, ...]
    seed: int

    @property
    def dimension(self) -> int:
        """Dimension of the Lie algebra, the trivial directions subtracted."""
        return self.basis.shape[1] - self.trivial

    @property
    def unknowns(self) -> int:
        return self.basis.shape[0]

    @cached_property
    def stack(self) -> Mapping[tuple[str, int], np.ndarray]:
        """By tensor and axis the matrices of all basis vectors: ``(n, n, vectors)``."""
        return {
            (one.tensor, one.axis): self.basis[one.start : one.stop].reshape(one.size, one.size, -1)
            for one in self.axes
        }

    def holds(self, element: Mapping[tuple[str, int], np.ndarray], tolerance: float = 1e-7) -> bool:
        """Whether an element, given by its matrices ``(n, n)`` by tensor and axis, is among the
        symmetries.
        """
        vector = self.vector(element)
        rest = vector - self.basis @ (self.basis.T @ vector)
        return bool(np.linalg.norm(rest) <= tolerance * np.linalg.norm(vector))

    def vector(self, element: Mapping[tuple[str, int], np.ndarray]) -> np.ndarray:
        """The unknowns that an element's matrices stand for; axes of size 1 without an unknown
        fall to another axis.
        """
        result = np.zeros(self.unknowns)
        places = {(one.tensor, one.axis): one for one in self.axes}
        for (tensor, axis), matrix in element.items():
            if tensor in self.dead:
                continue
            if (tensor, axis) in places:
                one = places[tensor, axis]
                result[one.start : one.stop] += np.asarray(matrix, dtype=float).reshape(-1)
            else:  # a number on an axis of size 1 is the same number on any other
                one = next(one for one in self.axes if one.tensor == tensor)
                result[one.start : one.stop] += float(np.asarray(matrix).reshape(())) * np.eye(
                    one.size
                ).reshape(-1)
        return result

    def tangents(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """How every basis vector moves a state: float64 ``(entries of all tensors in turn,
        vectors)``.
        """
        return _apply(self.stack, values, self.basis.shape[1])

    def __str__(self) -> str:
        lines = [f"Lie algebra of dimension {self.dimension}"]
        shown = (
            f"{self.unknowns} on {len(self.axes)} axes; {self.trivial} change nothing, subtracted"
        )
        lines += entry("unknowns", [shown])
        lines += entry("states", [f"{self.states}, singular values with a gap of {self.gap:.1e}"])
        lines += entry("not felt", [f"{name}: no entry has influence" for name in self.dead])
        return "\n".join([*lines, f"  {'seed':<9} {self.seed}"])

    __repr__ = __str__


def lie_algebra(
    model: nn.Module,
    *inputs: Any,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    **keyword_inputs: Any,
) -> LieAlgebra:
    """Every continuous symmetry that acts linearly along axes, found without any rule about
    operations.

    Args:
        model: the network; a copy in float64 and eval mode is used. Small widths suffice, and are
            all that is feasible.
        inputs, keyword_inputs: example inputs: several samples and, for sequences, several
            positions. With one token a rotary embedding turns nothing, and the symmetry that is
            found is too large.
        outputs: which outputs count, by name, as in ``trace``.

    Raises:
        VerificationError: more than ``UNKNOWNS`` unknowns, no gradient, or singular values without
            a clear gap.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
        >>> lie_algebra(model, torch.randn(8, 3)).dimension  # one scale for every hidden neuron
        5
    """
    differential = Differential(model, (inputs, dict(keyword_inputs)), outputs, seed)
    return solve_axes(differential, differential.dead_tensors(), seed)


def solve_axes(
    differential: Differential,
    dead: Sequence[str],
    seed: int,
    held: Mapping[str, Tensor] | None = None,
) -> LieAlgebra:
    """The null space for a network that can be differentiated; tensors in ``held`` keep their
    values at every state.

    Raises:
        VerificationError: as ``lie_algebra``.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in differential.state.items()}
    axes = _axes_of({name: shape for name, shape in shapes.items() if name not in dead})
    unknowns = axes[-1].stop if axes else 0
    if unknowns > UNKNOWNS:
        raise VerificationError(
            f"{type(differential.model).__name__} has {unknowns} unknowns, the squares of all "
            "axes' sizes, and the limit is "
            f"{UNKNOWNS}. Symmetries do not depend on the width: find them on the same "
            "architecture with narrow layers."
        )
    equations = _Equations(unknowns)
    widest = max((one.size for one in axes), default=1)
    nullities: list[int] = []
    for states in range(1, _ROUNDS + 1):
        differential.draw(held)
        rows = differential.rows(max(64, unknowns // 6))
        equations.add(_equations(axes, rows, differential.values()))
        if states < widest + 2 or equations.count < 1.1 * unknowns:
            continue
        nullities.append(equations.nullity())
        if has_settled(nullities):
            basis, gap = equations.null_space()
            live = {name: shape for name, shape in shapes.items() if name not in dead}
            return LieAlgebra(
                axes, shapes, basis, _trivial(axes, live), gap, states, tuple(dead), seed
            )
    raise VerificationError(
        f"The continuous symmetries of {type(differential.model).__name__} were not settled at "
        f"{_ROUNDS} random states; give "
        "inputs with more samples."
    )


class _Equations:
    """Stacked equations, kept as the triangle of their QR factorisation; a Gram matrix would
    square the gap.
    """

    def __init__(self, unknowns: int) -> None:
        self.triangle = np.zeros((0, unknowns))
        self.count = 0

    def add(self, rows: np.ndarray) -> None:
        rows = of_unit_length(rows)
        self.count += len(rows)
        stacked = np.concatenate([self.triangle, rows])
        self.triangle = (
            np.asarray(np.linalg.qr(stacked, mode="r"))
            if len(stacked) > stacked.shape[1]
            else stacked
        )

    def nullity(self) -> int:
        values, _ = singular_vectors(self.triangle)
        return int((values <= _NULL * values.max(initial=0.0)).sum())

    def null_space(self) -> tuple[np.ndarray, float]:
        """Orthonormal columns, and the ratio between the singular values above and below the cut.

        Raises:
            VerificationError: a singular value is neither clearly zero nor clearly not.
        """
        values, vectors = singular_vectors(self.triangle)
        top = values.max(initial=0.0)
        unclear = values[(values > _NULL * top) & (values < _SOLID * top)]
        if len(unclear):
            raise VerificationError(
                f"{len(unclear)} singular values lie between {_NULL:.0e} and {_SOLID:.0e} of the "
                "largest: neither symmetric "
                "nor clearly not. Use larger epsilons in norms, or inputs of another scale."
            )
        zero = values <= _NULL * top
        smallest = values[~zero].min(initial=top)
        largest = max(values[zero].max(initial=0.0), 1e-16 * top)
        return vectors[zero].T.copy(), float(smallest / largest) if top else np.inf


def _axes_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[AxisUnknown, ...]:
    """An unknown for every axis with more than one position; for a tensor of one number a single
    one.
    """
    axes, start = [], 0
    for name, shape in shapes.items():
        wide = [axis for axis, size in enumerate(shape) if size > 1]
        for axis in wide or [len(shape) - 1]:
            axes.append(AxisUnknown(name, axis, shape[axis] if shape else 1, start))
            start = axes[-1].stop
    return tuple(axes)


def _trivial(axes: Sequence[AxisUnknown], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Directions that change nothing: numbers on the axes of a tensor that add up to zero."""
    return sum(sum(one.tensor == name for one in axes) - 1 for name in shapes)


def _equations(
    axes: Sequence[AxisUnknown], rows: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> np.ndarray:
    """``sum_t J_t (A theta)_t`` as rows over the entries of all A: ``(rows, unknowns)``."""
    columns = []
    for one in axes:
        derivative, value = rows[one.tensor], values[one.tensor]
        by = (
            np.moveaxis(derivative, one.axis + 1 if one.axis >= 0 else 0, -1)
            if derivative.ndim > 1
            else derivative[:, None]
        )
        at = np.moveaxis(value, one.axis, -1) if value.ndim else value[None]
        by, at = by.reshape(len(derivative), -1, one.size), at.reshape(-1, one.size)
        # A theta at place i of the axis is sum_j A[i, j] theta[j]: derivative at i times theta at
        # j.
        columns.append(np.einsum("rki,kj->rij", by, at, optimize=True).reshape(len(derivative), -1))
    return np.concatenate(columns, axis=1) if columns else np.zeros((0, 0))


def _apply(
    stack: Mapping[tuple[str, int], np.ndarray], values: Mapping[str, np.ndarray], vectors: int
) -> np.ndarray:
    parts = []
    for name, value in values.items():
        total = np.zeros((*value.shape, vectors))
        for (tensor, axis), matrices in stack.items():
            if tensor == name:
                place = max(axis, 0)
                moved = np.moveaxis(value, place, 0) if value.ndim else value[None]
                change = np.einsum("ijv,j...->i...v", matrices, moved)
                total += np.moveaxis(change, 0, place) if value.ndim else change[0]
        parts.append(total.reshape(-1, vectors))
    return np.concatenate(parts) if parts else np.zeros((0, vectors))
