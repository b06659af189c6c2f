"""canonicalize: the same function, one form for all weights that differ by scale, sign and order, and the way back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.matching import read_scaling
from tests.cases import GRAPHS
from tests.graph.test_catalogue import CASES, Experts, conv_stack
from tests.tolerances import assert_close

C = sn.catalogue
MLP = C.mlp([3, 6, 5, 2])
BOTH = ("h1", "h2")
Weights = dict[str, Tensor]


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


def draw(graph: sn.NeuronGraph, seed: int) -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(s, generator=generator, dtype=torch.float64)
        for name, s in graph.shapes.items()
    }


def mlp(activation: type[nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(3, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, 2)
    return nn.Sequential(*layers).double()


def rescale(graph: sn.NeuronGraph, weights: Weights, names: tuple[str, ...], seed: int) -> Weights:
    """The same function for ReLU: every neuron grown or shrunk at random."""
    scaling = read_scaling(graph, names)
    generator = torch.Generator().manual_seed(seed)
    factors = {
        name: torch.randn(scaling.shape(name), generator=generator, dtype=torch.float64).exp()
        for name in names
    }
    return scaling.apply(weights, factors)


# ---- the function is preserved --------------------------------------------------------------------------------------
RELU_CNN = conv_stack(
    2, (2, 3, 4), True, nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 3)
)
for _position in (1, 4):
    RELU_CNN[_position] = nn.ReLU()
FUNCTIONS = {
    "ReLU MLP": (mlp(nn.ReLU), MLP, {"scale": BOTH, "order": True}, (7, 3)),
    "leaky ReLU MLP": (mlp(nn.LeakyReLU), MLP, {"scale": BOTH}, (7, 3)),
    "tanh MLP": (mlp(nn.Tanh), MLP, {"sign": BOTH, "order": True}, (7, 3)),
    "sine MLP": (mlp(Sine), MLP, {"sign": BOTH, "order": BOTH}, (7, 3)),
    "flattened CNN": (
        RELU_CNN,
        C.cnn([2, 3, 4], classes=3, head="flatten", positions=(2, 3), hidden=[5], pooling=True),
        {"scale": ("h1", "c2", "c1"), "order": True},
        (2, 2, 8, 12),
    ),
    # Values go into a linear map of their own, so their scale within a head is free as well.
    "attention": (
        CASES["grouped-query attention"].model(),
        CASES["grouped-query attention"].graph("fixed"),
        {"scale": {"vo": ["v_proj.weight"], "qk": ["q_proj.weight"]}, "order": True},
        (2, 3, 8),
    ),
    "tanh experts": (
        Experts(4, 3, 3, True),
        C.experts(4, 3, 3, bias=True),
        {"sign": ["f"], "order": True},
        (5, 4),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_function_is_preserved_and_the_way_back_is_exact(name: str) -> None:
    model, graph, options, shape = FUNCTIONS[name]
    model = model.double().eval()
    canonical = sn.canonicalize(model, graph, **options)
    x = torch.randn(shape, dtype=torch.float64)
    state = dict(canonical.weights)
    with torch.no_grad():
        y, after = model(x), torch.func.functional_call(model, state, (x,))
    assert float((y - after).abs().max()) <= 1e-12 * (1 + float(y.abs().max()))
    assert canonical.verify(model, x, tolerance=1e-12).passed
    assert_close(canonical.restore(), {key: t.detach() for key, t in model.state_dict().items()})
    assert not torch.equal(torch.cat([t.reshape(-1) for t in state.values()]), _flat(model))


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([t.detach().reshape(-1) for t in model.state_dict().values()])


@pytest.mark.parametrize(
    ("activation", "options"), [(nn.Tanh, {"scale": BOTH}), (nn.ReLU, {"sign": BOTH})]
)
def test_a_wrong_claim_is_found_by_verify(activation: type[nn.Module], options: dict) -> None:
    """Tanh has no free scale and ReLU no free sign: the graph cannot know, the check does."""
    model = mlp(activation)
    report = sn.canonicalize(model, MLP, **options).verify(model, torch.randn(9, 3))
    assert not report.passed and report.max_error > 1e-3


# ---- one form for equal networks ------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_equal_networks_get_one_form(seed: int) -> None:
    """Any rescaling and any element, signs included, lead to the same weights; doing it twice changes nothing."""
    weights = draw(MLP, seed)
    signed = MLP.with_groups({name: sn.SignedSymmetric(MLP.neurons[name].size) for name in BOTH})
    for graph, options in (
        (MLP, {"scale": BOTH, "order": True}),
        (signed, {"sign": True, "order": True}),
        (signed, {"scale": ("h2", "h1"), "sign": True, "order": True}),
    ):
        other = graph.act(graph.random_element(seed + 50), weights)
        if "scale" in options:
            other = rescale(graph, other, BOTH, seed)
        form = sn.canonicalize(weights, graph, **options)
        assert_close(dict(sn.canonicalize(other, graph, **options).weights), dict(form.weights))
        assert_close(
            dict(sn.canonicalize(form.weights, graph, **options).weights), dict(form.weights)
        )
        assert form.ties == ()


SORTABLE = [
    name
    for name, graph in GRAPHS.items()
    if graph.order > 1
    and all(
        isinstance(s.group, sn.Symmetric | sn.SignedSymmetric | sn.Fixed)
        for s in graph.neurons.values()
    )
]


@pytest.mark.parametrize("name", SORTABLE)
def test_order_and_signs_are_canonical_on_every_graph(name: str) -> None:
    """Heads with their dims, repeated and concatenated axes, copies over fixed sets, signs: one form an orbit."""
    graph = GRAPHS[name]
    for seed in range(4):
        weights = draw(graph, seed)
        form = sn.canonicalize(weights, graph, order=True, sign=True)
        other = sn.canonicalize(
            graph.act(graph.random_element(seed), weights), graph, order=True, sign=True
        )
        assert form.ties == ()
        assert_close(dict(other.weights), dict(form.weights))
        assert_close(graph.act(form.element, weights), dict(form.weights))


def test_heads_are_put_in_order_after_their_dims() -> None:
    """Two heads that only the pairing of their dims' weights tells apart: dims come first, so that it can."""
    graph = sn.NeuronGraph(
        {"head": sn.Symmetric(2), "dim": sn.NeuronSet(sn.Symmetric(2), over="head")},
        {"w": "(head dim)", "v": "(head dim)"},
    )
    weights = {"w": torch.tensor([1.0, 2.0, 1.0, 2.0]), "v": torch.tensor([1.0, 2.0, 2.0, 1.0])}
    form = sn.canonicalize(weights, graph, order=True)
    assert form.ties == ()
    for seed in range(8):
        moved = graph.act(graph.random_element(seed), weights)
        assert_close(dict(sn.canonicalize(moved, graph, order=True).weights), dict(form.weights))


