"""Laws of maximality: certified where nothing is missing, a gap where something is, and brute force agrees."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.effort import sweep
from tests.tracing.models import Case, seq
from tests.tracing.registry import ALL, DEAR, traced

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

OPEN = {
    "padded shortcut": "zeros at both ends can change places, which notation by intervals cannot say",
    "routed experts": "a choice by index has no gradient to certify with",
    "resnet50": "as resnet18, and takes five seconds",
}


@pytest.mark.parametrize("case", sweep([c for c in ALL if c.name not in OPEN], DEAR), ids=repr)
def test_the_traced_group_is_all_there_is(case: Case) -> None:
    """The bound, which trusts gradients only, is the order of the traced group."""
    model, graph = traced(case)
    sn.verify.maximality(model, graph, *case.inputs(), **case.keywords()).raise_if_failed()


# ---- brute force --------------------------------------------------------------------------------------------------------------------
class Capsules(nn.Module):
    """Two capsules of two: they change places, and the entries of each on their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(x * self.a).view(-1, 2, 2)
        return (h / (1 + h.square().sum(-1, keepdim=True))).flatten(1) @ self.b


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(1, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x, self.cell(x)))


TINY: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mlp": (lambda: seq(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)), 6),
    "capsules": (Capsules, 8),
    "recurrent": (Recurrent, 2),
    "grouped": (lambda: seq(nn.Unflatten(1, (1, 1)), nn.Conv1d(1, 2, 1, bias=False), nn.Tanh(), nn.Conv1d(2, 4, 1, groups=2, bias=False), nn.Tanh(),
                            nn.Conv1d(4, 1, 1, bias=False)), 8),
}  # fmt: skip


def axis_permutations(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor with its axes permuted in every way."""
    for orders in itertools.product(
        *(itertools.permutations(range(size)) for size in tensor.shape)
    ):
        moved = tensor
        for axis, order in enumerate(orders):
            moved = moved.index_select(axis, torch.tensor(order))
        yield moved


def count_symmetries(model: nn.Module, x: Tensor) -> int:
    """In how many ways the axes of all tensors can be permuted without changing the function."""
    state = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def outputs(entries: Mapping[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, dict(entries), (x,))

    with torch.no_grad():
        expected = outputs(state)
        choices = itertools.product(*(axis_permutations(tensor) for tensor in state.values()))
        return sum(
            bool(torch.allclose(outputs(dict(zip(state, c, strict=True))), expected, atol=1e-12))
            for c in choices
        )


@pytest.mark.parametrize("name", TINY)
def test_brute_force_finds_as_many_symmetries(name: str) -> None:
    """Every permutation of every axis of every tensor is tried: order, bound and count are one number."""
    make, order = TINY[name]
    torch.manual_seed(0)
    model = make().double()
    x = torch.randn(2, 1, dtype=torch.float64)
    graph = sn.trace(model, x)
    report = sn.verify.maximality(model, graph, x)
    assert count_symmetries(model, x) == graph.order == report.bound == order


# ---- what is wrong or missing -------------------------------------------------------------------------------------------------------
def mlp() -> nn.Module:
    torch.manual_seed(0)
    return seq(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))


def test_a_missing_set_shows_as_a_gap_at_its_tensors() -> None:
    model, x = mlp(), torch.randn(5, 2)
    smaller = sn.trace(model, x).with_groups({"layer2": sn.Fixed(3)})
    report = sn.verify.maximality(model, smaller, x)
    assert not report.certified
    assert (report.bound, report.order) == (144, 24)
    assert any("2." in line or "4.weight" in line for line in report.gap)
    with pytest.raises(sn.VerificationError, match="NOT CERTIFIED"):
        report.raise_if_failed()


def test_a_group_that_is_too_large_is_not_certified() -> None:
    model = seq(
        nn.Linear(2, 4),
        nn.Tanh(),
        nn.Unflatten(1, (2, 2)),
        nn.Softmax(-1),
        nn.Flatten(),
        nn.Linear(4, 1),
    )
    x = torch.randn(5, 2)
    assert sn.verify.maximality(model, sn.trace(model, x), x).certified
    assert not sn.verify.maximality(model, sn.catalogue.mlp([2, 4, 1]), x).certified


def test_the_model_and_the_random_state_are_left_alone() -> None:
    model, x = mlp(), torch.randn(5, 2)
    graph, random = sn.trace(model, x), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sn.verify.maximality(model, graph, x)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_large_model_is_refused_with_its_size() -> None:
    model, x = mlp(), torch.randn(5, 2)
    with pytest.raises(
        sn.VerificationError, match="has 31 floating-point entries, more than limit=10"
    ):
        sn.verify.maximality(model, sn.trace(model, x), x, limit=10)


def test_words_stay_in_their_vocabulary() -> None:
    """Inputs are drawn before maxima are replaced by smooth ones, which are larger."""
    model = seq(nn.Embedding(5, 3), nn.Tanh(), nn.Linear(3, 2))
    words = torch.tensor([[0, 4, 2, 1], [3, 3, 1, 4]])
    assert sn.verify.maximality(model, sn.trace(model, words), words).certified
