"""Laws of tracing, over the registry of narrow models: exact groups, sound, nothing touched."""

from __future__ import annotations

import collections
import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.tracing import Check, trace
from symnet.tracing.checking import Checker
from symnet.tracing.examples import copy_model, float_state, randomise, run
from symnet.verify.comparison import errors_between
from tests.tracing.broken import broken_actions
from tests.tracing.models import CASES, Case, Encoder, Recurrent, TiedAutoencoder, rows, seq
from tests.tracing.registry import SWEEP, traced

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def moving_sets(graph: sn.NeuronGraph) -> collections.Counter:
    """(size, sizes of ancestors) of every neuron set that moves, with how many there are."""
    return collections.Counter(
        (s.size, tuple(sorted(graph.neurons[a].size for a in graph.ancestors(name))))
        for name, s in graph.neurons.items()
        if s.group.generators
    )


@pytest.mark.parametrize("case", SWEEP, ids=repr)
def test_the_group_is_the_one_worked_out_by_hand(case: Case) -> None:
    _, graph = traced(case)
    expected = collections.Counter(
        {(size, tuple(sorted(over))): count for size, over, count in case.sets}
    )
    assert moving_sets(graph) == expected
    assert graph.order == math.prod(
        math.factorial(n) ** (math.prod(over) * count) for n, over, count in case.sets
    )


@pytest.mark.parametrize("case", SWEEP, ids=repr)
def test_every_float_entry_of_the_state_is_there(case: Case) -> None:
    """Keys are those of the state dict, with its shapes; tied tensors stand under aliases."""
    model, graph = traced(case)
    floats = {
        name: tuple(t.shape) for name, t in model.state_dict().items() if t.is_floating_point()
    }
    assert set(graph.shapes) | set(graph.aliases) == set(floats)
    assert all(
        graph.shapes[graph.aliases.get(name, name)] == shape for name, shape in floats.items()
    )


@pytest.mark.parametrize("case", SWEEP, ids=repr)
def test_the_text_form_round_trips(case: Case) -> None:
    _, graph = traced(case)
    assert sn.parse(str(graph)) == graph


@pytest.mark.parametrize("case", SWEEP, ids=repr)
def test_random_elements_leave_the_function_unchanged(case: Case) -> None:
    """A route of its own: a float64 copy, the state randomised, one element acting, the outputs compared."""
    model, graph = traced(case)
    private = copy_model(model).double()
    state, _ = float_state(private)
    randomise(state, seed=5)
    keywords = {k: v for k, v in case.keywords().items() if k != "outputs"}
    chosen = case.keywords().get("outputs")
    inputs = tuple(x.double() if x.is_floating_point() else x for x in case.inputs()), keywords
    before = run(private, inputs, chosen)
    entries = {name: tensor.detach().clone() for name, tensor in state.items()}
    for seed in range(3):
        moved = graph.act(graph.random_element(seed), entries)
        with torch.no_grad():
            for name, tensor in state.items():
                tensor.copy_(moved[name])
        after = run(private, inputs, chosen)
        assert max(errors_between(before, after).values()) < 1e-9


@pytest.mark.parametrize("case", SWEEP, ids=repr)
def test_the_check_notices_every_broken_action(
    case: Case, record_property: Callable[[str, object], None]
) -> None:
    """Mutation: hold one axis of one tensor still; only tensors without any influence may go unnoticed."""
    total, missed = broken_actions(*traced(case), case)
    record_property("broken actions", total)
    record_property("broken actions noticed", total - len(missed))
    assert missed == [], f"{len(missed)} of {total} broken actions went unnoticed"


@pytest.mark.parametrize("case", CASES[:8], ids=repr)
def test_the_callers_model_is_left_as_it_was(case: Case) -> None:
    """State, train mode, gradient flags, hooks and the random state are untouched."""
    torch.manual_seed(0)
    model = case.make().train()
    next(model.parameters()).requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    flags = {n: (p.requires_grad, p.grad, p._version) for n, p in model.named_parameters()}
    random = torch.get_rng_state()
    inputs = case.inputs()
    copies = [x.clone() for x in inputs]
    trace(model, *inputs)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    assert flags == {n: (p.requires_grad, p.grad, p._version) for n, p in model.named_parameters()}
    assert all(
        module.training and not module._forward_hooks and not module._forward_pre_hooks
        for module in model.modules()
    )
    assert all(torch.equal(a, b) for a, b in zip(inputs, copies, strict=True))
    assert torch.get_default_dtype() == torch.float32


