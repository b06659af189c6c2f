"""scikit-learn's handwritten digits as targets for implicit neural representations.

Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998: 1,797 real images of 8 x 8 pixels with 17 grey levels.
The data ship with scikit-learn, so nothing is downloaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

__all__ = ["Digits", "Split", "digits", "pixel_grid", "split_images"]

SIDE = 8
GREY_LEVELS = 16.0


@dataclass(frozen=True, slots=True)
class Digits:
    """The images, their classes, and the coordinates of the pixels."""

    images: Tensor  # (image, 64) grey values in [-1, 1]
    classes: Tensor  # (image,) int64 in 0..9
    grid: Tensor  # (64, 2) pixel centres (row, column) in [-1, 1]

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Digits:
        """The same data set with only its first `count` images: for quick runs."""
        return Digits(self.images[:count], self.classes[:count], self.grid)


@dataclass(frozen=True, slots=True)
class Split:
    """Image numbers for training and for testing: every fit of an image is on the same side.

    The validation images are training images, and the same ones for every seed: whatever is chosen (a recipe, a size, a
    learning rate) is chosen on them, so that no choice has ever seen the accuracy on a test image.
    """

    train: Tensor  # (train images,) int64
    test: Tensor  # (test images,) int64
    validation: Tensor  # (validation images,) int64, all of them also in `train`


def pixel_grid(side: int = SIDE) -> Tensor:
    """Pixel centres of a square image over [-1, 1] x [-1, 1], row-major: (side * side, 2).

    Example:
        >>> pixel_grid(2).tolist()
        [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    line = torch.linspace(-1.0, 1.0, side)
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2)


def digits() -> Digits:
    """All 1,797 digits, grey values scaled from 0..16 to [-1, 1]."""
    bunch = load_digits()
    images = torch.as_tensor(bunch.data, dtype=torch.float32) / (GREY_LEVELS / 2) - 1.0
    return Digits(images, torch.as_tensor(bunch.target, dtype=torch.int64), pixel_grid())


def split_images(classes: Tensor, *, share: float = 0.2, seed: int = 0) -> Split:
    """A split with every class in proportion: `share` of the images for validation, as many for testing.

    The validation images do not depend on the seed; the test images are drawn from all others.

    Example:
        >>> split = split_images(torch.arange(100) % 10, seed=3)
        >>> len(split.train), len(split.test), len(split.validation)
        (80, 20, 20)
    """
    count = math.ceil(share * len(classes))
    others, validation = _stratified(torch.arange(len(classes)), classes, count, seed=0)
    train, test = _stratified(others, classes, count, seed)
    return Split(torch.cat([train, validation]).sort().values, test, validation)


def _stratified(images: Tensor, classes: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """These images without, and only, `count` of them, each in ascending order."""
    parts = train_test_split(
        images.numpy(), test_size=count, random_state=seed, stratify=classes[images].numpy()
    )
    rest, chosen = (torch.as_tensor(part).sort().values for part in parts)
    return rest, chosen
