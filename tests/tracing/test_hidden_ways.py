"""Laws of tracing on what an example does not show: numbers that the code reads, choices that come out empty, sizes,
memory that two tensors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.tracing.odd_models import Net, rand


def two_layers(between: Callable[[Any, Tensor, Tensor], Tensor]) -> Net:
    """A network of four hidden neurons with something between its layers: ``between(net, x, h)``."""
    torch.manual_seed(0)
    return Net(lambda net, x: between(net, x, net.a(x)), a=nn.Linear(2, 4), b=nn.Linear(4, 1))


def order(between: Callable[[Any, Tensor, Tensor], Tensor], *inputs: Tensor) -> int:
    return sn.trace(two_layers(between), *(inputs or (rand(3, 2),))).order


# ---- numbers ------------------------------------------------------------------------------------------------------------------------
READS: dict[str, Callable[[Tensor], float]] = {
    "item": lambda t: t.mean().item(),
    "float": lambda t: float(t.detach().mean()),
    "list": lambda t: max(t[0].tolist()),
    "array": lambda t: t.detach().numpy().max(),
    "asarray": lambda t: np.asarray(t.detach()).max(),
}


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
@pytest.mark.parametrize("of_input", [True, False], ids=["input", "neurons"])
def test_a_threshold_on_a_number_that_the_code_read_is_seen_from_both_sides(
    read: Callable[[Tensor], float], of_input: bool
) -> None:
    """The example stays below the threshold; above it a running sum tells the neurons apart."""
    assert (
        order(lambda net, x, h: net.b(h.cumsum(-1) if read(x if of_input else h) > 50 else h)) == 1
    )


def _asked_inside(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.b(h if x.sum() < 1e6 or x[0, 0].item() > -1e3 else h.cumsum(-1))


def _asked_late(net: Any, x: Tensor, h: Tensor) -> Tensor:
    for number in range(20):
        h = h * 2 if h.sum() > 1e9 + number else h
    return net.b(h.cumsum(-1) if h.sum() > 1e9 else h)


def _asked_of_all(net: Any, x: Tensor, h: Tensor) -> Tensor:
    return net.b(h.cumsum(-1) if torch.allclose(x, torch.zeros_like(x)) else h)


@pytest.mark.parametrize("between", [_asked_inside, _asked_late, _asked_of_all])
def test_questions_inside_other_branches_are_answered_both_ways(
    between: Callable[[Any, Tensor, Tensor], Tensor],
) -> None:
    assert order(between) == 1


def test_numbers_that_decide_nothing_pin_nothing() -> None:
    assert order(lambda net, x, h: net.b(h) * x.mean().item()) == 24
    assert order(lambda net, x, h: net.b(h) * len(set(x[:, 0].tolist()))) == 24
    assert order(lambda net, x, h: net.b(h) * float(np.mean(x.numpy()))) == 24


def test_an_array_made_of_neurons_pins_them() -> None:
    """Whatever numpy does with them is out of sight, also where the result is uniform by chance."""
    assert (
        order(
            lambda net, x, h: net.b(
                h * torch.from_numpy(np.float32(h.detach().numpy().cumsum(-1) < 90))
            )
        )
        == 1
    )


def test_a_position_that_becomes_a_number_pins_what_it_is_a_position_of() -> None:
    assert order(lambda net, x, h: net.b(h) * int(h.sum(0).argmax())) == 1


def test_a_token_that_the_example_does_not_hold_is_tried() -> None:
    """Layer 2 shows its output by a softmax over a running sum; the example's tokens never ask for it."""
    torch.manual_seed(0)
    net = Net(
        lambda n, x, token: n.b(n.a(x)).mul(0.5) if int(token[0]) < 2 else n.b(n.a(x).cumsum(-1)),
        a=nn.Linear(2, 4),
        b=nn.Linear(4, 1),
    )
    assert sn.trace(net, rand(3, 2), torch.tensor([0, 0])).order == 1


