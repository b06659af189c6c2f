"""scikit-learn's handwritten digits as targets for implicit neural representations.

Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998: 1,797 real images of 8 x 8 pixels with 17 grey levels.
The data ship with scikit-learn, so nothing is downloaded.
"""

from __future__ import annotations

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
    """Image numbers for training and for testing: every fit of an image is on the same side."""

    train: Tensor  # (train images,) int64
    test: Tensor  # (test images,) int64


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


def split_images(classes: Tensor, *, test_share: float = 0.2, seed: int = 0) -> Split:
    """A split of the images with every class represented in proportion; the same seed gives the same split."""
    train, test = train_test_split(
        torch.arange(len(classes)).numpy(), test_size=test_share, random_state=seed, stratify=classes.numpy()
    )
    return Split(torch.as_tensor(train).sort().values, torch.as_tensor(test).sort().values)
