"""Networks run as one, layers of low rank, statistics in float32, and what signs forbid."""

from __future__ import annotations

import copy

import pytest
import torch

import symnet as sn
from symnet.nn import gathering
from symnet.nn.gathering import gather
from tests.cases import GRAPHS, mlp
from tests.tolerances import assert_close

# ReLU does not commute with signs, and is refused there.
UNSIGNED = [name for name in GRAPHS if name not in ("odd activations", "signed copies")]


def stack(graph: sn.NeuronGraph) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    modules = [
        sn.nn.Linear(graph, 2, 4),
        sn.nn.Pointwise(torch.nn.ReLU()),
        sn.nn.Linear(graph, 4, 4),
        sn.nn.Pointwise(torch.nn.ReLU()),
        sn.nn.Pointwise(torch.nn.Tanh()),
        sn.nn.Linear(graph, 4, 3),
    ]
    for module in modules:
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
    return [module.double() for module in modules]


def random_features(
    graph: sn.NeuronGraph, channels: int = 2, batch: int = 3
) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    shapes = graph.shapes.items()
    return {
        n: torch.randn(batch, *s, channels, dtype=torch.float64, requires_grad=True)
        for n, s in shapes
    }


@pytest.mark.parametrize("name", UNSIGNED)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_network_is_the_sequence_of_its_modules(name, checkpoint) -> None:
    """Values, first and second derivatives; ReLU inside the layer or after it."""
    graph = GRAPHS[name]
    modules = stack(graph)
    ours, theirs = sn.nn.Network(*modules, checkpoint=checkpoint), torch.nn.Sequential(*modules)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [fused for _, fused in ours._steps()] == [True, True, False, False]
    x, wanted = random_features(graph), list(theirs.parameters())
    results = []
    for net in (ours, theirs):
        y = net(x)
        loss = sum(value.sin().sum() for value in y.values())
        first = torch.autograd.grad(
            loss, [*x.values(), *wanted], create_graph=True, allow_unused=True
        )
        squares = sum((g**2).sum() for g in first if g is not None)
        results.append(
            (y, first, torch.autograd.grad(squares, [*x.values(), *wanted], allow_unused=True))
        )
    assert_close(results[0][0], results[1][0])
    for ours_, theirs_ in zip(
        results[0][1] + results[0][2], results[1][1] + results[1][2], strict=True
    ):
        assert (ours_ is None) == (theirs_ is None)
        assert ours_ is None or torch.allclose(ours_, theirs_, rtol=1e-9, atol=1e-9)


def test_hooks_are_called_although_the_relu_could_run_inside() -> None:
    graph = mlp(2, 3, 2)
    net, seen = sn.nn.Network(*stack(graph)), []
    net[1].register_forward_hook(lambda *_: seen.append("relu"))
    x = random_features(graph)
    before = torch.nn.Sequential(*net)(x)
    seen.clear()
    assert_close(net(x), before)
    assert seen == ["relu"]
    assert [stage.relu for stage in net.plan.stages] == [False, True, False]


def test_a_network_compiles_copies_and_tells_its_cost() -> None:
    graph = mlp(2, 5, 3)
    net = sn.nn.Network(*stack(graph))
    x = random_features(graph)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), net(x))
    assert_close(copy.deepcopy(net)(x), net(x))
    linear = [module for module in net if isinstance(module, sn.nn.Linear)]
    costs = [layer.plan.cost(layer.in_channels, layer.out_channels) for layer in linear]
    assert net.plan.cost().multiplies == sum(cost.multiplies for cost in costs)
    assert net.plan.cost().parameters == sum(p.numel() for p in net.parameters())
    assert "3 layers" in repr(net.plan) and "ReLU inside" in repr(net.plan)


# ---- low rank -------------------------------------------------------------------------------------------------------
WIDE = sn.NeuronGraph(
    {
        "pixel": sn.Fixed(20),
        "head": sn.Symmetric(2),
        "d": sn.NeuronSet(sn.Symmetric(3), over="head"),
        "h": sn.Symmetric(4),
        "class": sn.Fixed(3),
    },
    {
        "q": "(head d) pixel",
        "w": "h (head d)",
        "b": "h",
        "out": "class h",
        "c": "class",
        "p": "pixel",
    },
)


@pytest.mark.parametrize("interactions", ["full", "adjacent"])
def test_layers_of_low_rank_are_equivariant_and_tell_fixed_neurons_apart(interactions) -> None:
    layer = sn.nn.LowRankLinear(WIDE, 2, 3, rank=5, interactions=interactions).double()
    sn.verify.equivariance(layer, WIDE, in_channels=2).raise_if_failed()
    assert layer.wide == ("pixel",)
    pixels = WIDE.with_groups({"pixel": sn.Symmetric(20)})
    assert not sn.verify.equivariance(layer, pixels, in_channels=2).passed


