"""Laws of the augmentations: they act on weights, and what they do to the function is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import symnet as sn
from symnet.data import evaluate, initial_weights, pixel_grid
from symnet.tasks.augmentation import move_images, permute_neurons

WIDTHS, OMEGA = (2, 5, 4, 1), 5.0
GRID = pixel_grid(6).double()


def draw(count: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(WIDTHS, count, omega=OMEGA, generator=generator)
    # The biases of later layers start at zero; here they all differ.
    return {
        name: tensor.double() + 0.1 * torch.rand(tensor.shape, generator=generator)
        for name, tensor in weights.items()
    }


def test_a_moved_network_is_the_old_function_at_moved_points() -> None:
    """`f'(x) = f(A x + t)`, with A and t found from the first layers by least squares."""
    before = draw()
    after = move_images(before, torch.Generator().manual_seed(1))
    first = before["0.weight"]
    a = torch.linalg.lstsq(first, after["0.weight"]).solution  # (batch, 2, 2)
    t = torch.linalg.lstsq(
        first, (after["0.bias"] - before["0.bias"]).unsqueeze(-1)
    ).solution.squeeze(-1)
    values = evaluate(after, GRID, OMEGA)
    for number in range(len(first)):
        network = {name: tensor[number : number + 1] for name, tensor in before.items()}
        expected = evaluate(network, GRID @ a[number].T + t[number], OMEGA)[0]
        torch.testing.assert_close(values[number], expected, rtol=0, atol=1e-10)
    assert (a - torch.eye(2)).abs().amin() > 0 and t.abs().amin() > 0  # every network moved


def test_no_motion_changes_nothing() -> None:
    before = draw()
    after = move_images(before, torch.Generator().manual_seed(1), motion=0.0)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name])


def test_permuted_networks_are_the_same_functions() -> None:
    before = draw()
    after = permute_neurons(before, torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        evaluate(after, GRID, OMEGA), evaluate(before, GRID, OMEGA), rtol=0, atol=1e-12
    )
    assert not torch.equal(after["2.weight"], before["2.weight"])


def test_a_permutation_is_an_element_of_the_graphs_group() -> None:
    """The orders are found from the biases, and the graph's action with them gives the same tensors."""
    before = draw(3)
    after = permute_neurons(before, torch.Generator().manual_seed(2))
    graph = sn.catalogue.mlp(list(WIDTHS))
    for number in range(3):
        old = {name: tensor[number] for name, tensor in before.items()}
        new = {name: tensor[number] for name, tensor in after.items()}
        # Neuron k of the old network is neuron orders[k] of the new one; the biases are all different.
        orders = {name: np.arange(neurons.size) for name, neurons in graph.neurons.items()}
        orders |= {
            "h1": _positions(old["0.bias"], new["0.bias"]),
            "h2": _positions(old["2.bias"], new["2.bias"]),
        }
        acted = graph.act(sn.GroupElement(graph.neurons, orders), old)
        for name, tensor in new.items():
            assert torch.equal(acted[name], tensor), name


def _positions(old: torch.Tensor, new: torch.Tensor) -> np.ndarray:
    return np.array([int((new == value).nonzero()) for value in old])


@pytest.mark.parametrize("augment", [move_images, permute_neurons])
def test_the_networks_given_stay_as_they_are(augment) -> None:  # type: ignore[no-untyped-def]
    before = draw()
    copies = {name: tensor.clone() for name, tensor in before.items()}
    augment(before, torch.Generator().manual_seed(1))
    for name, tensor in before.items():
        assert torch.equal(tensor, copies[name])
