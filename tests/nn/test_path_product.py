"""PathProduct: equal to matrix products worked by hand and to derivatives of networks without nonlinearities; equivariant."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

import symnet as sn
from symnet.graph.notation import print_axes
from symnet.plan.path_plan import plan_path
from tests.cases import GRAPHS, mlp
from tests.tolerances import assert_close


def random_features(
    graph: sn.NeuronGraph, channels: int = 1, batch: int = 2
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(batch, *shape, channels, dtype=torch.float64, generator=generator)
        for name, shape in graph.shapes.items()
    }


# ---- by the graph's own order -------------------------------------------------------------------------------------------
def test_an_mlp_gives_the_products_of_its_matrices_before_and_after_every_set() -> None:
    graph = mlp(2, 4, 5, 3, io="fixed")
    x = random_features(graph, 2)
    first, second, third = (x[f"{k}.weight"].movedim(-1, 1) for k in (0, 2, 4))
    expected = {
        "h3 h0": third @ second @ first,
        "h1 h0": first,
        "h2 h0": second @ first,
        "h3 h2": third,
        "h3 h1": third @ second,
    }
    assert_close(
        sn.nn.PathProduct(graph)(x),
        {name: value.movedim(1, -1) for name, value in expected.items()},
    )
    only = sn.nn.PathProduct(graph, hidden=False)(x)
    assert_close(only, {"h3 h0": expected["h3 h0"].movedim(1, -1)})


def test_residual_streams_are_sums_and_heads_are_contracted_with_their_copies() -> None:
    graph = sn.NeuronGraph(
        {
            "in": sn.Fixed(2),
            "m": sn.Symmetric(3),
            "f": sn.Symmetric(4),
            "head": sn.Symmetric(2),
            "vo": sn.NeuronSet(sn.Symmetric(2), over="head"),
            "out": sn.Fixed(2),
        },
        {
            "embed": "m in",
            "v": "(head vo) m",
            "o": "m (head vo)",
            "up": "f m",
            "down": "m f",
            "head": "out m",
            "gain": "m",
        },
    )
    x = random_features(graph)
    embed, v, o, up, down, head = (x[n][..., 0] for n in ("embed", "v", "o", "up", "down", "head"))
    one = torch.eye(3, dtype=torch.float64)
    stream = (one + down @ up) @ (one + o @ v)
    path = sn.nn.PathProduct(graph)
    y = path(x)
    assert torch.allclose(y["out in"][..., 0], head @ stream @ embed)
    assert torch.allclose(y["out f"][..., 0], head @ down)
    assert torch.allclose(y["out m"][..., 0], head @ stream)
    assert torch.allclose(y["out (head vo)"][..., 0], head @ (one + down @ up) @ o)
    report = sn.verify.equivariance(path, graph, outputs=notation(path), seed=0)
    assert report.passed, report


def test_taps_are_kept_beside_their_end_or_averaged() -> None:
    graph = sn.catalogue.cnn([1, 4, 3], kernel_size=3, classes=2)
    x = random_features(graph)
    first, second = (x[n][..., 0].flatten(3) for n in ("0.weight", "2.weight"))
    head = x[list(x)[-2]][..., 0]
    kept = torch.einsum("boc,bcds,bdit->boits", head, second, first).flatten(2)
    assert torch.allclose(sn.nn.PathProduct(graph)(x)["out in"][..., 0], kept)
    averaged = torch.einsum("boc,bcd,bdit->boit", head, second.mean(-1), first).flatten(2)
    assert torch.allclose(sn.nn.PathProduct(graph, most=9)(x)["out in"][..., 0], averaged)


def test_ends_need_no_name() -> None:
    """Traced graphs have whole numbers for the axes of inputs and outputs."""
    graph = sn.NeuronGraph(
        {"c": sn.Symmetric(4)}, {"0.weight": "c 2 3 3", "0.bias": "c", "3.weight": "5 (c 6)"}
    )
    x = random_features(graph)
    head, stem = x["3.weight"][..., 0].view(2, 5, 4, 6), x["0.weight"][..., 0].flatten(3)
    path = sn.nn.PathProduct(graph)
    expected = torch.einsum("bocp,bcit->boitp", head, stem).flatten(2)
    assert torch.allclose(path(x)["5 2"][..., 0], expected)
    assert notation(path) == {"5 2": "5 (2 9 6)", "c 2": "c (2 9)", "5 c": "(5 6) c"}


@pytest.mark.parametrize("name", ["mlp fixed", "cnn", "odd activations"])
def test_every_product_is_equivariant(name) -> None:
    graph = GRAPHS[name]
    path = sn.nn.PathProduct(graph)
    report = sn.verify.equivariance(path, graph, 2, outputs=notation(path), seed=0)
    assert report.passed, report


def test_sets_are_contracted_only_with_their_duals() -> None:
    relu = sn.NeuronGraph(
        {"x": sn.Fixed(2), "h": sn.Scaled(4), "r": sn.GeneralLinear(3), "y": sn.Fixed(2)},
        {"in": "h x", "A": "r h*", "B": "y r*", "other": "y h"},
    )
    path = sn.nn.PathProduct(relu)
    assert notation(path) == {
        "y x": "y x",
        "h x": "h x",
        "r x": "r x",
        "y r*": "y r*",
        "y h*": "y h*",
    }
    report = sn.verify.equivariance(path, relu, outputs=notation(path), seed=0)
    assert report.passed, report


def notation(path: sn.nn.PathProduct) -> dict[str, str]:
    return {name: print_axes(tensor.axes) for name, tensor in path.outputs.items()}


def test_the_plan_says_what_is_multiplied_and_what_it_costs() -> None:
    plan = plan_path(sn.catalogue.mlp([10, 100, 100, 5]))
    assert "h2 in = 2.weight (100 x 100) x 100 x 10" in repr(plan)
    assert plan.cost().multiplies == 100 * 100 * 10 + 5 * 100 * 10 + 100 * 100 * 5
    with pytest.raises(
        sn.GraphError, match="No chain of tensors leads from one Fixed set to another"
    ):
        plan_path(mlp(2, 3, 2))


# ---- by a module's own program --------------------------------------------------------------------------------------------
class Convolutions(nn.Module):
    """Strides, padding, groups, batch norm, a residual sum, pooling, a flatten head; nonlinearities as given."""

    def __init__(self, activation: type[nn.Module], pool: type[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.activation = activation()
        self.pool = pool(2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm(self.stem(x)))
        x = self.activation(x + self.inner(x))
        return self.head(self.pool(x).flatten(1)).log_softmax(-1)


class InPlaceReLU(nn.ReLU):
    def __init__(self) -> None:
        super().__init__(inplace=True)


def shaken(module: nn.Module) -> nn.Module:
    """In evaluation, its state entries random and its variances positive."""
    torch.manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(
                torch.randn(tensor.shape).abs() + 0.5
                if name.endswith("var")
                else torch.randn(tensor.shape)
            )
    return module.eval()


@pytest.mark.parametrize("activation", [InPlaceReLU, nn.GELU, nn.Tanh, nn.LeakyReLU])
def test_convolutions_compose_with_strides_padding_pooling_and_norms(activation) -> None:
    """The derivative of the same network without nonlinearities, and mean pooling for maximum pooling."""
    module = shaken(Convolutions(activation, nn.MaxPool2d))
    linear = Convolutions(nn.Identity, nn.AvgPool2d).double().eval()
    linear.load_state_dict(module.state_dict())
    images = torch.randn(2, 2, 8, 8)
    graph = sn.trace(module, images)
    path = sn.nn.PathProduct(graph, module, images)
    x = {name: value.double() for name, value in sn.features(module, graph).items()}
    y = path(x)

    def call(state: dict, image: torch.Tensor) -> torch.Tensor:
        hidden = functional_call(linear, state, (image,))
        return hidden[0]

    # log_softmax is the identity
    linear.forward = lambda image: linear.head(  # type: ignore[method-assign]
        linear.pool((z := linear.norm(linear.stem(image))) + linear.inner(z)).flatten(1)
    )
    state = {
        name: value.double()
        for name, value in linear.state_dict().items()
        if value.is_floating_point()
    }
    zero = torch.zeros(1, 2, 8, 8, dtype=torch.float64)
    assert torch.allclose(
        y["out in"][0, ..., 0], jacrev(call, argnums=1)(state, zero).reshape(3, -1), atol=1e-10
    )
    by_bias = jacrev(lambda bias: call({**state, "stem.bias": bias}, zero))(state["stem.bias"])
    assert torch.allclose(y["out stem.weight"][0, ..., 0], by_bias, atol=1e-10)
    stem = jacrev(lambda image: linear.stem(image)[0].mean((1, 2)))(zero).reshape(4, -1)
    assert torch.allclose(y["stem.weight in"][0, ..., 0], stem, atol=1e-10)
    report = sn.verify.equivariance(path, graph, outputs=notation(path), seed=0, trials=1)
    assert report.passed, report


class Block(nn.Module):
    """Attention (written out, or fused), layer norms, a gated MLP; tokens in."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.table = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.qkv = nn.Linear(4, 12)
        self.out = nn.Linear(4, 4, bias=False)
        self.gate, self.up, self.down = (
            nn.Linear(4, 6),
            nn.Linear(4, 6),
            nn.Linear(6, 4, bias=False),
        )
        self.head = nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 2, 2)).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.mT / 2**0.5
            mask = torch.ones(tokens.shape[1], tokens.shape[1]).tril().bool()
            mixed = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return self.head(x.mean(1)).softmax(-1)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_looks_everywhere_alike_norms_do_not_divide_and_gates_are_open(fused) -> None:
    module = shaken(Block(fused))
    tokens = torch.randint(0, 7, (2, 3))
    graph = sn.trace(module, tokens)
    path = sn.nn.PathProduct(graph, module, tokens, hidden=False)
    state = {name: value.double() for name, value in module.state_dict().items()}
    centre = torch.eye(4, dtype=torch.float64) - 0.25
    value = state["qkv.weight"][8:] @ torch.diag(state["norm.weight"]) @ centre
    looks = torch.tensor(
        [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64
    )  # (to, from)
    one = torch.eye(4, dtype=torch.float64)
    last = state["head.weight"] @ (one + state["down.weight"] @ state["up.weight"])
    mixed = torch.einsum("st,ij->sitj", looks, state["out.weight"] @ value) + torch.einsum(
        "st,ij->sitj", torch.eye(3, dtype=torch.float64), one
    )
    expected = torch.einsum("oi,sitj,vj->otv", last / 3, mixed, state["table.weight"]).flatten(1)
    x = {name: tensor.double() for name, tensor in sn.features(module, graph).items()}
    assert torch.allclose(path(x)["out in"][0, ..., 0], expected, atol=1e-10)


def test_modules_of_torch_and_copies_batches_channels_and_derivatives() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    images = torch.randn(2, 4, 8)
    graph = sn.trace(module, images)
    path = sn.nn.PathProduct(graph, module, images)
    assert not list(path.parameters()) and not path.state_dict()
    x = random_features(graph, 2, batch=3)
    y = path(x)
    report = sn.verify.equivariance(path, graph, outputs=notation(path), seed=0, trials=1, batch=2)
    assert report.passed, report
    single = path({name: value[1:2, ..., 1:] for name, value in x.items()})
    assert_close(single, {name: value[1:2, ..., 1:] for name, value in y.items()})
    assert_close(copy.deepcopy(path)(x), y)
    empty = path({name: value[:0] for name, value in x.items()})
    assert [tuple(v.shape) for v in empty.values()] == [(0, *v.shape[1:]) for v in y.values()]
    weight = x["linear1.weight"].requires_grad_()
    (gradient,) = torch.autograd.grad(path(x)["out in"].square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), weight)
    assert bool(second.isfinite().all()) and float(second.abs().max()) > 0