def test_what_goes_through_the_middle_has_the_rank_given() -> None:
    """The response of one neuron's row to itself: a multiple of 1, two constants, and a matrix of rank 2."""
    graph = sn.NeuronGraph({"pixel": sn.Fixed(30), "h": sn.Symmetric(2)}, {"w": "h pixel"})
    layer = sn.nn.LowRankLinear(graph, 1, 1, rank=2, bias=False).double()
    own = torch.func.jacrev(lambda w: layer({"w": w[None, ..., None]})["w"][0, ..., 0])(
        torch.zeros(2, 30).double()
    )
    row = own[0, :, 0, :] - own[0, :, 1, :]  # what all neurons give each other cancels
    centred = row - torch.eye(30) * torch.linalg.eigvals(row).real.median()
    assert int((torch.linalg.svdvals(centred) > 1e-9).sum()) <= 3
    full = sn.nn.Linear(graph, 1, 1)
    assert sum(p.numel() for p in layer.parameters()) < 0.2 * sum(
        p.numel() for p in full.parameters()
    )


def test_low_rank_tells_its_cost_and_refuses_what_makes_no_sense() -> None:
    layer = sn.nn.LowRankLinear(WIDE, 1, 2, rank=3)
    count, full = sum(p.numel() for p in layer.parameters()), sn.nn.Linear(WIDE, 1, 2)
    assert f"{count:,} parameters" in layer.describe()
    assert f"would have {sum(p.numel() for p in full.parameters()):,}" in layer.describe()
    with pytest.raises(sn.ShapeError, match="rank=0"):
        sn.nn.LowRankLinear(WIDE, 1, 1, rank=0)
    with pytest.raises(sn.GraphError, match="'h' is not Fixed"):
        sn.nn.LowRankLinear(WIDE, 1, 1, wide=("h",))
    with pytest.raises(sn.GraphError, match="no neuron set 'x'"):
        sn.nn.LowRankLinear(WIDE, 1, 1, wide=("x",))


def test_many_pixels_fit_where_a_complete_layer_does_not() -> None:
    graph = mlp(784, 64, 10, io="fixed")
    with pytest.raises(sn.TooLargeError):
        sn.nn.Linear(graph, 32, 32)
    layer = sn.nn.LowRankLinear(graph, 32, 32, rank=8)
    assert sum(p.numel() for p in layer.parameters()) < 3_000_000
    x = {name: torch.randn(4, *shape, 32) for name, shape in graph.shapes.items()}
    assert all(0.5 < float(value.detach().std()) < 1.5 for value in layer(x).values())


# ---- precision and signs ----------------------------------------------------------------------------------------------
def test_means_of_half_precision_features_are_kept_in_single_until_they_are_mixed() -> None:
    """A mean of means rounds once: 1 + 2^-9 apart from 1 would be lost at every stage in bfloat16."""
    graph = mlp(64, 64, 64)
    layer = sn.nn.Linear(graph, 1, 1, dtype=torch.bfloat16)
    x = {n: torch.randn(2, *s, 1).bfloat16() for n, s in graph.shapes.items()}
    exact = {name: value.double() for name, value in x.items()}
    for ours, theirs in zip(
        gather(layer._compiled, list(x.values())),
        gather(layer._compiled, list(exact.values())),
        strict=True,
    ):
        for (_, a), (_, b) in zip(ours, theirs, strict=True):
            assert a.dtype == torch.bfloat16
            assert torch.equal(a, b.float().bfloat16()), "rounded once, at the end"


SIGNED = sn.NeuronGraph(
    {"in": sn.Fixed(2), "h": sn.SignedSymmetric(4), "out": sn.Fixed(1)},
    {"0.weight": "h in", "0.bias": "h", "2.weight": "out h", "2.bias": "out"},
)


def test_modules_that_are_not_odd_refuse_signed_tensors() -> None:
    with pytest.raises(sn.GraphError, match=r"'0\.weight'.*RMSNorm"):
        sn.nn.LayerNorm(SIGNED, 2)
    with pytest.raises(sn.GraphError, match=r"appends constants.*'h'"):
        sn.nn.PositionalEncoding(SIGNED, ["in"], 4)
    sn.nn.LayerNorm(SIGNED, 2, inputs=["2.bias"])
    norm = sn.nn.Pointwise(torch.nn.RMSNorm(2))
    sn.verify.equivariance(norm.double(), SIGNED, in_channels=2).raise_if_failed()
    relu = sn.nn.Pointwise(torch.nn.ReLU())
    assert not sn.verify.equivariance(relu, SIGNED, in_channels=2).passed


