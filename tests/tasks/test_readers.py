"""Laws of the readers: blind to the order of neurons, made of derived layers, and of no more than those."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.data import evaluate, initial_weights, pixel_grid
from symnet.tasks.readers import CanonicalSigns, FlatReader, NeuronReader, Standardize

WIDTHS = (2, 5, 4, 1)
GRAPH = sn.catalogue.mlp(list(WIDTHS))
SIGNED = GRAPH.with_groups({"h1": sn.SignedSymmetric(5), "h2": sn.SignedSymmetric(4)})


def draw(count: int = 8) -> dict[str, torch.Tensor]:
    """Features of random SIRENs in float64; no entry is zero."""
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(WIDTHS, count, omega=5.0, scales=(1.0, 1.0, 1.0), generator=generator)
    noise = {name: 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    return {name: (tensor + noise[name]).double().unsqueeze(-1) for name, tensor in weights.items()}


def small_reader() -> NeuronReader:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return NeuronReader(GRAPH, draw(), codes=6, products=4, hidden=8).double()


def test_the_reader_is_invariant_and_the_flat_one_is_not() -> None:
    assert sn.verify.equivariance(small_reader(), GRAPH, seed=0).passed
    assert not sn.verify.equivariance(FlatReader(draw(), hidden=8).double(), GRAPH, seed=0).passed


def test_the_reader_does_not_know_signs_either() -> None:
    """Permuting neurons and changing their signs, which is the same SIREN, gives the same logits."""
    reader, without, x = small_reader().eval(), small_reader().eval(), draw()
    without.prepare = nn.Sequential(Standardize(x))
    for seed in range(5):
        moved = SIGNED.act(SIGNED.random_element(seed=seed), x, batch_dims=1)
        torch.testing.assert_close(reader(moved), reader(x), rtol=0, atol=1e-12)
        assert (without(moved) - without(x)).abs().max() > 1e-6


def test_canonical_signs_leave_every_function_as_it_was() -> None:
    x, grid = draw(), pixel_grid(5).double()
    chosen = CanonicalSigns(layers=3)(x)
    before, after = ({name: t.squeeze(-1) for name, t in weights.items()} for weights in (x, chosen))
    torch.testing.assert_close(evaluate(after, grid, 5.0), evaluate(before, grid, 5.0), rtol=0, atol=1e-12)


def test_canonical_signs_make_every_effect_positive() -> None:
    """To first order a second neuron acts by its outgoing weight, a first one by the sums along its paths."""
    chosen = {name: tensor.squeeze(-1) for name, tensor in CanonicalSigns(layers=3)(draw()).items()}
    assert (chosen["4.weight"] > 0).all()
    assert ((chosen["4.weight"] @ chosen["2.weight"]) > 0).all()


def test_canonical_signs_commute_with_permutations() -> None:
    assert sn.verify.equivariance(CanonicalSigns(layers=3), GRAPH, seed=0).passed


def test_every_tensor_is_standardized_by_one_number() -> None:
    x = draw()
    scaled = Standardize(x).double()(x)
    for name, tensor in scaled.items():
        assert tensor.std().item() == pytest.approx(1.0, abs=1e-5)
        torch.testing.assert_close(tensor * x[name].std(), x[name], rtol=1e-5, atol=0)


def test_the_reader_is_made_of_derived_layers() -> None:
    """Whatever touches features with neuron axes is a layer of symnet.nn or a preparation; the rest sees invariants."""
    reader = small_reader()
    parts = {name: type(module).__module__.split(".")[0:2] for name, module in reader.named_children()}
    ours = {name for name, place in parts.items() if place == ["symnet", "nn"]}
    assert ours == {"encode", "wave", "from_codes", "from_weights", "encode_sums", "weigh_sums"}
    assert all(isinstance(pool, sn.nn.Pool) for pool in reader.pools)
    assert set(parts) == ours | {"prepare", "pools", "classify"}
    assert {id(layer) for layer in reader.layers().values()} == {
        id(module) for module in reader.modules() if isinstance(module, sn.nn.Linear)
    }


def test_every_parameter_of_the_reader_matters() -> None:
    reader = small_reader()
    reader(draw()).square().sum().backward()
    for name, parameter in reader.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
