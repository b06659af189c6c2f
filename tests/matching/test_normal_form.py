"""Laws of normal forms: the function stays, whole orbits have one form up to what is left, and
degenerate cases are defined.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.matching import ClassMean, Gain, Phase, Shift, Unread
from tests.verify.continuous_models import Attention, Llama, LoRA, mlp

Tensors = dict[str, Tensor]


def relu_graph(sizes: list[int], group: Callable[[int], object] = sn.Scaled) -> sn.NeuronGraph:
    """An MLP whose hidden neurons have a group of their own, with dual strands where they are
    read.
    """
    hidden = [f"h{k}" for k in range(1, len(sizes) - 1)]
    names = ["in", *hidden, "out"]
    neurons = {
        "in": sn.Fixed(sizes[0]),
        **{h: group(n) for h, n in zip(hidden, sizes[1:-1], strict=True)},
        "out": sn.Fixed(sizes[-1]),
    }
    tensors = {}
    for k, (source, target) in enumerate(zip(names[:-1], names[1:], strict=True)):
        tensors |= {
            f"{2 * k}.weight": f"{target} {source}{'*' if k else ''}",
            f"{2 * k}.bias": target,
        }
    return sn.NeuronGraph(neurons, tensors)


LORA = sn.NeuronGraph(
    {"in": sn.Fixed(5), "r": sn.GeneralLinear(2), "out": sn.Fixed(6)},
    {"lora_A": "r in", "lora_B": "out r*"},
)
HEADS = sn.NeuronGraph(
    {
        **{"m": sn.Fixed(6), "head": sn.Symmetric(2)},
        **{
            "qk": sn.NeuronSet(sn.GeneralLinear(3), over="head"),
            "vo": sn.NeuronSet(sn.GeneralLinear(3), over="head"),
        },
    },
    {
        **{
            "q.weight": "(head qk) m",
            "k.weight": "(head qk*) m",
            "v.weight": "(head vo) m",
            "o.weight": "m (head vo*)",
        },
        **{"q.bias": "(head qk)", "v.bias": "(head vo)", "k.bias": "6", "o.bias": "m"},
    },
)
# Rotary planes and the scale of the stream are no groups of a declaration; queries and keys stay as
# they are.
LLAMA = sn.NeuronGraph(
    {
        **{"m": sn.Orthogonal(6), "f": sn.Scaled(5), "head": sn.Symmetric(2)},
        "vo": sn.NeuronSet(sn.GeneralLinear(4), over="head"),
    },
    {
        **{
            "embed.weight": "9 m",
            "head.weight": "9 m",
            "attention.q.weight": "(head 4) m",
            "attention.k.weight": "(head 4) m",
        },
        **{"attention.v.weight": "(head vo) m", "attention.o.weight": "m (head vo*)"},
        **{"mlp.gate.weight": "f. m", "mlp.up.weight": "f m", "mlp.down.weight": "m f*"},
    },
)
CENTRED = LLAMA.with_groups({"m": sn.Orthogonal(6, fixes_mean=True)})
TOKENS = torch.randint(9, (4, 7), generator=torch.Generator().manual_seed(0))


class Square(nn.Module):
    """A recurrent ReLU layer without a bias: every state comes from the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.step, self.read = (
            nn.Linear(*s, bias=False) for s in ((3, 4), (4, 4), (4, 2))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.read(torch.relu(self.step(torch.relu(self.start(x)))))


SQUARE = sn.NeuronGraph(
    {"in": sn.Fixed(3), "h": sn.Scaled(4), "out": sn.Fixed(2)},
    {"start.weight": "h in", "step.weight": "h h*", "read.weight": "out h*"},
)
CASES: dict[str, tuple[Callable[[], nn.Module], sn.NeuronGraph, Tensor]] = {
    "relu": (lambda: mlp([3, 5, 4, 2], torch.relu), relu_graph([3, 5, 4, 2]), torch.randn(8, 3)),
    "tanh": (
        lambda: mlp([3, 5, 4, 2], torch.tanh),
        relu_graph([3, 5, 4, 2], sn.SignedSymmetric),
        torch.randn(8, 3),
    ),
    "lora": (lambda: LoRA(6, 2, 5), LORA, torch.randn(8, 5)),
    "attention": (lambda: Attention(6, 2, 3, bias=True), HEADS, torch.randn(3, 4, 6)),
    "llama": (Llama, LLAMA, TOKENS),
    "layer norm llama": (lambda: Llama("layer"), CENTRED, TOKENS),
}


def outputs(model: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    return torch.func.functional_call(
        model, tensors, (x if not x.is_floating_point() else x.double(),)
    )


def made(name: str) -> tuple[nn.Module, sn.NeuronGraph, Tensor, Tensors]:
    make, graph, x = CASES[name]
    torch.manual_seed(0)
    model = make().double()
    tensors = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    return model, graph, x, tensors


@pytest.mark.parametrize("name", CASES)
def test_the_function_stays(name: str) -> None:
    model, graph, x, tensors = made(name)
    normal, left = sn.normal_form(tensors, graph)
    torch.testing.assert_close(
        outputs(model, normal, x), outputs(model, tensors, x), rtol=1e-9, atol=1e-9
    )
    assert any(not torch.equal(normal[key], tensors[key]) for key in tensors)
    assert left.dimension == 0 and set(left.tensors) == set(graph.tensors) and left.notes


@pytest.mark.parametrize("name", CASES)
def test_an_orbit_has_one_form_up_to_what_is_left(name: str) -> None:
    """Moved by a random element first: the forms differ by an element of the graph that is left,
    which align finds.
    """
    _, graph, _, tensors = made(name)
    moved = graph.act(graph.random_element(seed=3), tensors)
    (normal, left), (other, _) = sn.normal_form(tensors, graph), sn.normal_form(moved, graph)
    found = sn.align(normal, other, left, starts=6)
    scale = sum(float(t.square().sum()) for t in normal.values()) ** 0.5
    assert found.distance_after < 1e-8 * scale


def test_the_order_of_declaration_does_not_matter() -> None:
    """The second layer's norms depend on the first layer's scales, also where it is declared first."""
    _, graph, _, tensors = made("relu")
    reversed_graph = sn.NeuronGraph(dict(reversed(graph.neurons.items())), graph.tensors)
    moved = graph.act(graph.random_element(seed=3), tensors)
    normal, left = sn.normal_form(tensors, reversed_graph)
    other, _ = sn.normal_form(moved, reversed_graph)
    assert sn.align(normal, other, left, starts=6).distance_after < 1e-9


def test_a_form_is_its_own_form() -> None:
    for name in ("relu", "lora", "llama"):
        _, graph, _, tensors = made(name)
        once, _ = sn.normal_form(tensors, graph)
        twice, left = sn.normal_form(once, graph)
        assert sn.align(once, twice, left).distance_after < 1e-9


def test_relu_norms_signs_and_singular_values_are_what_is_said() -> None:
    _, graph, _, tensors = made("relu")
    normal, left = sn.normal_form(tensors, graph)
    rows = torch.cat([normal["2.weight"], normal["2.bias"][:, None]], 1)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4).double())
    assert left == sn.catalogue.mlp([3, 5, 4, 2])
    _, graph, _, tensors = made("tanh")
    normal, left = sn.normal_form(tensors, graph)
    assert (
        normal["0.weight"].pow(3).sum(1) + normal["0.bias"].pow(3) >= 0
    ).all() and left.order == 120 * 24
    _, graph, _, tensors = made("lora")
    normal, left = sn.normal_form(tensors, graph)
    values = torch.linalg.svdvals(tensors["lora_B"] @ tensors["lora_A"])[:2]
    torch.testing.assert_close(normal["lora_A"].square().sum(1), values)
    torch.testing.assert_close(normal["lora_B"].square().sum(0), values)
    assert left.neurons["r"].group == sn.SignedSymmetric(2)


