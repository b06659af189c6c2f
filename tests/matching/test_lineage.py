"""lineage: p-values that are honest for networks of one task, small for descendants, and the element between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from torch import Tensor

import symnet as sn
from symnet.matching.held_out import hold_out
from symnet.matching.padding import cut, pad
from symnet.matching.weak_directions import flipped_sums, weak_parts
from tests.matching.test_align import NETWORKS, draw
from tests.matching.trained_networks import mlp, train_many
from tests.random_graphs import random_graph
from tests.tolerances import assert_close

C = sn.catalogue
MLP = C.mlp([64, 32, 32, 10])


def alike(graph: sn.NeuronGraph, seed: int, count: int) -> list[dict[str, Tensor]]:
    """Networks as one task makes them: a strong common part of low rank, private random numbers, another order each."""
    generator = torch.Generator().manual_seed(seed)
    networks = []
    common = {
        name: torch.randn(s[0], 3, generator=generator) @ torch.randn(3, s[-1], generator=generator)
        if len(s) == 2
        else None
        for name, s in graph.shapes.items()
    }
    for number in range(count):
        weights = {name: torch.randn(s, generator=generator) for name, s in graph.shapes.items()}
        weights = {
            name: t if common[name] is None else t + common[name] for name, t in weights.items()
        }
        networks.append(graph.act(graph.random_element([seed, number]), weights))
    return networks


# ---- the parts ------------------------------------------------------------------------------------------------------
def moving(graph: sn.NeuronGraph) -> set[str]:
    return {
        name
        for name, neuron_set in graph.neurons.items()
        if not isinstance(neuron_set.group, sn.Fixed)
    }


@pytest.mark.parametrize("name", [*NETWORKS, *(f"random {seed}" for seed in range(8))])
def test_what_is_held_out_is_held_once_and_leaves_enough(name: str) -> None:
    """Folds are disjoint, and leave every neuron set at least a quarter of its weights."""
    graph = random_graph(int(name.split()[1])) if name.startswith("random") else NETWORKS[name]
    folds = hold_out(graph)
    held = [tensor for fold in folds for tensor in fold]
    assert len(held) == len(set(held))
    for fold in folds:
        for symbol in moving(graph):
            sizes = {
                t: sum(
                    int(np.prod(b.shape))
                    for b in s.blocks
                    if symbol in {i.symbol for i in b.instances}
                )
                for t, s in graph.weights.items()
            }
            if any(sizes[t] for t in fold):
                assert (
                    sum(size for t, size in sizes.items() if t not in fold)
                    >= sum(sizes.values()) / 4
                )


@pytest.mark.parametrize("name", ["mlp", "residual cnn with norms", "attention", "lstm"])
def test_a_match_without_what_is_held_out_still_finds_the_element(name: str) -> None:
    graph = NETWORKS[name]
    a = draw(graph, 0)
    folds = hold_out(graph)
    assert folds
    for number, fold in enumerate(folds):
        planted = graph.random_element(number)
        found = sn.align(
            a, graph.act(planted, a), graph, importance=dict.fromkeys(fold, 0.0), starts=1
        )
        assert found.element == planted.inverse()


def test_weak_parts_are_those_of_the_singular_values() -> None:
    """Against weak parts made by subtracting the strong components one by one."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 12, 9))
    centred = [m - m.mean(0) - m.mean(1, keepdims=True) + m.mean() for m in (a, b)]
    weak = []
    for matrix in centred:
        u, s, v = np.linalg.svd(matrix)
        weak.append(
            matrix - sum(s[k] * np.outer(u[:, k], v[k]) for k in range(6))
        )  # rank 8: the strongest 6 go
    products, agreement = weak_parts(a, b)
    assert len(products) == 2
    assert agreement == pytest.approx(
        np.vdot(*weak) / np.linalg.norm(weak[0]) / np.linalg.norm(weak[1])
    )
    assert weak_parts(a, a)[1] == pytest.approx(1.0)
    assert weak_parts(np.ones((4, 4)), b[:4, :4])[1] == 0.0


def test_sums_with_random_signs_have_the_right_spread() -> None:
    products = np.array([3.0, -1.0, 2.0])
    sums = flipped_sums(products, 20_000, np.random.default_rng(0))
    assert set(np.abs(sums).round(9)) == {0.0, 2.0, 4.0, 6.0}
    assert sums.std() == pytest.approx(np.linalg.norm(products), rel=0.02)


# ---- false positives ------------------------------------------------------------------------------------------------
def test_what_one_task_makes_alike_is_no_evidence() -> None:
    """A strong common part in every matrix: matched tensors resemble one another, and the p-values stay uniform."""
    graph = C.mlp([24, 24, 24, 16])
    reports = []
    for seed in range(30):
        a, b = alike(graph, seed, 2)
        reports.append(sn.lineage(a, b, graph, samples=99, seed=seed))
    resemblance = np.mean([each.resemblance for report in reports for each in report.evidence])
    assert resemblance > 0.3
    for p in ([r.p_matched for r in reports], [r.p_given for r in reports]):
        assert kstest(p, "uniform").pvalue > 0.01 and np.mean(np.array(p) <= 0.05) <= 0.15
    assert abs(np.mean([report.weak for report in reports])) < 0.02


