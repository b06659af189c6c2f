"""One table of tolerances: the largest difference that rounding may make, relative to the largest value."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

RELATIVE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2}


def assert_close(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], dtype: torch.dtype = torch.float64
) -> None:
    """Equal names, equal shapes, and values equal up to rounding."""
    assert list(actual) == list(expected)
    for name in actual:
        assert actual[name].shape == expected[name].shape, name
        if actual[name].numel():
            scale = 1 + float(expected[name].detach().abs().max())
            error = float(
                (actual[name].detach().double() - expected[name].detach().double()).abs().max()
            )
            assert error <= RELATIVE[dtype] * scale, f"{name}: {error} of {scale}"
