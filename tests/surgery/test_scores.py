"""Laws of importance and choose: what they add up, worked by hand and by another route; budgets that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import symnet as sn
from symnet.graph.elements import image_shapes
from symnet.surgery.budgets import kind_of
from tests.cases import GRAPHS
from tests.random_graphs import random_graph
from tests.surgery.brute_force import entries
from tests.surgery.choices import divisible


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_norms_are_those_of_all_entries_that_belong_to_a_neuron(seed: int) -> None:
    """Against a loop over all entries; an entry with the neuron on two axes counts twice."""
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in graph.shapes.items()}
    found, shapes = sn.surgery.importance(weights, graph, "l1"), image_shapes(graph.neurons)
    expected = {name: np.zeros(shapes[name]) for name in divisible(graph)}
    for name, array in weights.items():
        for index, (_, dims) in entries(graph, name).items():
            for symbol, value, above in dims:
                if symbol in expected:
                    copy = tuple(dict(above)[ancestor] for ancestor in graph.ancestors(symbol))
                    expected[symbol][(*copy, value)] += abs(array[index])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(["l1", "l2"]))
def test_scores_move_with_the_neurons(seed: int, score: str) -> None:
    graph, rng = random_graph(seed), np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in graph.shapes.items()}
    space = {n: " ".join((*graph.ancestors(n), n)) for n in divisible(graph)}
    element = graph.random_element(seed)
    before, after = (
        sn.surgery.importance(w, graph, score) for w in (weights, graph.act(element, weights))
    )
    for name, axes in space.items():
        if not graph.ancestors(
            name
        ):  # a child's scores stand by its parents, which act on them as well
            moved = graph.act(element, {"score": before[name]}, space={"score": axes})["score"]
            np.testing.assert_allclose(np.abs(moved), after[name], atol=1e-9)


def test_the_first_order_score_is_what_silencing_changes_to_first_order() -> None:
    """For a loss that is linear in a neuron's output weights, leaving the neuron out changes it by just that."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1, bias=False)).double()
    x = torch.randn(7, 2, dtype=torch.float64)
    graph = sn.catalogue.mlp([2, 5, 1])
    graph = sn.NeuronGraph(graph.neurons, {n: a for n, a in graph.tensors.items() if n != "2.bias"})
    weights = dict(model.state_dict())

    def loss(w: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(model, w, (x,)).sum()

    only_out = {
        n: t if n == "2.weight" else torch.zeros_like(t)
        for n, t in sn.surgery.scores.gradients_of(loss, weights).items()
    }
    found = sn.surgery.importance(weights, graph, "first-order", gradients=only_out)["h1"]
    for neuron in range(5):
        silent = {n: t.clone() for n, t in weights.items()}
        silent["2.weight"][:, neuron] = 0
        assert abs(float(loss(weights) - loss(silent))) == pytest.approx(found[neuron], abs=1e-12)
    whole = sn.surgery.importance(weights, graph, "first-order", loss=loss)["h1"]
    assert whole.shape == (5,) and (whole >= 0).all()


def test_activations_weigh_what_is_read() -> None:
    """Linear, grouped and transposed convolutions: against masks of one neuron, on inputs that are constant."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    graph, x = sn.catalogue.mlp([3, 4, 2]), torch.randn(50, 3)
    found = sn.surgery.importance(
        model.state_dict(), graph, "activations", model=model, batches=[x[:20], (x[20:],)]
    )["h1"]
    inner = torch.relu(model[0](x)).detach().double()
    expected = inner.square().mean(0).sqrt() * model[2].weight.detach().double().abs().sum(0)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "last",
    [
        lambda: nn.Conv2d(4, 4, 3, groups=2),
        lambda: nn.ConvTranspose2d(4, 3, 2),
        lambda: nn.Conv2d(4, 3, 1),
    ],
)
def test_activations_of_convolutions(last) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), last(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    x = torch.randn(6, 1, 7, 7)
    model(x)
    graph = sn.trace(model, x)
    outgoing = sn.surgery.outgoing(model, graph, x)
    found = sn.surgery.importance(
        model.state_dict(), graph, "activations", model=model, batches=[x], outgoing=outgoing
    )
    inner = model[1](model[0](x)).detach().double().square().mean((0, 2, 3)).sqrt()
    weight = model[2].weight.detach().double().abs()
    if isinstance(model[2], nn.ConvTranspose2d):
        per_channel = weight.sum((1, 2, 3))
    else:
        per_channel = weight.view(model[2].groups, -1, *weight.shape[1:]).sum((1, 3, 4)).flatten()
    expected = inner * per_channel
    total = sum(
        float(values.sum())
        for name, values in found.items()
        if any(p.tensor == "2.weight" for p in outgoing[name].places)
    )
    shared = sum(any(p.tensor == "2.weight" for p in o.places) for o in outgoing.values())
    assert total == pytest.approx(shared * float(expected.sum()), rel=1e-6)


def test_files_are_scored_as_what_is_in_them(tmp_path) -> None:
    graph = GRAPHS["attention"]
    weights = {n: torch.randn(s, dtype=torch.float64) for n, s in graph.shapes.items()}
    for name in ("net.safetensors", "net.pt", "net.safetensors.index.json"):
        sn.files.write_state_file(tmp_path / name, weights)
        found = sn.surgery.importance(tmp_path / name, graph)
        for n, values in sn.surgery.importance(weights, graph).items():
            np.testing.assert_array_equal(found[n], values)


# ---- budgets --------------------------------------------------------------------------------------------------------
@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.booleans(), st.integers(1, 3))
def test_budgets_are_kept_and_the_best_stay(
    seed: int, share: float, together: bool, multiple: int
) -> None:
    graph, shapes = random_graph(seed), image_shapes(random_graph(seed).neurons)
    scores = sn.surgery.importance({}, graph, "random", seed=seed)
    if not scores:
        return
    chosen = sn.surgery.choose(scores, graph, share, together=together, multiple_of=multiple)
    for name, rows in chosen.items():
        size = shapes[name][-1]
        assert rows.shape[:-1] == shapes[name][:-1] and 1 <= rows.shape[-1] < size
        assert rows.shape[-1] % multiple == 0
        worst = np.take_along_axis(scores[name], rows, -1).min(-1)
        others = np.array(scores[name])
        np.put_along_axis(others, rows, -np.inf, -1)
        assert (worst >= others.max(-1)).all()
        if not together and multiple == 1:
            assert rows.shape[-1] == max(1, round(share * size))
    if together and multiple == 1:
        kept = sum(chosen[n].shape[-1] if n in chosen else shapes[n][-1] for n in scores)
        assert kept == max(len(scores), round(share * sum(shapes[n][-1] for n in scores)))


def test_kinds_names_and_patterns() -> None:
    neurons = {
        "layers.0.mlp": sn.Symmetric(8),
        "layers.1.mlp": sn.Symmetric(8),
        "layers.0.kv": sn.Symmetric(4),
        "stream": sn.Symmetric(6),
    }
    graph = sn.NeuronGraph(neurons, {name: name for name in neurons})
    scores = {name: np.arange(s.size, dtype=float) for name, s in graph.neurons.items()}
    chosen = sn.surgery.choose(scores, graph, {"mlp": 0.5, "layers.1.mlp": 2, "*.kv": 3})
    assert {name: rows.tolist() for name, rows in chosen.items()} == {
        "layers.0.mlp": [4, 5, 6, 7], "layers.1.mlp": [6, 7], "layers.0.kv": [1, 2, 3],
    }  # fmt: skip
    assert kind_of("layers.3.query_of_group.2") == "query_of_group"


@pytest.mark.parametrize(
    ("keep", "options", "message"),
    [
        (0.0, {}, "keep=0.0: give a share"),
        (1.5, {}, "keep=1.5: give a share"),
        (True, {}, "keep=True: give a share"),
        ({"mlp": 0.5}, {}, "'mlp', which is no neuron set that can be cut; kinds are h1"),
        ({"h1": 9}, {}, "asks for 9 neurons of 'h1', which has 4"),
        ({"h1": 2}, {"together": True}, "give a share such as 0.5, not 2"),
    ],
)
def test_budgets_that_are_none_are_refused(keep, options: dict, message: str) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    with pytest.raises(sn.GraphError, match=message):
        sn.surgery.choose(sn.surgery.importance({}, graph, "random"), graph, keep, **options)


@pytest.mark.parametrize(
    ("score", "options", "message"),
    [
        ("l3", {}, "there are 'l1', 'l2'"),
        ("first-order", {}, "needs loss="),
        ("first-order", {"loss": lambda w: 3.0}, "loss returned 3.0"),
        ("activations", {}, "needs model= and batches="),
    ],
)
def test_scores_that_lack_something_are_refused(score: str, options: dict, message: str) -> None:
    graph = sn.catalogue.mlp([2, 4, 1])
    weights = {name: np.ones(shape) for name, shape in graph.shapes.items()}
    with pytest.raises(sn.GraphError, match=message):
        sn.surgery.importance(weights, graph, score, **options)