@pytest.mark.slow
def test_independent_networks_have_uniform_p_values() -> None:
    """200 pairs of MLPs trained on digits from independent starts, neurons disguised: Kolmogorov and Smirnov see no difference."""
    networks = train_many(mlp, 400, seed=1)
    reports = []
    for k in range(0, 400, 2):
        b = MLP.act(MLP.random_element(k), networks[k + 1])
        reports.append(sn.lineage(networks[k], b, MLP, samples=199, seed=k))
    for name in ("p_given", "p_matched"):
        p = np.array([getattr(report, name) for report in reports])
        print(
            name, p.mean(), {level: float((p <= level).mean()) for level in (0.01, 0.05, 0.1, 0.5)}
        )
        assert kstest(p, "uniform").pvalue > 0.01
        assert (p <= 0.05).mean() <= 0.1
    assert np.mean([report.p_value <= 0.05 for report in reports]) <= 0.1


# ---- descent --------------------------------------------------------------------------------------------------------
def test_a_disguised_child_is_known_and_its_element_found() -> None:
    """Weights with noise in another order: p is the smallest that the draws can give, and the planted element is undone."""
    (a,) = alike(MLP, 3, 1)
    child = {name: t + 0.1 * t.std() * torch.randn(t.shape) for name, t in a.items()}
    planted = MLP.random_element(5)
    report = sn.lineage(a, MLP.act(planted, child), MLP, samples=199)
    assert report.element == planted.inverse()
    assert report.p_matched == 1 / 200 and report.p_value == 2 / 200 and report.weak > 0.5
    assert report.p_given > 0.01  # the disguise hides it from the order alone
    assert sn.lineage(a, child, MLP, samples=199).p_given == 1 / 200
    assert all(p <= 0.05 for p in report.by_set.values()) and set(report.by_set) == {"h1", "h2"}
    text = repr(report)
    assert all(
        words in text
        for words in ("RELATED", "p = 0.01", "neuron set", "not the probability of innocence")
    )


def test_scales_and_signs_hide_nothing() -> None:
    """A child whose neurons were scaled (ReLU), and one whose signs were turned (tanh), besides being permuted."""
    scaled = sn.NeuronGraph(
        {"h1": sn.Scaled(32), "h2": sn.Scaled(24)},
        {"w1": "h1 20", "b1": "h1", "w2": "h2 h1*", "b2": "h2", "w3": "20 h2*"},
    )
    signed = C.mlp([20, 32, 24, 20]).with_groups(
        {"h1": sn.SignedSymmetric(32), "h2": sn.SignedSymmetric(24)}
    )
    for graph in (scaled, signed):
        a, other = draw(graph, 1), draw(graph, 2)
        child = {name: t + 0.05 * draw(graph, 3)[name] for name, t in a.items()}
        disguise = graph.random_element(0)
        assert sn.lineage(a, graph.act(disguise, child), graph, samples=199).p_value <= 0.02
        assert sn.lineage(a, graph.act(disguise, other), graph, samples=199).p_value > 0.02


def test_a_child_that_lost_neurons_is_known() -> None:
    """A third of every set cut off, the rest shuffled: laid into the wider graph, it is matched and recognised."""
    narrow = C.mlp([64, 24, 20, 10])
    (a,), (other,) = alike(MLP, 4, 1), alike(MLP, 5, 1)
    for parent, related in ((a, True), (other, False)):
        child = cut(MLP.act(MLP.random_element(1), parent), MLP, narrow)
        report = sn.lineage(
            a, narrow.act(narrow.random_element(2), child), MLP, graph_b=narrow, samples=199
        )
        assert (report.p_value <= 0.02) is related


@pytest.mark.slow
def test_children_and_strangers_are_told_apart() -> None:
    """100 fine-tuned and disguised children and 100 strangers, all trained on digits: the area under the curve is 1."""
    networks = train_many(mlp, 200, seed=2)
    children = train_many(mlp, 100, seed=3, steps=60, rate=1e-3, start=networks[:100])
    scores, truth = [], []
    for k in range(100):
        for b, related in ((children[k], True), (networks[100 + k], False)):
            report = sn.lineage(
                networks[k], MLP.act(MLP.random_element(k), b), MLP, samples=199, seed=k
            )
            scores.append(report.weak)
            truth.append(related)
    assert roc_auc_score(truth, scores) == 1.0


# ---- widths ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["attention", "grouped queries", "lstm"])
def test_cutting_undoes_padding(name: str) -> None:
    """What is laid into a wider network comes out as it was, and the rest is zero."""
    narrow = NETWORKS[name]
    wide = sn.NeuronGraph(
        {
            n: sn.NeuronSet(sn.Symmetric(s.size + 2), s.over)
            if isinstance(s.group, sn.Symmetric)
            else s
            for n, s in narrow.neurons.items()
        },
        narrow.tensors,
    )
    a = draw(narrow, 0)
    padded = pad(a, narrow, wide)
    assert {n: tuple(t.shape) for n, t in padded.items()} == dict(wide.shapes)
    assert_close(cut(padded, wide, narrow), a)
    assert sum(float(t.abs().sum()) for t in padded.values()) == pytest.approx(
        sum(float(t.abs().sum()) for t in a.values())
    )


def test_wrong_arguments_are_named() -> None:
    a = draw(MLP, 0)
    held = MLP.with_groups({name: sn.Fixed(s.size) for name, s in MLP.neurons.items()})
    with pytest.raises(sn.GraphError, match="Nothing moves in this graph"):
        sn.lineage(a, a, held)
    with pytest.raises(sn.GraphError, match="samples=0"):
        sn.lineage(a, a, MLP, samples=0)
    with pytest.raises(sn.ShapeError, match="pass the graph of the wider network"):
        sn.lineage(cut(a, MLP, C.mlp([64, 24, 32, 10])), a, C.mlp([64, 24, 32, 10]), graph_b=MLP)
    with pytest.raises(sn.ShapeError, match="declare different networks"):
        sn.lineage(a, a, MLP, graph_b=C.mlp([64, 32, 10]))