def test_fused_recurrences_are_taken_apart_and_gates_of_cells_are_open() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.cell(x)[0][:, -1])

    torch.manual_seed(0)
    module, steps = Cell().eval(), torch.randn(2, 5, 3)
    graph = sn.trace(module, steps)
    path = sn.nn.PathProduct(graph, module, steps, hidden=False)
    report = sn.verify.equivariance(path, graph, outputs=notation(path), seed=0, trials=1, batch=2)
    assert report.passed, report
    last = path(sn.features(module, graph))["out in"][0, ..., 0].detach().view(2, 5, 3)[:, -1]
    candidate = module.cell.weight_ih_l0.view(4, 4, 3)[2]  # of the cell, with all gates open
    assert torch.allclose(last, (module.head.weight @ candidate).detach(), atol=1e-6)


def test_modules_whose_product_is_always_zero_are_refused() -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cell(x)[0][:, -1].sum(1)

    module, steps = Cell().eval(), torch.randn(2, 3, 3)
    with pytest.raises(sn.TraceError, match="is zero whatever its weights are"):
        sn.nn.PathProduct(sn.trace(module, steps), module, steps, hidden=False)


def test_products_that_do_not_fit_are_refused() -> None:
    with pytest.raises(sn.TooLargeError, match="5,000 by 5,000"):
        sn.nn.PathProduct(sn.catalogue.mlp([5000, 4, 5000]))


def test_the_graph_of_another_network_is_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
    points = torch.randn(4, 2)
    with pytest.raises(sn.ShapeError, match=r"'2.weight'.*missing"):
        sn.nn.PathProduct(
            sn.catalogue.mlp([2, 3, 3]), nn.Sequential(nn.Linear(2, 3), nn.ReLU()), points
        )
    wrong = sn.NeuronGraph(
        {"in": sn.Fixed(2), "h": sn.Symmetric(3), "k": sn.Symmetric(3)},
        {"0.weight": "h in", "0.bias": "h", "2.weight": "3 k", "2.bias": "3"},
    )
    with pytest.raises(sn.VerificationError, match="is changed by the graph's group"):
        sn.nn.PathProduct(wrong, module, points)
    with pytest.raises(sn.ShapeError, match="need an example of its input"):
        sn.nn.PathProduct(sn.catalogue.mlp([2, 3, 3]), module)
