"""Twenty-two types of transformers: a quarter of the heads and of the MLPs cut, resized, run, and asked to generate."""

from __future__ import annotations

import pytest
import torch

import symnet as sn
from symnet.surgery.budgets import kind_of
from tests.surgery.transformers_types import TYPES, Type, tokens

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
    pytest.mark.slow,
]
# Types whose configuration has a field for the dims of a head, so that fewer heads can be written down.
CONFIGURED = {
    "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM",
    "Olmo2ForCausalLM", "GraniteForCausalLM", "CohereForCausalLM", "Starcoder2ForCausalLM", "SmolLM3ForCausalLM", "PhiForCausalLM",
    "T5ForConditionalGeneration",
}  # fmt: skip


@pytest.mark.parametrize("case", TYPES, ids=repr)
def test_a_quarter_of_heads_and_mlp(case: Type) -> None:
    """The function is compared by resize, on fresh inputs in float64, with that of the masked model."""
    pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
    model, x = case.make(), tokens()
    graph = sn.trace(model, x, outputs=list(case.outputs), **case.keywords())
    scores = sn.surgery.importance(model.state_dict(), graph, "l2")
    budget = {kind: 0.75 for kind in ("head", "kv", "mlp") if kind in map(kind_of, scores)}
    assert len(budget) == 2
    cut = sn.surgery.keep(model.state_dict(), graph, sn.surgery.choose(scores, graph, budget))
    assert all(
        4 * cut.graph.neurons[n].size == 3 * s.size
        for n, s in graph.neurons.items()
        if kind_of(n) in budget
    )
    small = sn.surgery.resize(model, cut, x, outputs=list(case.outputs), **case.keywords())
    logits = small(x, **case.keywords()).logits
    assert logits.shape == model(x, **case.keywords()).logits.shape
    if case.generates:
        assert small.generate(x, max_new_tokens=4, do_sample=False).shape[1] > (
            1 if case.model[:2] in ("T5", "Ba") else 6
        )
    if case.model in CONFIGURED:
        again = type(model)(small.config).eval()
        again.load_state_dict(small.state_dict())
        torch.testing.assert_close(again(x, **case.keywords()).logits, logits)
