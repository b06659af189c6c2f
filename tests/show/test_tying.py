"""The tying matrix shows exactly the orbits: as many colours as maps, equal where weights are tied."""

from __future__ import annotations

import numpy as np
import pytest

import symnet as sn
from symnet.show import draw, label_matrix, tying_matrix
from symnet.show.labels import SIZE_LIMIT
from symnet.show.tying import colour_orbits, spread


def small_mlp(io: type = sn.Fixed) -> sn.NeuronGraph:
    return sn.NeuronGraph(
        neurons={"in": io(2), "h": sn.Symmetric(3), "out": io(2)},
        tensors={"0.weight": "h in", "0.bias": "h", "2.weight": "out h", "2.bias": "out"},
    )


GRAPHS = {
    "MLP 2-3-2, fixed": (small_mlp(), 74),
    "MLP 2-3-2, permuted": (small_mlp(sn.Symmetric), 32),
    "recurrent": (sn.NeuronGraph({"h": sn.Symmetric(4)}, {"weight_hh": "h h"}), 15),
    "circulant": (sn.NeuronGraph({"h": sn.Cyclic(5)}, {"signal": "h"}), 5),
    "attention": (
        sn.NeuronGraph(
            {
                "model": sn.Symmetric(3),
                "head": sn.Symmetric(2),
                "qk": sn.NeuronSet(sn.Symmetric(2), over="head"),
            },
            {"q.weight": "(head qk) model"},
        ),
        6,
    ),
}


@pytest.fixture(params=GRAPHS, ids=str)
def case(request: pytest.FixtureRequest) -> tuple[sn.NeuronGraph, int]:
    return GRAPHS[request.param]


def pixels_of(figure) -> np.ndarray:
    """Colours of the matrix's entries as drawn: (rows, columns, 3)."""
    return np.asarray(figure.axes[0].images[0].get_array())


def test_one_colour_an_orbit(case) -> None:
    """Two entries have one colour exactly when they are one orbit."""
    graph, dimension = case
    maps = sn.derive(graph)
    pixels, labels = pixels_of(tying_matrix(maps)), label_matrix(maps).labels
    assert pixels.shape[:2] == labels.shape == (maps.outputs.size, maps.inputs.size)
    colours, of_entry = np.unique(
        np.round(pixels * 255).reshape(-1, 3), axis=0, return_inverse=True
    )
    assert len(colours) == maps.dimension == dimension
    assert (
        len(set(zip(of_entry.reshape(-1).tolist(), labels.reshape(-1).tolist(), strict=True)))
        == dimension
    )


def test_labels_are_the_blocks_labels(case) -> None:
    graph, _ = case
    maps = sn.derive(graph)
    pattern = label_matrix(maps)
    for output, rows in pattern.rows.items():
        for input, columns in pattern.columns.items():
            block = pattern.labels[rows.start : rows.stop, columns.start : columns.stop]
            expected = maps.between(output, input).labels()
            np.testing.assert_array_equal(block - block.min(), expected)


def test_the_pattern_does_not_change_under_the_group(case) -> None:
    """Permuting rows and columns by one group element leaves every colour where it is."""
    graph, _ = case
    maps = sn.derive(graph)
    pattern = label_matrix(maps)
    positions = {
        name: np.arange(band.start, band.stop).reshape(graph.shapes[name])
        for name, band in pattern.rows.items()
    }
    moved = graph.act(graph.random_element(seed=3), positions)
    order = np.concatenate([moved[name].reshape(-1) for name in pattern.rows])
    np.testing.assert_array_equal(pattern.labels[np.ix_(order, order)], pattern.labels)


def test_every_tensor_is_named_at_both_sides() -> None:
    graph, _ = GRAPHS["MLP 2-3-2, fixed"]
    texts = [
        text.get_text() for text in tying_matrix(sn.derive(graph), numbers=False).axes[0].texts
    ]
    assert texts == [*graph.tensors, *graph.tensors]


def test_numbers_are_the_orbits_numbers() -> None:
    """Whoever cannot tell two colours apart reads the numbers."""
    graph, dimension = GRAPHS["recurrent"]
    figure = tying_matrix(sn.derive(graph))
    numbers = {text.get_text() for text in figure.axes[0].texts} - {"weight_hh"}
    assert numbers == {str(k) for k in range(dimension)}


def test_colours_of_neighbouring_orbits_differ_clearly() -> None:
    """Within one block any two colours are at least 20 apart in CIELAB, for every vision."""
    from symnet.show.colours import as_seen, distance

    pattern = label_matrix(sn.derive(small_mlp(sn.Symmetric)))
    points = as_seen(colour_orbits(pattern))
    for rows in pattern.rows.values():
        for columns in pattern.columns.values():
            block = np.unique(pattern.labels[rows.start : rows.stop, columns.start : columns.stop])
            gaps = distance(points[block][:, None], points[block][None])
            assert gaps[~np.eye(len(block), dtype=bool)].min(initial=100) > 20


def test_weights_that_must_vanish_are_left_white() -> None:
    """Signs of an odd activation: a bias of one sign cannot become a number without one."""
    graph = sn.NeuronGraph({"h": sn.SignedSymmetric(3)}, {"bias": "h"})
    maps = sn.derive(graph, outputs={"bias": "h", "z": ""})
    figure = tying_matrix(maps)
    labels = label_matrix(maps).labels
    assert maps.dimension == 1 and (labels[3] == -1).all()
    np.testing.assert_array_equal((pixels_of(figure) == 1).all(axis=-1), labels < 0)


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_the_same_picture_has_the_same_bytes(format: str) -> None:
    maps = sn.derive(small_mlp())
    assert draw(tying_matrix(maps), format) == draw(tying_matrix(maps), format)


def test_the_title_says_the_count_or_what_is_asked() -> None:
    maps = sn.derive(small_mlp())
    assert tying_matrix(maps).get_suptitle() == "74 orbits tie 289 weights"
    assert tying_matrix(maps, title="HNP").get_suptitle() == "HNP"


def test_maps_between_other_spaces_can_be_shown() -> None:
    maps = sn.derive(small_mlp(), inputs=["0.weight"], outputs={"score": "h", "z": ""})
    assert pixels_of(tying_matrix(maps)).shape[:2] == (4, 6)


def test_a_picture_too_large_to_see_is_refused() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(SIZE_LIMIT + 1)}, {"bias": "h"})
    with pytest.raises(
        sn.TooLargeError, match="401 rows and 401 columns; up to 400 of each can be seen"
    ):
        tying_matrix(sn.derive(graph))


def test_more_orbits_than_colours_are_refused() -> None:
    graph = sn.NeuronGraph({"in": sn.Fixed(25)}, {"bias": "in"})
    with pytest.raises(sn.TooLargeError, match="625 orbits"):
        tying_matrix(sn.derive(graph))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(sn.SymnetError, match="choose one of png, svg, pdf"):
        draw(tying_matrix(sn.derive(small_mlp())), "bmp")


@pytest.mark.parametrize(
    ("centres", "gap"),
    [([0.0, 0.1, 0.2], 1.0), ([1.0, 5.0, 9.0], 1.0), ([3.0, 3.0, 3.4, 8.0, 8.1], 0.7), ([], 1.0)],
)
def test_spread_names_keep_order_and_distance(centres: list[float], gap: float) -> None:
    places = spread(centres, gap)
    assert len(places) == len(centres)
    assert all(b - a >= gap - 1e-9 for a, b in zip(places, places[1:], strict=False))
    if centres:  # the least-squares solution leaves the mean where it was
        assert np.mean(places) == pytest.approx(np.mean(centres))
