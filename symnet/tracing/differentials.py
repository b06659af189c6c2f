"""Derivatives of a network's outputs by its state, at random states and inputs: what a continuous
symmetry leaves at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from symnet.errors import VerificationError
from symnet.tracing.batch_norms import StatisticsWithGradients
from symnet.tracing.examples import (
    copy_model,
    detached,
    differentiable,
    float_state,
    initialise,
    is_chosen,
    randomise,
    refreshed,
    without_single_sizes,
)
from symnet.tracing.execution import double_precision
from symnet.tracing.fresh_inputs import Inputs
from symnet.tracing.recording import map_tensors, tensors_in

POSITIVE = ("running_var", "var", "variance")  # last words of names whose entries stay positive
# States at which a null space must have stayed the same: a rectifier that is rarely on shows itself
# late.
STABLE = 8
# equations shorter than this part of the longest are left out: a saturated function has no
# derivative to speak of
_SHORT = 1e-3
_DEAD = 1e-12  # gradients below this part of the largest count as no influence


def has_settled(nullities: Sequence[int]) -> bool:
    """Whether the dimension of a null space has stopped falling."""
    return len(nullities) > STABLE and nullities[-1] == nullities[-1 - STABLE]


def of_unit_length(rows: np.ndarray) -> np.ndarray:
    """The rows divided by their lengths, without those so short that they are mostly rounding."""
    lengths = np.linalg.norm(rows, axis=1)
    kept = lengths > _SHORT * lengths.max(initial=0.0)
    return rows[kept] / lengths[kept, None]


def singular_vectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many singular values as columns, largest first, and the right singular vectors as rows."""
    try:
        _, values, vectors = np.linalg.svd(matrix, full_matrices=True)
    except np.linalg.LinAlgError:  # divide and conquer fails on some triangles with many zeros
        _, values, vectors = scipy.linalg.svd(matrix, lapack_driver="gesvd")
    return np.concatenate([values, np.zeros(matrix.shape[1] - len(values))]), vectors


class Differential:
    """A private copy of a network in float64, whose state can be drawn again and whose outputs can
    be differentiated.

    Args:
        model: the network; it is left as it is.
        inputs: example inputs; axes of size 1 are made larger where the model takes that, as one
            token hides what mixes.
        outputs: which outputs count, by name.
        seed: of the states, inputs and directions that are drawn.

    Raises:
        VerificationError: the outputs do not depend on the state.
    """

    def __init__(
        self, model: nn.Module, inputs: Inputs, outputs: Sequence[str] | None, seed: int
    ) -> None:
        self.model = copy_model(model)
        initialise(self.model, inputs)
        self.model.double()
        self.outputs, self.seed = outputs, seed
        self.inputs = without_single_sizes(
            self.model, refreshed(detached(inputs), torch.Generator(), torch.float64)
        )
        self.state, self.aliases = float_state(self.model)
        for tensor in self.state.values():
            tensor.requires_grad_(False)
        self.generator = torch.Generator().manual_seed(seed)
        self.draws = 0
        self.draw()

    def draw(self, held: Mapping[str, Tensor] | None = None) -> None:
        """Gives every entry of the state a new moderate value, but for the tensors whose values
        are held.
        """
        self.draws += 1
        randomise(self.state, 7919 * self.seed + self.draws)
        with torch.no_grad():
            for name, tensor in self.state.items():
                # With positive biases many rectifiers are never off, and a network without
                # rectifiers has more symmetry.
                if tensor.dim() < 2 and name.rsplit(".", 1)[-1] not in POSITIVE:
                    tensor *= torch.randint(2, tensor.shape, generator=self.generator) * 2 - 1
            for name, values in (held or {}).items():
                self.state[name].copy_(values)

    def values(self) -> dict[str, np.ndarray]:
        """The present state: float64 arrays by tensor."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.state.items()}

    def rows(self, most: int) -> dict[str, np.ndarray]:
        """Derivatives of at most ``most`` random combinations of the outputs at new inputs.

        Returns:
            float64 ``(rows, *shape)`` by tensor of the state; as many rows as there are outputs, if
            these are fewer.

        Raises:
            VerificationError: no output has a gradient, or one is not finite.
        """
        with differentiable(self.state) as leaves, torch.enable_grad():
            vector = self._run()
            if not vector.requires_grad:
                raise VerificationError(
                    f"No output of {type(self.model).__name__} has a gradient by its state: "
                    "nothing continuous can be said of it."
                )
            count = min(most, vector.numel())
            shape = (count, vector.numel())
            directions = torch.randn(shape, generator=self.generator, dtype=torch.float64)
            if count == vector.numel():
                directions = torch.eye(count, dtype=torch.float64)
            derivatives = torch.autograd.grad(
                vector, leaves, directions, is_grads_batched=True, allow_unused=True
            )
        empty = lambda leaf: torch.zeros((count, *leaf.shape), dtype=torch.float64)  # noqa: E731
        rows = {
            name: (empty(leaf) if rows is None else rows.detach().double()).numpy()
            for (name, leaf), rows in zip(self.state.items(), derivatives, strict=True)
        }
        if not all(np.isfinite(array).all() for array in rows.values()):
            raise VerificationError(
                f"{type(self.model).__name__} has derivatives that are not finite at a random "
                "state, so nothing can be said "
                "about its continuous symmetries. Give inputs inside the domain of its functions."
            )
        return rows

    def outputs_at(self, states: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
        """All chosen outputs as one vector, at several states and the same new inputs."""
        drawn = self.generator.get_state()
        outputs = []
        for state in states:
            self.generator.set_state(drawn)
            with torch.no_grad():
                for name, tensor in self.state.items():
                    tensor.copy_(state[name])
                outputs.append(self._run())
        return outputs

    def dead_tensors(self, rounds: int = 3) -> tuple[str, ...]:
        """Tensors none of whose entries has influence, at several states and inputs."""
        largest = dict.fromkeys(self.state, 0.0)
        for _ in range(rounds):
            self.draw()
            sizes = {
                name: float(np.abs(rows).max(initial=0.0)) for name, rows in self.rows(16).items()
            }
            top = max(sizes.values(), default=0.0) or 1.0
            largest = {name: max(largest[name], size / top) for name, size in sizes.items()}
        return tuple(name for name, size in largest.items() if size < _DEAD)

    def _run(self) -> Tensor:
        """All chosen outputs at new inputs, as one vector."""
        with double_precision(), StatisticsWithGradients():
            # what only large inputs switch on
            factor = 2.0 ** float(torch.randint(4, (), generator=self.generator))
            args, keywords = map_tensors(
                lambda x: x * factor if x.is_floating_point() else x,
                refreshed(self.inputs, self.generator, torch.float64),
            )
            result = self.model(*args, **keywords)
        chosen = [
            t for path, t in tensors_in(result) if t is not None and is_chosen(path, self.outputs)
        ]
        parts = [t.reshape(-1).double() for t in chosen if t.dtype.is_floating_point]
        if not parts:
            raise VerificationError(
                f"{type(self.model).__name__} returned no floating-point outputs, so there is no "
                "function to keep unchanged."
            )
        return torch.cat(parts)
