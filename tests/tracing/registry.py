"""All registered models with their traced graphs; each is traced once per process."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

import symnet as sn
from tests.effort import sweep
from tests.tracing.hugging_face import HUGGING_FACE
from tests.tracing.models import CASES, Case

ALL = (*CASES, *HUGGING_FACE)
# Seconds each. What they are made of stands in smaller models as well: residual streams with norms in "densenet" and
# "padded shortcut", encoders in "transformer encoder", encoder and decoder in "cross attention with other widths",
# rotary queries in groups in "grouped queries, fused by heads".
LARGE = {
    *("Swin", "T5", "ViT", "BERT", "GPT-2", "ResNet", "resnet18", "resnet50"),
    *("mobilenetv2", "transformer encoder, norm first"),
}
SWEEP = sweep(ALL, LARGE)
# What is dear to check as well, for the sweeps of layers and of maximality; more of the same kinds stand in the rest.
DEAR = LARGE | {
    *("transformer encoder", "densenet", "Llama", "convnext", "vgg with batch norm", "mlp-mixer"),
    *(
        "lstm, two directions",
        "rnn, two directions",
        "gru, two layers",
        "grouped queries, fused by heads",
    ),
    *("fused attention, 3 h d", "fused attention, h 3 d", "depthwise convolution with group norm"),
}


@cache
def traced(case: Case) -> tuple[nn.Module, sn.NeuronGraph]:
    """A case's model and its traced graph; tests copy the model before they change it."""
    if case in HUGGING_FACE:
        pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
    torch.manual_seed(0)
    model = case.make()
    return model, sn.trace(model, *case.inputs(), **case.keywords())
