"""Pool, norms, dropout, encodings, features: equivariant, complete, and clear about what does not fit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

import symnet as sn
from tests.brute_force import count_orbits, orbits_of_pairs
from tests.cases import GRAPHS, mlp
from tests.random_graphs import random_graph
from tests.tolerances import assert_close


def random_features(
    graph: sn.NeuronGraph, channels: int = 2, batch: int = 3
) -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(batch, *shape, channels, dtype=torch.float64)
        for name, shape in graph.shapes.items()
    }


@given(st.integers(0, 1_000_000))
def test_pooling_is_invariant_and_complete(seed) -> None:
    """As many independent invariants as there are orbits of entries, found by brute force."""
    graph = random_graph(seed)
    pool = sn.nn.Pool(graph)
    torch.manual_seed(seed)
    x = random_features(graph)
    pooled = pool(x)
    assert pooled.shape == (3, pool.dimension * 2)
    assert torch.allclose(pool(graph.act(graph.random_element(seed), x, 1)), pooled, atol=1e-12)
    one = graph.space({"one": ""})
    orbits = sum(
        count_orbits(orbits_of_pairs(graph, graph.weights, name, one, "one"))
        for name in graph.weights
    )
    assert pool.dimension == orbits
    size = graph.weights.size
    basis = torch.eye(size, dtype=torch.float64)
    parts = torch.split(basis, [t.size for t in graph.weights.values()], dim=1)
    rows = pool(
        {n: p.reshape(size, *s, 1) for p, (n, s) in zip(parts, graph.shapes.items(), strict=True)}
    )
    assert torch.linalg.matrix_rank(rows) == pool.dimension


@pytest.mark.parametrize("name", ["mlp fixed", "attention", "rotations", "fused and concatenated"])
def test_norm_and_pointwise_are_equivariant(name) -> None:
    graph = GRAPHS[name]
    x, g = random_features(graph), graph.random_element(0)
    norm = sn.nn.LayerNorm(graph, 2).double()
    torch.nn.init.normal_(norm.scale)
    torch.nn.init.normal_(norm.shift)
    for module in (norm, sn.nn.Pointwise(torch.nn.Linear(2, 5).double())):
        assert_close(module(graph.act(g, x, 1)), graph.act(g, module(x), 1))
    plain = sn.nn.LayerNorm(graph, 2).double()(x)
    assert all(abs(float(v[0].detach().mean())) < 1e-9 for v in plain.values())


def test_dropout_acts_as_torchs() -> None:
    """Nothing in eval mode; in training whole channels, scaled so that the mean stays."""
    graph = mlp(2, 3, 2)
    dropout, x = sn.nn.Dropout(0.25), {n: torch.ones(2000, *s, 4) for n, s in graph.shapes.items()}
    dropout.eval()
    assert_close(dropout(x), x, torch.float32)
    dropout.train()
    y = dropout(x)
    for value in y.values():
        assert {round(v, 4) for v in value.unique().tolist()} == {0.0, round(1 / 0.75, 4)}
        flat = value.flatten(1, -2) if value.dim() > 2 else value[:, None]
        assert torch.equal(flat.amin(1), flat.amax(1)), "one mask for all entries of a tensor"
        assert float(value.mean()) == pytest.approx(1, abs=0.05)
    with pytest.raises(sn.ShapeError, match="below 1"):
        sn.nn.Dropout(1.0)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_encodings_tell_the_encoded_sets_apart_and_no_other(kind) -> None:
    graph = mlp(4, 3, 4, 2)
    encoding = sn.nn.PositionalEncoding(graph, ["h0", "h3"], 4, kind=kind).double()
    x = random_features(graph)
    assert all(v.shape[-1] == 2 + 8 for v in encoding(x).values())
    hidden = graph.random_element(0, only={"h1", "h2"})
    assert_close(encoding(graph.act(hidden, x, 1)), graph.act(hidden, encoding(x), 1))
    swap = graph.random_element(0, only={"h0"})
    assert swap.moves("h0")
    moved, other = encoding(graph.act(swap, x, 1)), graph.act(swap, encoding(x), 1)
    assert not torch.allclose(moved["0.weight"], other["0.weight"])
    assert torch.equal(moved["2.weight"], other["2.weight"]), (
        "no encoding on tensors without the set"
    )
    assert not encoding.state_dict() or kind == "learned"
    with pytest.raises(sn.GraphError, match="no neuron sets"):
        sn.nn.PositionalEncoding(graph, ["h9"], 4)
    with pytest.raises(sn.GraphError, match="choose 'sinusoidal' or 'learned'"):
        sn.nn.PositionalEncoding(graph, ["h0"], 4, kind="random")


def test_a_whole_network_trains() -> None:
    torch.manual_seed(0)
    graph = mlp(2, 4, 3, io="fixed")
    net = torch.nn.Sequential(
        sn.nn.Linear(graph, 1, 8),
        sn.nn.Pointwise(torch.nn.ReLU()),
        sn.nn.Linear(graph, 8, 8),
        sn.nn.Pointwise(torch.nn.ReLU()),
        sn.nn.Pool(graph),
        torch.nn.LazyLinear(1),
    ).double()
    x = random_features(graph, channels=1, batch=32)
    target = x["0.weight"].square().sum((1, 2, 3))
    net(x)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = (net(x)[:, 0] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert torch.allclose(net(graph.act(graph.random_element(0), x, 1)), net(x), atol=1e-10)


# ---- features -------------------------------------------------------------------------------------------------------
def networks(count: int) -> list[torch.nn.Module]:
    return [
        torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        for _ in range(count)
    ]


def test_features_and_back() -> None:
    graph, models = mlp(2, 3, 2), networks(4)
    x = sn.features(models, graph)
    assert x["0.weight"].shape == (4, 3, 2, 1)
    for state, model in zip(sn.state_dicts(x, graph), models, strict=True):
        model.load_state_dict(state)
    assert_close(sn.features(models, graph), x)
    assert_close(sn.features(models[0].state_dict(), graph), {n: v[:1] for n, v in x.items()})
    assert sn.features([], graph)["0.bias"].shape == (0, 3, 1)
    dataset = [{n: v[k] for n, v in x.items()} for k in range(4)]
    assert_close(default_collate(dataset), x)


def test_buffers_counters_and_aliases() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3, bias=False), torch.nn.BatchNorm1d(3))
    graph = sn.NeuronGraph(
        {"in": sn.Fixed(2), "h": sn.Symmetric(3)},
        {
            "0.weight": "h in",
            "1.weight": "h",
            "1.bias": "h",
            "1.running_mean": "h",
            "1.running_var": "h",
        },
    )
    (state,) = sn.state_dicts(sn.features(model, graph), graph)
    assert "1.num_batches_tracked" not in state and torch.equal(
        state["1.running_var"], torch.ones(3)
    )
    tied = sn.NeuronGraph({"h": sn.Symmetric(3)}, {"a": "h"}, aliases={"b": "a"})
    (state,) = sn.state_dicts(sn.features({"a": torch.ones(3), "b": torch.ones(3)}, tied), tied)
    assert set(state) == {"a", "b"}


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    graph = mlp(2, 3, 2)
    state = networks(1)[0].state_dict()
    state["0.weight"] = torch.zeros(5, 2)
    state["9.weight"] = torch.zeros(1)
    del state["2.bias"]
    with pytest.raises(sn.ShapeError) as error:
        sn.features([networks(1)[0], state], graph)
    for words in (
        "network 1 of 2",
        "'2.bias' (2,) is missing",
        "'9.weight' (1,) is not in the graph",
        "sizes (3, 2), but is (5, 2)",
    ):
        assert words in str(error.value)
    with pytest.raises(sn.ShapeError, match="Network 0 is a int"):
        sn.features([3], graph)
    with pytest.raises(sn.ShapeError, match="2 channels instead of 1"):
        sn.state_dicts(random_features(graph), graph)
