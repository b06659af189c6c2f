"""Ways to train a classifier: drawn at random, one for every network of a zoo, and followed by many networks at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["BATCH", "Ways", "draw_ways", "train_in_ways"]

Weights = dict[str, Tensor]  # name -> (network, *axes)
BATCH = 64
LEAST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Ways:
    """How every network of a chunk is trained; tensors are `(networks,)`."""

    activation: Callable[[Tensor], Tensor]
    adam: bool
    learning_rate: Tensor
    weight_decay: Tensor
    scale: Tensor  # of the start
    dropout: Tensor
    share: Tensor  # of the training images that it sees
    noise: Tensor  # share of wrong labels
    steps: Tensor


def draw_ways(count: int, number: int, most_steps: int, generator: torch.Generator) -> Ways:
    """Ways for `count` networks; optimizer and activation are shared, and follow from the chunk's number."""

    def between(low: float, high: float, logarithmic: bool = False) -> Tensor:
        place = torch.rand(count, generator=generator)
        if logarithmic:
            return torch.exp(math.log(low) + place * (math.log(high) - math.log(low)))
        return low + place * (high - low)

    adam = number % 2 == 0
    return Ways(
        activation=torch.relu if number % 4 < 2 else torch.tanh,
        adam=adam,
        learning_rate=between(5e-4, 3e-2, True) * (1 if adam else 30),
        weight_decay=between(1e-4, 0.3, True),
        scale=between(0.3, 1.6, True),
        dropout=between(0.0, 0.5),
        share=between(0.05, 1.0),
        noise=between(0.0, 0.5).square() * 2,
        steps=between(LEAST_STEPS, most_steps, True),
    )


def train_in_ways(
    ways: Ways,
    weights: Weights,
    logits_of: Callable[[Weights, Tensor], Tensor],
    images: Tensor,
    classes: Tensor,
    generator: torch.Generator,
    on_step: Callable[[], None],
) -> Weights:
    """The networks trained; each stops at its own step. AdamW, or momentum with as decoupled a weight decay.

    Args:
        ways: how.
        weights: the starts.
        logits_of: logits `(network, image, classes)` from weights and images `(network, image, ...)`.
        images, classes: to learn, `(images, ...)` and `(images,)`.
        generator: of batches and wrong labels.
        on_step: called before each step; may raise to end the training.
    """
    count, names = len(ways.steps), list(weights)
    first = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    second = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    wrong = torch.rand(count, len(images), generator=generator) < ways.noise[:, None]
    labels = torch.where(
        wrong,
        torch.randint(int(classes.max()) + 1, (count, len(images)), generator=generator),
        classes,
    )
    for step in range(int(ways.steps.max())):
        on_step()
        rows = (
            torch.rand(count, BATCH, generator=generator) * ways.share[:, None] * len(images)
        ).long()
        leaves = {name: tensor.requires_grad_() for name, tensor in weights.items()}
        logits = logits_of(leaves, images[rows])
        loss = (
            cross_entropy(logits.flatten(0, 1), labels.gather(1, rows).flatten(), reduction="sum")
            / BATCH
        )
        gradients = dict(zip(names, torch.autograd.grad(loss, list(leaves.values())), strict=True))
        rate = torch.where(step < ways.steps, ways.learning_rate, 0.0)
        weights = {
            name: _updated(
                tensor.detach(), gradients[name], first[name], second[name], rate, ways, step
            )
            for name, tensor in weights.items()
        }
    return weights


def _updated(
    weight: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    rate: Tensor,
    ways: Ways,
    step: int,
) -> Tensor:
    shape = (-1, *(1 for _ in weight.shape[1:]))
    first.mul_(0.9).add_(gradient, alpha=0.1)
    if ways.adam:
        second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
        change = (
            first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.99 ** (step + 1))).sqrt() + 1e-8)
        )
    else:
        change = first
    rate = rate.view(shape)
    return weight * (1 - rate * ways.weight_decay.view(shape)) - rate * change
