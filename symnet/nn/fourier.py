"""Fourier encodings of weight values: waves of many frequencies, so
that small differences are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from symnet.errors import GraphError, ShapeError
from symnet.nn.arguments import check_count
from symnet.nn.features import Features, check_mapping


class ValueEncoding(nn.Module):
    """Features followed by sines and cosines of their values, entry by entry, so
    that every permutation commutes with it.

    Cosines do not change sign with the weights: not for graphs with ``SignedSymmetric`` sets.

    Args:
        in_channels: channels of the features.
        waves: number of waves, of all channels together (``"gaussian"``) or of each
            (``"sinusoidal"``); two channels a wave.
        kind: ``"gaussian"``: the wave vectors are drawn once, with standard deviation ``scale``,
            and kept with the parameters (Tancik et al. 2020, section 5); ``"sinusoidal"``:
            frequencies ``scale / 2 * 2**k`` for k below ``waves`` (Mildenhall et al. 2020, equation
            4).
        scale: in waves per unit of weight.

    Raises:
        ShapeError: counts or a scale that are no positive numbers, or features with other channels.
        GraphError: no such kind.

    Shapes:
        ``{name: (batch, *axes, in_channels)}`` to ``{name: (batch, *axes, out_channels)}``.

    Example:
        >>> import torch
        >>> encoding = ValueEncoding(1, 8)
        >>> encoding.out_channels, encoding({"0.weight": torch.randn(2, 4, 3, 1)})["0.weight"].shape
        (17, torch.Size([2, 4, 3, 17]))
    """

    frequencies: Tensor  # (in_channels, waves) or (waves,)

    def __init__(
        self, in_channels: int, waves: int, *, kind: str = "gaussian", scale: float = 1.0
    ) -> None:
        super().__init__()
        check_count("in_channels", in_channels)
        check_count("waves", waves)
        if (
            isinstance(scale, bool)
            or not isinstance(scale, float | int)
            or not 0 < scale < math.inf
        ):
            raise ShapeError(
                f"scale={scale!r}: give waves per unit of weight, a finite number above 0."
            )
        if kind not in ("gaussian", "sinusoidal"):
            raise GraphError(
                f"kind={kind!r} is no encoding of values; choose 'gaussian' or 'sinusoidal'."
            )
        self.in_channels, self.waves, self.kind, self.scale = in_channels, waves, kind, scale
        drawn = (
            torch.randn(in_channels, waves) * scale
            if kind == "gaussian"
            else scale / 2 * 2.0 ** torch.arange(waves)
        )
        self.register_buffer("frequencies", drawn)

    @property
    def out_channels(self) -> int:
        """Channels that come out: those that went in, then sines, then cosines."""
        each = 2 * self.waves * (self.in_channels if self.kind == "sinusoidal" else 1)
        return self.in_channels + each

    def forward(self, x: Mapping[str, Tensor]) -> Features:
        check_mapping(x, "ValueEncoding got")
        return {name: self._encoded(name, tensor) for name, tensor in x.items()}

    def _encoded(self, name: str, tensor: Tensor) -> Tensor:
        if tensor.shape[-1] != self.in_channels:
            raise ShapeError(
                f"ValueEncoding got '{name}' with {tensor.shape[-1]} channels instead of "
                f"{self.in_channels}: give in_channels= the features' channels."
            )
        frequencies = self.frequencies.to(tensor.dtype)
        if self.kind == "gaussian":
            phases = 2 * math.pi * (tensor @ frequencies)
        else:
            phases = 2 * math.pi * (tensor.unsqueeze(-1) * frequencies).flatten(-2)
        return torch.cat([tensor, phases.sin(), phases.cos()], dim=-1)

    def extra_repr(self) -> str:
        return (
            f"{self.kind}, {self.in_channels} -> {self.out_channels} channels, scale={self.scale}"
        )
