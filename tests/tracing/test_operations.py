"""Laws of the local certificate: right graphs pass operation by operation, wrong ones name the operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.tracing import tracer
from symnet.tracing.certificate import Certifier, Evidence
from symnet.tracing.reading_state import RULES, Reading, rule
from symnet.tracing.recording import Operation
from tests.tracing.models import CASES, Case, rows
from tests.tracing.odd_models import ODD, Net, Odd, rand

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Lazy modules"
)
FEW = [
    case
    for case in CASES
    if case.name in ("mlp", "channel shuffle", "fused attention, 3 h d", "dense experts")
]


def evidence_of(
    model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any] | None = None
) -> Evidence:
    """What the operations of a traced model show of its own graph."""
    keywords = dict(keywords or {})
    outputs = keywords.pop("outputs", None)
    chosen = lambda path: tracer.is_chosen(path, outputs)  # noqa: E731
    subject, _, recording, notes = tracer.record_model(model, (inputs, keywords), chosen)
    claim = tracer.read_graph(recording, subject.aliases, notes, "fixed")
    return Certifier(recording, claim.reading, claim.graph).run()


@pytest.mark.parametrize("case", FEW, ids=repr)
def test_every_operation_of_a_traced_network_commutes(case: Case) -> None:
    torch.manual_seed(0)
    evidence = evidence_of(case.make(), case.inputs(), case.keywords())
    assert evidence.complete and evidence.distinct > 1 and evidence.worst < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_every_operation_of_every_traced_network_commutes(case: Case) -> None:
    torch.manual_seed(0)
    evidence = evidence_of(case.make(), case.inputs(), case.keywords())
    assert not evidence.failures and evidence.worst < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("case", ODD, ids=repr)
def test_no_operation_of_an_odd_network_is_blamed(case: Odd) -> None:
    torch.manual_seed(0)
    assert not evidence_of(case.make(), case.inputs).failures


# ---- declared graphs ------------------------------------------------------------------------------------------------
def two_layers() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


RIGHT = {"0.weight": "h in", "0.bias": "h", "2.weight": "out h", "2.bias": "out"}
SETS = {"in": sn.Fixed(2), "h": sn.Symmetric(4), "out": sn.Fixed(1)}


def test_a_declared_graph_passes_and_says_what_was_run() -> None:
    report = sn.verify.operations(two_layers(), sn.NeuronGraph(SETS, RIGHT), rand(3, 2))
    assert report.passed and "5 operations were recorded" in str(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.bias": "4"}, "addmm in 0"),
        ({"2.weight": "out 4"}, "t in 2"),
        ({"0.weight": "4 in"}, "in 0"),
    ],
)
def test_a_wrong_axis_names_the_operation_where_it_meets_the_others(
    change: dict[str, str], words: str
) -> None:
    report = sn.verify.operations(two_layers(), sn.NeuronGraph(SETS, RIGHT | change), rand(3, 2))
    assert not report.passed and words in str(report) and "'h'" in str(report)


def test_inputs_that_are_said_to_move_must_move_by_name() -> None:
    graph = sn.NeuronGraph(SETS | {"in": sn.Symmetric(2)}, RIGHT)
    assert not sn.verify.operations(two_layers(), graph, rand(3, 2)).passed
    assert sn.verify.operations(two_layers(), graph, rand(3, 2), input_axes="... in").passed


def test_signs_pass_an_odd_function_and_not_a_rectifier() -> None:
    graph = sn.NeuronGraph(SETS | {"h": sn.SignedSymmetric(4)}, RIGHT)
    odd = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    assert sn.verify.operations(odd, graph, rand(3, 2)).passed
    report = sn.verify.operations(two_layers(), graph, rand(3, 2))
    assert not report.passed and "relu in 1" in str(report)


def test_what_cannot_be_checked_alone_does_not_pass() -> None:
    graph = sn.NeuronGraph(SETS | {"h": sn.Scaled(4)}, {**RIGHT, "2.weight": "out h*"})
    report = sn.verify.operations(two_layers(), graph, rand(3, 2))
    assert not report.passed and "not checked" in str(report) and "continuous" in str(report)


def test_a_graph_of_other_shapes_is_refused() -> None:
    with pytest.raises(sn.ShapeError, match=r"has other shapes: '0.weight' \(4, 2\) for \(5, 2\)"):
        sn.verify.operations(two_layers(), sn.catalogue.mlp([2, 5, 1]), rand(3, 2))


def test_the_graph_says_what_it_rests_on() -> None:
    notes = sn.trace(two_layers(), rand(3, 2)).notes
    assert any(
        note.startswith("evidence: 5 operations (5 distinct") and "forward passes agree" in note
        for note in notes
    )


# ---- wrong rules ----------------------------------------------------------------------------------------------------
def free_outputs(reading: Reading, operation: Operation) -> None:
    """A wrong rule: operands are not joined, and the output's axes are those of the first operand, or free."""
    first = operation.inputs()[0]
    for output in operation.outputs:
        if output is not None and output.shape == first.shape:
            reading.set(output, reading.label(first))
        elif output is not None:
            known = dict(zip(first.shape, reading.label(first), strict=True))
            reading.set(
                output,
                [known.get(size) or reading.pinned(size, "a wrong rule") for size in output.shape],
            )


