"""Networks drawn as neurons: every weight between its neurons, orbits marked as they are, and a square that commutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

import symnet as sn
from symnet.show import commuting_frames, commuting_square, orbit_picture, save_animation
from symnet.show.neurons import Drawing
from symnet.show.orbits import CHOSEN
from symnet.show.squares import Square
from tests.cases import GRAPHS

MLP = sn.catalogue.mlp([2, 3, 3, 1])
ATTENTION = sn.catalogue.attention(2, 2, head_size=2)
SMALL = {name: graph for name, graph in GRAPHS.items() if graph.weights.size <= 200}


def test_a_weight_joins_the_neurons_of_its_indices() -> None:
    """Row from column, as in ``out in``; a bias belongs to one neuron; dims of a head belong to their head."""
    ends = Drawing(MLP).ends
    assert ends["2.weight"] == [(("h2", i), ("h1", j)) for i in range(3) for j in range(3)]
    assert ends["0.bias"] == [(("h1", i),) for i in range(3)]
    value = Drawing(ATTENTION).ends["out_proj.weight"]
    assert value[:4] == [(("out", 0), ("vo", head, dim)) for head in range(2) for dim in range(2)]
    packed = Drawing(ATTENTION).ends["in_proj_bias"]
    assert (
        packed[0] == (("qk", 0, 0),)
        and packed[4] == (("qk", 0, 0),)
        and packed[-1] == (("vo", 1, 1),)
    )


def test_no_two_neurons_stand_in_one_place() -> None:
    for graph in SMALL.values():
        places = Drawing(graph).places
        assert len(set(places.values())) == len(places)
        assert len(places) == sum(
            np.prod(graph.random_element(0)[name].shape) for name in graph.neurons
        )


@pytest.mark.parametrize("name", SMALL)
def test_a_weight_moves_with_its_neurons(name: str) -> None:
    """The image of an entry's neurons are the neurons of the entry's image, for a random element."""
    graph = SMALL[name]
    drawing, element = Drawing(graph), graph.random_element(seed=1)
    numbers = {
        key: np.arange(np.prod(shape, dtype=int)).reshape(shape)
        for key, shape in graph.shapes.items()
    }
    unsigned = {key: np.abs(np.rint(moved)) for key, moved in graph.act(element, numbers).items()}
    for key, moved in unsigned.items():
        ends = drawing.ends[key]
        for there, here in enumerate(moved.reshape(-1).astype(int)):
            assert ends[there] == tuple(drawing.image(element, neuron) for neuron in ends[here])


def test_the_marked_weights_are_those_of_the_orbit() -> None:
    """As many coloured lines as entries of the orbit in the output weight's row."""
    figure = orbit_picture(MLP, ("2.weight", (0, 1)), ("2.weight", (0, 2)))
    coloured = [
        patch for patch in figure.axes[1].patches if to_hex(patch.get_edgecolor()) == CHOSEN
    ]
    labels = sn.derive(MLP).between("2.weight", "2.weight").labels()
    assert len(coloured) == (labels[1] == labels[1, 2]).sum() == 2
    cells = np.asarray(figure.axes[0].images[0].get_array())
    orange = np.isclose(cells, [int(CHOSEN[k : k + 2], 16) / 255 for k in (1, 3, 5)]).all(axis=-1)
    assert orange.sum() == (labels == labels[1, 2]).sum()
    assert "same row (h2), different column (h1)" in figure.get_suptitle()


def test_entries_that_do_not_exist_are_refused() -> None:
    with pytest.raises(sn.GraphError, match="no tensor 'w'"):
        orbit_picture(MLP, ("w", (0,)), ("0.bias", (0,)))
    with pytest.raises(sn.GraphError, match=r"shape \(3,\) has no entry \(3,\)"):
        orbit_picture(MLP, ("0.bias", (3,)), ("0.bias", (0,)))
    with pytest.raises(sn.TooLargeError, match="--narrow 3"):
        commuting_square(sn.catalogue.mlp([2, 32, 32, 1]))


@pytest.mark.parametrize("name", SMALL)
def test_both_ways_round_the_square_agree(name: str) -> None:
    """What the picture claims is computed: the layer of the permuted weights, and the permuted output of the layer."""
    square = Square(SMALL[name])
    assert square.error < 1e-12
    trivial = not list(SMALL[name].generators())
    assert trivial or any(square.element.moves(key) for key in SMALL[name].neurons)


def test_the_square_shows_four_networks() -> None:
    figure = commuting_square(MLP)
    titles = [axes.get_title() for axes in figure.axes]
    assert len(figure.axes) == 4 and titles[0] == "weights x" and titles[3].startswith("L(g")


def test_an_animation_has_its_frames_and_is_the_same_every_time(tmp_path: Path) -> None:
    """It begins with the network at rest, and ends with the layer computed anew on the permuted one."""
    graph = sn.catalogue.mlp([1, 2, 1])
    files = [
        save_animation(commuting_frames(graph, steps=4), tmp_path / f"{k}.gif", dpi=40)
        for k in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    with Image.open(files[0]) as found:
        assert found.n_frames == 5
    with pytest.raises(sn.SymnetError, match=r"write a \.gif"):
        save_animation(commuting_frames(graph, steps=1), tmp_path / "x.mp4")