def test_signs_not_yet_decided_do_not_sway_the_order() -> None:
    """A set that is put in order before its neighbour has signs: magnitudes decide."""
    graph = sn.NeuronGraph({"h": sn.Symmetric(4), "s": sn.SignedSymmetric(3)}, {"w": "h s"})
    weights = draw(graph, 0)
    form = sn.canonicalize(weights, graph, order=True, sign=True)
    for seed in range(8):
        moved = graph.act(graph.random_element(seed), weights)
        assert_close(
            dict(sn.canonicalize(moved, graph, order=True, sign=True).weights), dict(form.weights)
        )


def test_scales_of_copies_reach_the_right_neurons() -> None:
    """A child written before its parent: each neuron's outgoing weights take the norm of that neuron."""
    graph = sn.NeuronGraph(
        {"head": sn.Symmetric(2), "dim": sn.NeuronSet(sn.Symmetric(3), over="head")},
        {"w": "(head dim) 4", "v": "dim head 2"},
    )
    weights = draw(graph, 5)
    form = sn.canonicalize(weights, graph, scale={"dim": ["w"]})
    norms = weights["w"].view(2, 3, 4).norm(dim=-1)  # (head, dim)
    assert torch.allclose(form.weights["v"], weights["v"] * norms.T[..., None])


def test_scales_are_what_was_removed() -> None:
    """Every neuron's incoming weights and bias have norm 1 afterwards, and the scales are the norms before."""
    weights = draw(MLP, 3)
    form = sn.canonicalize(weights, MLP, scale=["h1"])
    norm = torch.cat([weights["0.weight"], weights["0.bias"][:, None]], 1).norm(dim=1)
    assert torch.allclose(form.scales["h1"], norm)
    assert torch.allclose(
        form.weights["0.weight"].square().sum(1) + form.weights["0.bias"] ** 2,
        torch.ones(6).double(),
    )
    assert torch.equal(form.weights["4.weight"], weights["4.weight"])


