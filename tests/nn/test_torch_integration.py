"""Layers in torch's modes, transforms and tools: the same values everywhere, and nothing left behind in what layers share."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import symnet as sn
from tests.tolerances import assert_close

GRAPHS = {
    "mlp": sn.catalogue.mlp([2, 5, 4, 3]),
    "recurrent": sn.NeuronGraph(
        {"h": sn.Symmetric(4), "in": sn.Fixed(2)},
        {"hh": "h h", "ih": "h in", "bias": "h", "scale": ""},
    ),
    "rotations, signs": sn.NeuronGraph(
        {"c": sn.Cyclic(4), "h": sn.Symmetric(3), "s": sn.SignedSymmetric(2)},
        {"w": "h c", "v": "(h + c) s", "u": "s s"},
    ),
}
every_graph = pytest.mark.parametrize("name", GRAPHS)


def fresh(name: str, suffix: str) -> sn.NeuronGraph:
    """A graph that no other layer shares a plan with."""
    graph = GRAPHS[name]
    return sn.NeuronGraph(
        dict(graph.neurons), {f"{key} {suffix}": axes for key, axes in graph.tensors.items()}
    )


def draw(
    graph: sn.NeuronGraph, channels: int = 2, batch: int = 3, grad: bool = False
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(
            batch, *shape, channels, generator=generator, dtype=torch.float64
        ).requires_grad_(grad)
        for name, shape in graph.shapes.items()
    }


def linear(graph: sn.NeuronGraph, in_channels: int = 2, out_channels: int = 3) -> sn.nn.Linear:
    return sn.nn.Linear(graph, in_channels, out_channels, dtype=torch.float64)


def total(features: dict[str, Tensor]) -> Tensor:
    return torch.stack([value.square().sum() for value in features.values()]).sum()


# ---- modes that make tensors of their own kind ------------------------------------------------------------------------
@every_graph
def test_a_layer_first_run_in_inference_mode_can_be_trained(name) -> None:
    """Nothing made in inference mode is kept."""
    graph = fresh(name, "inference")
    layer, pool, x = linear(graph), sn.nn.Pool(graph), draw(graph, grad=True)
    with torch.inference_mode():
        expected, pooled = layer(x), pool(x)
    assert_close(layer(x), {key: value.clone() for key, value in expected.items()})
    assert_close({"": pool(x)}, {"": pooled.clone()})
    (total(layer(x)) + pool(x).square().sum()).backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@every_graph
def test_fake_tensors_of_one_layer_do_not_reach_another(name) -> None:
    """Layers share a plan; what a fake run has worked out is not kept in it."""
    graph = fresh(name, "fake")
    with FakeTensorMode():
        layer, x = (
            linear(graph),
            {n: torch.randn(3, *s, 2).double() for n, s in graph.shapes.items()},
        )
        total(layer({n: value.requires_grad_() for n, value in x.items()})).backward()
        sn.nn.Pool(graph)(x)
    layer = linear(graph)
    total(layer(draw(graph, grad=True))).backward()
    assert all(type(parameter.grad) is Tensor for parameter in layer.parameters())
    assert type(sn.nn.Pool(graph)(draw(graph))) is Tensor


@every_graph
def test_layers_can_be_made_and_run_without_memory(name) -> None:
    """On the device "meta", by argument or by default device; a state dict brings them to life."""
    graph = GRAPHS[name]
    with torch.device("meta"):
        layer, x = (
            sn.nn.Linear(graph, 2, 3),
            {n: torch.randn(3, *s, 2) for n, s in graph.shapes.items()},
        )
        assert all(value.is_meta for value in layer(x).values()) and sn.nn.Pool(graph)(x).is_meta
        real = sn.nn.Linear(graph, 2, 3, device="cpu", dtype=torch.float64)
    layer.load_state_dict(real.state_dict(), assign=True)
    assert_close(layer(draw(graph)), real(draw(graph)))


def test_a_default_dtype_of_double_makes_layers_of_double() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        for graph in GRAPHS.values():
            layer = sn.nn.Linear(graph, 2, 3)
            assert all(value.dtype == torch.float64 for value in layer(draw(graph)).values())
            single = sn.nn.Linear(graph, 2, 3, dtype=torch.float32)
            y = single({n: value.float() for n, value in draw(graph).items()})
            assert all(value.dtype == torch.float32 for value in y.values())
    finally:
        torch.set_default_dtype(torch.float32)


def activation(name: str) -> type[nn.Module]:
    """A pointwise function that commutes with the graph's group: ReLU, or an odd one among signs."""
    signed = any(word in name for word in ("odd activations", "signed", "signs"))
    return nn.Hardtanh if signed else nn.ReLU


