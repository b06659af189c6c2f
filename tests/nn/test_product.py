"""Product: equal to its dense twin, equivariant, as many parameters as connected diagrams; the contractions that one knows."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import symnet as sn
from symnet.nn.coefficients import product_coefficients
from symnet.sharing import derive_bilinear
from symnet.verify.triple_orbits import count_orbits_of_triples
from tests.cases import GRAPHS, mlp
from tests.random_graphs import random_graph
from tests.tolerances import assert_close

CASES = [name for name in GRAPHS if name not in ("scalar", "one neuron")]
LARGER = ("more dims than neurons", "fused and concatenated", "grouped queries", "rotations")
SMALL = [
    "mlp permuted",
    "recurrent",
    "attention",
    "copies over a fixed set",
    "odd activations",
    "rotations over heads",
]


def random_features(
    graph: sn.NeuronGraph, channels: int, batch: int = 2, seed: int = 0
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(batch, *shape, channels, dtype=torch.float64, generator=generator)
        for name, shape in graph.shapes.items()
    }


def random_layer(graph: sn.NeuronGraph, seed: int = 0, **options) -> sn.nn.Product:
    torch.manual_seed(seed)
    return sn.nn.Product(graph, 2, 3, dtype=torch.float64, **options)


@pytest.mark.parametrize(
    ("name", "diagrams"),
    [
        *(pytest.param(n, "connected", marks=[pytest.mark.slow] * (n in LARGER)) for n in CASES),
        *(pytest.param(n, "all", marks=pytest.mark.slow) for n in SMALL),
    ],
)
def test_every_case_equals_its_dense_twin(name, diagrams) -> None:
    graph = GRAPHS[name]
    layer = random_layer(graph, diagrams=diagrams)
    twin = sn.nn.DenseProduct.from_layer(layer)
    x, y = random_features(graph, 2), random_features(graph, 2, seed=1)
    assert_close(layer(x, y), twin(x, y))
    assert_close(layer(x), twin(x))


@settings(max_examples=10)
@given(st.integers(0, 1_000_000))
def test_random_graphs_equal_their_dense_twins(seed) -> None:
    graph = random_graph(seed, most=12)
    try:
        layer = random_layer(graph, seed, channels="same")
    except sn.GraphError:  # no two tensors share a set that moves
        return
    twin = sn.nn.DenseProduct.from_layer(layer)
    x, y = random_features(graph, 2), random_features(graph, 2, seed=1)
    assert_close(layer(x, y), twin(x, y))
    g = graph.random_element(seed)
    assert_close(layer(graph.act(g, x, 1), graph.act(g, y, 1)), graph.act(g, layer(x, y), 1))


@pytest.mark.parametrize("name", CASES)
def test_there_is_a_parameter_for_every_connected_map_and_no_other(name) -> None:
    layer = random_layer(GRAPHS[name])
    assert sum(p.numel() for p in layer.parameters()) == layer.dimension * 2 * 2 * 3
    assert layer.dimension == layer.maps.dimension


@pytest.mark.parametrize("name", SMALL)
def test_connected_maps_are_the_orbits_of_index_triples_that_hang_together(name) -> None:
    """Orbits listed by the group's generators, and looked at entry by entry."""
    graph = GRAPHS[name]
    maps = derive_bilinear(graph)
    for s, a, b in maps.triples():
        connected = count_orbits_of_triples(graph, maps, s, a, b)
        assert sum(placed.count for placed in maps.placed(s, a, b)) == connected, (s, a, b)


@settings(max_examples=15)
@given(st.integers(0, 1_000_000))
def test_all_maps_are_counted_by_burnsides_lemma_too(seed) -> None:
    maps = derive_bilinear(random_graph(seed, most=20), diagrams="all")
    assert maps.dimension == maps.dimension_of_all == maps.dimension_by_burnside


# ---- contractions that one knows ----------------------------------------------------------------------------------------
def only(layer: sn.nn.Product, output: str, pair: str, value: float) -> None:
    """Set the single coefficient of a layer."""
    (parameter,) = layer.parameters()
    assert product_coefficients(layer)[output, pair].numel() == 1 == parameter.numel()
    torch.nn.init.constant_(parameter, value)