def test_neurons_without_weights_keep_them_and_gradients_are_finite() -> None:
    """A dead ReLU neuron, an adapter at its start (B = 0), one of lower rank."""
    _, graph, _, tensors = made("relu")
    tensors["0.weight"][1], tensors["0.bias"][1] = 0, 0
    normal, _ = sn.normal_form(tensors, graph)
    assert torch.equal(normal["0.weight"][1], torch.zeros(3).double()) and all(
        t.isfinite().all() for t in normal.values()
    )
    _, graph, _, tensors = made("lora")
    start = tensors | {"lora_B": torch.zeros(6, 2).double()}
    low = tensors | {"lora_A": tensors["lora_A"][:1].repeat(2, 1)}
    for adapter in (start, low):
        normal, _ = sn.normal_form(adapter, graph)
        torch.testing.assert_close(
            normal["lora_B"] @ normal["lora_A"], adapter["lora_B"] @ adapter["lora_A"]
        )


def test_equal_singular_values_and_axes_keep_the_function() -> None:
    """Where the choice of axes is any, some choice is made."""
    orthogonal, _ = torch.linalg.qr(torch.randn(6, 6).double())
    adapter = {"lora_A": torch.eye(2, 5).double() * 3, "lora_B": orthogonal[:, :2]}
    normal, _ = sn.normal_form(adapter, LORA)
    torch.testing.assert_close(
        normal["lora_B"] @ normal["lora_A"], adapter["lora_B"] @ adapter["lora_A"]
    )
    stream = sn.NeuronGraph({"m": sn.Orthogonal(4)}, {"in": "m 4", "out": "4 m"})
    same = {"in": torch.eye(4).double(), "out": torch.eye(4).double()}
    normal, _ = sn.normal_form(same, stream)
    torch.testing.assert_close(normal["out"] @ normal["in"], torch.eye(4).double())


