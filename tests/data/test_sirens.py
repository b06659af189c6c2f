"""Laws of batched SIRENs: they are the modules, their gradients are each network's own, and their symmetries hold."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, vmap

import symnet as sn
from symnet.data import FitRecipe, evaluate, initial_weights, pixel_grid, psnr, siren
from symnet.errors import SymnetError

WIDTHS, OMEGA = (2, 5, 4, 1), 5.0


def draw(count: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(WIDTHS, count, omega=OMEGA, generator=generator)
    return {name: tensor.double() + 0.1 for name, tensor in weights.items()}  # no bias stays zero


def test_a_batch_computes_what_the_modules_compute() -> None:
    weights, module, grid = draw(), siren(WIDTHS, OMEGA).double(), pixel_grid(8).double()
    values = evaluate(weights, grid, OMEGA)
    for number in range(len(values)):
        module.load_state_dict({name: tensor[number] for name, tensor in weights.items()})
        torch.testing.assert_close(values[number], module(grid).squeeze(-1), rtol=0, atol=1e-12)
    by_vmap = vmap(lambda state: functional_call(module, state, grid).squeeze(-1))(weights)
    torch.testing.assert_close(values, by_vmap, rtol=0, atol=1e-12)


def test_the_gradient_of_the_sum_is_every_networks_own() -> None:
    weights, module, grid = draw(), siren(WIDTHS, OMEGA).double(), pixel_grid(4).double()
    targets = torch.linspace(-1, 1, 6 * 16, dtype=torch.float64).view(6, 16)

    def loss(state: dict[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        return (functional_call(module, state, grid).squeeze(-1) - target).square().mean()

    expected = vmap(grad(loss))(weights, targets)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    (evaluate(leaves, grid, OMEGA) - targets).square().mean(-1).sum().backward()
    for name, leaf in leaves.items():
        torch.testing.assert_close(leaf.grad, expected[name], rtol=0, atol=1e-12)


def test_the_graph_of_the_catalogue_is_that_of_the_module() -> None:
    """Same keys, and permuting hidden neurons leaves the function unchanged."""
    graph = sn.catalogue.mlp(list(WIDTHS))
    module = siren(WIDTHS, OMEGA)
    assert list(module.state_dict()) == list(graph.tensors)
    assert sn.verify.network(module, graph, torch.rand(9, 2), seed=0).passed


def test_starts_differ_within_a_batch_and_repeat_with_the_seed() -> None:
    first, again = draw(), draw()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
    assert not torch.equal(first["0.weight"][0], first["0.weight"][1])


def test_psnr_of_a_known_error() -> None:
    """An error of 0.2 everywhere on a range of 2 is 20 dB."""
    assert psnr(torch.full((1, 64), 0.2), torch.zeros(1, 64)).item() == pytest.approx(
        20.0, abs=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"widths": (3, 4, 1)}, "widths"),
        ({"widths": (2, 0, 1)}, "widths"),
        ({"steps": 0}, "steps"),
        ({"omega": -1.0}, "omega"),
    ],
)
def test_recipes_that_make_no_sense_are_refused_by_name(
    changes: dict[str, object], word: str
) -> None:
    with pytest.raises(SymnetError, match=word):
        FitRecipe(**changes)  # type: ignore[arg-type]
