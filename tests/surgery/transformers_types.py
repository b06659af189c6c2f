"""Small random models of many transformers types, each with four heads (or groups of queries) to cut one of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_SIZES = {
    "vocab_size": 11, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 32, "pad_token_id": None, "bos_token_id": 1, "eos_token_id": 10,
}  # fmt: skip
_GROUPED = {
    **_SIZES,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 4,
    "hidden_size": 32,
}


@dataclass(frozen=True)
class Type:
    """One type: its configuration and model class, the fields that are not as usual, and how it is called."""

    config: str
    model: str
    fields: dict[str, Any]
    generates: bool = True
    keywords: Callable[[], dict[str, Any]] = dict
    outputs: tuple[str, ...] = ("logits",)

    def __repr__(self) -> str:
        return self.model

    def make(self) -> nn.Module:
        import transformers

        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**self.fields)
        return getattr(transformers, self.model)(config).eval()


def tokens(length: int = 6) -> torch.Tensor:
    return torch.randint(2, 9, (2, length), generator=torch.Generator().manual_seed(0))


def decoder(name: str, **fields: Any) -> Type:
    return Type(
        f"{name}Config", f"{name}ForCausalLM", _GROUPED | fields, True, lambda: {"use_cache": False}
    )


def encoder(name: str, task: str = "ForMaskedLM", **fields: Any) -> Type:
    return Type(
        f"{name}Config", f"{name}{task}", _SIZES | {"pad_token_id": 0} | fields, generates=False
    )


def seq2seq() -> dict[str, Any]:
    return {"decoder_input_ids": tokens(4), "use_cache": False}


_SHORT = {"vocab_size": 11, "bos_token_id": 1, "eos_token_id": 10}
TYPES = [
    decoder("Llama"),
    decoder("Mistral", sliding_window=None),
    decoder("Qwen2"),
    decoder("Qwen3"),
    decoder("Gemma"),
    decoder("Gemma2", query_pre_attn_scalar=4),
    decoder("Olmo2"),
    decoder("Granite"),
    decoder("Cohere"),
    decoder("StableLm"),
    decoder("Starcoder2"),
    decoder("SmolLM3"),
    decoder("Phi", num_attention_heads=4, num_key_value_heads=4, hidden_size=16),
    Type("GPT2Config", "GPT2LMHeadModel", _SHORT | {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_inner": 12},
         True, lambda: {"use_cache": False}),
    Type("GPTNeoXConfig", "GPTNeoXForCausalLM", _SIZES, True, lambda: {"use_cache": False}),
    Type("OPTConfig", "OPTForCausalLM", _SIZES | {"ffn_dim": 12, "word_embed_proj_dim": 16}, True, lambda: {"use_cache": False}),
    encoder("Bert"),
    encoder("Roberta"),
    encoder("Electra", embedding_size=16),
    Type("DistilBertConfig", "DistilBertForMaskedLM", {"vocab_size": 11, "dim": 16, "hidden_dim": 12, "n_layers": 2, "n_heads": 4,
         "max_position_embeddings": 32, "pad_token_id": 0}, False),
    Type("T5Config", "T5ForConditionalGeneration", {"vocab_size": 11, "d_model": 16, "d_kv": 4, "d_ff": 12, "num_layers": 2,
         "num_heads": 4, "relative_attention_num_buckets": 8, "decoder_start_token_id": 0, "pad_token_id": 0}, True, seq2seq),
    Type("BartConfig", "BartForConditionalGeneration", {"vocab_size": 11, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2,
         "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12,
         "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 10, "decoder_start_token_id": 2,
         "forced_eos_token_id": None}, True, seq2seq),
]  # fmt: skip
