"""Networks of every kind that once was refused though the declaration is right: traced and verified, with what is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import symnet as sn
from symnet.cli.output import describe_graph
from symnet.graph.decimal_text import decimal_text


class Of(nn.Module):
    """Two layers with something before, between, or after them."""

    def __init__(self, before: Any = None, between: Any = torch.relu, after: Any = None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
        self.before, self.between, self.after = before or _same, between, after or _same

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        return self.after(self.b(self.between(self.a(self.before(x, *more)))))


def _same(x: Tensor, *_: Any) -> Tensor:
    return x


class OwnError(Exception):
    """Of the model's own."""


def _positive(x: Tensor, error: type[Exception]) -> Tensor:
    if not bool((x >= 0).all()):
        raise error("negative")
    return x


class Wide(nn.Module):
    """Running variances as trained networks have them, under a sigmoid head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.norm.running_var.copy_(torch.linspace(200, 12000, 4))
        self.norm.running_mean.copy_(torch.linspace(-300, 300, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.out(self.norm(100 * self.conv(x)).relu().mean(-1)))


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(9, 4), nn.Linear(4, 2)

    def forward(self, words: Tensor, offsets: Tensor) -> Tensor:
        return self.out(torch.relu(self.bag(words, offsets)))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(2, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, c = self.cell(x)
        return self.out(self.cell(x, (h, c))[0])


class Packed(nn.Module):
    """Lengths are slice bounds: the longest first, none beyond the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(2, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.out(self.rnn(packed)[1][0])


class Boxes(nn.Module):
    """Parts of an image between whole-numbered corners."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 1), nn.Linear(4, 2)

    def forward(self, image: Tensor, boxes: Tensor) -> Tensor:
        y = torch.relu(self.conv(image))
        parts = [y[:, :, a:b, c:d].mean((2, 3)) for a, b, c, d in boxes.tolist()]
        if not all(bool(part.isfinite().all()) for part in parts):
            raise ZeroDivisionError("an empty box")
        return self.out(torch.stack(parts))


class Counting(Of):
    """Keeps a list, a number and a tensor between calls, and answers by them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.calls, self.total = 0, torch.zeros(2)

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        self.total.add_(1)
        return super().forward(x) * self.calls + len(self.seen) + self.total.to(x)


class Sampler(nn.Module):
    """A variational encoder that samples in eval mode, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.mean, self.spread, self.b = (
            nn.Linear(3, 4),
            nn.Linear(4, 2),
            nn.Linear(4, 2),
            nn.Linear(2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        mean = self.mean(h)
        return self.b(mean + torch.randn_like(mean) * torch.exp(0.1 * self.spread(h)))


def _of_one_size(model: nn.Module, x: Tensor) -> nn.Module:
    return torch.jit.trace(model, x)


X, POSITIVE, INSIDE = torch.randn(5, 3), torch.rand(5, 3) + 0.1, torch.rand(5, 3) * 1.98 - 0.99
ROWS = torch.softmax(torch.randn(5, 3), -1)
RIGHT: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...], int]] = {
    "half inside": (lambda: Of(between=lambda x: torch.relu(x.half()).to(x.dtype)), (X,), 24),
    "a float32 norm": (
        lambda: Of(between=lambda x: F.layer_norm(x.float(), (4,)).to(x.dtype)),
        (X,),
        24,
    ),
    "a float32 arange": (
        lambda: Of(after=lambda x: x * torch.arange(2, dtype=torch.float32) / 3),
        (X,),
        24,
    ),
    "a float32 softmax": (
        lambda: Of(between=lambda x: torch.softmax(x, -1, dtype=torch.float32).to(x.dtype)),
        (X,),
        24,
    ),
    "log": (lambda: Of(torch.log), (POSITIVE,), 24),
    "log1p": (lambda: Of(torch.log1p), (POSITIVE - 1,), 24),
    "sqrt": (lambda: Of(torch.sqrt), (POSITIVE,), 24),
    "logit": (lambda: Of(torch.logit), (torch.rand(5, 3) * 0.9 + 0.05,), 24),
    "acos": (lambda: Of(torch.acos), (INSIDE,), 24),
    "an assertion": (lambda: Of(lambda x: _positive(x, AssertionError)), (POSITIVE,), 24),
    "a division by zero": (lambda: Of(lambda x: _positive(x, ZeroDivisionError)), (POSITIVE,), 24),
    "an exception of its own": (
        lambda: Of(lambda x: _positive(x - x.min(), OwnError)),
        (POSITIVE,),
        24,
    ),
    "rows that sum to one": (
        lambda: Of(lambda x: _positive(1e-3 - (x.sum(-1) - 1).abs(), OwnError)[:, None] * 0 + x),
        (ROWS,),
        24,
    ),
    "wide statistics": (Wide, (torch.randn(3, 1, 8),), 24),
    "bags": (Bags, (torch.randint(0, 9, (7,)), torch.tensor([0, 3, 5])), 24),
    "a cell without a state": (Cell, (torch.randn(3, 2),), 24),
    "packed sequences": (Packed, (torch.randn(3, 5, 2), torch.tensor([5, 3, 2])), 24),
    "boxes": (Boxes, (torch.randn(1, 1, 6, 6), torch.tensor([[0, 3, 1, 4], [2, 5, 0, 2]])), 24),
    "lazy modules": (
        lambda: nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2)),
        (X,),
        24,
    ),
    "scripted": (
        lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))),
        (X,),
        24,
    ),
    "state between calls": (Counting, (X,), 24),
    "random numbers": (Sampler, (X,), 24),
}


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"
)
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_declaration_is_traced_and_passes(name: str) -> None:
    torch.manual_seed(0)
    make, inputs, order = RIGHT[name]
    model = make().eval()
    graph = sn.trace(model, *inputs)
    assert graph.order == order, graph
    sn.verify.network(model, graph, *inputs, seed=0).raise_if_failed()


def test_what_is_special_is_said() -> None:
    torch.manual_seed(0)
    sampler, counting = Sampler(), Counting()
    drawn = sn.verify.network(sampler, sn.trace(sampler, X), X, seed=0)
    kept = sn.verify.network(counting, sn.trace(counting, X), X, seed=0)
    assert "draws random numbers" in str(drawn)
    assert "keeps 'seen', 'calls', 'total' between calls" in str(kept)
    strict, x = Of(lambda x: _positive(1e-6 - (x - X).abs(), OwnError) * 0 + x), X
    own = sn.verify.network(strict, sn.NeuronGraph(SETS_OF_TWO, TENSORS_OF_TWO), x, seed=0)
    assert own.raise_if_failed() and "refused other entries than yours for the inputs '0'" in str(
        own
    )


SETS_OF_TWO = {"h": sn.Symmetric(4)}
TENSORS_OF_TWO = {"a.weight": "h 3", "a.bias": "h", "b.weight": "2 h", "b.bias": "2"}


# ---- wrong declarations that hardly show ------------------------------------------------------------------------------
class Shifted(nn.Module):
    """Three layers whose output hardly moves: saturated, or beside a large constant."""

    def __init__(self, last: Callable[[Tensor], Tensor], bias: Any = 0.0) -> None:
        super().__init__()
        self.a, self.b, self.c, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2), last
        self.c.bias.data.copy_(torch.as_tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.c(torch.relu(self.b(torch.relu(self.a(x))))))


TENSORS = {
    "a.weight": "h 3",
    "a.bias": "h",
    "b.weight": "k h",
    "b.bias": "k",
    "c.weight": "2 k",
    "c.bias": "2",
}
SETS = {"h": sn.Symmetric(4), "k": sn.Symmetric(4)}
HARDLY = {
    "sigmoid": lambda: Shifted(torch.sigmoid, 25.0),
    "a weaker sigmoid": lambda: Shifted(torch.sigmoid, 14.0),
    "tanh": lambda: Shifted(torch.tanh, 25.0),
    "softmax": lambda: Shifted(lambda x: torch.softmax(x, -1), (60.0, 0.0)),
    "beside 1e10": lambda: Shifted(lambda x: 1e10 + x),
    "a faint part": lambda: Shifted(lambda x: 1 + 1e-10 * x),
    "a part of another output": lambda: Shifted(lambda x: (x.detach() * 0 + 3, 1e10 + x)),
}


@pytest.mark.parametrize("name", HARDLY)
@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_declaration_is_refused_where_outputs_hardly_move(name: str, seed: int) -> None:
    """A bias that is held although its set moves; ``allow_unread`` does not excuse that nothing was shown."""
    torch.manual_seed(seed)
    wrong = sn.NeuronGraph(SETS, TENSORS | {"b.bias": "4"})
    x = torch.randn(6, 3)
    assert not sn.verify.network(HARDLY[name](), wrong, x, seed=seed)
    assert not sn.verify.network(HARDLY[name](), wrong, x, seed=seed, allow_unread=True)


def test_an_output_that_moves_a_little_passes_where_the_declaration_is_right() -> None:
    """A millionth of its size is enough."""
    for last in (lambda x: 1e5 + x, lambda x: torch.sigmoid(0.01 * x + 6)):
        sn.verify.network(
            Shifted(last), sn.NeuronGraph(SETS, TENSORS), torch.randn(6, 3), seed=0
        ).raise_if_failed()


@pytest.mark.parametrize("seed", range(6))
def test_sets_of_two_are_shown(seed: int) -> None:
    """A random element of so small a group is the identity half of the time; that shows nothing."""
    model, graph = (
        nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)),
        sn.catalogue.mlp([1, 2, 1]),
    )
    sn.verify.network(model, graph, torch.randn(3, 1), seed=seed, trials=1).raise_if_failed()


def test_allow_unread_excuses_no_empty_check() -> None:
    class Constant(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x

    graph = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"weight": "h 3", "bias": "h"})
    assert not sn.verify.network(
        Constant(3, 3), graph, torch.randn(2, 3), seed=0, allow_unread=True
    )


def test_trace_says_so_where_its_check_could_show_nothing() -> None:
    with pytest.raises(sn.TraceError, match="can show nothing"):
        sn.trace(Shifted(lambda x: 1 + 1e-12 * x), torch.randn(6, 3))


# ---- orders of thousands of digits -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "number", [0, 7, -24, 10**4300, 10**9999 + 17, math.factorial(3000)], ids=range(6)
)
def test_decimal_texts_have_every_digit(number: int) -> None:
    """Against Python's own, piece by piece: the settings of the process stay as they are."""
    text = decimal_text(number)
    value = 0
    for start in range(0, len(text.lstrip("-")), 1000):
        piece = text.lstrip("-")[start : start + 1000]
        value = value * 10 ** len(piece) + int(piece)
    assert value == abs(number) and text.startswith("-") == (number < 0)


def test_a_group_of_many_digits_is_printed() -> None:
    graph = sn.catalogue.mlp([1, 2000, 1])
    assert len(decimal_text(graph.order)) == 5736
    assert describe_graph(graph)["order"] == decimal_text(graph.order)
    report = sn.verify.MaximalityReport("network", graph.order, graph.order, (), {}, (), 0)
    assert "e+5735" in str(report)
