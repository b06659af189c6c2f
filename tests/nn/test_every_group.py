"""Layers over signs, scales, rotations and invertible maps: their twins, equivariance, variance, and what they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from torch import nn

import symnet as sn
from symnet import testing

FIXED = sn.Fixed
GRAPHS = {
    "LoRA": sn.NeuronGraph(
        {"in": FIXED(6), "r": sn.GeneralLinear(3), "out": FIXED(5)}, {"A": "r in", "B": "out r*"}
    ),
    "ReLU network": sn.NeuronGraph(
        {"x": FIXED(3), "h1": sn.Scaled(5), "h2": sn.Scaled(4), "y": FIXED(2)},
        {
            "w1": "h1 x",
            "b1": "h1",
            "w2": "h2 h1*",
            "b2": "h2",
            "w3": "y h2*",
            "b3": "y",
            "norms": "h1.",
        },
    ),
    "SIREN": sn.NeuronGraph(
        {"x": FIXED(2), "h": sn.SignedSymmetric(4), "y": FIXED(1)},
        {"w1": "h x", "b1": "h", "w2": "y h", "b2": "y", "norms": "h."},
    ),
    "state space": sn.NeuronGraph(
        {"s": sn.GeneralLinear(3), "in": FIXED(2), "out": FIXED(2)},
        {"A": "s s*", "B": "s in", "C": "out s*"},
    ),
    "rotations": sn.NeuronGraph({"s": sn.Orthogonal(3)}, {"A": "s s", "B": "s s s", "c": "s"}),
    "few neurons": sn.NeuronGraph({"s": sn.GeneralLinear(2)}, {"A": "s s*", "B": "s s s* s*"}),
    "about the mean": sn.NeuronGraph(
        {"m": sn.Orthogonal(4, fixes_mean=True)}, {"A": "m m", "c": "m"}
    ),
    "attention": sn.NeuronGraph(
        {
            "head": sn.Symmetric(3),
            "qk": sn.NeuronSet(sn.GeneralLinear(2), over="head"),
            "vo": sn.NeuronSet(sn.GeneralLinear(2), over="head"),
            "m": sn.Orthogonal(4),
        },
        {
            "q": "((head qk) + (head vo)) m",
            "k": "(head qk*) m",
            "o": "m (head vo*)",
            "s": "head",
            "mm": "m m",
        },
    ),
    "experts": sn.NeuronGraph(
        {
            "e": FIXED(2),
            "f": sn.NeuronSet(sn.Scaled(3), over="e"),
            "r": sn.NeuronSet(sn.GeneralLinear(2), over="e"),
        },
        {"up": "e f r", "down": "e r* f*", "n": "e f.", "flat": "(e f r*)"},
    ),
    "SwiGLU": sn.NeuronGraph(
        {"m": sn.Orthogonal(4), "f": sn.Scaled(5)}, {"gate": "f. m", "up": "f m", "down": "m f*"}
    ),
}


def draw(graph: sn.NeuronGraph, channels: int, batch: int = 2, dtype: torch.dtype = torch.float64):
    return {
        name: torch.randn(batch, *shape, channels, dtype=dtype)
        for name, shape in graph.shapes.items()
    }


def largest_difference(first, second) -> float:
    return max(
        (
            float((first[name] - second[name]).detach().abs().max())
            for name in first
            if first[name].numel()
        ),
        default=0,
    )


def check_layer(graph: sn.NeuronGraph) -> None:
    """Parameters, dense twin, and equivariance of a layer with random biases."""
    layer = sn.nn.Linear(graph, 2, 3, dtype=torch.float64)
    count = sum(p.numel() for p in layer.parameters())
    assert count == layer.dimension * 6 + layer.plan.bias_dimension * 3
    assert layer.dimension == sn.derive(graph).dimension
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    x = draw(graph, 2)
    y = layer(x)
    assert largest_difference(y, sn.nn.DenseLinear.from_layer(layer)(x)) < 1e-10
    element = graph.random_element(seed=0)
    moved = layer(graph.act(element, x, 1))
    size = max(float(t.detach().abs().max()) for t in (*y.values(), *moved.values()) if t.numel())
    assert largest_difference(graph.act(element, y, 1), moved) < 1e-10 * max(size, 1)


@pytest.mark.parametrize("name", GRAPHS)
def test_layers_have_twins_and_are_equivariant(name) -> None:
    check_layer(GRAPHS[name])


@settings(max_examples=25)
@given(
    testing.graphs(kinds=testing.EVERY_GROUP, max_sets=3, max_size=3, max_tensors=2, max_entries=27)
)
def test_layers_over_random_mixtures(graph) -> None:
    check_layer(graph)


@pytest.mark.parametrize("name", GRAPHS)
def test_pool_gives_all_linear_invariants(name) -> None:
    graph = GRAPHS[name]
    pool = sn.nn.Pool(graph)
    assert pool.dimension == sn.derive(graph, outputs={"": ""}).dimension
    x = draw(graph, 2)
    moved = graph.act(graph.random_element(seed=1), x, 1)
    assert pool(x).shape == (2, pool.dimension * 2)
    assert torch.allclose(pool(x), pool(moved), atol=1e-10)


@pytest.mark.parametrize("name", GRAPHS)
def test_products_over_every_group(name) -> None:
    """The same diagrams from products of two inputs; their dense twin, and equivariance."""
    graph = GRAPHS[name]
    layer = sn.nn.Product(graph, 1, 2, dtype=torch.float64)
    x = draw(graph, 1)
    y = layer(x)
    assert largest_difference(y, sn.nn.DenseProduct.from_layer(layer)(x)) < 1e-10
    element = graph.random_element(seed=1)
    assert largest_difference(graph.act(element, y, 1), layer(graph.act(element, x, 1))) < 1e-9


def test_the_product_of_adapters_is_their_matrix() -> None:
    """B A, the only quadratic invariant of LoRA: one map for every row of B and column of A."""
    graph = GRAPHS["LoRA"]
    layer = sn.nn.Product(graph, 1, 1, outputs={"BA": "out in"}, pairs=[("B", "A")])
    assert layer.dimension == 5 * 6 * 5 * 6


@pytest.mark.parametrize("name", GRAPHS)
def test_gates_are_equivariant_and_nonlinear(name) -> None:
    graph = GRAPHS[name]
    gate = sn.nn.Gate(graph, 2).double()
    for parameter in gate.parameters():
        nn.init.normal_(parameter)
    x = draw(graph, 2)
    element = graph.random_element(seed=2)
    y = gate(x)
    assert {k: t.shape for k, t in y.items()} == {k: t.shape for k, t in x.items()}
    assert largest_difference(graph.act(element, y, 1), gate(graph.act(element, x, 1))) < 1e-9
    assert largest_difference(y, x) > 0.1


def test_gates_of_nothing_that_is_seen_are_constants() -> None:
    """LoRA has no linear invariants: its gates are biases, one for each tensor's positions, until there are products to see."""
    gate = sn.nn.Gate(GRAPHS["LoRA"], 2).double()
    x = draw(GRAPHS["LoRA"], 2)
    assert gate.linear.dimension == 0 and largest_difference(gate(x), x) == 0
    with pytest.raises(sn.GraphError, match=r"sources= names \['C'\]"):
        sn.nn.Gate(GRAPHS["LoRA"], 2, sources=["C"])


