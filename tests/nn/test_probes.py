"""Probes: what the networks answer, invariant, in evaluation, for every kind of input; and how little else they do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import symnet as sn


class Noisy(nn.Module):
    """Buffers, dropout, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.drop(self.norm(self.stem(x)).relu()).mean((2, 3)))}


def test_answers_are_those_of_the_networks_themselves_in_evaluation() -> None:
    torch.manual_seed(0)
    modules = [Noisy() for _ in range(5)]
    images = torch.randn(7, 1, 6, 6)
    for module in modules:
        module(images)  # running statistics of their own
    graph = sn.trace(copy.deepcopy(modules[0]).eval(), images)
    probes = sn.nn.Probes(modules[0], graph, images, scale_free=False, chunk=2)
    expected = torch.stack([module.eval()(images)["logits"].flatten() for module in modules])
    assert torch.allclose(probes(sn.features(modules, graph)), expected, atol=1e-6)
    assert modules[0].training is False and not list(probes.parameters())
    invariant = sn.nn.Probes(modules[0], graph, images.double())

    def positive_variances(x: dict[str, torch.Tensor]) -> torch.Tensor:
        return invariant(
            {name: value.abs() if name.endswith("var") else value for name, value in x.items()}
        )

    report = sn.verify.equivariance(positive_variances, graph, seed=0, trials=2)
    assert report.passed, report


def test_features_are_softmax_centred_logits_and_asinh_without_scale() -> None:
    module = nn.Linear(2, 3)
    points = sn.nn.random_inputs(torch.zeros(1, 2), 4)
    graph = sn.NeuronGraph(
        {"in": sn.Fixed(2), "out": sn.Fixed(3)}, {"weight": "out in", "bias": "out"}
    )
    probes = sn.nn.Probes(module, graph, points)
    x = sn.features(module, graph)
    logits = module(points).detach()
    soft, centred, asinh = probes(x).detach().view(3, 4, 3)
    assert torch.allclose(soft, logits.softmax(-1)) and torch.allclose(asinh, logits.asinh())
    wanted = logits - logits.mean(-1, keepdim=True)
    assert torch.allclose(centred, wanted / wanted.square().mean().sqrt(), atol=1e-6)
    scaled = probes({name: 10 * value for name, value in x.items()}).detach().view(3, 4, 3)
    assert torch.allclose(scaled[1], centred, atol=1e-5)
    zero = probes({name: 0 * value for name, value in x.items()})
    assert bool(zero.isfinite().all())


def test_every_kind_of_input_and_the_draw_is_seeded() -> None:
    images = sn.nn.random_inputs(torch.rand(5, 3, 16, 16), 8, seed=1)
    assert images.shape == (8, 3, 16, 16)
    steps = (images[..., 1:] - images[..., :-1]).square().mean() / images.var()
    assert steps < 0.5  # neighbours are alike; of independent noise it is 2
    tokens = sn.nn.random_inputs(torch.zeros(2, 7, dtype=torch.int64), 9, tokens=5)
    assert (
        tokens.shape == (9, 7)
        and tokens.dtype == torch.int64
        and set(tokens.unique().tolist()) == set(range(5))
    )
    assert torch.equal(
        sn.nn.random_inputs(torch.zeros(1, 3), 4), sn.nn.random_inputs(torch.zeros(1, 3), 4, seed=0)
    )
    assert not torch.equal(
        sn.nn.random_inputs(torch.zeros(1, 3), 4), sn.nn.random_inputs(torch.zeros(1, 3), 4, seed=1)
    )


class Tokens(nn.Module):
    """A dense embedding, and code that asks how a computed tensor is, which vmap cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.table(x).mean(1)
        return self.head(hidden if bool(hidden.sum() > -1e9) else -hidden)


def test_modules_that_vmap_cannot_run_are_run_one_by_one_and_say_so() -> None:
    modules = [Tokens(), Tokens()]
    graph = sn.NeuronGraph(
        {"m": sn.Symmetric(4), "out": sn.Fixed(2)},
        {"table.weight": "5 m", "head.weight": "out m", "head.bias": "out"},
    )
    probes = sn.nn.Probes(modules[0], graph, torch.randint(0, 5, (3, 6)), scale_free=False)
    assert "network by network" in repr(probes)
    expected = torch.stack([module(probes.inputs).flatten() for module in modules])
    assert torch.allclose(probes(sn.features(modules, graph)), expected)


def test_probes_can_be_learned_and_differentiated_twice() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    graph = sn.trace(module, torch.zeros(1, 2).double())
    probes = sn.nn.Probes(module, graph, torch.randn(3, 2).double(), learned=True)
    x = {
        name: torch.randn(2, *shape, 2).double().requires_grad_()
        for name, shape in graph.shapes.items()
    }
    answers = probes(x)
    assert answers.shape == (2, 2 * probes.count)
    first = torch.autograd.grad(
        answers.square().sum(), [probes.inputs, x["0.weight"]], create_graph=True
    )
    second = torch.autograd.grad(first[1].square().sum(), probes.inputs)
    assert all(float(g.detach().abs().max()) > 0 for g in (*first, *second))
    assert [n for n, _ in probes.named_parameters()] == ["inputs"]
    assert probes({n: v[:0] for n, v in x.items()}).shape == (0, 2 * probes.count)


def test_errors_say_what_to_give() -> None:
    graph = sn.catalogue.mlp([2, 3, 2])
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(sn.ShapeError, match="The module has no"):
        sn.nn.Probes(nn.Sequential(nn.Linear(2, 3)), graph, torch.zeros(1, 2))
    with pytest.raises(sn.ShapeError, match="does not run on these probes"):
        sn.nn.Probes(module, graph, torch.zeros(1, 5))
    with pytest.raises(sn.ShapeError, match="random_inputs"):
        sn.nn.Probes(module, graph, torch.zeros(0, 2))
    with pytest.raises(sn.ShapeError, match="cannot be learned"):
        sn.nn.Probes(module, graph, torch.zeros(1, 2, dtype=torch.int64), learned=True)
