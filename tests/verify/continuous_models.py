"""Small networks written by hand whose continuous symmetries are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn


class Elementwise(nn.Module):
    """Any function of every entry."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def mlp(sizes: list[int], function: Callable[[Tensor], Tensor]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, target in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(source, target), Elementwise(function)]
    return nn.Sequential(*layers[:-1])


class LoRA(nn.Module):
    """``tanh((W + B A) x)`` with W held: a constant, as it is no part of the adapter."""

    def __init__(self, outputs: int, rank: int, inputs: int) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, inputs))
        self.lora_B = nn.Parameter(torch.randn(outputs, rank))
        self.held = torch.randn(outputs, inputs, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ (self.held.to(x) + self.lora_B @ self.lora_A).mT)


def rotate(x: Tensor) -> Tensor:
    """Rotary embedding of ``(batch, head, position, width)``: pairs (i, i + width / 2) turned by
    position times frequency.
    """
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2]).to(x)[:, None] * 0.7 ** torch.arange(half).to(x)
    first, second = x[..., :half], x[..., half:]
    return torch.cat(
        [
            first * angles.cos() - second * angles.sin(),
            first * angles.sin() + second * angles.cos(),
        ],
        -1,
    )


class Attention(nn.Module):
    def __init__(
        self, model: int, heads: int, width: int, *, bias: bool = False, rotary: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.q, self.k, self.v = (nn.Linear(model, heads * width, bias=bias) for _ in range(3))
        self.o = nn.Linear(heads * width, model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        if self.rotary:
            q, k = rotate(q), rotate(k)
        scores = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.o((scores @ v).transpose(1, 2).flatten(2))


class Norm(nn.Module):
    """RMS or layer norm without epsilon, which would fix the scale of the stream."""

    def __init__(self, width: int, kind: Literal["rms", "layer"], gain: bool) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.rand(width) + 0.5) if gain else None

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True) if self.kind == "layer" else x
        x = x / x.square().mean(-1, keepdim=True).sqrt()
        return x if self.weight is None else x * self.weight


class SwiGLU(nn.Module):
    def __init__(self, model: int, inner: int) -> None:
        super().__init__()
        self.gate, self.up = (
            nn.Linear(model, inner, bias=False),
            nn.Linear(model, inner, bias=False),
        )
        self.down = nn.Linear(inner, model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Llama(nn.Module):
    """Embedding, rotary attention and SwiGLU after norms, a last norm and the head: stream of 6, 2
    heads of 4, 5 inner.
    """

    def __init__(
        self,
        kind: Literal["rms", "layer"] = "rms",
        *,
        gain: bool = False,
        tied: bool = False,
        words: int = 9,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 6)
        self.norms = nn.ModuleList(Norm(6, kind, gain) for _ in range(3))
        self.attention, self.mlp = Attention(6, 2, 4, rotary=True), SwiGLU(6, 5)
        self.head = nn.Linear(6, words, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.attention(self.norms[0](x))
        x = x + self.mlp(self.norms[1](x))
        return self.head(self.norms[2](x))


class BatchStatistics(nn.Module):
    """Batch norm on the statistics of the batch, without epsilon."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / x.std(0) * self.weight + self.bias


def batch_norms() -> nn.Sequential:
    leaky = nn.LeakyReLU(0.1)
    return nn.Sequential(
        *(
            nn.Linear(3, 5),
            BatchStatistics(5),
            leaky,
            nn.Linear(5, 4),
            BatchStatistics(4),
            leaky,
            nn.Linear(4, 2),
        )
    )


class OneToken(nn.Module):
    """Rotary attention that is only ever shown a single position."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(5, 2, 4, rotary=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x[:, :1])
