"""Laws of recording without weights: the same graph, no memory, and what needs values is named."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.tracing import tracer
from symnet.tracing.subject import make_subject
from tests.effort import sweep
from tests.tracing.models import Case
from tests.tracing.odd_models import ODD, Net, Odd, rand
from tests.tracing.registry import ALL, traced

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Lazy modules"
)
NEED_VALUES = {"routed experts"}
FEW = sweep(
    [
        c
        for c in ALL
        if c.name
        in ("lenet", "lstm, two layers", "fused attention, chunk", "transformer encoder", "Llama")
    ],
    {"transformer encoder", "Llama"},
)


def without_weights(model: nn.Module, case: Case) -> str:
    """The graph that is read without weights, as text."""
    keywords = dict(case.keywords())
    outputs = keywords.pop("outputs", None)
    subject = make_subject(model, weights=False)
    parts = tracer._record_subject(
        subject, (case.inputs(), keywords), lambda path: tracer.is_chosen(path, outputs)
    )
    return str(tracer.read_graph(parts[2], subject.aliases, parts[3], "fixed").graph)


def agree(case: Case) -> None:
    model, graph = traced(case)
    assert without_weights(model, case) == str(graph)
    with torch.device("meta"):
        empty = case.make()
    assert str(sn.trace(empty, *case.inputs(), **case.keywords())) == str(graph)


@pytest.mark.parametrize("case", FEW, ids=repr)
def test_the_graph_is_the_same_without_weights(case: Case) -> None:
    """Both for a model on the device 'meta', and for one whose weights are left out of the copy."""
    agree(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [c for c in ALL if c.name not in NEED_VALUES], ids=repr)
def test_every_graph_is_the_same_without_weights(case: Case) -> None:
    agree(case)


@pytest.mark.parametrize(
    "case", [c for c in ODD if c.name in ("through numpy", "through a list")], ids=repr
)
def test_values_that_the_code_asks_for_are_named(case: Odd) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        model = case.make()
    with pytest.raises(
        sn.TraceError,
        match=r"no weights.*asks for a value.*('numpy'|'_local_scalar_dense'|'tolist')",
    ):
        sn.trace(model, *case.inputs)


def test_constants_and_positions_are_computed_really() -> None:
    """A mask of positions pins what it is added to, also without weights; a constant on 'meta' is never uniform."""

    def forward(net: Net, x: Tensor) -> Tensor:
        return net.b(net.a(x) * torch.arange(4, device=x.device) * net.scale)

    with torch.device("meta"):
        model = Net(forward, a=nn.Linear(2, 4), b=nn.Linear(4, 1), scale=torch.ones(()))
    assert sn.trace(model, rand(3, 2)).order == 1
    with torch.device("meta"):
        model = Net(lambda n, x: n.b(n.a(x)), a=nn.Linear(2, 4), b=nn.Linear(4, 1))
        model.register_buffer("table", torch.ones(4), persistent=False)
    model.function = lambda n, x: n.b(n.a(x) * n.table)
    assert sn.trace(model, rand(3, 2)).order == 1


def test_results_written_into_constants_are_no_constants() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        joined = torch.zeros(len(x), 8)
        joined[:, :4], joined[:, 4:] = net.a(x), net.c(x)
        return net.b(joined.tanh())

    with torch.device("meta"):
        model = Net(forward, a=nn.Linear(2, 4), c=nn.Linear(2, 4), b=nn.Linear(8, 1))
    assert sn.trace(model, rand(3, 2)).order == 24**2


LARGE = """
import resource, torch, symnet as sn
from torch import nn
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.device("meta"):
    layer = nn.TransformerEncoderLayer(8192, 64, 28672, batch_first=True)
    model = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
graph = sn.trace(model, torch.randn(1, 4, 8192), check=sn.tracing.Check(end_to_end=False))
assert graph.neurons["layers.7.mlp"].size == 28672
assert any("commute with the group" in note for note in graph.notes)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_model_of_five_billion_weights_takes_no_memory() -> None:
    """With weights it would be 20 GB; the process grows by less than half of one."""
    output = subprocess.run(
        [sys.executable, "-c", LARGE], check=True, capture_output=True, text=True
    ).stdout
    assert int(output) < 500
