"""Signed sets are a claim about activations, which verification confirms or refutes on the module itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.data import siren

GRAPH = sn.catalogue.mlp([2, 5, 4, 1]).with_groups(
    {"h1": sn.SignedSymmetric(5), "h2": sn.SignedSymmetric(4)}
)
X = torch.randn(6, 2)


def mlp(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 5), activation, nn.Linear(5, 4), activation, nn.Linear(4, 1))


@pytest.mark.parametrize(
    "activation", [nn.Tanh(), nn.Softsign(), nn.Hardtanh(), nn.Tanhshrink(), nn.Identity()]
)
def test_odd_activations_allow_signs(activation) -> None:
    sn.verify.network(mlp(activation), GRAPH, X, seed=0).raise_if_failed()


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(), nn.GELU(), nn.Sigmoid(), nn.SiLU(), nn.LeakyReLU(), nn.Hardtanh(-1, 2)],
)
def test_other_activations_do_not(activation) -> None:
    report = sn.verify.network(mlp(activation), GRAPH, X, seed=0)
    assert not report.passed
    plain = GRAPH.with_groups({"h1": sn.Symmetric(5), "h2": sn.Symmetric(4)})
    sn.verify.network(mlp(activation), plain, X, seed=0).raise_if_failed()


@pytest.mark.parametrize("omega", [1.0, 30.0])
def test_a_siren_has_signs_with_its_phases(omega) -> None:
    """sin(w (W x + b)) is odd in (W, b) together, so the phase changes its sign with the weights."""
    sn.verify.network(siren([2, 5, 4, 1], omega), GRAPH, X, seed=0).raise_if_failed()


def test_a_shift_by_half_a_period_is_a_symmetry_of_a_siren_but_not_a_linear_one() -> None:
    """b + pi / omega with the outgoing weights negated: same function; an affine map, so no layer here commutes with it."""
    model = siren([2, 5, 4, 1], 30.0).double()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = model(X.double())
    state["0.bias"][0] += math.pi / 30.0
    state["2.weight"][:, 0] *= -1
    after = torch.func.functional_call(model, state, (X.double(),))
    assert torch.allclose(before, after, atol=1e-9)
    zero = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    zero["0.bias"][0] += math.pi / 30.0
    assert any(bool(tensor.any()) for tensor in zero.values()), (
        "the zero network does not stay where it is"
    )


def test_layers_on_sirens_see_all_signs_alike() -> None:
    """Even features of odd layers: a reader that does not tell a network from its sign-flipped copy."""
    torch.manual_seed(0)
    layer = sn.nn.Linear(GRAPH, 1, 6).double()
    pool = sn.nn.Pool(GRAPH)

    def reader(x: dict[str, torch.Tensor]) -> torch.Tensor:
        y = layer(x)
        return torch.cat(
            [pool(y), *(value.square().flatten(1, -2).sum(1) for value in y.values())], 1
        )

    sn.verify.equivariance(reader, GRAPH, seed=0).raise_if_failed()
    x = sn.features([siren([2, 5, 4, 1], 30.0).double() for _ in range(3)], GRAPH)
    g = GRAPH.random_element(seed=1)
    assert any((g.signs(name) < 0).any() for name in ("h1", "h2"))
    assert torch.allclose(reader(GRAPH.act(g, x, 1)), reader(x), atol=1e-12)


def test_the_bound_on_permutations_refuses_signs() -> None:
    with pytest.raises(sn.VerificationError, match="'h1' also change their sign"):
        sn.verify.maximality(mlp(nn.Tanh()), GRAPH, X)
