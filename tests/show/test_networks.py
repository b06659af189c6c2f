"""Graph pictures read from left to right and show every neuron set and every tensor."""

from __future__ import annotations

import pytest

import symnet as sn
from symnet.show import draw, graph_picture, save_picture
from symnet.show.networks import columns_of, place

MLP = sn.NeuronGraph(
    neurons={"in": sn.Fixed(2), "h1": sn.Symmetric(32), "h2": sn.Symmetric(32), "out": sn.Fixed(1)},
    tensors={
        "0.weight": "h1 in",
        "0.bias": "h1",
        "2.weight": "h2 h1",
        "2.bias": "h2",
        "4.weight": "out h2",
        "4.bias": "out",
    },
)
ATTENTION = sn.NeuronGraph(
    neurons={
        "model": sn.Symmetric(8),
        "head": sn.Symmetric(2),
        "qk": sn.NeuronSet(sn.Symmetric(3), over="head"),
        "vo": sn.NeuronSet(sn.Symmetric(3), over="head"),
    },
    tensors={
        "q.weight": "(head qk) model",
        "k.weight": "(head qk) model",
        "v.weight": "(head vo) model",
        "o.weight": "model (head vo)",
        "scale": "",
    },
)


def test_an_mlp_reads_from_left_to_right() -> None:
    assert columns_of(MLP) == {"in": 0, "h1": 1, "h2": 2, "out": 3}


def test_feedback_and_children_have_their_columns() -> None:
    """A residual stream comes first and is not moved by what flows back; children stand with their parents."""
    assert columns_of(ATTENTION) == {"model": 0, "head": 1, "qk": 1, "vo": 1}
    recurrent = sn.NeuronGraph({"h": sn.Symmetric(4), "x": sn.Fixed(2)}, {"weight_ih": "h x", "weight_hh": "h h"})
    assert columns_of(recurrent) == {"h": 1, "x": 0}


@pytest.mark.parametrize("graph", [MLP, ATTENTION], ids=["MLP", "attention"])
def test_nothing_stands_on_anything_else(graph: sn.NeuronGraph) -> None:
    placed = place(graph)
    places = sorted([*placed.sets.values(), *placed.boxes.values()])
    assert len(set(places)) == len(graph.neurons) + len(set(graph.tensors.values()))
    assert all(a[0] != b[0] or b[1] - a[1] >= 0.8 - 1e-9 for a, b in zip(places, places[1:], strict=False))


@pytest.mark.parametrize("graph", [MLP, ATTENTION], ids=["MLP", "attention"])
def test_every_name_can_be_read(graph: sn.NeuronGraph) -> None:
    words = {word for text in graph_picture(graph).axes[0].texts for word in text.get_text().split("\n")}
    assert {*graph.neurons, *graph.tensors} <= words


def test_many_tensors_of_one_kind_share_a_box() -> None:
    """Hundreds of tensors over a few sets make one readable picture."""
    graph = sn.NeuronGraph({"model": sn.Symmetric(8)}, {f"norms.{k}.weight": "model" for k in range(300)})
    assert place(graph).boxes.keys() == {"model"}
    assert any("and 297 more" in text.get_text() for text in graph_picture(graph).axes[0].texts)


def test_moved_and_fixed_sets_have_different_colours() -> None:
    colours = {}
    for text in graph_picture(MLP).axes[0].texts:
        colours[text.get_text().split("\n")[0]] = text.get_bbox_patch().get_facecolor()
    assert colours["in"] == colours["out"] != colours["h1"] == colours["h2"]


def test_the_same_picture_has_the_same_bytes() -> None:
    assert draw(graph_picture(ATTENTION)) == draw(graph_picture(ATTENTION))


def test_a_picture_is_written_in_the_format_of_its_name(tmp_path) -> None:
    assert save_picture(graph_picture(MLP), tmp_path / "new" / "mlp.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in save_picture(graph_picture(MLP), tmp_path / "mlp.svg").read_bytes()


def test_a_graph_too_large_to_see_is_refused() -> None:
    sets = {f"h{k}": sn.Symmetric(2) for k in range(81)}
    with pytest.raises(sn.TooLargeError, match="81 neuron sets and 1 kinds of tensors"):
        graph_picture(sn.NeuronGraph(sets, {"bias": "h0"}))