# ---- changes in place ---------------------------------------------------------------------------------------------------
@every_graph
@pytest.mark.parametrize("mode", ["plain", "autocast", "vmap"])
def test_outputs_may_be_changed_in_place(name, mode) -> None:
    """``ReLU(inplace=True)`` after a layer gives the values and gradients of ``ReLU()``; among signs, an odd function does."""
    graph = GRAPHS[name]
    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(
            sn.nn.Linear(graph, 2, 3),
            sn.nn.Pointwise(activation(name)(inplace=inplace)),
            sn.nn.Linear(graph, 3, 2),
        )
        x = {n: value.float() for n, value in draw(graph).items()}
        if mode == "vmap":
            y = torch.func.vmap(net)({n: value[None] for n, value in x.items()})
        else:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast"):
                y = net(x)
        total({n: value.float() for n, value in y.items()}).backward()
        zero = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
        found.append((y, dict(enumerate(zero))))
    assert_close(found[1][0], found[0][0], torch.float32)
    assert_close(found[1][1], found[0][1], torch.float32)


def test_outputs_share_memory_with_nothing() -> None:
    for graph in GRAPHS.values():
        x = draw(graph)
        kept = {n: value.clone() for n, value in x.items()}
        y = linear(graph)(x)
        for number, value in enumerate(y.values()):
            value.detach().fill_(number)
        assert all((value == number).all() for number, value in enumerate(y.values()))
        assert all(torch.equal(x[n], kept[n]) for n in x)


def test_an_input_changed_before_the_backward_pass_is_noticed() -> None:
    graph = GRAPHS["mlp"]
    x = draw(graph)
    loss = total(linear(graph)(x))
    x["0.bias"].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# ---- transforms ---------------------------------------------------------------------------------------------------------
@every_graph
def test_gradients_sample_by_sample_are_those_of_single_samples(name) -> None:
    """``vmap(grad)`` over the batch, parameters shared."""
    graph = GRAPHS[name]
    layer, x = linear(graph), draw(graph)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(given: dict[str, Tensor], sample: dict[str, Tensor]) -> Tensor:
        return total(
            torch.func.functional_call(layer, given, ({n: v[None] for n, v in sample.items()},))
        )

    together = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for number in range(3):
        alone = torch.func.grad(loss)(parameters, {n: value[number] for n, value in x.items()})
        assert_close({n: value[number] for n, value in together.items()}, alone)


@every_graph
def test_many_gradients_at_once_are_those_one_by_one(name) -> None:
    """``torch.autograd.grad(..., is_grads_batched=True)``."""
    graph = GRAPHS[name]
    layer, x = linear(graph), draw(graph, grad=True)
    y = next(iter(layer(x).values()))
    wanted = [*x.values(), *layer.parameters()]
    directions = torch.randn(4, *y.shape, dtype=y.dtype)
    together = torch.autograd.grad(y, wanted, directions, is_grads_batched=True, retain_graph=True)
    for number, direction in enumerate(directions):
        alone = torch.autograd.grad(y, wanted, direction, retain_graph=True)
        assert_close({k: g[number] for k, g in enumerate(together)}, dict(enumerate(alone)))


@every_graph
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*:DeprecationWarning"
)  # inside torch, when forward AD is first used
def test_forward_derivatives_are_the_layer_itself(name) -> None:
    """A layer is linear: its derivative in a direction is its value there, without the bias."""
    graph = GRAPHS[name]
    layer, x = linear(graph), draw(graph)
    direction = {n: value.flip(0) for n, value in x.items()}
    dual_level = torch.autograd.forward_ad
    with dual_level.dual_level():
        y = layer({n: dual_level.make_dual(x[n], direction[n]) for n in x})
        found = {n: dual_level.unpack_dual(value).tangent for n, value in y.items()}
    bias = layer({n: torch.zeros_like(value) for n, value in x.items()})
    expected = {n: value - bias[n] for n, value in layer(direction).items()}
    assert_close(
        {n: torch.zeros_like(bias[n]) if v is None else v for n, v in found.items()}, expected
    )


