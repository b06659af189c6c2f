"""Augmentation of weights: other weights of the same or nearly the same function, drawn anew for every item.

Every transform is a function of one network's weights and a numpy generator. ``Augmented`` seeds the generator with the seed, the
epoch and the item's number, so that an item is the same in every run and in every worker process.

Sources: mixup, Zhang et al. 2018; mixup of weights after alignment, Shamsian et al., Improved Generalization of Weight Space
Networks via Augmentations, 2024.
"""

from __future__ import annotations

from collections.abc import Collection, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from symnet.errors import GraphError, ShapeError
from symnet.graph import NeuronGraph
from symnet.matching import Scaling, align, read_scaling
from symnet.matching.scaling import ScaleLike

__all__ = ["Augmented", "Compose", "Dropout", "Mixed", "Noise", "Permute", "Rescale"]

Weights = dict[
    str, Tensor
]  # one network: name -> (*axes); keyed like a state dict, tied tensors once


class Transform(Protocol):
    """Weights of one network and a generator in, new weights out; the given ones are not changed."""

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights: ...


@dataclass(frozen=True)
class Permute:
    """A uniform element of the graph's group (signs included): exactly the same function.

    Args:
        only: neuron sets to move; all if not given.
    """

    graph: NeuronGraph
    only: Collection[str] | None = None

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights:
        return self.graph.act(self.graph.random_element(rng, only=self.only), weights)


@dataclass(frozen=True)
class Rescale:
    """Neurons grown and shrunk by ``exp(spread * normal)``: exactly the same function between ReLUs.

    Args:
        scale: neuron sets between positively homogeneous activations, as in ``sn.canonicalize``.
        spread: standard deviation of the factors' logarithms.
    """

    graph: NeuronGraph
    scale: ScaleLike
    spread: float = 0.5
    scaling: Scaling = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_number("Rescale", "spread", self.spread)
        object.__setattr__(self, "scaling", read_scaling(self.graph, self.scale))

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights:
        factors = {
            name: torch.from_numpy(
                np.exp(self.spread * rng.standard_normal(self.scaling.shape(name)))
            )
            for name in self.scaling.incoming
        }
        return self.scaling.apply(weights, factors)


@dataclass(frozen=True)
class Noise:
    """Normal noise on every floating-point tensor, ``size`` times the root mean square of that tensor.

    Example:
        >>> weights = {"w": torch.tensor([100.0, -100.0]), "b": torch.zeros(2)}
        >>> noisy = Noise(0.01)(weights, np.random.default_rng(0))
        >>> bool((noisy["w"] - weights["w"]).abs().max() < 10), noisy["b"].tolist()
        (True, [0.0, 0.0])
    """

    size: float = 0.05

    def __post_init__(self) -> None:
        _check_number("Noise", "size", self.size)

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights:
        return {name: self._disturb(tensor, rng) for name, tensor in weights.items()}

    def _disturb(self, tensor: Tensor, rng: np.random.Generator) -> Tensor:
        if not tensor.is_floating_point() or not tensor.numel():
            return tensor
        noise = torch.from_numpy(np.asarray(rng.standard_normal(tuple(tensor.shape))))
        return tensor + self.size * tensor.square().mean().sqrt() * noise.to(tensor)