# ---- choices ------------------------------------------------------------------------------------------------------------------------
def _rare_rows(net: Any, x: Tensor, h: Tensor) -> Tensor:
    rows = (x[:, 0] > 60).nonzero()[:, 0]
    return net.b(h.index_put((rows,), h[rows].cumsum(-1)) if len(rows) else h)


def _rare_mask(net: Any, x: Tensor, h: Tensor) -> Tensor:
    h, rare = h.clone(), x[:, 0] > 60
    h[rare] = h[rare].cumsum(-1)
    return net.b(h)


@pytest.mark.parametrize("rare", [_rare_rows, _rare_mask])
def test_what_is_done_with_rows_that_no_example_chose_counts(
    rare: Callable[[Any, Tensor, Tensor], Tensor],
) -> None:
    assert order(rare) == 1


def test_experts_that_are_skipped_are_seen_when_their_mask_is_filled() -> None:
    """Two samples reach two experts of four at most; the insides of all four are traced."""

    def forward(net: Any, x: Tensor) -> Tensor:
        chosen, result = net.router(x).argmax(-1), torch.zeros(len(x), 1, dtype=x.dtype)
        for number, expert in enumerate(net.experts):
            rows = torch.where(chosen == number)[0]
            if len(rows):
                result[rows] = expert(x[rows])
        return result

    torch.manual_seed(0)
    experts = nn.ModuleList(
        nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)) for _ in range(4)
    )
    assert sn.trace(Net(forward, router=nn.Linear(2, 4), experts=experts), rand(2, 2)).order == 6**4


# ---- sizes --------------------------------------------------------------------------------------------------------------------------
def test_a_way_of_its_own_for_one_token_counts() -> None:
    """The check finds that the group fails at size 1, that way is recorded too, and a note says so."""
    torch.manual_seed(0)
    net = Net(
        lambda n, x: n.b(n.a(x).cumsum(-1) if x.shape[1] == 1 else n.a(x)).mean(1),
        a=nn.Linear(2, 4),
        b=nn.Linear(4, 1),
    )
    graph = sn.trace(net, rand(3, 5, 2))
    assert graph.order == 1
    assert any("another way" in note for note in graph.notes)


def test_what_is_inside_a_network_with_permuted_inputs_is_checked_at_other_sizes_too() -> None:
    torch.manual_seed(0)
    net = Net(
        lambda n, x: n.b(n.a(x).cumsum(-1) if len(x) == 1 else n.a(x)),
        a=nn.Linear(2, 4),
        b=nn.Linear(4, 3),
    )
    assert sn.trace(net, rand(5, 2), io="permuted").order == 2 * 6


# ---- memory -------------------------------------------------------------------------------------------------------------------------
def _out_under_a_view(net: Any, x: Tensor, h: Tensor) -> Tensor:
    with torch.no_grad():
        target = torch.zeros(len(x), 4, dtype=x.dtype)
        view = target.view(-1, 2, 2)
        torch.mm(x, net.a.weight.T, out=target)
        return net.b(view.softmax(-1).flatten(1))


def _interleaved(net: Any, x: Tensor, h: Tensor) -> Tensor:
    both = torch.empty(len(x), 8, dtype=x.dtype)
    both[:, ::2], both[:, 1::2] = h, h.tanh()
    return net.b(both[:, ::2] * both[:, 1::2])


def _data_replaced(net: Any, x: Tensor, h: Tensor) -> Tensor:
    h.data = h.data.flip(-1)
    return net.b(h)


def _weight_replaced(net: Any, x: Tensor, h: Tensor) -> Tensor:
    net.a.weight.data = torch.renorm(net.a.weight.data, 2, 0, 1.0)
    return net.b(net.a(x).relu())


