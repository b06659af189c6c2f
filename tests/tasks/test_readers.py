"""Laws of the readers: blind to the order of neurons, made of derived layers, and of no more than those."""

from __future__ import annotations

import pytest
import torch

import symnet as sn
from symnet.data import initial_weights
from symnet.tasks.readers import FlatReader, NeuronReader, Standardize

WIDTHS = (2, 5, 4, 1)
GRAPH = sn.catalogue.mlp(list(WIDTHS))


def draw(count: int = 8) -> dict[str, torch.Tensor]:
    """Features of random SIRENs in float64."""
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(WIDTHS, count, omega=5.0, generator=generator)
    noise = {
        name: 0.3 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in weights.items()
    }
    return {name: (tensor + noise[name]).double().unsqueeze(-1) for name, tensor in weights.items()}


def small_reader() -> NeuronReader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NeuronReader(GRAPH, draw(), codes=6, products=4, hidden=8).double()


def test_the_reader_is_invariant_and_the_flat_one_is_not() -> None:
    assert sn.verify.equivariance(small_reader(), GRAPH, seed=0).passed
    assert not sn.verify.equivariance(FlatReader(draw(), hidden=8).double(), GRAPH, seed=0).passed


def test_every_tensor_is_standardized_by_one_number() -> None:
    x = draw()
    scaled = Standardize(x).double()(x)
    for name, tensor in scaled.items():
        assert tensor.std().item() == pytest.approx(1.0, abs=1e-5)
        torch.testing.assert_close(tensor * x[name].std(), x[name], rtol=1e-5, atol=0)


def test_the_reader_is_made_of_derived_layers() -> None:
    """Whatever touches features with neuron axes is a layer of symnet.nn or a preparation; the rest sees invariants."""
    reader = small_reader()
    parts = {
        name: type(module).__module__.split(".")[0:2] for name, module in reader.named_children()
    }
    ours = {name for name, place in parts.items() if place == ["symnet", "nn"]}
    assert ours == {"encode", "wave", "from_codes", "from_weights", "encode_sums", "weigh_sums"}
    assert all(isinstance(pool, sn.nn.Pool) for pool in reader.pools)
    assert set(parts) == ours | {"standardize", "pools", "classify"}
    assert {id(layer) for layer in reader.layers().values()} == {
        id(module) for module in reader.modules() if isinstance(module, sn.nn.Linear)
    }


def test_every_parameter_of_the_reader_matters() -> None:
    reader = small_reader()
    reader(draw()).square().sum().backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
