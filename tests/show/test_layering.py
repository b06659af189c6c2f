"""Layered drawings keep their laws on pictures of networks of all kinds, and on graphs drawn at
random.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import symnet as sn
from symnet.show.layering import Box, Outline
from symnet.show.networks import placed
from symnet.show.placement import Layout, Rectangle, lay_out


class UNet(nn.Module):
    """Three levels down and up, with concatenated skips."""

    def __init__(self) -> None:
        super().__init__()
        widths = {
            "down1": (3, 8),
            "down2": (8, 16),
            "middle": (16, 16),
            "up2": (32, 8),
            "up1": (16, 4),
        }
        self.convs = nn.ModuleDict(
            {name: nn.Conv2d(*pair, 3, padding=1) for name, pair in widths.items()}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.convs["down1"](x).relu()
        two = self.convs["down2"](one[..., ::2, ::2]).relu()
        middle = self.convs["middle"](two).relu()
        back = self.convs["up2"](torch.cat([middle, two], 1)).relu()
        return self.convs["up1"](
            torch.cat([nn.functional.interpolate(back, scale_factor=2), one], 1)
        )


GRAPHS = {
    "MLP": sn.catalogue.mlp([2, 32, 32, 1]),
    "deep MLP": sn.catalogue.mlp([2, *[8] * 12, 1]),
    "CNN": sn.catalogue.cnn([1, 16, 16], classes=10),
    "ResNet": sn.catalogue.resnet([3, 8, 16], [3, 2]),
    "U-Net": sn.trace(UNet().eval(), torch.randn(1, 3, 8, 8)),
    "GRU": sn.catalogue.gru(4, 8),
    "LSTM": sn.catalogue.lstm(4, 8),
    "attention": sn.catalogue.attention(8, 2),
    "grouped queries": sn.catalogue.grouped_query_attention(16, 4, 2),
    "experts": sn.catalogue.experts(4, 8, 3),
    "LoRA": sn.catalogue.lora({"q": (64, 8, 64), "v": (64, 8, 64)}),
    "permuted graph": sn.NeuronGraph(
        {"h": sn.Symmetric(4)}, {"edges": "h h", "nodes": "h 3", "scale": ""}
    ),
}


def passes_through(line: Iterable[tuple[float, float]], box: Rectangle) -> bool:
    """Whether a drawn line, its bends included, comes inside a box."""
    for (x, y), (u, v) in itertools.pairwise(line):
        t = np.linspace(0, 1, 41)
        # The bend that is drawn: both control points lie in the middle.
        across = (
            x * (1 - t) ** 3 + (x + u) / 2 * 3 * t * (1 - t) + u * t**3
            if y != v
            else x + (u - x) * t
        )
        down = y + (v - y) * (3 * t**2 - 2 * t**3)
        inside = (across > box.left + 1e-6) & (across < box.right - 1e-6) & (down > box.top + 1e-6)
        if (inside & (down < box.bottom - 1e-6)).any():
            return True
    return False


def check(layout: Layout, frame_of: dict[object, object], outer: dict[object, object]) -> None:
    """No two boxes overlap; no line passes through a box that is not its end; frames hold their
    own and nothing else.
    """
    for (_, one), (_, other) in itertools.combinations(layout.boxes.items(), 2):
        assert not one.overlaps(other)
    for ends, line in layout.lines.items():
        for key, box in layout.boxes.items():
            assert not passes_through(line, box), (ends, key)
    for name, frame in layout.frames.items():
        for key, box in layout.boxes.items():
            around, inside = frame_of[key], False
            while around is not None:
                inside, around = inside or around == name, outer[around]
            if inside:
                assert frame.left < box.left and box.right < frame.right
                assert frame.top < box.top and box.bottom < frame.bottom
            else:
                assert not frame.overlaps(box), (name, key)


@pytest.mark.parametrize("name", GRAPHS)
def test_pictures_of_networks_keep_the_laws(name: str) -> None:
    cards, layout = placed(GRAPHS[name])
    assert layout.boxes.keys() == cards.cards.keys() and layout.lines.keys() == set(cards.edges)
    check(
        layout,
        {k: c.frame for k, c in cards.cards.items()},
        {k: f.frame for k, f in cards.frames.items()},
    )


@st.composite
def drawings(draw: st.DrawFn) -> tuple[dict[int, Box], list[tuple[int, int]], dict[str, Outline]]:
    """Boxes of different sizes, some edges, circles among them, and up to three frames, one
    perhaps in another.
    """
    count = draw(st.integers(1, 12))
    outlines = {
        "a": Outline(1.0),
        "b": Outline(3.0, draw(st.sampled_from([None, "a"]))),
        "c": Outline(0.5),
    }
    boxes = {}
    for key in range(count):
        height = draw(st.floats(0.2, 1.5))
        frame = draw(st.sampled_from([None, None, "a", "b", "c"]))
        boxes[key] = Box(
            draw(st.floats(0.2, 2.0)), height, height * draw(st.sampled_from([0.2, 0.5])), frame
        )
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(
        lambda pair: pair[0] < pair[1]
    )
    edges = draw(st.lists(pair, max_size=20, unique=True)) if count > 1 else []
    turned = draw(st.sets(st.sampled_from(edges))) if edges else set()
    return boxes, [edge[::-1] if edge in turned else edge for edge in edges], outlines


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_any_drawing_keeps_the_laws(
    drawing: tuple[dict[int, Box], list[tuple[int, int]], dict[str, Outline]],
) -> None:
    boxes, edges, outlines = drawing
    layout = lay_out(boxes, edges, outlines)
    assert layout.boxes.keys() == boxes.keys() and layout.lines.keys() == set(edges)
    check(
        layout,
        {k: box.frame for k, box in boxes.items()},
        {k: one.frame for k, one in outlines.items()},
    )


@pytest.mark.parametrize("name", ["MLP", "deep MLP", "CNN", "U-Net", "attention", "LoRA"])
def test_signals_run_from_left_to_right(name: str) -> None:
    """Without circles every line leads to the right, and the columns are as many as the longest
    way has boxes.
    """
    cards, layout = placed(GRAPHS[name])
    flow = networkx.DiGraph(cards.edges)
    for source, target in cards.edges:
        assert layout.boxes[source].right < layout.boxes[target].left
    middles = {
        round((box.left + box.right) / 2, 6) for key, box in layout.boxes.items() if key in flow
    }
    assert len(middles) == networkx.dag_longest_path_length(flow) + 1


def test_the_laws_notice_what_breaks_them() -> None:
    """The tester is tested: a straight line through a box in the middle, and two boxes on one
    place.
    """
    box = Rectangle(1.0, 0.0, 2.0, 1.0)
    assert passes_through([(0.0, 0.5), (3.0, 0.5)], box) and not passes_through(
        [(0.0, 1.5), (3.0, 1.5)], box
    )
    assert passes_through([(0.0, -1.0), (3.0, 2.0)], box)
    assert box.overlaps(Rectangle(1.5, 0.5, 3.0, 3.0)) and not box.overlaps(
        Rectangle(2.0, 0.0, 3.0, 1.0)
    )


def test_a_chain_is_a_straight_line() -> None:
    _, layout = placed(GRAPHS["MLP"])
    assert len({y for line in layout.lines.values() for _, y in line}) == 1
