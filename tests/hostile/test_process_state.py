"""Nothing of the process changes while symnet runs models: other threads compute as before, at every moment."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

import symnet as sn
from symnet.tracing.execution import double_precision, grouped_matmul

GRAPH = sn.catalogue.mlp([2, 4, 4, 3])


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))


class Tokens(nn.Module):
    """Attention, a recurrent layer, random numbers and casts: whatever has a setting of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.rnn, self.out = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.rnn(self.encoder(x).float())[0]
        return self.out(x) + torch.randn(2) * torch.arange(2) / 3


def settings() -> tuple[object, ...]:
    """What torch keeps for the process, and the state of its random numbers."""
    return (
        torch.get_default_dtype(),
        torch.zeros(1).dtype,
        torch.tensor(0.1).dtype,
        torch._C._get_mkldnn_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        "torch._dynamo" in sys.modules,
        hash(bytes(torch.get_rng_state().numpy())),
    )


@contextmanager
def watched() -> Iterator[list[tuple[object, ...]]]:
    """Another thread looks at the settings all the time; yields those that differ from what they were."""
    before, ended, changes = settings(), threading.Event(), []

    def watch() -> None:
        while not ended.is_set():
            if (now := settings()) != before:
                changes.append(now)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield changes
    finally:
        ended.set()
        thread.join()
    assert settings() == before


def tracing() -> Callable[[], object]:
    model, words = Tokens(), torch.randn(2, 3, 4)
    return lambda: sn.trace(model, words)


def verifying() -> Callable[[], object]:
    model, x = network(), torch.randn(5, 2)
    return lambda: sn.verify.network(model, GRAPH, x).raise_if_failed()


def comparing() -> Callable[[], object]:
    layer = sn.nn.Linear(GRAPH, 1, 1)
    return lambda: sn.verify.equivariance(layer, GRAPH).raise_if_failed()


def certifying() -> Callable[[], object]:
    layer = sn.nn.Pool(GRAPH)
    return lambda: sn.verify.certify(layer, GRAPH).raise_if_failed()


def bounding() -> Callable[[], object]:
    model, x = network(), torch.randn(5, 2)
    return lambda: sn.verify.maximality(model, GRAPH, x).raise_if_failed()


def aligning() -> Callable[[], object]:
    model, x = network(), torch.randn(5, 2)
    weights = dict(model.state_dict())
    moved = GRAPH.act(GRAPH.random_element(0), weights)
    return lambda: sn.align(weights, moved, GRAPH).verify(model, x).raise_if_failed()


@pytest.mark.parametrize("prepare", [tracing, verifying, comparing, certifying, bounding, aligning])
def test_other_threads_see_no_change(prepare: Callable[[], Callable[[], object]]) -> None:
    """Not for a moment: the default dtype, kernels, gradients and random numbers stay what they are."""
    run = prepare()
    with watched() as changes:
        run()
    assert changes == []


def test_four_threads_trace_at_once_and_agree() -> None:
    """Each gets the graph that it gets alone, and the process is as before."""
    prepared = [tracing() for _ in range(4)]
    expected = str(prepared[0]())
    texts: list[str] = []
    with watched() as changes:
        threads = [
            threading.Thread(target=lambda run=run: texts.append(str(run()))) for run in prepared
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == [expected] * 4 and changes == []


def test_threads_that_leave_in_the_order_they_came_restore_all() -> None:
    """The second of two leaves last; torch's own modes would keep the process marked as inside of one."""
    entered, left = threading.Event(), threading.Event()

    def second() -> None:
        with double_precision():
            entered.set()
            left.wait()

    thread, before = threading.Thread(target=second), is_in_torch_dispatch_mode()
    with double_precision():
        thread.start()
        entered.wait()
    left.set()
    thread.join()
    assert is_in_torch_dispatch_mode() == before


def test_an_error_inside_restores_everything() -> None:
    class Failing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise ArithmeticError("as the model pleases")

    model, x = Failing(2, 2), torch.randn(1, 2)
    before = settings()
    with pytest.raises((sn.SymnetError, ArithmeticError)):
        sn.trace(model, x)
    assert settings() == before


def test_random_numbers_of_a_network_repeat_and_are_its_own() -> None:
    """In every run the same ones, whatever other threads draw, and of full precision."""
    with double_precision() as first:
        x = torch.rand(3), torch.randn(2).bernoulli(0.5), nn.functional.dropout(torch.ones(9), 0.5)
    torch.rand(7)
    with double_precision() as second:
        y = torch.rand(3), torch.randn(2).bernoulli(0.5), nn.functional.dropout(torch.ones(9), 0.5)
    assert first.draws and second.draws
    assert all(a.dtype == torch.float64 and torch.equal(a, b) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x: x.float()[0] / 3, 1 / 3),
        (lambda x: x.half().mean() / 3, 1 / 3),
        (lambda x: torch.tensor(1 / 3), 1 / 3),
        (lambda x: torch.arange(2)[1] / 3, 1 / 3),
        (lambda x: torch.full((), 1 / 3), 1 / 3),
        (lambda x: torch.zeros((), dtype=torch.float32) + x[0] / 3, 1 / 3),
        (lambda x: torch.softmax(x, 0, dtype=torch.float32)[0] / 3, 1 / 9),
        (lambda x: torch.linspace(0, 1, 4)[1], 1 / 3),
        (lambda x: torch.from_numpy(np.ones(1, np.float32))[0] * x[0] / 3, 1 / 3),
        (
            lambda x: torch.zeros(3, dtype=torch.bfloat16).index_put_((torch.tensor(1),), x[0] / 3)[
                1
            ],
            1 / 3,
        ),
        (lambda x: torch.complex(x, x / 3).to(torch.complex64).imag[0], 1 / 3),
    ],
)
def test_nothing_is_rounded(compute: Callable[[Tensor], Tensor], expected: float) -> None:
    with double_precision():
        assert abs(float(compute(torch.ones(3, dtype=torch.float64))) - expected) < 1e-15


def test_the_grouped_product_is_that_of_its_groups() -> None:
    """Against torch's own in float32, in each of its four forms."""
    a, b = torch.randn(8, 16), torch.randn(3, 16, 4)
    ends = torch.tensor([2, 2, 8], dtype=torch.int32)
    expected = torch.cat([a[:2] @ b[0], a[2:] @ b[2]])
    assert torch.allclose(grouped_matmul(a, b, ends), expected)
    with double_precision():
        y = torch.nn.functional.grouped_mm(a.double(), b.double(), offs=ends)
    assert y.dtype == torch.float64 and torch.allclose(y.float(), expected, atol=1e-5)
