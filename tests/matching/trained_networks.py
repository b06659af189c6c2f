"""Many small networks of one kind, trained on digits at the same time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

Weights = dict[str, Tensor]


def digits() -> tuple[Tensor, Tensor]:
    """Pictures (1797, 64) between 0 and 1, and their digits; the first 1,200 are for training."""
    bunch = load_digits()
    return torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )


def train_many(
    make: Callable[[], nn.Module],
    count: int,
    *,
    seed: int,
    steps: int = 100,
    batch: int = 100,
    rate: float = 3e-3,
    start: list[Weights] | None = None,
) -> list[Weights]:
    """State dicts of networks that started, and saw their batches, independently; or that went on from given ones."""
    torch.manual_seed(seed)
    x, y = digits()
    stacked, _ = stack_module_state([make() for _ in range(count)])
    if start is not None:
        stacked = {name: torch.stack([weights[name] for weights in start]) for name in start[0]}
    state = {name: tensor.detach().clone() for name, tensor in stacked.items()}
    model = make()

    def loss(weights: Weights, pictures: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, weights, (pictures,)), labels)

    gradients = vmap(grad(loss))
    optimizer = torch.optim.Adam(list(state.values()), lr=rate, weight_decay=1e-4)
    for _ in range(steps):
        chosen = torch.randint(0, 1200, (count, batch))
        for name, gradient in gradients(state, x[chosen], y[chosen]).items():
            state[name].grad = gradient
        optimizer.step()
    return [
        {name: tensor[k].detach().clone() for name, tensor in state.items()} for k in range(count)
    ]


class Block(nn.Module):
    """Two convolutions with norms beside a residual stream."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.a, self.b = (
            nn.Conv2d(width, inner, 3, padding=1),
            nn.Conv2d(inner, width, 3, padding=1),
        )
        self.norm = nn.BatchNorm2d(inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.norm(self.a(torch.relu(x)))))


class CNN(nn.Module):
    """A residual CNN on pictures of 8 by 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 16, 3, padding=1), Block(16, 32), Block(16, 32)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(self.stem(x.reshape(-1, 1, 8, 8))))
        return self.head(torch.relu(x).mean((-1, -2)))


class Transformer(nn.Module):
    """A transformer on the eight rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 64, dropout=0.0, batch_first=True)
        self.embed, self.place = nn.Linear(8, 16), nn.Parameter(0.5 * torch.randn(8, 16))
        self.encoder, self.head = (
            nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
            nn.Linear(16, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.reshape(-1, 8, 8)) + self.place).mean(1))


def train(make: Callable[[], nn.Module], seed: int, steps: int = 150) -> nn.Module:
    """One network, trained by itself, in eval mode."""
    torch.manual_seed(seed)
    x, y = digits()
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(steps):
        chosen = torch.randint(0, 1200, (100,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return model.eval()