def test_dead_neurons_keep_their_weights() -> None:
    """A neuron without incoming weights has no scale: nothing is divided by zero, nothing is lost."""
    weights = draw(MLP, 0)
    weights["0.weight"][2], weights["0.bias"][2] = 0, 0
    form = sn.canonicalize(weights, MLP, scale=BOTH)
    assert form.scales["h1"][2] == 1 and all(t.isfinite().all() for t in form.weights.values())
    assert_close(form.restore(), weights)


def test_ties_are_reported() -> None:
    """Two neurons that are equal in everything can have either order: said in words, as is a sign that nothing decides."""
    graph = C.mlp([2, 3, 1])
    weights = {"0.weight": torch.tensor([[1.0, 2], [1, 2], [0, 0]]), "0.bias": torch.zeros(3)}
    weights |= {"2.weight": torch.tensor([[5.0, 5, 0]]), "2.bias": torch.zeros(1)}
    form = sn.canonicalize(weights, graph, sign=["h1"], order=True)
    assert len(form.ties) == 2
    assert (
        "sign of 1 neurons of 'h1'" in form.ties[0] and "order of neurons of 'h1'" in form.ties[1]
    )
    assert "undecided" in repr(form)


def test_float32_weights_stay_float32_and_inputs_are_left_alone() -> None:
    model = mlp(nn.ReLU).float()
    kept = {name: t.clone() for name, t in model.state_dict().items()}
    form = sn.canonicalize(model, MLP, scale=BOTH, order=True)
    assert {t.dtype for t in form.weights.values()} == {torch.float32}
    assert form.verify(model, torch.randn(4, 3)).passed
    assert_close(dict(model.state_dict()), kept, torch.float32)


# ---- what cannot be a symmetry is refused ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("graph", "options", "words"),
    [
        (MLP, {}, "nothing to remove"),
        (MLP, {"scale": ["h9"]}, "scale names 'h9'"),
        (MLP, {"scale": ["out"]}, "no outgoing"),
        (MLP, {"scale": ["in"]}, "no incoming"),
        (MLP, {"sign": ["in"]}, "'in', whose group is Fixed"),
        (MLP, {"order": ["h9"]}, "order names 'h9'"),
        (C.rnn(2, 4), {"scale": ["h1"]}, r"twice.*recurrent"),
        (C.lstm(2, 4, classes=2), {"scale": ["h1"]}, "recurrent"),
        (C.resnet((3, 4), (1,), 2), {"scale": ["stage1.0"]}, "norms take a scale out"),
        (C.resnet((3, 4), (1,), 2), {"scale": ["stage1"]}, "residual stream"),
        (MLP, {"scale": {"h1": ["4.weight"]}}, "'4.weight' cannot come into or go out of 'h1'"),
        (
            MLP,
            {"scale": {"h1": {"in": ["0.weight"], "out": ["0.weight"]}}},
            "both come into 'h1' and go out",
        ),
        (MLP, {"scale": {"h1": {"out": ["2.weight"]}}}, r"write \{'in'"),
        (GRAPHS["rotations"], {"order": ["x"]}, "may not be exchanged"),
    ],
)
def test_what_is_no_symmetry_is_refused(graph: sn.NeuronGraph, options: dict, words: str) -> None:
    with pytest.raises(sn.GraphError, match=words):
        sn.canonicalize(draw(graph, 0), graph, **options)


def test_a_norm_gives_up_its_scale_when_its_tensors_are_named() -> None:
    """conv -> batch norm -> ReLU -> conv: the norm's weight and bias come in, what lies before it takes no part."""
    case = CASES["resnet"]
    torch.manual_seed(0)
    model, graph = case.model().double().eval(), case.graph("fixed")
    norm, after = ["layer1.0.bn1.weight", "layer1.0.bn1.bias"], ["layer1.0.conv2.weight"]
    with torch.no_grad():
        for tensor in norm:
            model.get_parameter(tensor).normal_()
    x = torch.randn(2, 3, 6, 6)
    form = sn.canonicalize(model, graph, scale={"stage1.0": {"in": norm, "out": after}})
    assert (
        form.verify(model, x, tolerance=1e-12).passed
        and float((form.scales["stage1.0"] - 1).abs().max()) > 0.1
    )
    # Without naming what goes out, the convolution before the norm and the running statistics would be taken for it.
    assert not sn.canonicalize(model, graph, scale={"stage1.0": norm}).verify(model, x).passed
