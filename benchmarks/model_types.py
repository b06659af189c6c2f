"""Tracing over the model types of transformers: with and without weights, operation by operation, end to end.

``python -m benchmarks.model_types [type ...]`` makes a small random configuration of each type, traces it, and writes
``results/model_types.md``: seconds, order, what is pinned and why, and the reason of each failure.
"""

from __future__ import annotations

import collections
import math
import re
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

import symnet as sn

RESULTS = Path(__file__).parent / "results" / "model_types.md"
SMALL = {
    "vocab_size": 13, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "d_model": 16, "n_embd": 16, "n_layer": 2, "n_head": 4, "d_ff": 12, "ffn_dim": 12, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 12,
    "decoder_ffn_dim": 12, "n_layers": 2, "n_heads": 4, "num_layers": 2, "num_heads": 4, "dim": 16, "hidden_dim": 12,
    "embedding_size": 16, "moe_intermediate_size": 12, "num_experts": 4, "num_local_experts": 4, "head_dim": 4,
    "num_experts_per_tok": 2, "n_routed_experts": 4, "state_size": 4, "d_kv": 4, "n_positions": 32, "n_ctx": 32,
}  # fmt: skip
TYPES = [
    "albert",
    "apertus",
    "arcee",
    "bamba",
    "bart",
    "bert",
    "bert-generation",
    "big_bird",
    "biogpt",
    "bitnet",
    "blenderbot",
    "bloom",
    "camembert",
    "codegen",
    "cohere",
    "cohere2",
    "convbert",
    "ctrl",
    "data2vec-text",
    "dbrx",
    "deberta",
    "deberta-v2",
    "deepseek_v2",
    "deepseek_v3",
    "diffllama",
    "distilbert",
    "dots1",
    "electra",
    "ernie",
    "ernie4_5",
    "exaone4",
    "falcon",
    "falcon_h1",
    "falcon_mamba",
    "flaubert",
    "fnet",
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "glm4",
    "gpt-sw3",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox_japanese",
    "gpt_oss",
    "gptj",
    "granite",
    "granitemoe",
    "helium",
    "hunyuan_v1_dense",
    "ibert",
    "jamba",
    "jetmoe",
    "lfm2",
    "llama",
    "longformer",
    "longt5",
    "luke",
    "m2m_100",
    "mamba",
    "mamba2",
    "marian",
    "mbart",
    "megatron-bert",
    "minimax",
    "ministral",
    "mistral",
    "mixtral",
    "mobilebert",
    "modernbert",
    "modernbert-decoder",
    "mpnet",
    "mpt",
    "mra",
    "mt5",
    "mvp",
    "nemotron",
    "nezha",
    "nllb-moe",
    "nystromformer",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "opt",
    "pegasus",
    "persimmon",
    "phi",
    "phi3",
    "phimoe",
    "plbart",
    "prophetnet",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "recurrent_gemma",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roc_bert",
    "roformer",
    "seed_oss",
    "smollm3",
    "squeezebert",
    "stablelm",
    "starcoder2",
    "t5",
    "umt5",
    "xglm",
    "xlm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xlnet",
    "xmod",
    "yoso",
    "zamba",
    "zamba2",
]


def make(kind: str) -> nn.Module:
    """A small random model of a type, with a head if it has one."""
    import transformers

    known = transformers.AutoConfig.for_model(kind).to_dict()
    config = transformers.AutoConfig.for_model(
        kind, **{k: v for k, v in SMALL.items() if k in known}
    )
    errors = []
    for auto in (
        "AutoModelForCausalLM",
        "AutoModelForSeq2SeqLM",
        "AutoModelForMaskedLM",
        "AutoModel",
    ):
        try:
            return getattr(transformers, auto).from_config(config)
        except Exception as error:  # the type has no such head, or no such small configuration
            errors.append(error)
    raise errors[-1]


def inputs_of(model: nn.Module) -> dict[str, torch.Tensor]:
    tokens = torch.randint(3, 13, (2, 6), generator=torch.Generator().manual_seed(0))
    keywords: dict[str, torch.Tensor] = {"input_ids": tokens}
    if getattr(model.config, "is_encoder_decoder", False):
        keywords["decoder_input_ids"] = tokens[:, :5]
    if "use_cache" in model.forward.__code__.co_varnames:
        keywords["use_cache"] = False  # type: ignore[assignment]
    return keywords


def one(kind: str) -> list[str]:
    """A row of the table."""
    torch.manual_seed(0)
    try:
        model = make(kind).eval()
        keywords = inputs_of(model)
        with torch.no_grad():
            names = [name for name in ("logits", "last_hidden_state") if name in model(**keywords)][
                :1
            ]
    except Exception as error:
        return [kind, "", "", "", "", "", f"no small configuration: {_short(error)}"]
    started = time.perf_counter()
    try:
        graph = sn.trace(model, outputs=names, **keywords)
    except Exception as error:
        return [kind, f"{time.perf_counter() - started:.1f}", "", "", "", "", _short(error)]
    seconds = time.perf_counter() - started
    try:
        with torch.device("meta"):
            empty = make(kind).eval()
        same = str(sn.trace(empty, outputs=names, **keywords)) == str(graph)
        alike = "same" if same else "differs"
    except Exception as error:
        alike = _short(error)
    report = sn.verify.operations(model, graph, kwargs=keywords, outputs=names)
    certificate = (
        "all commute"
        if report.passed
        else f"{len(report.failures)} fail, {len(report.problems)} not checked"
    )
    ended = "agree" if "passes agree" in graph.notes[-1] else "not compared"
    pins = collections.Counter(
        re.sub(r".*pinned \([^)]*\): (.*?)( \(.*)?$", r"\1", n)
        for n in graph.notes
        if "pinned" in n
    )
    why = "; ".join(f"{reason} ({count})" for reason, count in pins.most_common(2))
    return [kind, f"{seconds:.1f}", f"{_log_order(graph):.0f}", alike, certificate, ended, why]


def _log_order(graph: sn.NeuronGraph) -> float:
    return sum(
        math.lgamma(s.size + 1) * math.prod(graph.neurons[a].size for a in graph.ancestors(name))
        for name, s in graph.neurons.items()
        if s.group.generators
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ").replace("|", "/")[:140]


def main() -> None:
    warnings.filterwarnings("ignore")
    head = [
        "type",
        "seconds",
        "ln order",
        "without weights",
        "operations",
        "end to end",
        "pinned, or why not",
    ]
    lines = [
        "# Model types of transformers",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]
    for kind in sys.argv[1:] or TYPES:
        lines.append(f"| {' | '.join(one(kind))} |")
        print(lines[-1], flush=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