def wrong(
    between: Callable[[Any, Tensor], Tensor], **parts: Any
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    layers = {"a": nn.Linear(2, 4), "b": nn.Linear(4, 1)}
    return Net(lambda net, x: net.b(between(net, net.a(x).tanh())), **{**layers, **parts}), (
        rand(3, 2),
    )


BROKEN: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {
    "add": wrong(lambda net, h: h + net.c, c=nn.Parameter(torch.randn(4))),
    "mul": wrong(lambda net, h: h * net.c, c=nn.Parameter(torch.randn(4))),
    "mm": wrong(lambda net, h: h @ net.c, c=nn.Parameter(torch.randn(4, 4))),
    "addmm": wrong(lambda net, h: h),
    "cumsum": wrong(lambda net, h: h.cumsum(-1)),
    "flip": wrong(lambda net, h: h.flip(-1)),
    "sort": wrong(lambda net, h: h.sort(-1).values),
    "native_layer_norm": wrong(lambda net, h: net.n(h), n=nn.LayerNorm(4)),
    "where": wrong(lambda net, h: torch.where(h > 0, h, net.c), c=nn.Parameter(torch.randn(4))),
    "roll": wrong(lambda net, h: h.roll(1, -1)),
    "triu": wrong(lambda net, h: h @ (net.c @ net.c.T).triu(), c=nn.Parameter(torch.randn(4, 4))),
    "tril": wrong(lambda net, h: h @ (net.c @ net.c.T).tril(), c=nn.Parameter(torch.randn(4, 4))),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_rule_made_wrong_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule at a time joins nothing and pins nothing; the certificate names an operation."""
    model, inputs = BROKEN[name]
    assert not evidence_of(model, inputs).failures
    monkeypatch.setitem(RULES, name, free_outputs)
    evidence = evidence_of(model, inputs)
    assert evidence.failures and all(failure.error > 1e-3 for failure in evidence.failures)


def test_a_rule_of_ones_own_is_used_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A custom operator that reverses its entries: the right rule pins, the wrong one is named."""
    with torch.library._scoped_library("symnet_tests", "FRAGMENT"):

        @torch.library.custom_op("symnet_tests::reverse", mutates_args=())
        def reverse(x: Tensor) -> Tensor:
            return x.flip(-1).clone()

        model, inputs = wrong(lambda net, h: reverse(h))
        monkeypatch.setattr("symnet.tracing.reading_state.RULES", RULES)
        try:

            @rule("reverse")
            def keeps(reading: Reading, operation: Operation) -> None:
                reading.set(operation.outputs[0], reading.label(operation.inputs()[0]))

            assert any("reverse" in str(failure) for failure in evidence_of(model, inputs).failures)

            @rule("reverse")
            def pins(reading: Reading, operation: Operation) -> None:
                label = reading.pin(reading.label(operation.inputs()[0])[-1], "reversed")
                reading.set(
                    operation.outputs[0], [*reading.label(operation.inputs()[0])[:-1], label]
                )

            assert sn.trace(model, *inputs).order == 1
        finally:
            RULES.pop("reverse", None)


# ---- few neurons stand for many ------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [3, 6, 11, 130])
def test_networks_of_any_width_have_the_same_evidence(width: int) -> None:
    """Contractions, softmax, norms and convolutions are run at a few neurons; at narrow widths at their own."""
    torch.manual_seed(0)
    block = nn.Sequential(
        nn.Conv1d(2, width, 1), nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, width, 3, padding=1), nn.Softmax(1),
        nn.Flatten(), nn.LayerNorm(5 * width), nn.Linear(5 * width, 1),
    )  # fmt: skip
    evidence = evidence_of(block, rows(2, 2, 5)())
    assert evidence.complete and evidence.narrow > 3
