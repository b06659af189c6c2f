"""Graph pictures read from left to right and show every neuron set and every tensor."""

from __future__ import annotations

import pytest

import symnet as sn
from symnet.show import draw, graph_picture, save_picture
from symnet.show.cards import cards_of
from symnet.show.folding import fold
from symnet.show.networks import placed
from symnet.show.neurons import columns_of

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
    recurrent = sn.NeuronGraph(
        {"h": sn.Symmetric(4), "x": sn.Fixed(2)}, {"weight_ih": "h x", "weight_hh": "h h"}
    )
    assert columns_of(recurrent) == {"h": 1, "x": 0}


@pytest.mark.parametrize("graph", [MLP, ATTENTION], ids=["MLP", "attention"])
def test_every_name_can_be_read(graph: sn.NeuronGraph) -> None:
    words = {
        word for text in graph_picture(graph).axes[0].texts for word in text.get_text().split()
    }
    assert {*graph.neurons, *graph.tensors} <= words


def texts_of(graph: sn.NeuronGraph) -> list[str]:
    return [text.get_text() for text in graph_picture(graph).axes[0].texts]


def test_many_tensors_of_one_kind_share_a_box() -> None:
    """Hundreds of tensors over a few sets make one readable picture, numbered or not."""
    letters = [chr(97 + k) + chr(97 + j) for k in range(20) for j in range(15)]
    graph = sn.NeuronGraph(
        {"model": sn.Symmetric(8)}, {f"{one}.weight": "model" for one in letters}
    )
    assert len(cards_of(graph).cards) == 1
    assert "and 295 more" in texts_of(graph)
    graph = sn.NeuronGraph(
        {"model": sn.Symmetric(8)}, {f"norms.{k}.weight": "model" for k in range(300)}
    )
    assert "norms.0 … 299   × 300" in texts_of(graph)


def transformer(layers: int, odd: int | None = None) -> sn.NeuronGraph:
    """Blocks on one stream; the odd one is wider."""
    neurons = {"stream": sn.Symmetric(8)}
    tensors = {"embed.weight": "9 stream"}
    for k in range(layers):
        neurons[f"block.{k}.head"] = sn.Symmetric(2)
        neurons[f"block.{k}.key"] = sn.NeuronSet(sn.Symmetric(4), over=f"block.{k}.head")
        neurons[f"block.{k}.mlp"] = sn.Symmetric(32 if k == odd else 16)
        tensors |= {
            f"block.{k}.q.weight": f"(block.{k}.head block.{k}.key) stream",
            f"block.{k}.up.weight": f"block.{k}.mlp stream",
            f"block.{k}.up.bias": f"block.{k}.mlp",
            f"block.{k}.down.weight": f"stream block.{k}.mlp",
            f"block.{k}.norm": "stream",
        }
    return sn.NeuronGraph(neurons, tensors | {"norm": "stream"})


@pytest.mark.parametrize("layers", [3, 12, 40])
def test_equal_blocks_are_drawn_once_with_their_number(layers: int) -> None:
    """The picture of any number of blocks is that of one, and every tensor and set is counted in just one card."""
    graph = transformer(layers)
    folded = fold(graph)
    assert [repeat.title for repeat in folded.repeats] == [f"block.0 … {layers - 1}   × {layers}"]
    assert sorted(name for names in folded.tensors.values() for name in names) == sorted(
        graph.tensors
    )
    assert sorted(name for names in folded.sets.values() for name in names) == sorted(graph.neurons)
    assert {len(names) for kept, names in folded.tensors.items() if kept.startswith("block")} == {
        layers
    }
    assert len(cards_of(graph).cards) == len(cards_of(transformer(3)).cards)
    texts = texts_of(graph)
    assert f"block.0 … {layers - 1}   × {layers}" in texts and "each head (Symmetric 2)" in texts
    assert {"mlp", "up.weight", "[mlp stream]", "q.weight"} <= set(texts)


def test_a_block_that_differs_is_not_folded() -> None:
    """A wider block stands between two runs."""
    titles = [repeat.title for repeat in fold(transformer(9, odd=4)).repeats]
    assert titles == ["block.0 … 3   × 4", "block.5 … 8   × 4"]
    assert "Symmetric 32" in texts_of(transformer(9, odd=4))


