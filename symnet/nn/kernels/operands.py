"""What the kernels are launched with: operands as
``(batch, P, I, J, channels)``, groups of equal ones, tile sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from symnet.errors import ShapeError

MOST_AXES = 3  # of neurons; longer arrays are torch's
MOST_GROUPED = 8  # tensors in one launch: each is a pointer in the kernel's arguments
DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)

Activation = Literal["none", "relu"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KernelBlock:
    """An output block ``rows @ matrix + values``.

    Args:
        rows: ``(batch, *axes, in)``, any strides.
        matrix: ``(in, out)``, any strides.
        values: broadcast terms ``(batch, *axes or 1, out)``; a full one is an own term.

    Raises:
        ShapeError: shapes, dtypes or devices that do not fit.
    """

    rows: Tensor
    matrix: Tensor
    values: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        rows, matrix = self.rows, self.matrix
        if not 2 <= rows.dim() <= 2 + MOST_AXES:
            raise ShapeError(
                f"rows have shape {tuple(rows.shape)}; the kernels take (batch, up to "
                f"{MOST_AXES} axes, channels)."
            )
        if matrix.dim() != 2 or matrix.shape[0] != rows.shape[-1]:
            raise ShapeError(
                f"The matrix has shape {tuple(matrix.shape)}, but rows {tuple(rows.shape)} have "
                f"{rows.shape[-1]} channels: it must be ({rows.shape[-1]}, out)."
            )
        if rows.dtype not in DTYPES:
            raise ShapeError(
                f"rows are {rows.dtype}; the kernels take {', '.join(map(str, DTYPES))}."
            )
        for name, tensor in (("matrix", matrix), *(("value", value) for value in self.values)):
            if tensor.dtype != rows.dtype or tensor.device != rows.device:
                raise ShapeError(
                    f"The {name} is {tensor.dtype} on {tensor.device}, rows are {rows.dtype} on "
                    f"{rows.device}: convert one."
                )
        for value in self.values:
            fits = value.dim() == rows.dim() and all(
                a in (1, b) for a, b in zip(value.shape[1:-1], rows.shape[1:-1], strict=True)
            )
            if not fits or value.shape[0] != rows.shape[0] or value.shape[-1] != matrix.shape[1]:
                raise ShapeError(
                    f"A value has shape {tuple(value.shape)}; it must broadcast to "
                    f"{(*rows.shape[:-1], matrix.shape[1])} along axes of neurons."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return (*self.rows.shape[:-1], self.matrix.shape[1])

    def key(self) -> Hashable:
        """Blocks with equal keys run in one launch."""
        values = tuple((_strides(value, self.shape), _aligned(value)) for value in self.values)
        return (
            self.shape,
            self.rows.dtype,
            self.rows.device,
            (self.rows.shape, self.rows.stride(), _aligned(self.rows)),
            (self.matrix.stride(), _aligned(self.matrix)),
            values,
        )


def _aligned(tensor: Tensor) -> bool:
    """Triton compiles faster loads for pointers that are multiples of 16."""
    return tensor.data_ptr() % 16 == 0


def five(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A view as ``(batch, P, I, J, channels)`` after broadcasting,
    channels next to each other in memory.
    """
    tensor = tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()
    tensor = tensor.expand(*shape[:-1], tensor.shape[-1])
    if tensor.dim() == 3:  # one axis of neurons is i: its strips have work for many programs
        tensor = tensor.unsqueeze(2)
    while tensor.dim() < 5:
        tensor = tensor.unsqueeze(1)
    return tensor


def _strides(value: Tensor, shape: Sequence[int]) -> tuple[int, ...]:
    return five(value, shape).stride()[:-1]


def in_groups(items: Sequence[T], key: Callable[[T], Hashable]) -> list[list[int]]:
    """Positions of items with equal keys, at most ``MOST_GROUPED`` together."""
    groups: dict[Hashable, list[int]] = {}
    for number, item in enumerate(items):
        groups.setdefault(key(item), []).append(number)
    return [
        group[start : start + MOST_GROUPED]
        for group in groups.values()
        for start in range(0, len(group), MOST_GROUPED)
    ]


def power(size: int, least: int = 1) -> int:
    """The smallest power of two that holds ``size``."""
    return max(least, 1 << max(0, size - 1).bit_length())


def largest_channels(dtype: torch.dtype) -> int:
    """Channels that the backward kernel can hold at once."""
    return 64 if dtype == torch.float64 else 128


def tiles(kind: Literal["forward", "backward"], block: KernelBlock) -> dict[str, int]:
    """Tile sizes and launch options; compiled for compute capability 9.0
    they fit its registers and shared memory.

    A tile has more i than j: partial sums over i go through memory once a tile's worth of i, and
    cost the less the more there are. Wide channels leave room for fewer positions. A product needs
    16 positions at least.
    """
    _, _, size_i, size_j, width = (
        five(block.rows, block.rows.shape).shape[:4] + block.matrix.shape[1:]
    )
    height, size = block.matrix.shape[0], block.rows.dtype.itemsize
    backward = kind == "backward"
    of_in = power(height, 16) if backward else min(64 if size < 8 else 32, power(height, 16))
    of_out = power(width, 16) if backward else min(128 if size == 2 else 64, power(width, 16))
    most = 256 // size  # positions: 128 in half precision
    if backward and max(of_in, of_out) > 64:
        most //= 2
    of_i = min(32, power(size_i))
    of_j = min(power(size_j), max(1, most // of_i))
    of_j = of_j if of_i * of_j >= 16 else 16 // of_i
    warps = 4 if size == 2 and max(of_in, of_out) <= 16 else 8
    tile = {"BI": of_i, "BJ": of_j, "BK": of_in, "BN": of_out}
    return {
        **tile,
        "num_warps": warps,
        "num_stages": 3 if size == 2 and max(of_in, of_out) <= 32 else 2,
    }


def common(group: Sequence[KernelBlock], shape: Sequence[int]) -> dict[str, Any]:
    """Arguments that all programs share: terms, their strides, and how numbers are held."""
    from symnet.nn.kernels.backend import interpreting

    first = group[0]
    strides = [_strides(value, shape) for value in first.values]
    exact = first.rows.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest"
    return {
        # An empty tuple is no argument: without terms a pointer that no one reads is passed.
        "terms": tuple(five(value, shape) for block in group for value in block.values)
        or (first.rows,),
        "term_strides": tuple(stride for four in strides for stride in four) or (0,),
        "GROUPS": len(group),
        "VARIES": tuple(four[3] != 0 and shape[-2] > 1 for four in strides),
        "PRECISION": "ieee" if exact else "tf32",
        "INTERPRETED": interpreting(),
    }
