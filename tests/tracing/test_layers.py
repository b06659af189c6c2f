"""From trace to layer with nothing between, on every network of the registry."""

from __future__ import annotations

import pytest
import torch

import symnet as sn
from tests.tracing.hugging_face import HUGGING_FACE
from tests.tracing.models import CASES, Case

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("case", [c for c in (*CASES, *HUGGING_FACE) if c.name != "resnet50"], ids=repr)
def test_a_layer_made_from_a_traced_graph_is_equivariant(case: Case) -> None:
    """Convolutions, composite and joined axes included; ResNet-50 is as ResNet-18, and takes six seconds."""
    if case in HUGGING_FACE:
        pytest.importorskip("transformers", reason="Hugging Face transformers is not installed")
    torch.manual_seed(0)
    model = case.make()
    graph = sn.trace(model, *case.inputs(), **case.keywords())
    layer = sn.nn.Linear(graph, 1, 2)
    sn.verify.equivariance(layer, graph, in_channels=1, trials=1).raise_if_failed()
    features = layer(sn.features([model], graph))
    assert {name: tuple(x.shape[1:-1]) for name, x in features.items()} == dict(graph.shapes)
