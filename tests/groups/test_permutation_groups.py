"""Groups: orders are exact, elements are uniform, bad input teaches."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symnet import Cyclic, Dihedral, Fixed, Generated, GroupError, SignedSymmetric, Symmetric
from symnet.groups import elements, is_trivial

SMALL = [kind(n) for kind in (Symmetric, Fixed, Cyclic, Dihedral) for n in range(1, 6)] + [
    Generated(5, [[1, 0, 2, 3, 4], [0, 1, 3, 4, 2]]),
    Generated(4, [[1, 2, 3, 0], [1, 0, 2, 3]]),
    Generated(3, []),
]


@pytest.mark.parametrize("group", SMALL, ids=repr)
def test_the_order_is_the_number_of_elements(group) -> None:
    found = elements(group)
    assert len(found) == group.order == len({tuple(p) for p in found})
    assert is_trivial(group) == (group.order == 1)


@pytest.mark.parametrize("group", SMALL, ids=repr)
def test_random_elements_are_uniform(group) -> None:
    """A chi-squared statistic within six standard deviations of its mean, and nothing outside the group."""
    count = 200 * group.order
    drawn = Counter(tuple(int(i) for i in p) for p in group.random(np.random.default_rng(0), count))
    allowed = {tuple(int(i) for i in p) for p in elements(group)}
    assert set(drawn) <= allowed
    expected = count / group.order
    statistic = sum((drawn[p] - expected) ** 2 / expected for p in allowed)
    freedom = group.order - 1
    assert statistic <= freedom + 6 * math.sqrt(2 * freedom) + 1e-9


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.permutations(range(n)), max_size=3))
    )
)
def test_the_order_of_a_generated_group_by_schreier_sims_is_that_of_its_closure(drawn) -> None:
    degree, generators = drawn
    group = Generated(degree, generators)
    assert group.order == len(elements(group))


def test_large_symmetric_groups_have_exact_orders() -> None:
    assert Symmetric(512).order == math.factorial(512)
    cycle, swap = [*range(1, 30), 0], [1, 0, *range(2, 30)]
    assert Generated(30, [cycle, swap]).order == math.factorial(30)


def test_signs_are_uniform_and_independent() -> None:
    """Each of the eight signs of three neurons, about as often."""
    drawn = Counter(
        map(tuple, SignedSymmetric(3).random_signs(np.random.default_rng(0), 8000).tolist())
    )
    assert set(drawn) == set(itertools.product([1, -1], repeat=3))
    assert max(abs(count - 1000) for count in drawn.values()) < 6 * math.sqrt(1000)


@pytest.mark.parametrize("kind", [Symmetric, SignedSymmetric, Fixed, Cyclic, Dihedral, Generated])
@pytest.mark.parametrize("bad", [0, -1, 2.5, True, "3"])
def test_a_degree_that_is_no_number_of_neurons_is_refused(kind, bad) -> None:
    with pytest.raises(GroupError, match="at least 1"):
        kind(bad, []) if kind is Generated else kind(bad)


def test_a_generator_that_is_no_permutation_is_named() -> None:
    with pytest.raises(GroupError, match=r"Generator 1 .*not a permutation of 0\.\.2"):
        Generated(3, [[1, 2, 0], [0, 0, 1]])


def test_elements_are_listed_up_to_the_limit() -> None:
    """As many as allowed, and not one more."""
    assert len(elements(Symmetric(4), limit=24)) == 24
    with pytest.raises(GroupError, match="more than 23 elements"):
        elements(Symmetric(4), limit=23)
