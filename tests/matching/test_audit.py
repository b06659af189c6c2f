"""audit: planted dead and doubled neurons are found, and no others; equal checkpoints are known in any order."""

from __future__ import annotations

import json

import pytest
import torch

import symnet as sn
from symnet.matching import audit, find_copies
from tests.matching.test_align import NETWORKS, SCALED, draw

C = sn.catalogue


def of(found: sn.matching.Audit, name: str) -> sn.matching.SetAudit:
    return next(s for s in found.sets if s.name == name)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "siren"])
def test_random_networks_have_nothing_to_report(name: str) -> None:
    """No weight is zero and no two neurons are equal: every count is 0, in every kind of architecture."""
    graph = NETWORKS[name]
    found = audit(draw(graph, 0), graph)
    assert {s.name for s in found.sets} | set(found.held) == set(graph.neurons)
    assert all(s.dead_in == s.dead_out == 0 and not s.same for s in found.sets)


def test_planted_faults_are_found() -> None:
    """Three equal neurons, one with nothing coming in, two with nothing going out, one of a hundredth of the norm."""
    graph = C.mlp([6, 9, 7, 3])
    a = draw(graph, 1)
    a["0.weight"][[4, 7]], a["0.bias"][[4, 7]] = a["0.weight"][2].clone(), a["0.bias"][2].clone()
    a["2.weight"][5], a["2.bias"][5] = 0.0, 0.0
    a["4.weight"][:, [0, 1]] = 0.0
    a["2.weight"][3] *= 0.001
    a["2.bias"][3] *= 0.001
    found = audit(a, graph)
    assert of(found, "h1").same == ((2, 4, 7),) and of(found, "h2").same == ()
    assert (of(found, "h1").dead_in, of(found, "h2").dead_in, of(found, "h2").dead_out) == (0, 1, 2)
    assert of(found, "h2").imbalance > 300 > of(found, "h1").imbalance
    assert of(found, "h1").each == 6 + 1 + 7 and of(found, "h2").each == 9 + 1 + 3


def test_heads_that_compute_the_same_are_found() -> None:
    """One head is another with its dims in another order; the third differs."""
    graph = sn.NeuronGraph(
        {"head": sn.Symmetric(3), "qk": sn.NeuronSet(sn.Symmetric(4), over="head")},
        {"q": "(head qk) 6", "k": "(head qk) 6"},
    )
    a = draw(graph, 0)
    order = torch.tensor([2, 0, 3, 1])
    for name in ("q", "k"):
        a[name][8:12] = a[name][0:4][order]
    assert of(audit(a, graph), "head").same == ((0, 2),)
    a["k"][8:12] = a["k"][8:12].flip(0)
    assert of(audit(a, graph), "head").same == ()


def test_embeddings_write_on_their_last_axis() -> None:
    """Told by the module: what an embedding writes is incoming, so that equal rows of the next layer alone are no double."""
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 2)).double()
    graph = sn.NeuronGraph(
        {"s": sn.Symmetric(4)}, {"0.weight": "5 s", "1.weight": "2 s", "1.bias": "2"}
    )
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    weights["0.weight"][:, 3] = weights["0.weight"][:, 0]
    weights["1.weight"][:, 1] = 0.0
    found = of(audit(weights, graph, model=model), "s")
    assert found.same == ((0, 3),) and found.dead_in == 0 and found.dead_out == 1


@pytest.mark.parametrize("name", ["mlp", "grouped queries", "siren", "relu mlp"])
def test_copies_are_found_up_to_the_group(name: str) -> None:
    """Of six networks, three are one in other orders (signs, scales), and a near miss is none."""
    graph = (NETWORKS | SCALED)[name]
    a, b = draw(graph, 0), draw(graph, 1)
    near = {key: t.clone() for key, t in a.items()}
    next(iter(near.values())).view(-1)[0] += 0.01
    networks = {
        "a": a,
        "b": b,
        "moved": graph.act(graph.random_element(1), a),
        "near": near,
        "c": draw(graph, 2),
    }
    networks["again"] = graph.act(graph.random_element(2), a)
    assert find_copies(networks, graph) == (("a", "moved", "again"),)


def test_the_page_says_what_was_found() -> None:
    graph = C.mlp([6, 20, 3])
    found = audit(draw(graph, 0), graph)
    text = str(found)
    assert (
        "about 10^18 orders" in text
        and "h1: Symmetric(20)" in text
        and "half of it is 49.3%" in text
    )
    assert json.loads(json.dumps(found.as_dict()))["sets"][0]["weights_of_one"] == 10
