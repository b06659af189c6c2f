"""Attention among weights that share a neuron set: equivariant, and what the formula says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import symnet as sn
from symnet.groups import is_signed
from symnet.nn.attention import attend
from tests.cases import GRAPHS, mlp
from tests.effort import pairs
from tests.random_graphs import random_graph
from tests.tolerances import assert_close

UNSIGNED = {
    name: graph
    for name, graph in GRAPHS.items()
    if name not in ("odd activations", "signed copies")
}


def random_features(
    graph: sn.NeuronGraph, channels: int = 4, batch: int = 2
) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        n: torch.randn(batch, *s, channels, dtype=torch.float64) for n, s in graph.shapes.items()
    }


@pytest.mark.parametrize(("name", "share"), pairs(UNSIGNED, [False, True]))
def test_attention_is_equivariant(name, share) -> None:
    """Products, concatenations, copies over parents, repeated axes, subgroups; in float64."""
    layer = sn.nn.Attention(UNSIGNED[name], 4, heads=2, share_projections=share)
    sn.verify.equivariance(layer, UNSIGNED[name], in_channels=4, trials=2).raise_if_failed()


@settings(max_examples=25)
@given(st.integers(0, 1_000_000))
def test_attention_is_equivariant_on_random_graphs(seed) -> None:
    graph = random_graph(seed)
    signed = [name for name, neurons in graph.neurons.items() if is_signed(neurons.group)]
    graph = graph.with_groups({name: sn.Symmetric(graph.neurons[name].size) for name in signed})
    x, g = random_features(graph), graph.random_element(seed)
    layer = sn.nn.Attention(graph, 4, heads=2).double()
    assert_close(layer(graph.act(g, x, 1)), graph.act(g, layer(x), 1))


def test_attention_is_the_formula_of_the_paper_on_an_mlp() -> None:
    """Rows and columns of matrices and the bias around every layer, written out with loops over tokens; one head."""
    graph = mlp(2, 3, 4)
    layer = sn.nn.Attention(graph, 2, heads=1, over_tensors=False).double()
    x = random_features(graph, 2, 1)
    names, changes = list(x), {}
    q, k, v = (
        {n: layer.project[i](x[n][0]).chunk(3, -1)[part] for i, n in enumerate(names)}
        for part in range(3)
    )
    total = {n: torch.zeros_like(x[n][0]) for n in names}
    around = {
        "h0": [("0.weight", i) for i in range(3)],
        "h1": [("0.weight", (slice(None), j)) for j in range(2)] + [("0.bias", ...)] + [("2.weight", o) for o in range(4)],
        "h2": [("2.weight", (slice(None), j)) for j in range(3)] + [("2.bias", ...)],
    }  # fmt: skip
    for tokens in around.values():
        for name, place in tokens:
            query = q[name][place]
            scores = (
                torch.stack([(query * k[n][p]).sum() for n, p in tokens]) / query.numel() ** 0.5
            )
            total[name][place] += sum(
                w * v[n][p] for w, (n, p) in zip(scores.softmax(0), tokens, strict=True)
            )
    for i, name in enumerate(names):
        changes[name] = layer.combine[i](total[name])[None]
    assert_close(layer(x), changes)
    assert layer.tokens == {set_: len(tokens) for set_, tokens in around.items()}


def test_attention_over_tensors_tells_each_the_means_of_the_others() -> None:
    """Without it a tensor that shares no set with another does not hear of it."""
    graph = sn.NeuronGraph({"a": sn.Symmetric(3), "b": sn.Symmetric(2)}, {"x": "a", "y": "b"})
    for over in (False, True):
        layer = sn.nn.Attention(graph, 4, heads=2, over_tensors=over).double()
        x = random_features(graph)
        moved = x | {"y": x["y"] + 1}
        assert torch.equal(layer(x)["x"], layer(moved)["x"]) is not over


def test_long_and_many_tokens_give_the_same_attention() -> None:
    """The two ways of taking it agree, on either side of the size at which it changes."""
    for count, size in ((5, 8), (8, 5)):
        q, k, v = torch.randn(3, 2, 3, count, size, dtype=torch.float64)
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        assert torch.allclose(attend(q, k, v), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["fused and concatenated"])
def test_attention_runs_in_half_precision_compiles_and_takes_no_samples(name) -> None:
    graph = UNSIGNED[name]
    layer = sn.nn.Attention(graph, 4, heads=2).double()
    x = random_features(graph)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), layer(x))
    assert all(t.shape[0] == 0 for t in layer({n: t[:0] for n, t in x.items()}).values())
    half = layer.to(torch.bfloat16)({n: t.bfloat16() for n, t in x.items()})
    assert_close(half, layer.double()(x), torch.bfloat16)


def test_attention_differentiates_twice_where_torchs_own_does() -> None:
    graph = UNSIGNED["recurrent"]
    layer = sn.nn.Attention(graph, 2, heads=1).double()
    x = [t.requires_grad_() for t in random_features(graph, 2, 1).values()]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = sum(t.sin().sum() for t in layer(dict(zip(graph.shapes, x, strict=True))).values())
        first = torch.autograd.grad(loss, x, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), x)
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in second)


def test_attention_refuses_what_does_not_fit() -> None:
    graph = mlp(2, 3, 2)
    with pytest.raises(sn.ShapeError, match="multiple of 3"):
        sn.nn.Attention(graph, 4, heads=3)
    with pytest.raises(sn.GraphError, match="softmaxes of scores"):
        sn.nn.Attention(GRAPHS["odd activations"], 4)
    with pytest.raises(sn.ShapeError, match=r"'0\.weight' has 3 channels instead of 4"):
        sn.nn.Attention(graph, 4)({n: torch.randn(1, *s, 3) for n, s in graph.shapes.items()})
