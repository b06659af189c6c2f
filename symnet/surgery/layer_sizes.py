"""The sizes that torch's own layers keep as numbers beside their
weights, read off the weights' new shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase

Sizes = dict[str, Any]

# Attributes that shapes leave open: in how many parts a layer cuts its channels.
PARTS = {
    _ConvNd: ("groups",),
    nn.GroupNorm: ("num_groups",),
    nn.MultiheadAttention: ("num_heads",),
    nn.ChannelShuffle: ("groups",),
}


def _linear(layer: Any) -> Sizes:
    return {"out_features": layer.weight.shape[0], "in_features": layer.weight.shape[1]}


def _bilinear(layer: Any) -> Sizes:
    out, first, second = layer.weight.shape
    return {"out_features": out, "in1_features": first, "in2_features": second}


def _convolution(layer: Any) -> Sizes:
    first, second = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    transposed = isinstance(layer, _ConvTransposeNd)
    return (
        {"in_channels": first, "out_channels": second}
        if transposed
        else {"out_channels": first, "in_channels": second}
    )


def _batch_norm(layer: Any) -> Sizes:
    sized = layer.weight if layer.weight is not None else layer.running_mean
    return {} if sized is None else {"num_features": sized.shape[0]}


def _layer_norm(layer: Any) -> Sizes:
    return {} if layer.weight is None else {"normalized_shape": tuple(layer.weight.shape)}


def _group_norm(layer: Any) -> Sizes:
    return {} if layer.weight is None else {"num_channels": layer.weight.shape[0]}


def _embedding(layer: Any) -> Sizes:
    return {"num_embeddings": layer.weight.shape[0], "embedding_dim": layer.weight.shape[1]}


def _prelu(layer: Any) -> Sizes:
    return {"num_parameters": layer.weight.numel()}


def _recurrent(layer: Any) -> Sizes:
    sizes = {
        "input_size": layer.weight_ih_l0.shape[1],
        "hidden_size": layer.weight_ih_l0.shape[0] // _gates(layer),
    }
    return sizes | ({"proj_size": layer.weight_hr_l0.shape[0]} if layer.proj_size else {})


def _cell(layer: Any) -> Sizes:
    return {"input_size": layer.weight_ih.shape[1], "hidden_size": layer.weight_hh.shape[1]}


def _gates(layer: Any) -> int:
    return {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)


def _attention(layer: Any) -> Sizes:
    model = layer.out_proj.weight.shape[0]
    inner = layer.out_proj.weight.shape[1]
    return {"embed_dim": model, "head_dim": inner // layer.num_heads} | (
        {"kdim": model, "vdim": model} if layer._qkv_same_embed_dim else {}
    )


_RULES: tuple[tuple[type, Callable[[Any], Sizes]], ...] = (
    (nn.Linear, _linear),
    (nn.Bilinear, _bilinear),
    (_ConvNd, _convolution),
    (_NormBase, _batch_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.RMSNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.Embedding, _embedding),
    (nn.EmbeddingBag, _embedding),
    (nn.PReLU, _prelu),
    (RNNBase, _recurrent),
    (RNNCellBase, _cell),
    (nn.MultiheadAttention, _attention),
)


def is_torch_layer(module: nn.Module) -> bool:
    """Whether a module is one of torch's, whose numbers are known here."""
    return type(module).__module__.startswith(("torch.nn.", "torch.ao."))


def part_counts(module: nn.Module) -> tuple[str, ...]:
    """Attributes of a torch layer that its weights' shapes leave open."""
    return next((names for kind, names in PARTS.items() if isinstance(module, kind)), ())


def set_sizes(module: nn.Module) -> None:
    """Writes the sizes of a layer's weights into the attributes that repeat them."""
    # transformers' linear layer with its rows read
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        module.nx, module.nf = module.weight.shape  # type: ignore[misc,assignment]
    for kind, rule in _RULES:
        if isinstance(module, kind):
            for name, value in rule(module).items():
                setattr(module, name, value)
            return
