"""Linear: equal to its dense twin, equivariant, exactly as many parameters as maps, at home in torch."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import symnet as sn
from symnet.nn.coefficients import coefficients
from symnet.nn.scattering import run
from tests.cases import GRAPHS, mlp
from tests.random_graphs import random_graph
from tests.tolerances import assert_close


def layer_and_features(
    graph: sn.NeuronGraph, seed: int = 0, dtype: torch.dtype = torch.float64, batch: int = 2
) -> tuple:
    torch.manual_seed(seed)
    layer = sn.nn.Linear(graph, 2, 3, dtype=dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = {
        name: torch.randn(batch, *shape, 2, dtype=dtype, requires_grad=True)
        for name, shape in graph.shapes.items()
    }
    return layer, x


def gradients(layer: torch.nn.Module, x: dict, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = layer(x)
    total = sum(
        (value * torch.randn(value.shape, generator=generator, dtype=value.dtype)).sum()
        for value in y.values()
    )
    assert isinstance(total, torch.Tensor)
    return dict(
        zip(x, torch.autograd.grad(total, list(x.values()), create_graph=True), strict=True)
    )


def check_against_twin(graph: sn.NeuronGraph, seed: int) -> None:
    """Values, first and second gradients."""
    layer, x = layer_and_features(graph, seed)
    twin = sn.nn.DenseLinear.from_layer(layer)
    assert_close(layer(x), twin(x))
    ours, theirs = gradients(layer, x), gradients(twin, x)
    assert_close(ours, theirs)
    # Second derivatives: how the input gradient moves with the parameters, seen through the diagrams' coefficients.
    squares = [sum((g**2).sum() for g in grads.values()) for grads in (ours, theirs)]
    by_parameter = torch.autograd.grad(squares[0], list(layer.tables.values()), allow_unused=True)
    by_coefficient = torch.autograd.grad(squares[1], list(twin.weights), allow_unused=True)
    found = coefficients(layer)
    shares = [torch.zeros(()) if g is None else g for g in by_coefficient]
    chained = torch.autograd.grad(
        sum((found[pair] * share).sum() for pair, share in zip(twin.pairs, shares, strict=True)),
        list(layer.tables.values()),
        allow_unused=True,
    )
    for ours_, theirs_ in zip(by_parameter, chained, strict=True):
        assert ours_ is not None and theirs_ is not None
        assert torch.allclose(ours_, theirs_, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_case_equals_its_dense_twin(name) -> None:
    check_against_twin(GRAPHS[name], 0)


@given(st.integers(0, 1_000_000))
def test_random_graphs_equal_their_dense_twins(seed) -> None:
    check_against_twin(random_graph(seed, most=30), seed)


@given(st.integers(0, 1_000_000))
def test_the_layer_commutes_with_the_group(seed) -> None:
    graph = random_graph(seed)
    layer, x = layer_and_features(graph, seed)
    g = graph.random_element(seed)
    assert_close(layer(graph.act(g, x, 1)), graph.act(g, layer(x), 1))


@given(st.integers(0, 1_000_000), st.booleans())
def test_there_is_a_parameter_for_every_map_and_no_other(seed, bias) -> None:
    graph = random_graph(seed)
    layer = sn.nn.Linear(graph, 2, 3, bias=bias)
    expected = layer.dimension * 6 + bias * layer.plan.bias_dimension * 3
    assert sum(p.numel() for p in layer.parameters()) == expected
    assert layer.dimension == sn.derive(graph).dimension


@pytest.mark.parametrize(
    "name", ["mlp fixed", "recurrent", "grouped queries", "rotations", "fused and concatenated"]
)
def test_both_routes_have_the_same_gradients(name) -> None:
    """The hand-written backward and torch's own, of the differentiable route."""
    layer, x = layer_and_features(GRAPHS[name])
    arguments = [*x.values(), *layer.parameters()]
    names = list(x)
    one = sum((v**3).sum() for v in layer(x).values())
    other = sum(
        (v**3).sum()
        for v in run(layer._compiled, [x[n] for n in names], layer.matrices(), layer.bias_vector())
    )
    for ours, theirs in zip(
        torch.autograd.grad(one, arguments), torch.autograd.grad(other, arguments), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["mlp fixed", "recurrent", "copies over a fixed set"])
