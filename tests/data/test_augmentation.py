"""Augmentations: seeded per item, the same in every worker, and exact where they promise to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import symnet as sn
from symnet.data.augmentation import Augmented, Compose, Dropout, Mixed, Noise, Permute, Rescale
from tests.tolerances import assert_close

GRAPH = sn.catalogue.mlp([3, 16, 16, 2])
BOTH = ("h1", "h2")
TRANSFORMS = {
    "permute": Permute(GRAPH),
    "rescale": Rescale(GRAPH, BOTH),
    "noise": Noise(0.1),
    "dropout": Dropout(0.3),
    "all": Compose(Permute(GRAPH), Rescale(GRAPH, BOTH), Noise(0.01), Dropout(0.05)),
}


def network(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in GRAPH.shapes.items()
    }


DATA = [(network(number), number) for number in range(6)]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def compute(weights: dict[str, Tensor]) -> Tensor:
    layers = nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.func.functional_call(nn.Sequential(*layers).double(), weights, (x,)).detach()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_item_depends_on_seed_epoch_and_number_only(name: str) -> None:
    """The same again whatever was drawn in between; other seeds, epochs and items draw something else."""
    data = Augmented(DATA, TRANSFORMS[name], seed=3)
    first = data[2][0]
    _ = data[0], data[5], np.random.default_rng().random()
    assert same(data[2][0], first) and same(data[-4][0], first) and data[2][1] == 2
    assert not same(Augmented(DATA, TRANSFORMS[name], seed=4)[2][0], first)
    data.set_epoch(1)
    assert not same(data[2][0], first)
    assert same(DATA[2][0], network(2)), "the data set's own weights were changed"


@pytest.mark.parametrize("name", ["permute", "rescale"])
def test_symmetries_keep_the_function(name: str) -> None:
    for weights, number in Augmented(DATA, TRANSFORMS[name]):
        assert_close({"y": compute(weights)}, {"y": compute(DATA[number][0])})
        assert not same(weights, DATA[number][0])


def test_workers_draw_what_one_process_draws() -> None:
    data = Mixed(Augmented(DATA, TRANSFORMS["all"], seed=5), GRAPH, seed=6)
    alone = list(DataLoader(data, batch_size=2))
    shared = list(DataLoader(data, batch_size=2, num_workers=2))
    assert len(alone) == len(shared) == 3
    for (a, *rest), (b, *others) in zip(alone, shared, strict=True):
        assert same(a, b) and all(torch.equal(x, y) for x, y in zip(rest, others, strict=True))


def test_noise_is_relative_to_each_tensor() -> None:
    """The disturbance has the given share of the tensor's root mean square, whether weights are large or small."""
    weights = {
        "large": 1000 * torch.randn(200, 200),
        "small": 0.001 * torch.randn(200, 200),
        "steps": torch.tensor(3),
    }
    noisy = Noise(0.2)(weights, np.random.default_rng(0))
    for name in ("large", "small"):
        ratio = (noisy[name] - weights[name]).square().mean().sqrt() / weights[
            name
        ].square().mean().sqrt()
        assert float(ratio) == pytest.approx(0.2, rel=0.03)
    assert noisy["steps"] is weights["steps"]


def test_dropout_has_its_rate_and_changes_nothing_else() -> None:
    weights = {"w": torch.randn(300, 300).double() + 9}
    dropped = Dropout(0.25)(weights, np.random.default_rng(1))["w"]
    assert float((dropped == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(dropped[dropped != 0], weights["w"][dropped != 0])


def test_mixing_lies_between_aligned_networks() -> None:
    """If all networks are one with its neurons moved, mixing gives that network whatever the share; unaligned it does not."""
    data = [(GRAPH.act(GRAPH.random_element(seed), network(0)), seed) for seed in range(4)]
    for number, (weights, own, partner, share) in enumerate(Mixed(data, GRAPH, seed=2)):
        assert own == number != partner and 0 < share < 1
        assert_close(weights, data[number][0])
    weights, *_ = Mixed(data, GRAPH, seed=2, aligned=False)[0]
    assert float((weights["0.weight"] - data[0][0]["0.weight"]).abs().max()) > 0.01


def test_items_may_be_weights_alone() -> None:
    bare = [weights for weights, _ in DATA]
    assert set(Augmented(bare, Noise())[0]) == set(Mixed(bare, GRAPH)[0]) == set(GRAPH.shapes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Noise(-1.0), "Noise"),
        (lambda: Dropout(1.5), "from 0 to 1"),
        (lambda: Rescale(GRAPH, ["out"]), "no outgoing"),
        (lambda: Mixed(DATA[:1], GRAPH), "two items"),
        (lambda: Augmented([3], Noise())[0], "is a int"),
    ],
)
def test_wrong_arguments_are_named(make, words: str) -> None:
    with pytest.raises(sn.SymnetError, match=words):
        make()
