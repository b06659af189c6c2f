"""Graphs of common architectures, keyed as the matching torch modules key their state dicts.

Every function says in its docstring which module it describes. ``io="fixed"`` holds input and
output neurons fixed (the HNP setting of Zhou et al. 2023, arXiv 2302.14040), ``io="permuted"``
permutes them (NP). One file per family; the command line's short forms are in
``symnet/cli/architectures.py``.
"""

from symnet.graph.catalogue.adapters import lora, pad_rank
from symnet.graph.catalogue.attention_heads import attention, grouped_query_attention
from symnet.graph.catalogue.convolutions import cnn
from symnet.graph.catalogue.expert_mixtures import experts
from symnet.graph.catalogue.perceptrons import mlp
from symnet.graph.catalogue.recurrent import gru, lstm, rnn
from symnet.graph.catalogue.resnets import resnet

__all__ = [
    "attention",
    "cnn",
    "experts",
    "grouped_query_attention",
    "gru",
    "lora",
    "lstm",
    "mlp",
    "pad_rank",
    "resnet",
    "rnn",
]


def __dir__() -> list[str]:
    return __all__