def test_derivatives_are_those_of_finite_differences(name) -> None:
    layer, x = layer_and_features(GRAPHS[name], batch=1)
    names = list(x)

    def call(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(dict(zip(names, values, strict=True))).values())

    assert torch.autograd.gradcheck(call, tuple(x.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tuple(x.values()), fast_mode=True, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp fixed", "recurrent"])
def test_transforms_vmap_grad_and_functional_call(name) -> None:
    layer, x = layer_and_features(GRAPHS[name])
    y = layer(x)
    stacked = {n: torch.stack([v.detach(), 2 * v.detach()]) for n, v in x.items()}
    mapped = torch.func.vmap(layer)(stacked)
    assert_close({n: v[0] for n, v in mapped.items()}, y)
    first = next(iter(x))
    partly = torch.func.vmap(lambda v: layer({**{n: t.detach() for n, t in x.items()}, first: v}))(
        stacked[first]
    )
    assert_close({n: v[0] for n, v in partly.items()}, y)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(values: dict, one: dict) -> torch.Tensor:
        out = torch.func.functional_call(layer, values, ({n: v[None] for n, v in one.items()},))
        return sum((v**2).sum() for v in out.values())

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(
        parameters, {n: v.detach() for n, v in x.items()}
    )
    whole = torch.autograd.grad(
        sum((v**2).sum() for v in layer(x).values()), list(layer.parameters())
    )
    assert_close(
        {n: per_sample[n].sum(0) for n in parameters}, dict(zip(parameters, whole, strict=True))
    )


def test_compiles_without_graph_breaks() -> None:
    layer, x = layer_and_features(GRAPHS["mlp fixed"])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), layer(x))
    sum((v**2).sum() for v in compiled(x).values()).backward()
    assert all(p.grad is not None for p in layer.parameters())


@pytest.mark.parametrize("name", ["mlp fixed", "recurrent"])
def test_copies_pickles_and_state_dicts_hold_the_parameters_alone(name) -> None:
    layer, x = layer_and_features(GRAPHS[name])
    y = layer(x)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for again in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(buffer, weights_only=False),
    ):
        assert_close(again(x), y)
        assert again._compiled is layer._compiled
    assert set(layer.state_dict()) == {n for n, _ in layer.named_parameters()}
    fresh = sn.nn.Linear(GRAPHS[name], 2, 3, dtype=torch.float64)
    fresh.load_state_dict(layer.state_dict())
    assert_close(fresh(x), y)


@pytest.mark.parametrize("name", GRAPHS)
def test_an_empty_batch_gives_an_empty_batch_and_gradients(name) -> None:
    layer, x = layer_and_features(GRAPHS[name], batch=0)
    y = layer(x)
    assert all(value.shape[0] == 0 for value in y.values())
    sum(value.sum() for value in y.values()).backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in layer.parameters())


