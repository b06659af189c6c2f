"""From trace to layer with nothing between, on every network of the registry."""

from __future__ import annotations

import pytest

import symnet as sn
from tests.effort import sweep
from tests.tracing.models import Case
from tests.tracing.registry import ALL, DEAR, traced

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("case", sweep(ALL, DEAR), ids=repr)
def test_a_layer_made_from_a_traced_graph_is_equivariant(case: Case) -> None:
    """Convolutions, composite and joined axes included."""
    model, graph = traced(case)
    layer = sn.nn.Linear(graph, 1, 2)
    sn.verify.equivariance(layer, graph, in_channels=1, trials=1).raise_if_failed()
    features = layer(sn.features([model], graph))
    assert {name: tuple(x.shape[1:-1]) for name, x in features.items()} == dict(graph.shapes)
