"""Fresh inputs: other entries than the caller's, of the same domain,
as far as the network takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from symnet.tracing.recording import map_tensors, tensors_in

Inputs = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class FreshInputs:
    """Draws inputs like the given ones; those of the paths in ``kept``
    are the caller's own every time.

    Floating-point entries stay within what the caller's show: an interval, rows that sum to one or
    have norm one, an order. Whole numbers stay between the smallest and the largest, sorted ones
    sorted with their ends; single ones, truth values and positions (0, 1, 2, ...) are kept.
    """

    inputs: Inputs
    kept: frozenset[str] = frozenset()

    def draw(self, generator: torch.Generator, dtype: torch.dtype | None = torch.float64) -> Inputs:
        """New inputs of the same shapes; a tensor that is passed twice is drawn once."""
        kept_ids = {
            id(tensor)
            for path, tensor in tensors_in(self.inputs)
            if tensor is not None and path in self.kept
        }
        drawn: dict[int, Tensor] = {}

        def change(x: Tensor) -> Tensor:
            if id(x) not in drawn:
                new = x if id(x) in kept_ids or not x.numel() else _drawn(x, generator)
                drawn[id(x)] = (
                    new.to(x.device, dtype or x.dtype)
                    if x.is_floating_point()
                    else new.to(x.device)
                )
            return drawn[id(x)]

        return map_tensors(change, self.inputs)

    def of_size(self, axis: int, old: int, new: int) -> FreshInputs:
        """The same with every axis number ``axis`` of size ``old`` brought to
        size ``new`` by repeating entries.
        """

        def change(x: Tensor) -> Tensor:
            if x.dim() > axis and x.shape[axis] == old:
                return x.index_select(axis, torch.arange(new, device=x.device) % old)
            return x

        return FreshInputs(map_tensors(change, self.inputs), self.kept)

    @property
    def notes(self) -> list[str]:
        """Which inputs are the caller's own in every run."""
        if not self.kept:
            return []
        names = ", ".join(repr(input_name(path)) for path in sorted(self.kept))
        return [
            f"the network refused other entries than yours for the inputs {names}, so these were "
            "used as they are."
        ]


def input_name(path: str) -> str:
    """How a caller would name an input: the number of a positional argument, or a keyword."""
    head, _, rest = path.partition("]")
    return f"{rest[1:].replace(']', '', 1)}" if head == "[0" else rest.lstrip(".")


def fresh_inputs_that_run(
    inputs: Inputs, runs: Callable[[Inputs], bool], generator: torch.Generator
) -> FreshInputs:
    """Fresh inputs on which the network runs: all drawn, or the
    caller's own where it refuses others.

    Args:
        inputs: the caller's, in float64.
        runs: whether the network gives numbers on some inputs; the caller's own are taken without
            asking.
    """
    everything = FreshInputs(inputs)
    if runs(everything.draw(generator)):
        return everything
    paths = [path for path, tensor in tensors_in(inputs) if tensor is not None]
    refused = [
        path
        for path in paths
        if not runs(FreshInputs(inputs, frozenset(paths) - {path}).draw(generator))
    ]
    some = FreshInputs(inputs, frozenset(refused))
    return some if runs(some.draw(generator)) else FreshInputs(inputs, frozenset(paths))


def _drawn(x: Tensor, generator: torch.Generator) -> Tensor:
    if x.dtype == torch.bool or x.is_complex():
        return x if x.dtype == torch.bool else _complex(x, generator)
    return _real(x, generator) if x.is_floating_point() else _whole(x, generator)


def _complex(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.view_as_complex(_real(torch.view_as_real(x.resolve_conj()), generator)).to(x.dtype)


def _real(x: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of the same interval, order, sums and norms of rows; a tensor
    of one value tells nothing but its sign.
    """
    values = x.detach().double().cpu()
    if not bool(values.isfinite().all()):
        return x  # infinities are a mask
    low, high = float(values.min()), float(values.max())
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    if low == high:
        return (
            noise
            if low == 0
            else low * (0.5 + torch.rand(x.shape, generator=generator, dtype=torch.float64))
        )
    if bool((values == values.round()).all()):
        return _chosen(values, generator)
    if low >= 0 and _all_close(values.sum(-1), 1):
        return torch.softmax(noise, -1)
    if x.shape[-1] > 1 and _all_close(values.square().sum(-1), 1):
        return noise / noise.norm(dim=-1, keepdim=True)
    if low >= 0 or high <= 0 or (low >= -1 and high <= 1):
        drawn = low + (high - low) * torch.rand(x.shape, generator=generator, dtype=torch.float64)
    else:
        drawn = noise * float(values.std(correction=0)) + float(values.mean())
    return _in_order(values, drawn)


def _whole(x: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers between the smallest and the largest; sorted ones
    keep their order and their ends.
    """
    values = x.detach().cpu()
    if x.numel() == 1 or _is_sorted(values, strictly_by=1):
        return x
    drawn = torch.randint(
        int(values.min()), int(values.max()) + 1, x.shape, generator=generator
    ).to(x.dtype)
    ordered = _in_order(values, drawn)
    # offsets start at 0 and end at the last entry; lengths begin with the longest
    if ordered is not drawn:
        ordered[..., 0], ordered[..., -1] = values[..., 0], values[..., -1]
    return ordered


def _chosen(values: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.randint(values.numel(), (values.numel(),), generator=generator)
    return values.reshape(-1)[chosen].reshape(values.shape)


def _in_order(values: Tensor, drawn: Tensor) -> Tensor:
    """The drawn numbers sorted along the last axis where the given ones are."""
    if values.dim() and values.shape[-1] > 2 and _is_sorted(values):
        return drawn.sort(-1).values
    if values.dim() and values.shape[-1] > 2 and _is_sorted(values.flip(-1)):
        return drawn.sort(-1, descending=True).values
    return drawn


def _is_sorted(x: Tensor, strictly_by: int | None = None) -> bool:
    if not x.dim() or x.shape[-1] < 2:
        return False
    steps = x.diff(dim=-1)
    return bool((steps == strictly_by).all() if strictly_by is not None else (steps >= 0).all())


def _all_close(x: Tensor, value: float) -> bool:
    return bool((x - value).abs().max() < 1e-4)
