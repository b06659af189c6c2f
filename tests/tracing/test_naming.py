"""Laws of the names of traced neuron sets: what they do, the shortest path that tells them apart; the same every time."""

from __future__ import annotations

import pytest
from torch import nn

import symnet as sn
from symnet.graph.notation import NAME
from tests.effort import sweep
from tests.tracing.models import Case, GroupedQueries, rows
from tests.tracing.registry import ALL, traced

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

EXPECTED = {
    "BERT": {
        "stream",
        "layer.0.head",
        "layer.0.key_dim",
        "layer.0.head_dim",
        "layer.0.mlp",
        "layer.1.mlp",
        "pooler",
    },
    "GPT-2": {"stream", "h.0.head", "h.1.head_dim", "h.0.mlp"},
    "Llama": {
        "stream",
        "layers.0.kv",
        "layers.0.query_of_group",
        "layers.0.head_dim",
        "layers.1.mlp",
    },
    "T5": {
        "stream",
        "encoder.head",
        "encoder.block.0.layer.0.head_dim",
        "decoder.block.0.layer.2.mlp",
    },
    "ViT": {"stream", "layers.0.head", "layers.1.mlp"},
    "ResNet": {"stream", "stages.1.stream", "stages.0.layers.0.layer.0"},
    "Swin": {
        "stream",
        "layers.0.blocks.0.key_dim",
        "layers.1.blocks.1.head",
        "layers.0.blocks.1.mlp",
    },
    "resnet18": {"stream", "layer1.0.conv1", "layer2.stream"},
    "transformer encoder": {"stream", "layers.0.head", "layers.1.mlp"},
    "mlp": {"layer0", "layer2"},
    "unet": {"down1", "down2", "up", "join"},
    "lstm, two layers": {"rnn.l0", "rnn.l1"},
    "gru, two layers": {"rnn.l0", "rnn.l1"},
    "GRUCell by hand": {"cell"},
    "dense experts": {"expert", "mlp"},
    "grouped convolution with group norm": {"group", "0.unit", "3.unit"},
}
NAMED = sweep([case for case in ALL if case.name in EXPECTED], {"Swin"})


@pytest.mark.parametrize("case", NAMED, ids=repr)
def test_sets_are_named_after_what_they_do(case: Case) -> None:
    names = set(traced(case)[1].neurons)
    assert names >= EXPECTED[case.name]
    assert all(NAME.fullmatch(name) for name in names)


def test_names_are_the_same_every_time() -> None:
    assert str(sn.trace(GroupedQueries(), *rows(2, 5, 6)())) == str(
        sn.trace(GroupedQueries(), *rows(3, 4, 6)())
    )


def test_equal_blocks_keep_their_names_when_more_are_added() -> None:
    def stack(depth: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True)
        encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        return nn.Sequential(nn.Linear(3, 8), encoder, nn.Linear(8, 2))

    one, two = (set(sn.trace(stack(depth), *rows(2, 5, 3)()).neurons) for depth in (1, 2))
    assert one < two
    assert {"stream", "1.layers.0.head", "1.layers.0.mlp"} <= one
