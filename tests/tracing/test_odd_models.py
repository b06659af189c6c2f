"""Laws of tracing on networks that are odd in one way each, and on code that asks about values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.tracing.odd_models import ODD, Net, Odd, rand

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Lazy modules"
)


def build(case: Odd) -> nn.Module:
    torch.manual_seed(0)
    return case.make()


@cache
def traced(case: Odd) -> sn.NeuronGraph:
    return sn.trace(build(case), *case.inputs)


@pytest.mark.parametrize("case", ODD, ids=repr)
def test_the_order_is_the_one_worked_out_by_hand(case: Odd) -> None:
    assert traced(case).order == case.order


@pytest.mark.parametrize("case", [c for c in ODD if not c.open_because], ids=repr)
def test_no_larger_group_exists(case: Odd) -> None:
    """The bound by orbit-stabiliser, which does not trust the tracer, is the order."""
    model, graph = build(case), traced(case)
    if graph.order > 1:
        sn.verify.maximality(model, graph, *case.inputs).raise_if_failed()


@pytest.mark.parametrize("case", [c for c in ODD if c.order > 1], ids=repr)
def test_the_group_passes_the_check_that_knows_nothing_of_tracing(case: Odd) -> None:
    model, graph = build(case), traced(case)
    if any(nn.parameter.is_lazy(p) for p in model.parameters()):
        model(*case.inputs)
    positive = ("s",) if "root" in case.name else ()
    sn.verify.network(
        model, graph, *case.inputs, positive=positive, allow_unread=True, seed=0
    ).raise_if_failed()


@pytest.mark.parametrize("case", [c for c in ODD if c.order == 1], ids=repr)
def test_what_is_pinned_is_explained(case: Odd) -> None:
    graph = traced(case)
    explained = {note.split(", axis")[0] for note in graph.notes}
    assert explained >= {name for name, shape in graph.shapes.items() if max(shape, default=1) > 1}


# ---- code that asks about values ----------------------------------------------------------------------------------------------------
def two_layers(between: Callable[[Net, Tensor, Tensor], Tensor]) -> Net:
    torch.manual_seed(0)
    return Net(
        lambda net, x: between(net, x, net.a(x).relu()), a=nn.Linear(2, 4), b=nn.Linear(4, 1)
    )


@pytest.mark.parametrize("limit", [-1e9, 1.5, 1e9])
def test_the_branch_that_was_not_taken_counts(limit: float) -> None:
    """Whichever way the example goes, the other way's running sum tells the neurons apart."""
    graph = sn.trace(
        two_layers(lambda net, x, h: net.b(h.cumsum(-1)) if x[0, 0] > limit else net.b(h)),
        rand(3, 2),
    )
    assert graph.order == 1
    assert any("control flow" in note for note in graph.notes)


def test_a_loop_that_the_example_leaves_at_once_still_ties_its_layer() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        h, steps = net.a(x).tanh(), 0
        while h.norm() > 0.5 and steps < 5:
            h, steps = (net.m(h) * 0.3).tanh(), steps + 1
        return net.b(h)

    torch.manual_seed(0)
    model = Net(forward, a=nn.Linear(2, 4), m=nn.Linear(4, 4), b=nn.Linear(4, 1))
    assert sn.trace(model, 0.01 * rand(3, 2)).order == 24


def test_a_number_read_from_the_input_cannot_pick_a_neuron_unseen() -> None:
    """Recordings see some of the neurons that it may pick; what they did not show, the check refuses."""
    model = two_layers(lambda net, x, h: net.b(h) + h[:, int(x[0, 0].abs() * 10) % 4, None])
    try:
        order = sn.trace(model, rand(3, 2)).order
    except sn.TraceError as error:
        assert "'select'" in str(error)
    else:
        assert order == 1


# ---- what is hidden in the state and the inputs -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "buffer", [torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.int64)]
)
def test_a_buffer_that_is_uniform_by_chance_pins(buffer: Tensor) -> None:
    """Another model of the architecture may hold another mask, and the graph does not move masks."""
    model = Net(
        lambda n, x: n.b(n.a(x).relu().masked_fill(n.m > 0, 0.5)),
        a=nn.Linear(2, 4),
        b=nn.Linear(4, 1),
        m=buffer,
    )
    assert sn.trace(model, rand(3, 2)).order == 1


def test_a_complex_parameter_pins_whatever_it_holds() -> None:
    one = nn.Parameter(torch.ones(4, dtype=torch.cfloat))
    assert (
        sn.trace(
            Net(
                lambda n, x: n.b((n.a(x) * n.w).abs()), a=nn.Linear(2, 4), b=nn.Linear(4, 1), w=one
            ),
            rand(3, 2),
        ).order
        == 1
    )


@dataclass
class Pair:
    x: Tensor
    mask: Tensor


class Bundle:
    def __init__(self, pair: Pair) -> None:
        self.x, self.mask = pair.x, pair.mask


def test_inputs_in_a_dataclass_are_inputs_and_tensors_out_of_sight_are_refused() -> None:
    model = Net(lambda n, pair: n.b(n.a(pair.x) * pair.mask), a=nn.Linear(2, 4), b=nn.Linear(4, 1))
    assert sn.trace(model, Pair(rand(3, 2), rand(3, 1))).order == 24
    assert sn.trace(model, Pair(rand(3, 2), torch.ones(3, 4))).order == 1
    with pytest.raises(sn.TraceError, match="Bundle holds tensors"):
        sn.trace(model, Bundle(Pair(rand(3, 2), torch.ones(3, 4))))


def test_a_lazy_model_stays_lazy() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 1))
    assert sn.trace(model, rand(3, 2)).order == 24
    assert nn.parameter.is_lazy(model[0].weight)