def test_layers_of_signed_graphs_keep_unit_variance() -> None:
    torch.manual_seed(0)
    x = {name: torch.randn(400, *shape, 16) for name, shape in SIGNED.shapes.items()}
    for value in sn.nn.Linear(SIGNED, 16, 64)(x).values():
        assert 0.7 < float(value.detach().std()) < 1.4


def sequence_of(*modules: torch.nn.Module) -> tuple[sn.nn.Network, torch.nn.Sequential]:
    return sn.nn.Network(*modules), torch.nn.Sequential(*modules)


def assert_same(ours: torch.nn.Module, theirs: torch.nn.Module, x: dict[str, torch.Tensor]) -> None:
    """Values and gradients by inputs and parameters."""
    results = []
    for net in (ours, theirs):
        y = net(x)
        wanted = [*x.values(), *theirs.parameters()]
        gradients = torch.autograd.grad(
            sum(t.sin().sum() for t in y.values()), wanted, allow_unused=True
        )
        results.append(
            {**y, **{f"gradient {k}": g for k, g in enumerate(gradients) if g is not None}}
        )
    assert_close(results[0], results[1])


def count_full_reads(monkeypatch) -> list[int]:
    """One entry for each statistic that a layer takes over a whole tensor while it gathers; none that were handed over."""
    seen: list[int] = []
    original = gathering.gather

    def counting(plan, tensors, known=None, *, only_direct=False):
        if not only_direct:
            numbers = {n for reads in plan.full_reads for n in reads}
            seen.append(len(numbers - set(known or {})))
        return original(plan, tensors, known, only_direct=only_direct)

    monkeypatch.setattr("symnet.nn.executor.gather", counting)
    return seen


def test_a_layer_starts_from_what_the_one_before_has_taken(monkeypatch) -> None:
    """Only the first layer reads whole tensors for its means; also behind a nonlinearity that is not a ReLU."""
    graph = mlp(2, 5, 4, 3)
    net, plain = sequence_of(*stack(graph))
    x = random_features(graph)
    assert_same(net, plain, x)
    seen = count_full_reads(monkeypatch)
    with torch.no_grad():
        net(x)
    assert seen[0] > 0 and seen[1:] == [0, 0]
    seen.clear()
    with torch.no_grad():
        plain(x)
    assert len(seen) == 3 and min(seen) > 0


@pytest.mark.parametrize("name", UNSIGNED)
def test_layers_of_half_precision_hand_over_in_single(name) -> None:
    graph = GRAPHS[name]
    net, plain = sequence_of(*(module.to(torch.bfloat16) for module in stack(graph)))
    x = {n: t.detach().to(torch.bfloat16) for n, t in random_features(graph).items()}
    assert_close(net(x), plain(x), torch.bfloat16)


def test_a_hook_that_changes_what_a_layer_gave_is_obeyed() -> None:
    """Then nothing is handed over, whichever of the two modules the hook is on, or all."""
    graph = mlp(2, 5, 3)
    x = random_features(graph)

    def double(module, inputs, result):
        return {n: 2 * t for n, t in result.items()} if isinstance(result, dict) else None

    def halve(module, inputs):
        return ({n: t / 2 for n, t in inputs[0].items()},)

    linear = torch.nn.modules.module
    for register in (
        lambda net: net[0].register_forward_hook(double),
        lambda net: net[2].register_forward_pre_hook(halve),
        lambda net: linear.register_module_forward_hook(double),
    ):
        net, plain = sequence_of(*stack(graph))
        handle = register(net)
        assert_close(net(x), plain(x))
        handle.remove()


def test_nothing_is_handed_to_a_layer_of_another_space() -> None:
    """Tensors in another order are another space: statistics go by number."""
    graph = mlp(2, 5, 3)
    names = list(graph.tensors)
    weights = {name: graph.tensors[name] for name in names}
    turned = {name: graph.tensors[name] for name in reversed(names)}
    assert graph.space(weights) != graph.space(turned)
    modules = [
        sn.nn.Linear(graph, 2, 4, outputs=turned).double(),
        sn.nn.Pointwise(torch.nn.GELU()),
        sn.nn.Linear(graph, 4, 4, inputs=weights, outputs=turned).double(),
        sn.nn.Linear(graph, 4, 2, inputs=turned).double(),
    ]
    assert_same(*sequence_of(*modules), random_features(graph))


def test_a_nonlinearity_that_changes_shapes_is_refused_by_the_layer_after_it() -> None:
    graph = mlp(2, 5, 3)
    net = sn.nn.Network(
        sn.nn.Linear(graph, 1, 4), sn.nn.Pointwise(torch.nn.Flatten()), sn.nn.Linear(graph, 4, 4)
    )
    with pytest.raises(sn.ShapeError, match="must be"):
        net({name: torch.randn(2, *shape, 1) for name, shape in graph.shapes.items()})
