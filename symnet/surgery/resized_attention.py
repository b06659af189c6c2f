"""Multi-head attention whose heads and their dims may have any number, with
the state of ``nn.MultiheadAttention``.

Torch's module takes the dims of its heads from the width of its input, so it cannot run with fewer
heads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PARAMETERS = (
    "in_proj_weight",
    "q_proj_weight",
    "k_proj_weight",
    "v_proj_weight",
    "in_proj_bias",
    "bias_k",
    "bias_v",
)


class ResizedAttention(nn.Module):
    """Attention with the weights of an ``nn.MultiheadAttention`` of other
    sizes; called and keyed as that module.

    Args:
        module: torch's module, whose parameters may have been replaced by others of new sizes.
        scale: by which scores are multiplied; the old ``head_dim ** -0.5`` keeps the function of
            what is left.
    """

    def __init__(self, module: Any, scale: float) -> None:
        super().__init__()
        self.num_heads, self.scale, self.dropout = module.num_heads, scale, module.dropout
        self.batch_first, self.add_zero_attn = module.batch_first, module.add_zero_attn
        self._qkv_same_embed_dim = False  # torch's fast path is made for equal sizes
        for name in _PARAMETERS:
            self.register_parameter(name, getattr(module, name))
        self.out_proj: nn.Linear = module.out_proj
        self.train(module.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Outputs and, if asked for, attention weights; arguments as
        for ``nn.MultiheadAttention``.
        """
        batched = query.dim() == 3
        tensors = [
            x if batched else x.unsqueeze(0 if self.batch_first else 1) for x in (query, key, value)
        ]
        q, k, v = self._project(*(x if self.batch_first else x.transpose(0, 1) for x in tensors))
        scores = q @ k.transpose(-2, -1) * self.scale
        padding = None if key_padding_mask is None else key_padding_mask[..., None, None, :]
        for mask in (self._mask(attn_mask, scores), padding):
            if mask is not None:
                scores = (
                    scores.masked_fill(mask, float("-inf"))
                    if mask.dtype == torch.bool
                    else scores + mask
                )
        if self.add_zero_attn:
            scores = F.pad(scores, (0, 1))
            v = F.pad(v, (0, 0, 0, 1))
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        result = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        result = result if self.batch_first else result.transpose(0, 1)
        shown = (weights.mean(1) if average_attn_weights else weights) if need_weights else None
        if batched:
            return result, shown
        return result.squeeze(
            0 if self.batch_first else 1
        ), None if shown is None else shown.squeeze(0)

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values: ``(batch, heads, tokens, dims)``."""
        inner = self.out_proj.weight.shape[1]
        fused, bias = self._parameters["in_proj_weight"], self._parameters["in_proj_bias"]
        if fused is not None:
            rest = (fused.shape[0] - inner) // 2
            matrices: Any = fused.split([rest, rest, inner])
        else:
            matrices = [self._parameters[f"{letter}_proj_weight"] for letter in "qkv"]
        biases: Any = (
            (None, None, None) if bias is None else bias.split([len(matrix) for matrix in matrices])
        )
        rows = [
            F.linear(x, w, b) for x, w, b in zip((query, key, value), matrices, biases, strict=True)
        ]
        extra: Any = (self._parameters["bias_k"], self._parameters["bias_v"])
        if extra[0] is not None:
            rows[1:] = [
                torch.cat([x, b.expand(len(x), 1, -1)], 1)
                for x, b in zip(rows[1:], extra, strict=True)
            ]
        return [x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in rows]

    def _mask(self, mask: Tensor | None, scores: Tensor) -> Tensor | None:
        if mask is None or mask.dim() == 2:
            return mask
        return mask.view(scores.shape[0], self.num_heads, *mask.shape[1:])