@pytest.mark.parametrize(
    ("between", "expected"),
    [(_out_under_a_view, 8), (_interleaved, 24), (_data_replaced, 1), (_weight_replaced, 24)],
)
def test_tensors_that_share_memory_share_their_axes(
    between: Callable[[Any, Tensor, Tensor], Tensor], expected: int
) -> None:
    """A view sees what an ``out=`` argument wrote beneath it; a tensor whose data was replaced is what replaced it."""
    assert order(between) == expected


def test_a_model_that_writes_into_its_inputs_is_traced_on_copies() -> None:
    x = rand(3, 2)
    before = x.clone()
    assert order(lambda net, x, h: net.b(net.a(x.mul_(2)).relu()), x) == 24
    assert torch.equal(x, before)


def test_a_state_entry_without_axes_that_the_model_counts_up_is_kept() -> None:
    torch.manual_seed(0)
    net = Net(
        lambda n, x: (n.steps.add_(1), n.b(n.a(x).relu() / n.steps))[1],
        a=nn.Linear(2, 4),
        b=nn.Linear(4, 1),
        steps=torch.zeros(()),
    )
    assert sn.trace(net, rand(3, 2)).order == 24


# ---- refusals -----------------------------------------------------------------------------------------------------------------------
def _remembers(net: Any, x: Tensor, h: Tensor) -> Tensor:
    net.last = getattr(net, "last", 0) * 0.5 + h.detach().mean(0)
    return net.b(h.relu() + net.last)


class _Memory:
    last: Any = 0


_MEMORY = _Memory()


def _remembers_elsewhere(net: Any, x: Tensor, h: Tensor) -> Tensor:
    _MEMORY.last = _MEMORY.last * 0.5 + h.detach().mean(0)
    return net.b(h.relu() + _MEMORY.last)


def test_what_a_module_keeps_is_put_back_and_said() -> None:
    """Every call is a first one then: 24, as without the memory."""
    net = Net(_remembers_of_its_own, a=nn.Linear(2, 4), b=nn.Linear(4, 1))
    graph = sn.trace(net, rand(3, 2))
    assert graph.order == 24 and any("keeps 'last'" in note for note in graph.notes)


def _remembers_of_its_own(net: Any, x: Tensor) -> Tensor:
    return _remembers(net, x, net.a(x))


def test_what_is_kept_out_of_sight_gives_no_symmetry() -> None:
    """To the recording it is a constant, which pins what meets it; a declaration fails, as a second run differs."""
    assert order(_remembers_elsewhere) == 1
    net = two_layers(_remembers_elsewhere)
    graph = sn.catalogue.mlp([2, 4, 1]).with_groups({"in": sn.Fixed(2)})
    names = {"0.weight": "a.weight", "0.bias": "a.bias", "2.weight": "b.weight", "2.bias": "b.bias"}
    declared = sn.NeuronGraph(
        dict(graph.neurons), {names[name]: axes for name, axes in graph.tensors.items()}
    )
    report = sn.verify.network(net, declared, rand(3, 2), seed=0)
    assert not report.passed and "running it twice" in str(report)


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (
            lambda: nn.LazyLinear(1, device="meta"),
            lambda: rand(3, 2),
            "'meta' and holds lazy modules",
        ),
        (
            lambda: nn.Linear(2, 1),
            lambda: rand(3, 5),
            "does not run on these inputs.*shapes cannot be multiplied",
        ),
        (lambda: nn.Linear(2, 1), lambda: rand(2, 2).to_sparse(), "dense tensors"),
    ],
    ids=["meta", "wrong size", "sparse"],
)
def test_what_cannot_run_is_refused_with_the_reason(
    make: Callable[[], nn.Module], given: Callable[[], Tensor], words: str
) -> None:
    with pytest.raises(sn.TraceError, match=words):
        sn.trace(make(), given())


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_set_without_neurons_is_refused_with_its_tensor() -> None:
    with pytest.raises(sn.TraceError, match=r"'0.weight' has size 0 on axis 0"):
        sn.trace(nn.Sequential(nn.Linear(2, 0), nn.Linear(0, 1)), rand(3, 2))
