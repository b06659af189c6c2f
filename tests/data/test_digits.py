"""Laws of the digits and of their split."""

from __future__ import annotations

import torch

from symnet.data import digits, pixel_grid, split_images


def test_the_digits_are_all_there() -> None:
    """1,797 images of 64 pixels in [-1, 1], every digit at least 170 times."""
    data = digits()
    assert len(data) == 1797
    assert data.images.shape == (1797, 64)
    assert data.images.amin() == -1 and data.images.amax() == 1
    assert torch.bincount(data.classes, minlength=10).min() >= 170


def test_every_image_is_on_one_side_of_the_split() -> None:
    """Training and test images are disjoint, together complete, and a fifth of every digit is tested.

    The validation images are training images, and the same ones for every seed: no choice has seen a test image.
    """
    data = digits()
    for seed in range(3):
        split = split_images(data.classes, seed=seed)
        both = torch.cat([split.train, split.test])
        assert torch.equal(both.sort().values, torch.arange(len(data)))
        shares = torch.bincount(data.classes[split.test]) / torch.bincount(data.classes)
        assert ((shares - 0.2).abs() < 0.01).all()
        assert torch.isin(split.validation, split.train).all() and len(split.validation) == 360
        assert torch.equal(split.validation, split_images(data.classes, seed=9).validation)


def test_a_split_is_a_function_of_its_seed() -> None:
    classes = digits().classes
    assert torch.equal(split_images(classes, seed=1).test, split_images(classes, seed=1).test)
    assert not torch.equal(split_images(classes, seed=1).test, split_images(classes, seed=2).test)


def test_no_image_occurs_twice() -> None:
    """Otherwise a split by number would not be a split by image."""
    images = digits().images
    assert len(torch.unique(images, dim=0)) == len(images)


def test_pixels_are_ordered_as_the_images_are() -> None:
    """Row-major: an image that equals its column coordinate grows to the right in every row."""
    grid = pixel_grid(8)
    columns = grid[:, 1].view(8, 8)
    assert torch.equal(columns, columns[:1].expand(8, 8))
    assert (columns[:, 1:] > columns[:, :-1]).all()