@pytest.mark.parametrize("name", ["relu", "tanh", "lora", "llama"])
def test_batches_are_their_networks_one_by_one(name: str) -> None:
    _, graph, _, tensors = made(name)
    several = [tensors, {key: torch.randn_like(value) for key, value in tensors.items()}]
    batch = {key: torch.stack([one[key] for one in several]).unsqueeze(-1) for key in tensors}
    normal, left = sn.normal_form(batch, graph, batch_dims=1)
    for k, one in enumerate(several):
        alone, _ = sn.normal_form(one, graph)
        found = sn.align(alone, {key: value[k, ..., 0] for key, value in normal.items()}, left)
        assert found.distance_after < 1e-9


@pytest.mark.parametrize("name", ["relu", "lora"])
def test_gradients_agree_with_differences_twice(name: str) -> None:
    _, graph, _, tensors = made(name)
    keys = list(tensors)

    def form(*values: Tensor) -> tuple[Tensor, ...]:
        normal, _ = sn.normal_form(dict(zip(keys, values, strict=True)), graph)
        return tuple(normal[key] for key in keys)

    inputs = tuple(tensors[key].clone().requires_grad_() for key in keys)
    assert torch.autograd.gradcheck(form, inputs)
    assert torch.autograd.gradgradcheck(form, inputs, fast_mode=True)


def test_single_precision_stays_what_it_is() -> None:
    _, graph, _, tensors = made("relu")
    single = {key: value.float() for key, value in tensors.items()}
    normal, _ = sn.normal_form(single, graph)
    assert all(value.dtype == torch.float32 for value in normal.values())


def test_a_recurrent_relu_layer_is_scaled_by_what_comes_in_from_outside() -> None:
    torch.manual_seed(0)
    model, x = Square().double(), torch.randn(5, 3).double()
    normal, left = sn.normal_form(model, SQUARE)
    torch.testing.assert_close(outputs(model, normal, x), model(x), rtol=1e-9, atol=1e-9)
    assert left.neurons["h"].group == sn.Symmetric(4)


