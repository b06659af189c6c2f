"""Colours that stay apart, also for colour-blind readers.

Chosen one after another, each as far as possible from all before it; the distance of two colours is
the smallest of their distances in CIELAB as seen with normal, deuteranopic and protanopic vision.
So the first few colours are the safest, and any number is as safe as that number can be.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from symnet.errors import TooLargeError

COLOUR_LIMIT = 600

# Severe red- and green-blindness as maps of linear RGB (Machado, Oliveira, Fernandes 2009, table 1, severity 1.0).
_VISIONS = np.array(
    [
        np.eye(3),
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
    ]
)
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _RGB_TO_XYZ.sum(axis=1)


def to_linear(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB of sRGB values in 0..1, shape ``(..., 3)``."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def as_seen(rgb: np.ndarray) -> np.ndarray:
    """CIELAB coordinates of sRGB colours under each vision: ``(n, 3) -> (n, 3 visions, 3)``."""
    seen = np.clip(np.einsum("vij,nj->nvi", _VISIONS, to_linear(rgb)), 0, 1)
    scaled = seen @ (_RGB_TO_XYZ / _WHITE[:, None]).T
    curved = np.where(
        scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29
    )
    x, y, z = np.moveaxis(curved, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Smallest distance over the visions, of points made by ``as_seen``."""
    return np.linalg.norm(first - second, axis=-1).min(axis=-1)


@lru_cache(maxsize=1)
def _ordered_colours() -> np.ndarray:
    """All colours that are ever handed out, in order: ``(COLOUR_LIMIT, 3)``, multiples of 1/255."""
    steps = np.linspace(0.1, 1.0, 13)
    candidates = (
        np.round(
            np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) * 255
        )
        / 255
    )
    points = as_seen(candidates)
    # White is the paper: no colour may come near it.
    gap = distance(points, as_seen(np.ones((1, 3))))
    chosen: list[int] = []
    for _ in range(COLOUR_LIMIT):
        chosen.append(
            int(gap.argmax()) if chosen else int(distance(points, as_seen(_FIRST)).argmin())
        )
        gap = np.minimum(gap, distance(points, points[chosen[-1]]))
    return candidates[chosen]


_FIRST = np.array([[0.0, 0.45, 0.70]])  # the blue of Okabe and Ito's palette


def distinct_colours(count: int) -> np.ndarray:
    """The first ``count`` colours: float ``(count, 3)`` in 0..1, the same on every call.

    Raises:
        TooLargeError: more colours than anyone could tell apart.

    Example:
        >>> distinct_colours(3).shape
        (3, 3)
    """
    if count > COLOUR_LIMIT:
        raise TooLargeError(
            f"{count} orbits would need {count} colours; beyond {COLOUR_LIMIT} they cannot be told apart. Hold fewer neurons "
            "fixed, narrow the fixed sets, or show fewer tensors with derive(graph, inputs=..., outputs=...)."
        )
    return _ordered_colours()[:count].copy()


def text_colour(rgb: np.ndarray) -> str:
    """'black' or 'white', whichever reads better on the colour."""
    luminance = to_linear(np.asarray(rgb)) @ _RGB_TO_XYZ[1]
    return "black" if luminance > 0.18 else "white"
