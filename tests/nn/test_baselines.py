"""Baselines and encodings of values: what they compute, and what they are blind to."""

from __future__ import annotations

import math

import pytest
import torch

import symnet as sn
from tests.cases import GRAPHS, mlp
from tests.tolerances import assert_close

ARCHITECTURES = ["mlp fixed", "cnn, flattened", "attention", "fused and concatenated", "scalar"]


def random_features(
    graph: sn.NeuronGraph, channels: int = 1, batch: int = 3
) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        n: torch.randn(batch, *s, channels, dtype=torch.float64) for n, s in graph.shapes.items()
    }


def test_statistics_are_torchs_own_for_every_tensor_and_channel() -> None:
    """Against torch.mean, torch.var and torch.quantile on flattened tensors."""
    graph = GRAPHS["mlp fixed"]
    x = random_features(graph, 2)
    expected = []
    for tensor in x.values():
        flat = tensor.flatten(1, -2)
        shares = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
        rows = [flat.mean(1), flat.var(1, correction=0), *torch.quantile(flat, shares, dim=1)]
        expected.append(torch.stack(rows, 1).flatten(1))
    assert torch.allclose(sn.nn.Statistics(graph)(x), torch.cat(expected, 1), atol=1e-12)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("kind", [sn.nn.StatisticsNetwork, sn.nn.PointwiseNetwork])
def test_statistics_and_pointwise_networks_are_invariant(name, kind) -> None:
    net = kind(GRAPHS[name], 4, 2, in_channels=2)
    sn.verify.equivariance(net, GRAPHS[name], in_channels=2, trials=2).raise_if_failed()


def test_a_flat_network_reads_all_weights_and_no_symmetry() -> None:
    graph = GRAPHS["mlp fixed"]
    net = sn.nn.FlatNetwork(graph, 8, 2)
    assert net.double()(random_features(graph)).shape == (3, 2)
    assert not sn.verify.equivariance(net, graph).passed


@pytest.mark.parametrize(
    "kind", [sn.nn.StatisticsNetwork, sn.nn.PointwiseNetwork, sn.nn.FlatNetwork]
)
def test_baselines_refuse_other_channels_and_signs_where_they_must(kind) -> None:
    net = kind(mlp(2, 3, 2), 4, 2)
    with pytest.raises(sn.ShapeError, match="outputs=0"):
        kind(mlp(2, 3, 2), 4, 0)
    with pytest.raises(sn.ShapeError, match=r"'0\.bias' is missing"):
        net({"0.weight": torch.randn(1, 3, 2, 1)})
    if kind is not sn.nn.FlatNetwork:
        with pytest.raises(sn.GraphError, match="change sign"):
            kind(GRAPHS["odd activations"], 4, 2)


def test_sinusoidal_encodings_are_octaves_and_gaussian_ones_waves_in_random_directions() -> None:
    """sin(2 pi f w) with f = 1/2, 1, 2 by default; and by the module's own frequencies."""
    w = torch.tensor([[0.1], [0.3]], dtype=torch.float64)
    encoded = sn.nn.ValueEncoding(1, 3, kind="sinusoidal")({"w": w})["w"]
    angles = math.pi * w * torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    assert torch.allclose(encoded, torch.cat([w, angles.sin(), angles.cos()], 1))
    gaussian = sn.nn.ValueEncoding(2, 500, scale=3.0).double()
    x = torch.randn(4, 2, dtype=torch.float64)
    angles = 2 * math.pi * x @ gaussian.frequencies
    assert torch.allclose(gaussian({"w": x})["w"], torch.cat([x, angles.sin(), angles.cos()], 1))
    assert 2.7 < float(gaussian.frequencies.std()) < 3.3
    assert "frequencies" in gaussian.state_dict()


@pytest.mark.parametrize("kind", ["gaussian", "sinusoidal"])
def test_encodings_of_values_are_equivariant_and_tell_their_channels(kind) -> None:
    graph = GRAPHS["attention"]
    encoding = sn.nn.ValueEncoding(2, 3, kind=kind)
    report = sn.verify.equivariance(encoding, graph, in_channels=2, trials=2)
    report.raise_if_failed()
    assert encoding.double()(random_features(graph, 2))["q"].shape[-1] == encoding.out_channels
    with pytest.raises(sn.ShapeError, match="1 channels instead of 2"):
        encoding(random_features(graph, 1))
    with pytest.raises(sn.GraphError, match="'gaussian' or 'sinusoidal'"):
        sn.nn.ValueEncoding(1, 2, kind="cosine")
    with pytest.raises(sn.ShapeError, match="scale=0"):
        sn.nn.ValueEncoding(1, 2, scale=0)


def test_a_residual_block_adds_and_refuses_other_shapes() -> None:
    graph = mlp(2, 3, 2)
    x = random_features(graph, 2)
    layer = sn.nn.Linear(graph, 2, 2).double()
    assert_close(sn.nn.Residual(layer)(x), {n: x[n] + t for n, t in layer(x).items()})
    with pytest.raises(sn.ShapeError, match="cannot add"):
        sn.nn.Residual(sn.nn.Linear(graph, 2, 4).double())(x)
