"""Laws of the solver: it finds the continuous symmetries that are known, names them, and no one
who knows the rules helps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from tests.verify.continuous_models import Attention, Llama, LoRA, OneToken, batch_norms, mlp

TOKENS = torch.tensor(
    [[0, 1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7, 8], [8, 1, 5, 0, 3, 3, 7], [4, 4, 2, 8, 6, 0, 1]]
)
SIZES = [3, 5, 4, 2]

# Model, inputs, dimension by the solver, by the Jacobian, and (dead, by vectors, hidden) between
# them.
Case = tuple[Callable[[], nn.Module], Callable[[], Tensor], int, int, tuple[int, int, int]]
CASES: dict[str, Case] = {
    "relu": (lambda: mlp(SIZES, torch.relu), lambda: torch.randn(8, 3), 9, 9, (0, 0, 0)),
    "leaky relu": (
        lambda: mlp(SIZES, nn.functional.leaky_relu),
        lambda: torch.randn(8, 3),
        9,
        9,
        (0, 0, 0),
    ),
    "tanh": (lambda: mlp(SIZES, torch.tanh), lambda: torch.randn(8, 3), 0, 0, (0, 0, 0)),
    "sine": (lambda: mlp(SIZES, torch.sin), lambda: torch.randn(8, 3), 0, 0, (0, 0, 0)),
    "gelu": (lambda: mlp(SIZES, nn.functional.gelu), lambda: torch.randn(8, 3), 0, 0, (0, 0, 0)),
    "square": (lambda: mlp(SIZES, torch.square), lambda: torch.randn(8, 3), 9, 10, (0, 0, 1)),
    "lora": (lambda: LoRA(6, 2, 5), lambda: torch.randn(8, 5), 4, 4, (0, 0, 0)),
    "attention": (
        lambda: Attention(6, 2, 3, bias=True),
        lambda: torch.randn(3, 4, 6),
        36,
        48,
        (6, 0, 6),
    ),
    "rotary attention": (
        lambda: Attention(5, 2, 4, rotary=True),
        lambda: torch.randn(3, 4, 5),
        40,
        40,
        (0, 0, 0),
    ),
    "batch statistics": (batch_norms, lambda: torch.randn(8, 3), 18, 27, (9, 0, 0)),
    "llama": (Llama, lambda: TOKENS, 61, 61, (0, 0, 0)),
    "tied llama": (lambda: Llama(tied=True), lambda: TOKENS, 60, 60, (0, 0, 0)),
    "llama with gains": (lambda: Llama(gain=True), lambda: TOKENS, 64, 79, (0, 15, 0)),
    "layer norm llama": (lambda: Llama("layer"), lambda: TOKENS, 110, 121, (14, 0, 0)),
}
HEAVY = {"llama with gains", "layer norm llama"}


def parameters(slow: set[str]) -> list:
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in CASES]


@pytest.mark.parametrize("name", parameters(HEAVY | {"llama", "tied llama"}))
def test_the_solver_and_the_bound_have_the_known_dimensions(name: str) -> None:
    """Two routes: axis-wise matrices at many states, and the whole kernel at one state, with what
    lies between by kind.
    """
    make, inputs, dimension, bound, between = CASES[name]
    torch.manual_seed(0)
    model, x = make(), inputs()
    # At an unlucky state a rectifier is off on all inputs; the bound of any seed is a bound.
    seeds = (0, 3) if name == "relu" else (0,)
    found = min(
        (sn.verify.jacobian_bound(model, x, seed=seed) for seed in seeds),
        key=lambda bound: bound.dimension,
    )
    assert (found.algebra.dimension, found.dimension) == (dimension, bound)
    assert (sum(found.dead.values()), found.by_vectors, found.hidden) == between
    assert found.algebra.gap > 1e6 and found.gap > 1e6


PIECES = {
    "relu": {("scale", 1): 9},
    "square": {("scale", 1): 9},
    "lora": {("maps", 4): 1},
    "attention": {("maps", 9): 4},
    "rotary attention": {("maps", 16): 2, ("rotary plane", 2): 4},
    "llama": {
        ("scale", 1): 5,
        ("maps", 16): 2,
        ("rotary plane", 2): 4,
        ("rotations", 15): 1,
        ("common scale", 1): 1,
    },
    "llama with gains": {
        ("scale", 1): 5 + 18,
        ("maps", 16): 2,
        ("rotary plane", 2): 4,
        ("common scale", 1): 1,
    },
    "layer norm llama": {
        **{
            ("scale", 1): 5,
            ("maps", 16): 2,
            ("rotary plane", 2): 4,
            ("rotations", 10): 1,
            ("common scale", 1): 1,
        },
        ("dead", 6): 9,
    },
}


@pytest.mark.parametrize(
    "name", [p for p in parameters(HEAVY | {"llama"}) if p.values[0] in PIECES]
)
def test_what_is_found_is_named_completely(name: str) -> None:
    """Scales, invertible maps, rotations, rotary planes, the stream's scale: together all of the
    algebra.
    """
    make, inputs, dimension, _, _ = CASES[name]
    torch.manual_seed(0)
    algebra = sn.verify.lie_algebra(make(), inputs())
    pieces = sn.verify.pieces_of(algebra)
    assert Counter((piece.kind, piece.dimension) for piece in pieces) == Counter(PIECES[name])
    assert sn.verify.named_dimension(algebra, pieces) == algebra.dimension == dimension


def test_degrees_and_duals_are_read_off() -> None:
    """A square activation halves the degree; the dual axis of invertible maps has -1."""
    torch.manual_seed(0)
    square = sn.verify.pieces_of(
        sn.verify.lie_algebra(mlp([3, 4, 2], torch.square), torch.randn(8, 3))
    )
    assert {tuple(piece.degrees.items()) for piece in square} == {
        ((("0.weight", 0), 1.0), (("0.bias", 0), 1.0), (("2.weight", 1), -2.0))
    }
    (maps,) = sn.verify.pieces_of(sn.verify.lie_algebra(LoRA(6, 2, 5), torch.randn(8, 5)))
    assert dict(maps.degrees) == {("lora_A", 0): 1.0, ("lora_B", 1): -1.0}


def test_rotary_planes_are_the_pairs_that_turn_together() -> None:
    torch.manual_seed(0)
    algebra = sn.verify.lie_algebra(Attention(5, 2, 4, rotary=True), torch.randn(3, 4, 5))
    planes = {
        piece.positions for piece in sn.verify.pieces_of(algebra) if piece.kind == "rotary plane"
    }
    assert planes == {(0, 2), (1, 3), (4, 6), (5, 7)}


def test_a_single_position_lies() -> None:
    """With one token all queries and keys are dead, and values and outputs of all heads mix: 64
    instead of 32.
    """
    torch.manual_seed(0)
    algebra = sn.verify.lie_algebra(OneToken(), torch.randn(3, 4, 5))
    assert algebra.dimension == 64 and set(algebra.dead) == {
        "attention.q.weight",
        "attention.k.weight",
    }


def test_elements_are_told_from_others() -> None:
    """The scale of one neuron is held; without its outgoing weights, or with a sign wrong, it is
    not.
    """
    torch.manual_seed(0)
    algebra = sn.verify.lie_algebra(mlp(SIZES, torch.relu), torch.randn(8, 3))
    one = np.diag([0.0, 1.0, 0.0, 0.0, 0.0])
    good = {("0.weight", 0): one, ("0.bias", 0): one, ("2.weight", 1): -one}
    assert algebra.holds(good)
    assert not algebra.holds(good | {("2.weight", 1): one})
    assert not algebra.holds({k: v for k, v in good.items() if k[0] != "0.bias"})


def test_the_flow_of_an_element_keeps_the_function() -> None:
    """Away from the identity too: the exponential of a random element of the algebra, outside of
    the solver.
    """
    torch.manual_seed(0)
    model, x = Attention(5, 2, 4, rotary=True).double(), torch.randn(3, 4, 5).double()
    algebra = sn.verify.lie_algebra(model, x)
    mixture = torch.from_numpy(np.random.default_rng(1).standard_normal(algebra.basis.shape[1]))
    before, state = model(x), model.state_dict()
    for (tensor, axis), matrices in algebra.stack.items():
        flow = torch.linalg.matrix_exp(torch.from_numpy(matrices) @ mixture)
        state[tensor] = torch.movedim(torch.tensordot(flow, state[tensor], ([1], [axis])), 0, axis)
    model.load_state_dict(state)
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-9)


def test_too_wide_networks_are_refused() -> None:
    with pytest.raises(sn.VerificationError, match="narrow"):
        sn.verify.lie_algebra(nn.Linear(60, 60), torch.randn(3, 60))
    with pytest.raises(sn.VerificationError, match="narrow"):
        sn.verify.jacobian_bound(nn.Linear(70, 70), torch.randn(3, 70))


def test_the_model_is_left_as_it_is() -> None:
    model = mlp([2, 3, 1], torch.relu)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sn.verify.lie_algebra(model, torch.randn(4, 2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