def test_a_chain_is_folded_only_where_nothing_leaves_it() -> None:
    """A head on a hidden layer in the middle ends the run there: it may not seem to stand on another layer."""
    graph = sn.catalogue.mlp([2, *[8] * 12, 1])
    assert [repeat.title for repeat in fold(graph).repeats] == ["2 … 22   × 11"]
    assert {"h2 … h12"} <= set(texts_of(graph))
    tapped = sn.NeuronGraph(graph.neurons, {**graph.tensors, "tap.weight": "out h6"})
    assert [repeat.title for repeat in fold(tapped).repeats] == ["2 … 10   × 5", "12 … 22   × 6"]
    kept = fold(tapped).kept
    assert kept["h6"] == "h2" and kept["h7"] == "h7"


def test_runs_inside_runs_are_folded_too() -> None:
    tensors = {
        f"layers.{k}.experts.{e}.{w}": "h" for k in range(4) for e in range(5) for w in "abc"
    }
    folded = fold(sn.NeuronGraph({"h": sn.Symmetric(3)}, tensors))
    assert [(r.prefix, len(r.numbers), r.inside) for r in folded.repeats] == [
        ("layers.", 4, None),
        ("layers.0.experts.", 5, 0),
    ]
    assert {len(names) for names in folded.tensors.values()} == {20}


def test_a_module_that_stores_its_weight_the_other_way_round_is_read_by_its_bias() -> None:
    """As GPT-2's: the weight is ``in out``, and the bias tells which is which."""
    neurons = {"in": sn.Fixed(2), "h": sn.Symmetric(3)}
    stored = {"weight": "in h", "bias": "h"}
    assert cards_of(sn.NeuronGraph(neurons, stored)).edges[0][0] == ("set", "in")
    assert cards_of(sn.NeuronGraph(neurons, {"weight": "in h"})).edges[0][0] == ("set", "h")


@pytest.mark.parametrize(
    "graph", [MLP, ATTENTION, transformer(4)], ids=["MLP", "attention", "transformer"]
)
def test_no_text_is_wider_than_its_card(graph: sn.NeuronGraph) -> None:
    """Measured in the drawn figure, in its own units: a second route beside the layout's sizes."""
    figure = graph_picture(graph)
    draw(figure)
    axes = figure.axes[0]
    cards, layout = placed(graph)
    renderer = figure.canvas.get_renderer()
    for text in axes.texts:
        extent = text.get_window_extent(renderer).transformed(axes.transData.inverted())
        x, y = text.get_position()
        around = [
            one
            for one in layout.boxes.values()
            if one.left <= x <= one.right and one.top <= y <= one.bottom
        ]
        if text.get_text() not in {frame.heading for frame in cards.frames.values()}:
            (card,) = around
            assert card.left <= extent.x0 and extent.x1 <= card.right, text.get_text()
        else:
            assert around == []


def test_what_moves_a_set_is_its_colour() -> None:
    graph = MLP.with_groups({"h2": sn.Scaled(32)})
    colours = {
        key[1]: card.colour for key, card in cards_of(graph).cards.items() if key[0] == "set"
    }
    assert colours["in"] == colours["out"] != colours["h1"] != colours["h2"] != colours["in"]
    assert "scaled or mixed" in graph_picture(graph).get_suptitle()
    assert "scaled" not in graph_picture(MLP).get_suptitle()


def test_the_same_picture_has_the_same_bytes() -> None:
    assert draw(graph_picture(ATTENTION)) == draw(graph_picture(ATTENTION))


def test_a_picture_is_written_in_the_format_of_its_name(tmp_path) -> None:
    assert (
        save_picture(graph_picture(MLP), tmp_path / "mlp.png").read_bytes().startswith(b"\x89PNG")
    )
    assert b"<svg" in save_picture(graph_picture(MLP), tmp_path / "mlp.svg").read_bytes()
    with pytest.raises(sn.FileError, match=r"there is no folder .*new. Make it first"):
        save_picture(graph_picture(MLP), tmp_path / "new" / "mlp.png")
    assert not (tmp_path / "new").exists()


def test_a_graph_too_large_to_see_is_refused() -> None:
    sets = {f"{chr(97 + k % 26)}{k}": sn.Symmetric(k + 2) for k in range(151)}
    with pytest.raises(sn.TooLargeError, match="151 neuron sets and kinds of tensors"):
        graph_picture(sn.NeuronGraph(sets, {"bias": "a0"}))
