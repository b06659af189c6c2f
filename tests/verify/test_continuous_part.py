"""Laws of the certificate's continuous part: what trace finds is all that can be declared, and
less is noticed.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.verify.continuous_models import Attention, Llama, LoRA, mlp

TOKENS = torch.tensor(
    [[0, 1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7, 8], [8, 1, 5, 0, 3, 3, 7], [4, 4, 2, 8, 6, 0, 1]]
)

CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], tuple[int, int, int]]] = {
    "relu": (
        lambda: mlp([3, 5, 4, 2], nn.functional.leaky_relu),
        lambda: torch.randn(8, 3),
        (9, 9, 9),
    ),
    "lora": (lambda: LoRA(6, 2, 5), lambda: torch.randn(8, 5), (4, 4, 4)),
    "rotary attention": (
        lambda: Attention(5, 2, 4, rotary=True),
        lambda: torch.randn(3, 4, 5),
        (32, 40, 40),
    ),
    "llama": (Llama, lambda: TOKENS, (52, 61, 61)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if "llama" in n or "rotary" in n else [])
        for n in CASES
    ],
)
def test_what_trace_finds_is_all_that_can_be_declared(name: str) -> None:
    make, inputs, dimensions = CASES[name]
    torch.manual_seed(0)
    model, x = make(), inputs()
    graph = sn.trace(model, x, groups="all")
    report = sn.verify.maximality(model, graph, x)
    assert report.certified, report
    part = report.continuous
    assert part is not None
    assert (part.declared, part.bound.algebra.dimension, part.bound.dimension) == dimensions
    assert report.order == sn.trace(model, x).order


@pytest.mark.slow
def test_a_layer_norm_leaves_rotations_about_the_mean() -> None:
    """The continuous part alone: without epsilon the norm has no gradient at equal weights, where
    permutations are bounded.
    """
    torch.manual_seed(0)
    model = Llama("layer")
    part = sn.verify.continuous_part(model, sn.trace(model, TOKENS, groups="all"), TOKENS)
    dimensions = (part.declared, part.bound.algebra.dimension, part.bound.dimension)
    assert part.certified and dimensions == (47, 110, 121)


def test_less_than_there_is_fails() -> None:
    """One layer's scales forgotten: 4 of 9 are missing, and the report says so."""
    torch.manual_seed(0)
    model, x = mlp([3, 5, 4, 2], nn.functional.leaky_relu), torch.randn(8, 3)
    graph = sn.trace(model, x, groups="all").with_groups({"layer2": sn.Symmetric(4)})
    report = sn.verify.maximality(model, graph, x)
    assert not report.certified and report.bound == report.order
    assert "5 declared, 9 can be declared" in str(report)


def test_scales_of_other_degrees_are_told_and_not_asked_for() -> None:
    torch.manual_seed(0)
    part = sn.verify.continuous_part(
        mlp([3, 4, 2], torch.square), sn.catalogue.mlp([3, 4, 2]), torch.randn(8, 3)
    )
    assert part.certified and "4 of the kind 'scale', which no group declares" in "\n".join(
        part.lines()
    )
