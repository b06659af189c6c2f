"""Many masked MLPs trained at once on the digits: what a mask is worth, and where iterative pruning finds it.

Weights are one dict of batched tensors, keyed as `symnet.catalogue.mlp` names them: `{name: (network, *axes)}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = [
    "accuracies",
    "kept_largest",
    "predict_classes",
    "prune_iteratively",
    "start_weights",
    "train_masked",
]

Weights = dict[str, Tensor]


def start_weights(widths: tuple[int, ...], count: int, generator: torch.Generator) -> Weights:
    """Random starts: normal weights with variance `2 / fan_in` (He et al. 2015), biases zero."""
    found = {}
    for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
        normal = torch.randn(count, fan_out, fan_in, generator=generator)
        found[f"{2 * layer}.weight"] = normal * (2.0 / fan_in) ** 0.5
        found[f"{2 * layer}.bias"] = torch.zeros(count, fan_out)
    return found


def predict_classes(weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Logits of every network: `(network, image, classes)`; images `(image, pixels)`, or `(network, image, pixels)`."""
    count, layers = len(weights["0.weight"]), len(weights) // 2
    hidden = images.expand(count, *images.shape[-2:])
    for layer in range(layers):
        hidden = torch.baddbmm(
            weights[f"{2 * layer}.bias"].unsqueeze(1), hidden, weights[f"{2 * layer}.weight"].mT
        )
        if layer < layers - 1:
            hidden = hidden.relu()
    return hidden


def train_masked(
    start: Weights,
    masks: Mapping[str, Tensor],
    images: Tensor,
    classes: Tensor,
    *,
    steps: int,
    generator: torch.Generator,
    batch: int = 64,
    learning_rate: float = 0.01,
    on_step: Callable[[], None] | None = None,
) -> Weights:
    """The networks trained from their starts, with what is masked (0) held at zero; every network on batches of its own."""
    weights = {
        name: (tensor * masks[name] if name in masks else tensor).clone().requires_grad_()
        for name, tensor in start.items()
    }
    optimizer = torch.optim.Adam(weights.values(), lr=learning_rate, fused=True)
    count = len(start["0.weight"])
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        rows = torch.randint(len(images), (count, batch), generator=generator)
        used = {
            name: tensor * masks[name] if name in masks else tensor
            for name, tensor in weights.items()
        }
        logits = predict_classes(used, images[rows])
        # A sum over networks: each gets the gradient of its own mean loss.
        loss = cross_entropy(logits.flatten(0, 1), classes[rows].flatten(), reduction="sum") / batch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if on_step is not None:
            on_step()
    return {name: (t * masks[name] if name in masks else t).detach() for name, t in weights.items()}


def accuracies(weights: Mapping[str, Tensor], images: Tensor, classes: Tensor) -> Tensor:
    """The share of images that each network gets right, `(network,)`."""
    return (predict_classes(weights, images).argmax(-1) == classes).float().mean(-1)


def kept_largest(scores: Mapping[str, Tensor], sparsity: float) -> Weights:
    """Masks (1: kept) of the largest scores of each network, over all its tensors together.

    Example:
        >>> kept_largest({"w": torch.tensor([[3.0, 1.0]]), "v": torch.tensor([[2.0, 0.0]])}, 0.5)
        {'w': tensor([[1., 0.]]), 'v': tensor([[1., 0.]])}
    """
    flat = torch.cat([tensor.flatten(1) for tensor in scores.values()], 1)
    kept = max(1, round(flat.shape[1] * (1 - sparsity)))
    mask = torch.zeros_like(flat).scatter_(1, flat.topk(kept, dim=1).indices, 1.0)
    parts = mask.split([tensor[0].numel() for tensor in scores.values()], dim=1)
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def prune_iteratively(
    start: Weights,
    images: Tensor,
    classes: Tensor,
    *,
    sparsity: float,
    rounds: int,
    steps: int,
    generator: torch.Generator,
    on_step: Callable[[], None] | None = None,
) -> Weights:
    """Masks of iterative magnitude pruning with rewinding to the start (Frankle and Carbin 2019), matrices only.

    In each round the masked networks are trained from their start, and the smallest trained weights are cut, as many as
    bring the kept share down by the same factor each time.
    """
    names = [name for name, tensor in start.items() if tensor.dim() == 3]
    masks = {name: torch.ones_like(start[name]) for name in names}
    for number in range(1, rounds + 1):
        trained = train_masked(
            start, masks, images, classes, steps=steps, generator=generator, on_step=on_step
        )
        # What is cut has score -1, and so stays cut.
        scores = {name: trained[name].abs() - (1 - masks[name]) for name in names}
        masks = kept_largest(scores, 1 - (1 - sparsity) ** (number / rounds))
    return masks
