"""Declared scales, rotations and invertible maps are confirmed or refuted on the module itself, and layers are certified."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

import symnet as sn
from symnet import testing


def relu_network(star: str = "*", group=sn.Scaled) -> sn.NeuronGraph:
    return sn.NeuronGraph(
        {"x": sn.Fixed(2), "h": group(4), "y": sn.Fixed(1)},
        {"0.weight": "h x", "0.bias": "h", "2.weight": f"y h{star}", "2.bias": "y"},
    )


def mlp(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 4), activation, nn.Linear(4, 1))


X = torch.randn(6, 2)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.3), nn.Identity()])
def test_homogeneous_activations_allow_scales(activation) -> None:
    sn.verify.network(mlp(activation), relu_network(), X, seed=0).raise_if_failed()


@pytest.mark.parametrize(
    "activation", [nn.GELU(), nn.Tanh(), nn.Softplus(), nn.SiLU(), nn.Hardtanh()]
)
def test_other_activations_do_not(activation) -> None:
    assert not sn.verify.network(mlp(activation), relu_network(), X, seed=0).passed


@pytest.mark.parametrize("star", ["", "."])
def test_a_missing_star_is_a_wrong_declaration(star) -> None:
    assert not sn.verify.network(mlp(nn.ReLU()), relu_network(star), X, seed=0).passed


def test_scales_of_relu_are_positive() -> None:
    """With signs, ReLU is refused; an element with a negative scale is none of the group."""
    assert not sn.verify.network(
        mlp(nn.ReLU()), relu_network(group=sn.SignedSymmetric), X, seed=0
    ).passed
    graph = relu_network()
    with pytest.raises(sn.GroupError, match="positive numbers"):
        sn.GroupElement(
            graph.neurons, graph.identity()._images, {"h": torch.tensor([1.0, -1, 1, 1]).numpy()}
        )


class Adapter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.A, self.B = nn.Parameter(torch.randn(3, 5)), nn.Parameter(torch.randn(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.A.T @ self.B.T)


@pytest.mark.parametrize(("b", "holds"), [("out r*", True), ("out r", False)])
def test_lora_factors_carry_invertible_maps(b, holds) -> None:
    graph = sn.NeuronGraph(
        {"in": sn.Fixed(5), "r": sn.GeneralLinear(3), "out": sn.Fixed(4)}, {"A": "r in", "B": b}
    )
    assert sn.verify.network(Adapter(), graph, torch.randn(6, 5), seed=0).passed == holds


class Stream(nn.Module):
    """A residual stream that is read through a norm without gains."""

    def __init__(self, norm) -> None:
        super().__init__()
        self.norm = norm
        self.embed, self.up, self.down, self.head = (
            nn.Parameter(torch.randn(size)) for size in ((7, 4), (5, 4), (4, 5), (3, 4))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed[tokens]
        x = x + (self.norm(x) @ self.up.T).relu() @ self.down.T
        return self.norm(x) @ self.head.T


STREAM = {"embed": "7 m", "up": "f m", "down": "m f*", "head": "3 m"}


def rms(x: Tensor) -> Tensor:
    return x / x.square().mean(-1, keepdim=True).add(1e-12).sqrt()


def centred(x: Tensor) -> Tensor:
    return rms(x - x.mean(-1, keepdim=True))


@pytest.mark.parametrize(
    ("norm", "group", "holds"),
    [
        (rms, sn.Orthogonal(4), True),
        (centred, sn.Orthogonal(4), False),
        (centred, sn.Orthogonal(4, fixes_mean=True), True),
        (rms, sn.GeneralLinear(4), False),
    ],
)
def test_residual_streams_rotate(norm, group, holds) -> None:
    graph = sn.NeuronGraph({"m": group, "f": sn.Scaled(5)}, STREAM)
    report = sn.verify.network(Stream(norm), graph, torch.randint(7, (4, 3)), seed=0)
    assert report.passed == holds, report


GRAPHS = [
    relu_network(),
    sn.NeuronGraph({"r": sn.GeneralLinear(2)}, {"A": "r 2", "B": "2 r*", "C": "r r*"}),
    sn.NeuronGraph(
        {"m": sn.Orthogonal(2), "h": sn.Scaled(2)}, {"A": "m m", "b": "h. m", "c": "h*"}
    ),
    sn.NeuronGraph(
        {"e": sn.Symmetric(2), "d": sn.NeuronSet(sn.Orthogonal(2, fixes_mean=True), over="e")},
        {"q": "e d"},
    ),
]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: " | ".join(graph.tensors.values()))
def test_derived_layers_are_certified_and_others_are_not(graph) -> None:
    layer = sn.nn.Linear(graph, 1, 1)
    certificate = sn.verify.certify(layer, graph, seed=0).raise_if_failed()
    assert certificate.rank == certificate.dimension == certificate.dimension_by_burnside
    scaled = sn.verify.certify(Scale(list(graph.tensors)), graph, seed=0)
    assert scaled.equivariant and scaled.minimal and not scaled.complete
    assert len(scaled.missing) == certificate.dimension - len(graph.tensors)


class Scale(nn.Module):
    """Every tensor times a number of its own: equivariant under all linear groups, and rarely complete."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.names, self.factors = names, nn.Parameter(torch.randn(len(names)))

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: x[name] * self.factors[k] for k, name in enumerate(self.names)}


def test_missing_maps_are_told_in_words() -> None:
    graph = sn.NeuronGraph({"m": sn.Orthogonal(3)}, {"A": "m m"})
    certificate = sn.verify.certify(Scale(["A"]), graph, seed=0)
    assert certificate.missing == (
        "'A' -> 'A': per m, per m",
        "'A' -> 'A': trace over m, paired over m",
    )


def test_what_is_no_combination_of_diagrams_is_not_equivariant() -> None:
    graph = sn.NeuronGraph({"m": sn.Orthogonal(3)}, {"A": "m m"})

    class Mean(Scale):
        def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"A": x["A"] * self.factors[0] + x["A"].mean((1, 2), keepdim=True)}

    certificate = sn.verify.certify(Mean(["A"]), graph, seed=0)
    assert not certificate.equivariant and certificate.untied


@settings(max_examples=6)
@given(
    testing.graphs(kinds=testing.EVERY_GROUP, max_sets=2, max_size=2, max_tensors=2, max_entries=8)
)
def test_layers_over_random_mixtures_are_certified(graph) -> None:
    sn.verify.certify(sn.nn.Linear(graph, 1, 1), graph, seed=0).raise_if_failed()


@settings(max_examples=8)
@given(
    testing.graphs(
        kinds=testing.CONTINUOUS, max_sets=2, max_size=3, max_tensors=2, max_entries=18
    ).flatmap(testing.wrong_layers)
)
def test_wrong_layers_of_continuous_groups_are_rejected(layer) -> None:
    graph = layer.right.graph
    assert not sn.verify.equivariance(layer.double(), graph, seed=0).passed
    assert sn.verify.equivariance(layer.right.double(), graph, seed=0).passed