def test_the_product_of_two_neighbours_is_a_matrix_product() -> None:
    graph = mlp(3, 5, 4)
    pair = ("2.weight", "0.weight")
    layer = sn.nn.Product(graph, 1, 1, outputs={"path": "h2 h0"}, pairs=[pair], dtype=torch.float64)
    found = product_coefficients(layer)["path", "2.weight * 0.weight"]
    # itself; what both kept axes have of it alone through means over the others: h2 of one times h0 of the other, and their parts
    assert layer.dimension == len(found) == 4
    x = random_features(graph, 1)
    w1, w2 = x["0.weight"][..., 0], x["2.weight"][..., 0]
    wanted = [
        (w2 @ w1) / 5,
        (w2 @ w1).mean(1, keepdim=True).expand(-1, 4, 3) / 5,
        (w2 @ w1).mean(2, keepdim=True).expand(-1, 4, 3) / 5,
        w2.mean(2)[:, :, None] * w1.mean(1)[:, None, :],
    ]
    layers = []
    for k in range(4):
        one = copy.deepcopy(layer)
        parameters = list(one.parameters())
        flat = torch.zeros(4, dtype=torch.float64)
        flat[k] = 1
        start = 0
        for parameter in parameters:
            parameter.data.copy_(flat[start : start + parameter.numel()].view(parameter.shape))
            start += parameter.numel()
        layers.append(one(x)["path"][..., 0])
    for want in wanted:
        assert any(torch.allclose(want, got, atol=1e-12) for got in layers)


def test_gram_matrices_and_products_of_incoming_and_outgoing_norms() -> None:
    graph = sn.NeuronGraph(
        {"i": sn.Symmetric(5), "h": sn.Symmetric(4), "o": sn.Symmetric(3)},
        {"in": "h i", "out": "o h", "n": "h", "m": "h"},
    )
    x = random_features(graph, 1)
    gram = sn.nn.Product(
        graph, 1, 1, outputs={"gram": "i i"}, pairs=[("in", "in")], dtype=torch.float64
    )
    expected = torch.einsum("bhi,bhj->bij", x["in"][..., 0], x["in"][..., 0]) / 4
    coefficient_of(gram, lambda y: torch.allclose(y["gram"][..., 0], expected), x)
    norms = sn.nn.Product(
        graph, 1, 1, outputs={"n": "h"}, pairs=[("in", "in")], dtype=torch.float64
    )
    coefficient_of(
        norms, lambda y: torch.allclose(y["n"][..., 0], x["in"][..., 0].square().mean(2)), x
    )
    # the product of both norms of every neuron: one product after another
    both = sn.nn.Product(graph, 1, 1, outputs={"": "h"}, pairs=[("n", "m")], dtype=torch.float64)
    incoming, outgoing = x["in"].square().mean(2), x["out"].square().mean(1)
    only(both, "", "n * m", 1.0)
    norms_of = {**x, "n": incoming, "m": outgoing}
    assert torch.allclose(both(norms_of)[""], incoming * outgoing)


def coefficient_of(layer: sn.nn.Product, holds, x: dict[str, torch.Tensor]) -> None:
    """One of the layer's parameters alone makes the outputs so."""
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    for parameter in layer.parameters():
        flat = parameter.data.view(-1)
        for k in range(len(flat)):
            flat[k] = 1
            if holds(layer(x)):
                return
            flat[k] = 0
    raise AssertionError("no parameter does")


# ---- cost ---------------------------------------------------------------------------------------------------------------
def test_the_cost_is_linear_in_the_dimensions_that_an_adapter_adapts() -> None:
    """B A of rank 64 on n x n: nothing of size n x n is multiplied, unless the output has that size."""
    costs = []
    for n in (1024, 4096):
        graph = sn.NeuronGraph(
            {"in": sn.Symmetric(n), "r": sn.Symmetric(64), "out": sn.Symmetric(n)},
            {"A": "r in", "B": "out r"},
        )
        layer = sn.nn.Product(graph, 4, 4)
        costs.append(layer.plan.cost(4, 4, 4).multiplies)
    assert costs[1] < 4.01 * costs[0]
    x = {name: torch.randn(1, *shape, 4) for name, shape in graph.shapes.items()}
    assert all(bool(value.isfinite().all()) for value in layer(x).values())