FUNCTIONS = {
    "relu": (nn.ReLU(), {"homogeneous"}),
    "leaky relu": (nn.LeakyReLU(0.2), {"homogeneous"}),
    "tanh": (nn.Tanh(), {"odd"}),
    "hardtanh": (nn.Hardtanh(), {"odd"}),
    "rms norm": (nn.RMSNorm(3), {"odd"}),
    "gelu": (nn.GELU(), set()),
    "softplus": (nn.Softplus(), set()),
    "layer norm": (nn.LayerNorm(3), set()),
    "linear": (nn.Linear(3, 4, bias=False), {"odd", "homogeneous", "linear"}),
    "affine": (nn.Linear(3, 4), set()),
    "identity": (nn.Identity(), {"odd", "homogeneous", "linear"}),
    "dropout of entries": (nn.Dropout(0.5), {"odd", "homogeneous"}),
}
SETS = {
    "odd": sn.SignedSymmetric(3),
    "homogeneous": sn.Scaled(3),
    "linear": sn.GeneralLinear(3),
    "linear, rotations": sn.Orthogonal(3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("law", SETS)
def test_pointwise_functions_are_refused_where_they_do_not_commute(name, law) -> None:
    """The table of what passes; refused when made, in a Network, and when called with a layer's features."""
    function, laws = copy.deepcopy(FUNCTIONS[name][0]), FUNCTIONS[name][1]
    graph = sn.NeuronGraph({"h": SETS[law]}, {"w": "h 2"})
    if law.split(",")[0] in laws:
        layer = sn.nn.Network(sn.nn.Linear(graph, 1, 3), sn.nn.Pointwise(function, graph)).double()
        if "dropout" not in name:  # which is random
            sn.verify.equivariance(layer, graph, seed=0).raise_if_failed()
        return
    for make in (
        lambda: sn.nn.Pointwise(function, graph),
        lambda: sn.nn.Network(sn.nn.Linear(graph, 1, 3), sn.nn.Pointwise(function)),
        lambda: nn.Sequential(sn.nn.Linear(graph, 1, 3), sn.nn.Pointwise(function))(
            draw(graph, 1, 2, torch.float32)
        ),
    ):
        with pytest.raises(sn.GraphError, match=r"of 'h' in 'w'.*Use .*sn\.nn\.Gate") as caught:
            make()
        assert type(function).__name__ in str(caught.value) and type(SETS[law]).__name__ in str(
            caught.value
        )


def test_strands_of_degree_0_allow_any_function() -> None:
    graph = sn.NeuronGraph({"h": sn.Scaled(3), "s": sn.SignedSymmetric(2)}, {"norms": "h. s."})
    sn.nn.Pointwise(nn.GELU(), graph)
    sn.nn.LayerNorm(graph, 4)
    sn.nn.Attention(graph, 4)
    assert sn.nn.Linear(graph, 2, 2).plan.bias_dimension == 1


@pytest.mark.parametrize("name", ["LoRA", "ReLU network", "rotations", "SIREN"])
def test_modules_with_shifts_and_softmaxes_are_refused(name) -> None:
    graph = GRAPHS[name]
    for make in (
        lambda: sn.nn.LayerNorm(graph, 4),
        lambda: sn.nn.Attention(graph, 4),
        lambda: sn.nn.PositionalEncoding(graph, list(graph.neurons), 2),
    ):
        with pytest.raises(sn.GraphError, match="Leave such tensors out of inputs=, or use"):
            make()


@pytest.mark.parametrize("name", GRAPHS)
def test_dropout_of_channels_commutes_with_every_group(name) -> None:
    """One factor for all entries of a tensor and channel: for one mask it is linear, so nothing is refused."""
    graph = GRAPHS[name]
    layer = sn.nn.Dropout(0.5)
    x, element = draw(graph, 3), graph.random_element(seed=3)
    torch.manual_seed(0)
    first = graph.act(element, layer(x), 1)
    torch.manual_seed(0)
    assert largest_difference(first, layer(graph.act(element, x, 1))) < 1e-12


def test_layers_save_and_differentiate_twice(tmp_path) -> None:
    graph = sn.NeuronGraph(
        {"r": sn.GeneralLinear(2), "h": sn.Scaled(2)}, {"A": "r h", "B": "h* r*"}
    )
    layer = sn.nn.Linear(graph, 1, 1, dtype=torch.float64)
    x = {name: tensor.requires_grad_() for name, tensor in draw(graph, 1, 1).items()}
    names = list(x)
    assert torch.autograd.gradgradcheck(
        lambda *tensors: tuple(layer(dict(zip(names, tensors, strict=True))).values()),
        tuple(x.values()),
    )
    torch.save(layer, tmp_path / "layer.pt")
    again = torch.load(tmp_path / "layer.pt", weights_only=False)
    assert largest_difference(again(x), layer(x)) == 0


@pytest.mark.parametrize("name", GRAPHS)
def test_whole_networks_choose_their_blocks_by_the_groups(name) -> None:
    """One call, whatever the groups are; nonlinear, and (in)variant to 1e-10."""
    graph = GRAPHS[name]
    invariant = sn.nn.InvariantNetwork(graph, 3, outputs=2, layers=1).double()
    equivariant = sn.nn.EquivariantNetwork(graph, 3, 2, layers=1).double()
    x, element = draw(graph, 1), graph.random_element(seed=4)
    moved = graph.act(element, x, 1)
    scores = invariant(x)
    assert scores.shape == (2, 2) and torch.allclose(scores, invariant(moved), atol=1e-10)
    assert not torch.allclose(scores, invariant({name: 2 * tensor for name, tensor in x.items()}))
    y = equivariant(x)
    size = max(float(tensor.detach().abs().max()) for tensor in y.values())
    assert largest_difference(graph.act(element, y, 1), equivariant(moved)) < 1e-10 * max(size, 1)


def test_whole_networks_tell_wide_fixed_sets_apart_by_gates() -> None:
    """LoRA on a wide matrix: parameters do not grow with it, and inputs are told apart."""
    sizes = []
    for width in (20, 40):
        neurons = {"in": sn.Fixed(width), "r": sn.GeneralLinear(2), "out": sn.Fixed(width)}
        graph = sn.NeuronGraph(neurons, {"A": "r in", "B": "out r*"})
        net = sn.nn.InvariantNetwork(graph, 4, outputs=1, layers=1, position_channels=2).double()
        assert net.encoded == ("in", "out")
        x = draw(graph, 1)
        moved = graph.act(graph.random_element(seed=5), x, 1)
        assert torch.allclose(net(x), net(moved), atol=1e-10)
        assert not torch.allclose(net(x), net({"A": x["A"].flip(2), "B": x["B"]}))
        sizes.append(sum(p.numel() for p in net.parameters()) - 2 * 2 * width)
    assert sizes[0] == sizes[1]


def test_networks_refuse_softmaxes_and_cosines_of_what_the_group_scales() -> None:
    for options in ({"mixing": "attention"}, {"value_waves": 4}):
        with pytest.raises(
            sn.GraphError,
            match="has softmaxes or cosines, which do not scale with the neurons of 'h1'",
        ):
            sn.nn.InvariantNetwork(GRAPHS["ReLU network"], 4, outputs=1, **options)


REPEATED = {
    "square": sn.NeuronGraph({"s": sn.Symmetric(5)}, {"w": "s s", "b": "s"}),
    "square, wide": sn.NeuronGraph({"s": sn.Symmetric(40)}, {"w": "s s"}),
    "cube": sn.NeuronGraph({"s": sn.Symmetric(8)}, {"w": "s s s"}),
    "cyclic": sn.NeuronGraph({"s": sn.Symmetric(5), "c": sn.Cyclic(3)}, {"w": "s s c", "b": "s c"}),
    "copies": sn.NeuronGraph(
        {"h": sn.Symmetric(3), "d": sn.NeuronSet(sn.Symmetric(4), over="h")}, {"w": "(h d) (h d)"}
    ),
    "signs": sn.NeuronGraph({"h": sn.SignedSymmetric(5)}, {"w": "h h"}),
    "scales": sn.NeuronGraph({"h": sn.Scaled(5)}, {"w": "h h*"}),
    "rotations": sn.NeuronGraph({"s": sn.Orthogonal(5)}, {"w": "s s", "v": "s"}),
    "rotations about the mean": sn.NeuronGraph(
        {"s": sn.Orthogonal(5, fixes_mean=True)}, {"w": "s s", "v": "s"}
    ),
    "invertible maps": sn.NeuronGraph({"s": sn.GeneralLinear(5)}, {"w": "s s*"}),
}


@pytest.mark.parametrize("name", REPEATED)
def test_repeated_strands_keep_unit_variance_through_depth(name: str) -> None:
    """Mean square of the features between 1/2 and 2 after six linear layers: without the diagonals taken out it is 2 to 9."""
    graph, squares = REPEATED[name], []
    for seed in range(6):
        torch.manual_seed(seed)
        x = draw(graph, 12, batch=4)
        for _ in range(6):
            with torch.no_grad():
                x = sn.nn.Linear(graph, 12, 12, dtype=torch.float64)(x)
        squares.append(torch.stack([value.square().mean() for value in x.values()]).mean())
    assert 0.5 < float(torch.stack(squares).mean()) < 2
