"""Hugging Face transformers built from small random configurations (no weights are loaded)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.tracing.models import TRANSFORMER, Case


def tokens(vocabulary: int = 11, length: int = 5) -> Callable[[], tuple[torch.Tensor]]:
    return lambda: (
        torch.randint(vocabulary, (2, length), generator=torch.Generator().manual_seed(0)),
    )


def pixels(size: int) -> Callable[[], tuple[torch.Tensor]]:
    return lambda: (torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)),)


def _bert() -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(
            vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6, max_position_embeddings=9,
        )
    )  # fmt: skip


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=9, n_embd=8, n_layer=2, n_head=2))


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=11, hidden_size=16, intermediate_size=6, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=16,
        )
    )  # fmt: skip


def _t5() -> nn.Module:
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=11, d_model=8, d_kv=3, d_ff=6, num_layers=2, num_heads=2, relative_attention_num_buckets=8,
            decoder_start_token_id=0, feed_forward_proj="relu",
        )
    )  # fmt: skip


def _vit() -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(
        ViTConfig(
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=6,
            image_size=8,
            patch_size=4,
        )
    )


def _resnet() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(
        ResNetConfig(
            embedding_size=4,
            hidden_sizes=[4, 6, 8],
            depths=[2, 2, 2],
            layer_type="basic",
            num_labels=3,
        )
    )


def _swin() -> nn.Module:
    from transformers import SwinConfig, SwinForImageClassification

    return SwinForImageClassification(
        SwinConfig(
            image_size=16,
            patch_size=2,
            embed_dim=4,
            depths=[2, 2],
            num_heads=[1, 2],
            window_size=2,
            mlp_ratio=1.5,
            num_labels=3,
        )
    )


def _no_cache() -> dict[str, Any]:
    return {"use_cache": False}


def _seq2seq() -> dict[str, Any]:
    return {"decoder_input_ids": tokens(length=4)()[0], "use_cache": False, "outputs": ["logits"]}


HUGGING_FACE = [
    Case("BERT", _bert, tokens(), ((8, (), 2), (6, (), 2), (2, (), 2), (4, (2,), 4))),
    Case("GPT-2", _gpt2, tokens(), ((8, (), 1), (32, (), 2), (2, (), 2), (4, (2,), 4)), _no_cache),
    Case(
        "Llama",
        _llama,
        tokens(),
        ((16, (), 1), (6, (), 2), (2, (), 2), (2, (2,), 2), (4, (2,), 2)),
        _no_cache,
    ),
    Case("T5", _t5, tokens(), ((8, (), 1), (6, (), 4), (2, (), 4), (3, (2,), 12)), _seq2seq),
    Case("ViT", _vit, pixels(8), TRANSFORMER),
    Case("ResNet", _resnet, pixels(32), ((4, (), 3), (6, (), 3), (8, (), 3))),
    Case(
        "Swin",
        _swin,
        pixels(16),
        ((4, (), 5), (6, (), 2), (8, (), 1), (2, (), 2), (4, (2,), 4), (12, (), 2)),
    ),
]
