"""Pictures look as they did: each is compared, shrunk and in grey, with the one that was looked at and kept.

After a wanted change look at the pictures, then `python -m tests.show.test_images` keeps the new ones.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import symnet as sn
from symnet.plan import make_plan
from symnet.show import (
    commuting_square,
    draw,
    graph_picture,
    orbit_picture,
    plan_picture,
    tying_matrix,
)

KEPT = Path(__file__).with_name("images.json")
SIZE = (60, 45)  # letters become grey spots, whatever the font
MLP = sn.catalogue.mlp([2, 3, 3, 1])
PICTURES: dict[str, Callable[[], Figure]] = {
    "tying": lambda: tying_matrix(sn.derive(MLP)),
    "tying of attention": lambda: tying_matrix(
        sn.derive(sn.catalogue.attention(2, 1, head_size=2, bias=False))
    ),
    "graph": lambda: graph_picture(MLP),
    "plan": lambda: plan_picture(make_plan(MLP)),
    "orbit": lambda: orbit_picture(MLP, ("2.weight", (0, 1)), ("0.weight", (1, 0))),
    "square": lambda: commuting_square(MLP),
}


def shrunk(figure: Figure) -> np.ndarray:
    """Grey values `(height, width)` in 0 ... 255."""
    image = (
        Image.open(io.BytesIO(draw(figure, dpi=60))).convert("L").resize(SIZE, Image.Resampling.BOX)
    )
    return np.asarray(image, dtype=np.float64)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_looks_as_it_did(name: str) -> None:
    kept = np.array(json.loads(KEPT.read_text())[name], dtype=np.float64)
    found = shrunk(PICTURES[name]())
    assert found.shape == kept.shape and np.abs(found - kept).mean() < 2.0
    assert kept.std() > 5.0  # the kept one is no empty sheet


def test_the_comparison_notices_another_picture() -> None:
    """Pictures of different things are further apart than the tolerance, and so is one with a wider network."""
    kept = {
        name: np.array(values, dtype=np.float64)
        for name, values in json.loads(KEPT.read_text()).items()
    }
    assert kept.keys() == PICTURES.keys()
    names = list(kept)
    assert all(np.abs(kept[a] - kept[b]).mean() > 4.0 for a in names for b in names if a != b)
    assert (
        np.abs(
            shrunk(tying_matrix(sn.derive(sn.catalogue.mlp([2, 3, 2, 1])))) - kept["tying"]
        ).mean()
        > 4.0
    )


if __name__ == "__main__":
    KEPT.write_text(
        json.dumps({name: shrunk(make()).astype(int).tolist() for name, make in PICTURES.items()})
        + "\n"
    )
