"""Colours are distinct, the same every time, and stay apart for colour-blind readers."""

from __future__ import annotations

import numpy as np
import pytest

import symnet as sn
from symnet.show.colours import COLOUR_LIMIT, as_seen, distance, distinct_colours, text_colour


def smallest_distance(count: int) -> float:
    points = as_seen(distinct_colours(count))
    gaps = distance(points[:, None], points[None])
    return float(gaps[~np.eye(count, dtype=bool)].min())


@pytest.mark.parametrize("count", [1, 7, 100, COLOUR_LIMIT])
def test_no_two_colours_are_equal(count: int) -> None:
    assert len(np.unique(np.round(distinct_colours(count) * 255), axis=0)) == count


@pytest.mark.parametrize(("count", "least"), [(6, 40), (12, 25), (24, 15), (50, 10), (100, 6)])
def test_colours_stay_apart_under_every_vision(count: int, least: float) -> None:
    """CIELAB distance for normal, deuteranopic and protanopic readers; 2.3 is the least that anyone sees."""
    assert smallest_distance(count) > least


def test_more_colours_begin_with_the_same_ones() -> None:
    np.testing.assert_array_equal(distinct_colours(9), distinct_colours(40)[:9])


def test_the_distance_is_that_of_the_worst_vision() -> None:
    """Three visions see two colours 5, 1 and 9 apart: they are 1 apart."""
    offsets = np.array([[5.0, 0, 0], [0, 1.0, 0], [0, 0, 9.0]])
    assert distance(np.zeros((3, 3)), offsets) == 1.0


def test_lab_of_known_colours() -> None:
    """White, black and red as in the CIE's tables (D65)."""
    points = as_seen(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))[:, 0]
    np.testing.assert_allclose(points, [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]], atol=0.02)


def test_grey_looks_grey_to_everyone() -> None:
    grey = as_seen(np.array([[0.5, 0.5, 0.5]]))[0]
    np.testing.assert_allclose(grey[:, 1:], 0, atol=0.1)
    np.testing.assert_allclose(grey[:, 0], grey[0, 0], atol=0.1)


def test_text_is_readable_on_its_colour() -> None:
    assert text_colour(np.array([1.0, 1.0, 0.6])) == "black"
    assert text_colour(np.array([0.1, 0.1, 0.5])) == "white"


def test_too_many_colours_are_refused() -> None:
    with pytest.raises(sn.TooLargeError, match="601 orbits would need 601 colours"):
        distinct_colours(COLOUR_LIMIT + 1)
