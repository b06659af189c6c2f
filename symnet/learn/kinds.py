"""A reader of networks of any architecture: statistics of their tensors, pooled over tensors of one kind.

A kind is what a tensor is called (`weight`, `bias`, `running_var`) and how many axes it has. Tensors are compared in units of
`1 / sqrt(fan in)`, so that wide and narrow layers look alike. The numbers are invariant under every permutation of a
tensor's entries and of the tensors of a kind: more than any graph asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from symnet.nn.baselines import entry_statistics

__all__ = ["KindReader", "kind_statistics", "kinds_of"]

WIDTH, HIDDEN, DROPOUT = 48, 64, 0.3
EACH = 7  # statistics of a tensor


def kinds_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The kind of every tensor by name.

    Example:
        >>> kinds_of({"0.weight": (4, 3), "0.bias": (4,)})
        {'0.weight': 'weight 2', '0.bias': 'bias 1'}
    """
    return {name: f"{name.rpartition('.')[2]} {len(shape)}" for name, shape in shapes.items()}


def kind_statistics(weights: Mapping[str, Tensor], kinds: Sequence[str]) -> Tensor:
    """Mean and spread, over the tensors of each kind, of their statistics; and how many there are, and how large.

    Args:
        weights: `{name: (networks, *axes)}`.
        kinds: those that count; of one that the networks lack all numbers are zero.

    Returns:
        `(networks, 16 * kinds)`.
    """
    kind_of = kinds_of({name: tuple(tensor.shape[1:]) for name, tensor in weights.items()})
    count = len(next(iter(weights.values())))
    parts = []
    for kind in kinds:
        tensors = [weights[name] for name in weights if kind_of[name] == kind]
        if not tensors:
            parts.append(torch.zeros(count, 2 * EACH + 2))
            continue
        scaled = [tensor * math.sqrt(math.prod(tensor.shape[2:])) for tensor in tensors]
        each = torch.stack([entry_statistics(tensor.flatten(1).unsqueeze(-1)) for tensor in scaled])
        size = sum(math.prod(tensor.shape[1:]) for tensor in tensors) / len(tensors)
        facts = torch.tensor([math.log(len(tensors)), math.log(max(size, 1))]).expand(count, 2)
        parts.append(torch.cat([each.mean(0), each.std(0, correction=0), facts], dim=1))
    return torch.cat(parts, dim=1)


class KindReader(nn.Module):
    """An MLP on the statistics of kinds.

    Args:
        kinds: that are read.
        outputs: numbers for each network.

    Shapes:
        readings `{"kinds": (batch, 16 * kinds)}` to `(batch, outputs)`.

    Example:
        >>> reader = KindReader(["weight 2", "bias 1"], 3)
        >>> reader({"kinds": kind_statistics({"0.weight": torch.randn(5, 4, 2), "0.bias": torch.randn(5, 4)}, reader.kinds)}).shape
        torch.Size([5, 3])
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, kinds: Sequence[str], outputs: int) -> None:
        super().__init__()
        self.kinds = list(kinds)
        numbers = len(self.kinds) * (2 * EACH + 2)
        self.config: dict[str, Any] = {"kinds": self.kinds, "outputs": outputs}
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("spread", torch.ones(numbers))
        self.layers = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(numbers, WIDTH), nn.GELU(), nn.Linear(WIDTH, HIDDEN), nn.GELU(),
            nn.Linear(HIDDEN, outputs),
        )  # fmt: skip

    @torch.no_grad()
    def calibrate_to(self, numbers: Tensor) -> None:
        """Take means and spreads from the networks to learn from."""
        self.mean.copy_(numbers.mean(0))
        spread = numbers.std(0, correction=0)
        self.spread.copy_(torch.where(spread > 1e-6 * (1 + self.mean.abs()), spread, 1.0))

    def forward(self, readings: Mapping[str, Tensor]) -> Tensor:
        standard = ((readings["kinds"] - self.mean) / self.spread).clamp(-8, 8)
        answer: Tensor = self.layers(standard)
        return answer
