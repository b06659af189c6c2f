"""Small networks whose graphs are traced: a residual CNN with batch norms and a flatten head, and a transformer on patches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import relu

import symnet as sn

__all__ = ["MODULES", "ManyModules", "PatchTransformer", "ResidualCNN", "traced_graph"]

Weights = dict[str, Tensor]  # name -> (network, *axes)


class ResidualCNN(nn.Module):
    """Logits `(image, classes)` of images `(image, 1, 8, 8)`: a stem, one residual block, all positions to one linear layer."""

    def __init__(self, channels: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(16 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.norm(self.stem(x)))
        inner = relu(self.first_norm(self.first(x)))
        x = relu(x + self.second_norm(self.second(inner)))
        found: Tensor = self.head(x.flatten(1))
        return found


class PatchTransformer(nn.Module):
    """Logits `(image, classes)` of images `(image, 1, 8, 8)`: four patches, one block of attention and MLP, their mean."""

    def __init__(
        self, width: int = 16, heads: int = 2, hidden: int = 24, classes: int = 10
    ) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(16, width)
        self.place = nn.Parameter(torch.zeros(4, width))
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.second_norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        # (image, 1, 2 * 4, 2 * 4) -> (image, 4 patches, 16 pixels)
        patches = x.reshape(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 4, 16)
        x = self.embed(patches) + self.place
        x = x + self._attend(self.norm(x))
        x = x + self.down(relu(self.up(self.second_norm(x))))
        found: Tensor = self.head(x.mean(1))
        return found

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        # Written out: torch.func has no batched form of the fused operation.
        weights = (query @ key.mT * query.shape[-1] ** -0.5).softmax(-1)
        found: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return found


MODULES: dict[str, Callable[[], nn.Module]] = {
    "residual": ResidualCNN,
    "transformer": PatchTransformer,
}


class ManyModules:
    """Networks of one module, as dicts of batched tensors: parameters, and buffers that training changes.

    Args:
        name: of the module.
        count: networks.
    """

    def __init__(self, name: str, count: int) -> None:
        self.module, self.count = MODULES[name](), count
        self.buffers = {
            name: buffer.expand(count, *buffer.shape).clone()
            for name, buffer in self.module.named_buffers()
        }

    def start(self, scale: Tensor, generator: torch.Generator) -> Weights:
        """Random starts: matrices normal with variance `2 / fan_in`, times `scale`, `(networks,)`; the rest as torch has it."""
        found = {}
        for name, parameter in self.module.named_parameters():
            many = parameter.detach().expand(self.count, *parameter.shape).clone()
            if parameter.dim() > 1:
                normal = torch.randn(many.shape, generator=generator)
                fan_in = parameter[0].numel()
                many = (
                    normal * (2.0 / fan_in) ** 0.5 * scale.view(-1, *(1 for _ in parameter.shape))
                )
            elif name.endswith("bias"):
                many = torch.zeros_like(many)
            found[name] = many
        return found

    def logits(self, weights: Weights, images: Tensor) -> Tensor:
        """`(network, image, classes)` for images `(network, image, 1, 8, 8)`, in training mode: statistics are updated."""
        self.module.train()
        found: Tensor = vmap(self._call)(weights, self.buffers, images)
        return found

    def judge(self, weights: Weights, images: Tensor) -> Tensor:
        """The same in evaluation mode, for images `(image, 1, 8, 8)` that all networks see."""
        self.module.eval()
        found: Tensor = vmap(self._call, in_dims=(0, 0, None))(weights, self.buffers, images)
        return found

    def complete(self, weights: Weights) -> Weights:
        """Parameters and those buffers that are numbers, in the order of the module's state dict."""
        every = {**weights, **self.buffers}
        return {
            name: every[name]
            for name in self.module.state_dict()
            if every[name].is_floating_point()
        }

    def _call(self, weights: Weights, buffers: Weights, images: Tensor) -> Tensor:
        found: Tensor = functional_call(self.module, (weights, buffers), (images,))
        return found


def traced_graph(name: str) -> sn.NeuronGraph:
    """The neuron-permutation graph of a module, as `sn.trace` reads it off its forward pass.

    Example:
        >>> traced_graph("residual").tensors["head.weight"]
        '10 (stream 16)'
    """
    return sn.trace(MODULES[name]().eval(), torch.zeros(2, 1, 8, 8))