def test_factors_are_averaged_before_they_are_multiplied() -> None:
    graph = mlp(300, 200, 100)
    layer = sn.nn.Product(graph, 1, 1, outputs={"": ""}, pairs=[("2.weight", "0.weight")])
    (step,) = layer.plan.contractions
    assert (step.equation, step.divisor, step.positions) == ("b,b->", 200, 200)
    assert "b,b->" in repr(layer.plan) and "1 maps" in repr(layer.plan)


# ---- a layer like any other -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["recurrent", "copies over a fixed set", "odd activations"])
def test_derivatives_are_those_of_finite_differences(name) -> None:
    graph = GRAPHS[name]
    layer = random_layer(graph)
    x = random_features(graph, 2, batch=1)
    names = list(x)

    def call(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(dict(zip(names, values, strict=True))).values())

    arguments = tuple(value.requires_grad_() for value in x.values())
    assert torch.autograd.gradcheck(call, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, arguments, fast_mode=True, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_transforms_copies_batches_of_none_and_low_precision(name) -> None:
    graph = GRAPHS[name]
    layer = random_layer(graph)
    x = random_features(graph, 2)
    y = layer(x)
    stacked = {n: torch.stack([v, 2 * v]) for n, v in x.items()}
    mapped = torch.func.vmap(layer)(stacked)
    assert_close({n: v[1] for n, v in mapped.items()}, {n: 4 * v for n, v in y.items()})
    assert_close(pickle.loads(pickle.dumps(layer))(x), y)
    assert_close(copy.deepcopy(layer)(x), y)
    empty = layer({n: v[:0] for n, v in x.items()})
    assert [tuple(v.shape) for v in empty.values()] == [(0, *v.shape[1:]) for v in y.values()]
    low = layer.bfloat16()({n: v.bfloat16() for n, v in x.items()})
    assert_close(low, {n: v.detach() for n, v in y.items()}, torch.bfloat16)


@pytest.mark.slow
def test_compiles_without_graph_breaks() -> None:
    graph = GRAPHS["mlp fixed"]
    layer, x = random_layer(graph), random_features(graph, 2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("name", ["mlp fixed", "recurrent", "attention"])
def test_outputs_have_about_unit_variance_at_initialisation(name) -> None:
    graph = {"mlp fixed": mlp(3, 30, 30, 2, io="fixed")}.get(name, GRAPHS[name])
    torch.manual_seed(0)
    total: dict[str, list[float]] = {}
    for _ in range(5):
        layer = sn.nn.Product(graph, 2, 16)
        x = {n: torch.randn(64, *s, 2) for n, s in graph.shapes.items()}
        for n, v in layer(x).items():
            total.setdefault(n, []).append(float(v.detach().square().mean()))
    for n, values in total.items():
        assert 0.5 < sum(values) / len(values) < 2, (n, values)


# ---- what it refuses --------------------------------------------------------------------------------------------------
def test_errors_say_what_to_give() -> None:
    graph = mlp(2, 3, 2)
    x = {n: torch.randn(2, *s, 1) for n, s in graph.shapes.items()}
    with pytest.raises(sn.GraphError, match="names 'w' on the right, where the tensors are"):
        sn.nn.Product(graph, 1, 1, pairs=[("0.weight", "w")])
    with pytest.raises(sn.GraphError, match="a list of"):
        sn.nn.Product(graph, 1, 1, pairs="0.weight")
    with pytest.raises(sn.GraphError, match="needs pairs of tensors"):
        sn.nn.Product(graph, 1, 1, pairs=[])
    with pytest.raises(sn.GraphError, match="'connected' or 'all'"):
        sn.nn.Product(graph, 1, 1, diagrams="some")
    with pytest.raises(sn.ShapeError, match="equally many"):
        sn.nn.Product(graph, 2, 1, right_channels=3, channels="same")
    with pytest.raises(sn.ShapeError, match=r"right.*is missing"):
        sn.nn.Product(graph, 1, 1)(x, {})
    with pytest.raises(sn.TooLargeError, match="pairs of fixed positions"):
        sn.nn.Product(sn.catalogue.mlp([784, 16, 10]), 1, 1)
