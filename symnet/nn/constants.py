"""Arrays of a plan as tensors, made once for every device: no buffers, so
that the state dict holds parameters alone.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Constants:
    """Tensors by name, device and dtype.

    Made outside of whatever mode is on: a tensor of inference mode could not be saved for a later
    training step.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, torch.dtype | None], Tensor] = {}

    def get(
        self, name: str, values: np.ndarray, device: torch.device, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The array under this name as a tensor, the array's own dtype by default."""
        key = name, str(device), dtype
        constant = self._kept.get(key)
        if constant is not None:
            return constant
        if torch.compiler.is_compiling():  # the graph keeps it
            return torch.as_tensor(values, dtype=dtype, device=device)
        with torch.inference_mode(False):
            made = torch.tensor(values, dtype=dtype, device=device)
        if type(made) is Tensor:  # a fake tensor belongs to the mode that made it
            self._kept[key] = made
        return made