# ---- compilers and tools ------------------------------------------------------------------------------------------------
@every_graph
def test_a_network_that_never_ran_compiles_whole(name) -> None:
    """Layers and pool of every kind of group, in one graph, with their gradients."""
    graph = fresh(name, "compiled")
    net = nn.Sequential(
        linear(graph), sn.nn.Pointwise(activation(name)(inplace=True)), sn.nn.Pool(graph)
    )
    x = draw(graph)
    y = torch.compile(net, fullgraph=True, backend="aot_eager")(x)
    found = torch.autograd.grad(y.square().sum(), list(net.parameters()), materialize_grads=True)
    assert_close({"": y}, {"": net(x)})
    expected = torch.autograd.grad(
        net(x).square().sum(), list(net.parameters()), materialize_grads=True
    )
    assert_close(dict(enumerate(found)), dict(enumerate(expected)))


def test_a_layer_can_be_exported_for_any_batch() -> None:
    """Also where parameters are named after Python's words: torch.export writes code with their names."""
    graph = sn.catalogue.mlp([2, 5, 3], io="permuted")
    assert {"in", "out"} <= set(graph.neurons)
    layer, x = linear(graph), draw(graph)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(layer, (x,), dynamic_shapes=({name: {0: batch} for name in x},))
    for size in (3, 9):
        assert_close(program.module()(draw(graph, batch=size)), layer(draw(graph, batch=size)))


def test_parametrized_coefficients_are_used() -> None:
    class Half(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    for graph in GRAPHS.values():
        layer, x = linear(graph), draw(graph)
        expected = {name: value / 2 for name, value in layer(x).items()}
        for name in list(layer.tables):
            nn.utils.parametrize.register_parametrization(layer.tables, name, Half())
        nn.utils.parametrize.register_parametrization(layer, "bias", Half())
        assert_close(layer(x), expected)
        assert_close(copy.deepcopy(layer)(x), expected)


@every_graph
def test_expanded_inputs_are_read_like_their_copies(name) -> None:
    """Stride 0 in the batch, in the channels, everywhere; gradients too."""
    graph = GRAPHS[name]
    layer, x = linear(graph), draw(graph)
    for views in (
        {n: v[:1].expand(3, *v.shape[1:]) for n, v in x.items()},
        {n: v[..., :1].expand(v.shape) for n, v in x.items()},
        {n: torch.ones((), dtype=v.dtype).expand(v.shape) for n, v in x.items()},
    ):
        results = []
        for given in (views, {n: v.contiguous() for n, v in views.items()}):
            leaves = {n: v.detach().requires_grad_() for n, v in given.items()}
            y = layer(leaves)
            results.append((y, torch.autograd.grad(total(y), list(leaves.values()))))
        assert_close(results[0][0], results[1][0])
        assert_close(dict(enumerate(results[0][1])), dict(enumerate(results[1][1])))


def test_an_empty_batch_is_normalised_without_a_warning() -> None:
    graph = GRAPHS["mlp"]
    y = sn.nn.LayerNorm(graph, 2).double()(draw(graph, batch=0))
    assert {name: value.shape for name, value in y.items()} == {
        n: (0, *s, 2) for n, s in graph.shapes.items()
    }


def test_a_layer_without_parameters_gives_zeros_of_its_inputs_dtype() -> None:
    """Between one sign and none nothing is equivariant but zero."""
    graph = sn.NeuronGraph(
        {"s": sn.SignedSymmetric(2), "h": sn.Symmetric(3)}, {"odd": "s", "even": "h"}
    )
    layer = sn.nn.Linear(graph, 1, 2, inputs=["odd"], outputs=["even"], bias=False)
    assert layer.dimension == 0 and not list(layer.parameters())
    for dtype in (torch.float32, torch.float64):
        y = layer({"odd": torch.ones(4, 2, 1, dtype=dtype)})
        assert_close(y, {"even": torch.zeros(4, 3, 2)})
        assert_close(sn.nn.DenseLinear.from_layer(layer.to(dtype))({"odd": torch.ones(4, 2, 1)}), y)
        assert y["even"].dtype == dtype