@dataclass(frozen=True)
class Dropout:
    """Weights set to zero, each with probability ``rate``; the others stay as they are."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        _check_number("Dropout", "rate", self.rate, 1.0)

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights:
        found = {}
        for name, tensor in weights.items():
            kept = torch.from_numpy(np.asarray(rng.random(tuple(tensor.shape)) >= self.rate)).to(
                tensor.device
            )
            found[name] = torch.where(kept, tensor, 0.0) if tensor.is_floating_point() else tensor
        return found


class Compose:
    """Transforms one after another, drawing from the same generator.

    Example:
        >>> Compose(Noise(0.1), Dropout(0.2))
        Compose(Noise(size=0.1), Dropout(rate=0.2))
    """

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, weights: Weights, rng: np.random.Generator) -> Weights:
        for transform in self.transforms:
            weights = transform(weights, rng)
        return weights

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


class _Seeded(Dataset[Any]):
    """A data set over another one whose items are drawn from a generator of their own."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, 0

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def set_epoch(self, epoch: int) -> None:
        """Draw everything anew. Workers that outlive an epoch (``persistent_workers``) keep the old one."""
        self.epoch = epoch

    def _item(self, index: int) -> tuple[int, np.random.Generator]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of a data set of {len(self)}")
        index %= len(self)
        return index, np.random.default_rng([self.seed, self.epoch, index])


class Augmented(_Seeded):
    """A data set of weights, each item transformed with a generator seeded by (seed, epoch, number of the item).

    Args:
        dataset: its items are weights, or tuples that begin with weights; what follows is passed on.
        transforms: applied in this order.
        seed: not negative; another seed, other draws.

    Example:
        >>> data = [({"w": torch.ones(3)}, 7)]
        >>> first, second = Augmented(data, Noise(), seed=1), Augmented(data, Noise(), seed=1)
        >>> torch.equal(first[0][0]["w"], second[0][0]["w"]), first[0][1]
        (True, 7)
    """

    def __init__(self, dataset: Dataset[Any], *transforms: Transform, seed: int = 0) -> None:
        super().__init__(dataset, seed)
        self.transform = Compose(*transforms)

    def __getitem__(self, index: int) -> Any:
        index, rng = self._item(index)
        weights, rest = _split(self.dataset[index])
        changed = self.transform(weights, rng)
        return changed if rest is None else (changed, *rest)


class Mixed(_Seeded):
    """Mixup after alignment: every item on the line to another one whose neurons were matched to its own.

    Items that are tuples become ``(weights, *rest, *partner's rest, share)``, ``share`` (a float) being the partner's, so that a loss can
    mix labels alike. The share is drawn from ``Beta(alpha, alpha)``.

    Args:
        graph: of all networks.
        alpha: small values draw shares near 0 and 1, 1 draws them uniformly.
        aligned: whether to match neurons before mixing; without it, the function on the way is mostly none at all.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        graph: NeuronGraph,
        *,
        alpha: float = 1.0,
        aligned: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, seed)
        if len(self) < 2 or not alpha > 0:
            raise ShapeError(
                f"Mixed got {len(self)} items and alpha={alpha}; it needs two items and a positive alpha."
            )
        self.graph, self.alpha, self.aligned = graph, alpha, aligned

    def __getitem__(self, index: int) -> Any:
        index, rng = self._item(index)
        other = (index + int(rng.integers(1, len(self)))) % len(self)
        share = float(rng.beta(self.alpha, self.alpha))
        (own, rest), (partner, partner_rest) = (
            _split(self.dataset[index]),
            _split(self.dataset[other]),
        )
        if self.aligned:
            mixed = align(own, partner, self.graph, starts=1).interpolate(share)
        else:
            mixed = {name: torch.lerp(tensor, partner[name], share) for name, tensor in own.items()}
        return mixed if rest is None else (mixed, *rest, *(partner_rest or ()), share)


def _split(item: Any) -> tuple[Weights, tuple[Any, ...] | None]:
    """The weights of an item, and what comes with them: None if there is nothing but weights."""
    if isinstance(item, dict):
        return item, None
    if isinstance(item, tuple | list) and item and isinstance(item[0], dict):
        return item[0], tuple(item[1:])
    raise ShapeError(
        f"An item of the data set is a {type(item).__name__}; expected a dict of tensors, or a tuple that begins with one."
    )


def _check_number(who: str, name: str, value: float, most: float = float("inf")) -> None:
    if not 0 <= value <= most:
        raise GraphError(f"{who}({name}={value}): give a number from 0 to {most}.")