def test_strided_inputs_and_untouched_arguments() -> None:
    layer, x = layer_and_features(GRAPHS["recurrent"])
    strided = {n: v.detach().movedim(0, -1).contiguous().movedim(-1, 0) for n, v in x.items()}
    kept = {n: v.clone() for n, v in strided.items()}
    assert not all(v.is_contiguous() for v in strided.values())
    assert_close(layer(strided), layer(x))
    assert all(torch.equal(strided[n], kept[n]) for n in x)
    assert all(v.is_contiguous() for v in layer(x).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_is_close(dtype) -> None:
    layer, x = layer_and_features(GRAPHS["mlp fixed"])
    low = copy.deepcopy(layer).to(dtype)
    y = low({n: v.detach().to(dtype) for n, v in x.items()})
    assert all(v.dtype == dtype for v in y.values())
    assert_close(y, layer(x), dtype)


def test_autocast_computes_in_bfloat16() -> None:
    layer, x = layer_and_features(GRAPHS["mlp fixed"])
    single = copy.deepcopy(layer).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = single({n: v.detach().float() for n, v in x.items()})
    assert all(v.dtype == torch.bfloat16 for v in y.values())
    assert_close(y, layer(x), torch.bfloat16)


def test_spaces_other_than_weights_run() -> None:
    graph = mlp(2, 3, 4, 2, io="fixed")
    up = sn.nn.Linear(graph, 1, 2, outputs={"score": "h1", "z": ""})
    down = sn.nn.Linear(graph, 2, 1, inputs={"score": "h1", "z": ""})
    x = {n: torch.randn(5, *s, 1) for n, s in graph.shapes.items()}
    scores = up(x)
    assert scores["score"].shape == (5, 3, 2) and scores["z"].shape == (5, 2)
    assert {n: tuple(v.shape[1:-1]) for n, v in down(scores).items()} == dict(graph.shapes)
    g = graph.random_element(0)
    moved = down(up(graph.act(g, x, 1)))
    assert_close(moved, graph.act(g, down(up(x)), 1), torch.float32)


@pytest.mark.parametrize("widths", [(2, 8, 8, 3), (2, 64, 64, 64, 3), (98, 256, 16, 10)])
@pytest.mark.parametrize("io_mode", ["permuted", "fixed"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_initialisation_keeps_unit_variance_through_depth(widths, io_mode, kernel) -> None:
    """Mean square of all features between 1/2 and 2 after each of 8 linear layers, MLPs and CNNs, over 3 draws."""
    if kernel == 3:
        widths = tuple(min(n, 32) for n in widths)
    graph = mlp(*widths, io=io_mode)
    if kernel == 3:
        tensors = {
            n: f"{axes} 3 3" if n.endswith("weight") and n != "0.weight" else axes
            for n, axes in graph.tensors.items()
        }
        graph = sn.NeuronGraph(dict(graph.neurons), tensors)
    depth, draws = 8, 3
    squares = torch.zeros(depth)
    for seed in range(draws):
        torch.manual_seed(seed)
        x = {n: torch.randn(4, *s, 16) for n, s in graph.shapes.items()}
        for number in range(depth):
            with torch.no_grad():
                x = sn.nn.Linear(graph, 16, 16)(x)
            squares[number] += torch.stack([v.square().mean() for v in x.values()]).mean() / draws
    assert (squares > 0.5).all() and (squares < 2).all(), squares


def test_the_gain_is_the_standard_deviation() -> None:
    graph = mlp(2, 32, 32, 3)
    torch.manual_seed(0)
    x = {n: torch.randn(16, *s, 32) for n, s in graph.shapes.items()}
    with torch.no_grad():
        y = sn.nn.Linear(graph, 32, 32, gain=3.0)(x)
    assert torch.stack([v.std() for v in y.values()]).mean() == pytest.approx(3, rel=0.25)


def test_misfitting_features_are_all_named() -> None:
    layer, x = layer_and_features(GRAPHS["mlp fixed"])
    bad = {n: v for n, v in x.items() if n != "2.weight"} | {
        "extra": x["0.bias"],
        "0.weight": x["0.weight"][:, :1],
    }
    with pytest.raises(sn.ShapeError) as error:
        layer(bad)
    for word in (
        "'extra' is not among them",
        "'2.weight' is missing",
        "'0.weight' must be (batch, 3, 2, channels)",
    ):
        assert word in str(error.value)
    with pytest.raises(sn.ShapeError, match="has 1 channels instead of 2"):
        layer({n: v[..., :1] for n, v in x.items()})
    with pytest.raises(sn.ShapeError, match="batch of 1, others of 2"):
        layer({**x, "4.bias": x["4.bias"][:1]})


def test_a_layer_that_would_not_fit_names_the_culprit() -> None:
    """784 fixed inputs with 16 channels: 325 million parameters, refused before any is made."""
    with pytest.raises(
        sn.TooLargeError, match=r"input '0.weight' \(784 fixed positions.*output '0.weight'"
    ):
        sn.nn.Linear(mlp(784, 512, 512, 10, io="fixed"), 16, 32)


@settings(max_examples=20)
@given(st.integers(0, 1_000_000))
def test_initial_values_reach_every_parameter(seed) -> None:
    graph = random_graph(seed)
    layer = sn.nn.Linear(graph, 4, 4)
    assert all(bool(torch.isfinite(p).all()) for p in layer.parameters())
    assert all(bool((p != 0).any()) for p in layer.tables.values())


@pytest.mark.parametrize("name", GRAPHS)
def test_adjacent_layers_leave_out_the_maps_between_tensors_without_a_common_set(name) -> None:
    """Fewer maps, counted two ways and by parameters; equal to the dense twin; still equivariant."""
    graph = GRAPHS[name]
    maps = sn.derive(graph, interactions="adjacent")
    by_pair = sum(maps.between(s, t).dimension for s, t in maps.pairs())
    assert maps.dimension == maps.dimension_by_burnside == by_pair <= sn.derive(graph).dimension
    layer = sn.nn.Linear(graph, 2, 3, interactions="adjacent", dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    assert (
        sum(p.numel() for p in layer.parameters()) == 6 * maps.dimension + 3 * maps.bias_dimension
    )
    x = {
        n: torch.randn(2, *s, 2, dtype=torch.float64, requires_grad=True)
        for n, s in graph.shapes.items()
    }
    twin = sn.nn.DenseLinear.from_layer(layer)
    assert_close(layer(x), twin(x))
    assert_close(gradients(layer, x), gradients(twin, x))
    g = graph.random_element(0)
    assert_close(layer(graph.act(g, x, 1)), graph.act(g, layer(x), 1))


def test_adjacent_layers_of_deep_networks_are_much_smaller() -> None:
    graph = mlp(*[4] * 20)
    full, adjacent = sn.derive(graph), sn.derive(graph, interactions="adjacent")
    assert adjacent.dimension < full.dimension / 4
    assert not adjacent.are_coupled("0.weight", "30.weight") and adjacent.are_coupled(
        "0.weight", "2.weight"
    )
    with pytest.raises(sn.GraphError, match="share no neuron set"):
        adjacent.between("0.weight", "30.weight")
    with pytest.raises(sn.GraphError, match="choose 'full' or 'adjacent'"):
        sn.derive(graph, interactions="none")


def test_an_output_that_nothing_is_adjacent_to_has_its_bias() -> None:
    graph = mlp(2, 3, 4, 2)
    layer = sn.nn.Linear(
        graph, 1, 2, inputs=["0.weight"], outputs={"far": "h3"}, interactions="adjacent"
    )
    torch.nn.init.ones_(layer.bias)
    assert layer.dimension == 0
    assert torch.equal(layer({"0.weight": torch.randn(5, 3, 2, 1)})["far"], torch.ones(5, 2, 2))