# ---- folds ---------------------------------------------------------------------------------------
def test_gains_are_folded_into_what_reads_the_stream() -> None:
    """Folded, the stream of RMSNorm can be rotated; before, rotating it changes the function."""
    torch.manual_seed(0)
    model = Llama(gain=True).double()
    tensors = {key: torch.rand_like(value) + 0.5 for key, value in model.state_dict().items()}
    folds = [
        Gain(
            "norms.0.weight",
            dict.fromkeys(("attention.q.weight", "attention.k.weight", "attention.v.weight"), 1),
        ),
        Gain("norms.1.weight", {"mlp.gate.weight": 1, "mlp.up.weight": 1}),
        Gain("norms.2.weight", {"head.weight": 1}),
    ]
    axes = dict(LLAMA.tensors) | {f"norms.{k}.weight": "6" for k in range(3)}
    graph = sn.NeuronGraph(LLAMA.neurons, axes)
    before = outputs(model, tensors, TOKENS)
    folded, left = sn.normal_form(tensors, graph, folds=folds)
    torch.testing.assert_close(outputs(model, folded, TOKENS), before, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(folded[f"norms.{k}.weight"], torch.ones(6).double()) for k in range(3))
    assert set(left.tensors) == set(LLAMA.tensors) and len(left.notes) == 6
    unfolded, _ = sn.normal_form(tensors, graph)
    assert float((outputs(model, unfolded, TOKENS) - before).abs().max()) > 0.1


def test_attention_biases_fold() -> None:
    model, graph, x, tensors = made("attention")
    folds = [Unread("k.bias"), Shift("v.bias", "o.weight", "o.bias")]
    folded, left = sn.normal_form(tensors, graph, folds=folds)
    torch.testing.assert_close(
        outputs(model, folded, x), outputs(model, tensors, x), rtol=1e-9, atol=1e-9
    )
    assert (
        not folded["k.bias"].any() and not folded["v.bias"].any() and "v.bias" not in left.tensors
    )


def test_class_means_leave_probabilities() -> None:
    model, _, x, tensors = made("relu")
    folded, _ = sn.normal_form(
        tensors, relu_graph([3, 5, 4, 2]), folds=[ClassMean(("4.weight", "4.bias"))]
    )
    before, after = outputs(model, tensors, x), outputs(model, folded, x)
    torch.testing.assert_close(after.softmax(-1), before.softmax(-1), rtol=1e-9, atol=1e-9)
    assert float(folded["4.weight"].sum(0).abs().max()) < 1e-12


def test_siren_phases_fold() -> None:
    """sin(30 (W x + b)): biases of any size come within a quarter of a period, and half periods
    change signs.
    """
    frequency = 30.0
    model = mlp([3, 5, 4, 2], lambda x: torch.sin(frequency * x)).double()
    torch.manual_seed(0)
    tensors = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    folds = [
        Phase("0.bias", {"2.weight": 1}, frequency),
        Phase("2.bias", {"4.weight": 1}, frequency),
    ]
    x = torch.randn(8, 3)
    folded, left = sn.normal_form(
        tensors, relu_graph([3, 5, 4, 2], sn.SignedSymmetric), folds=folds
    )
    torch.testing.assert_close(
        outputs(model, folded, x), outputs(model, tensors, x), rtol=1e-9, atol=1e-9
    )
    assert (
        float(folded["0.bias"].abs().max()) <= torch.pi / frequency / 2 + 1e-12
        and left.order == 120 * 24
    )


# ---- what is refused -----------------------------------------------------------------------------
def test_forms_that_are_not_defined_are_refused() -> None:
    space = sn.NeuronGraph(
        {"s": sn.GeneralLinear(3), "u": sn.Fixed(2)}, {"A": "s s*", "B": "s u", "C": "u s*"}
    )
    weights = {name: torch.randn(shape) for name, shape in space.shapes.items()}
    with pytest.raises(sn.GraphError, match="twice"):
        sn.normal_form(weights, space)
    chain = sn.NeuronGraph(
        {"a": sn.GeneralLinear(2), "b": sn.GeneralLinear(2)}, {"1": "a 3", "2": "b a*", "3": "3 b*"}
    )
    with pytest.raises(sn.GraphError, match="circle"):
        sn.normal_form({name: torch.randn(shape) for name, shape in chain.shapes.items()}, chain)
    with pytest.raises(sn.ShapeError, match="lora_A"):
        sn.normal_form({"lora_B": torch.randn(6, 2)}, LORA)
    with pytest.raises(sn.GraphError, match="names 'nothing'"):
        sn.normal_form(made("lora")[3], LORA, folds=[Unread("nothing")])