def test_tied_tensors_stand_once() -> None:
    graph = trace(TiedAutoencoder(), *rows(3, 4)())
    assert dict(graph.aliases) == {"encoder.weight": "decoder_weight"} or dict(graph.aliases) == {
        "decoder_weight": "encoder.weight"
    }


def test_permuted_inputs_and_outputs() -> None:
    graph = trace(seq(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)), *rows(5, 2)(), io="permuted")
    assert graph.order == 2 * 24 * 6


def test_several_inputs_by_keyword_and_a_dict_of_outputs() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(2, 4), nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, *, y: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": self.c(torch.relu(self.a(x) + self.b(y))), "raw": x}

    assert trace(Both(), torch.randn(5, 2), y=torch.randn(5, 3)).order == 24


def test_every_pinned_axis_has_a_note() -> None:
    graph = trace(
        seq(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), torch.randn(2, 1, 4, 4)
    )
    assert any("0.weight, axis 2" in note and "convolution in 0" in note for note in graph.notes)
    assert any("3.bias, axis 0" in note and "io='fixed'" in note for note in graph.notes)


# ---- inputs that hide a dependence ----------------------------------------------------------------------------------
def test_one_time_step_does_not_hide_the_recurrence() -> None:
    """With one step the initial zeros are all that meets the recurrent weights."""
    model = Recurrent("LSTM", 1)
    assert (
        trace(model, torch.randn(1, 1, 3)).order == trace(model, torch.randn(4, 2, 3)).order == 24
    )


def test_one_token_gives_the_same_group_as_five() -> None:
    model = Encoder(depth=1)
    assert trace(model, torch.randn(1, 1, 3)) == trace(model, torch.randn(2, 5, 3))


def test_a_parameter_without_live_use_is_pinned() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.out, self.unused = nn.Linear(2, 4), nn.Linear(4, 1), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.relu(self.used(x))
            return self.out(self.unused(h) if x.shape[0] > 100 else h)

    graph = trace(Branch(), torch.randn(3, 2))
    assert graph.tensors["unused.weight"] == "4 4"
    assert any("unused.weight" in note and "no live use" in note for note in graph.notes)


@pytest.mark.parametrize(("chosen", "expected"), [(True, "experts.1.0 3"), (False, "4 3")])
def test_an_expert_without_rows_is_seen_if_a_mask_chooses_and_pinned_otherwise(
    chosen: bool, expected: str
) -> None:
    """A mask that holds nowhere can be made to hold everywhere; rows that the code leaves out cannot be had."""

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(
                seq(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)) for _ in range(2)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result = torch.zeros_like(x)
            for number, expert in enumerate(self.experts):
                rows = torch.arange(0 if number else len(x))
                if chosen and number:
                    rows = (x[:, 0] > 500).nonzero()[:, 0]
                result = result.index_add(0, rows, expert(x[rows]))
            return result

    graph = trace(Experts(), torch.randn(5, 3))
    assert graph.tensors["experts.0.0.weight"] == "experts.0.0 3"
    assert graph.tensors["experts.1.0.weight"] == expected


def test_a_check_cannot_be_skipped() -> None:
    with pytest.raises(sn.TraceError, match="cannot be skipped"):
        Check(rounds=0)


def test_a_wrong_graph_is_refused_with_its_tensor_and_operation() -> None:
    model = seq(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    wrong = sn.NeuronGraph(
        {"h": sn.Symmetric(4)}, {"0.weight": "h 2", "0.bias": "4", "2.weight": "1 h", "2.bias": "1"}
    )
    with pytest.raises(sn.TraceError, match=r"'h' in '0.weight'.*'addmm' in '0'"):
        Checker(copy_model(model), wrong, ((torch.randn(3, 2),), {}), Check()).run_all()


@pytest.mark.parametrize("given", ["loose", 3])
def test_what_cannot_be_traced_is_named(given: object) -> None:
    with pytest.raises(sn.TraceError):
        trace(given, torch.randn(2, 2))  # type: ignore[arg-type]
    with pytest.raises(sn.TraceError, match="expected 'fixed' or 'permuted'"):
        trace(nn.Linear(2, 2), torch.randn(2, 2), io="loose")  # type: ignore[arg-type]
