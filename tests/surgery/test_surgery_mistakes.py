"""What a user can get wrong is told in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import symnet as sn

GRAPH = sn.catalogue.mlp([2, 4, 1])
WEIGHTS = {name: torch.ones(shape) for name, shape in GRAPH.shapes.items()}
surgery = sn.surgery


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: surgery.keep(WEIGHTS, GRAPH, {"h1": "012"}), "list the neurons' numbers"),
        (lambda: surgery.keep(WEIGHTS, "graph", {"h1": [0]}), "where a graph is expected"),
        (lambda: surgery.keep(nn.Linear(2, 2), GRAPH, {"h1": [0]}), "holds no weights"),
        (
            lambda: surgery.keep(WEIGHTS, GRAPH, {"h1": [0]}, out="x.pt"),
            "out= is for weights given as a path",
        ),
        (lambda: surgery.join(WEIGHTS, GRAPH, {"h1": "ab"}), "list the groups"),
        (lambda: surgery.join(WEIGHTS, GRAPH, {"h1": [0, 1]}), "list the neurons' numbers"),
        (lambda: surgery.split(WEIGHTS, GRAPH, {"h1": {0: 0}}), "how many each becomes"),
        (lambda: surgery.widen(WEIGHTS, GRAPH, {"h1": 8}, seed="a"), "seed='a'"),
        (
            lambda: surgery.widen(WEIGHTS, GRAPH, {"h1": 8}, outgoing=["2.weight"]),
            "give what reads each set",
        ),
        (lambda: surgery.importance(None, GRAPH), "importance got None"),
        (
            lambda: surgery.choose({"h1": [1.0, 2, 3, 4]}, GRAPH, 0.5, multiple_of=0),
            "multiple_of=0",
        ),
        (lambda: surgery.choose({"h1": [1.0, 2, 3, float("nan")]}, GRAPH, 0.5), "finite numbers"),
        (lambda: surgery.outgoing(model(), GRAPH), "cannot be run on the inputs"),
        (lambda: surgery.outgoing(nn.Linear(2, 2), GRAPH, torch.ones(1, 2)), "has no state entry"),
        (lambda: surgery.resize(None, WEIGHTS), "resize got a NoneType"),
    ],
)
def test_mistakes_are_told_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(sn.SymnetError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_inputs_that_the_network_does_not_take_are_told_apart_from_a_wrong_cut() -> None:
    cut = surgery.keep(model().state_dict(), GRAPH, {"h1": [0, 1]})
    with pytest.raises(sn.VerificationError, match=r"cannot be run on the inputs in float64.*5x3"):
        surgery.resize(model(), cut, torch.randn(5, 3))
