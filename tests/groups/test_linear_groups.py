"""Continuous groups: their elements, their Lie dimension, and the table which strands may share a block."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from symnet import Fixed, GeneralLinear, GroupError, Orthogonal, Scaled, SignedSymmetric, Symmetric
from symnet.groups import is_charged, is_trivial, lie_dimension
from symnet.groups.block_rules import longest_increasing

MATRICES = [
    group
    for n in (1, 2, 3, 6)
    for group in (Orthogonal(n), Orthogonal(n, fixes_mean=True), GeneralLinear(n))
]


@pytest.mark.parametrize("group", MATRICES, ids=repr)
def test_random_matrices_are_elements_and_well_conditioned(group) -> None:
    drawn = group.random_matrices(np.random.default_rng(0), 50)
    assert drawn.shape == (50, group.degree, group.degree)
    assert group.holds(drawn)
    assert np.linalg.cond(drawn).max() <= math.e**2 * (1 + 1e-9)
    if isinstance(group, Orthogonal):
        assert np.abs(drawn @ drawn.swapaxes(1, 2) - np.eye(group.degree)).max() < 1e-12
        if group.fixes_mean:
            assert np.abs(drawn.sum(2) - 1).max() < 1e-12
    assert not group.holds(drawn * (0 if isinstance(group, GeneralLinear) else 1.01))


@pytest.mark.parametrize("group", MATRICES, ids=repr)
def test_the_lie_dimension_is_that_of_the_tangent_space(group) -> None:
    """Near the identity: antisymmetric matrices, those that send the ones to zero, or all."""
    n = group.degree
    rows = []
    if isinstance(group, Orthogonal):
        for i, j in itertools.product(range(n), repeat=2):
            row = np.zeros((n, n))
            row[i, j] += 1
            row[j, i] += 1
            rows.append(row.reshape(-1))
        if group.fixes_mean:
            rows += [np.kron(np.eye(n)[i], np.ones(n)) for i in range(n)]
    rank = np.linalg.matrix_rank(np.array(rows)) if rows else 0
    assert lie_dimension(group) == n * n - rank


def test_orders_are_infinite_exactly_where_the_dimension_is_not_zero() -> None:
    for group in [*MATRICES, Scaled(1), Scaled(3), Symmetric(3), SignedSymmetric(2), Fixed(4)]:
        assert (group.order == math.inf) == (lie_dimension(group) > 0)
        assert is_trivial(group) == (group.order == 1)
    assert Orthogonal(1).order == 2 and Orthogonal(2, fixes_mean=True).order == 2


def test_rotations_are_uniform() -> None:
    """The mean of tr(g)^4 over O(3) is the number of matchings of four points, and half of the elements are reflections."""
    drawn = Orthogonal(3).random_matrices(np.random.default_rng(0), 100_000)
    traces = np.trace(drawn, axis1=1, axis2=2)
    assert abs(np.mean(traces**2) - 1) < 0.03 and abs(np.mean(traces**4) - 3) < 0.15
    assert abs(np.mean(np.linalg.det(drawn) > 0) - 0.5) < 0.02


def test_scales_lie_between_the_bounds() -> None:
    drawn = Scaled(4).random_scales(np.random.default_rng(0), 1000)
    assert (
        drawn.shape == (1000, 4) and 1 / math.e < drawn.min() < 0.4 and 2.5 < drawn.max() < math.e
    )


@pytest.mark.parametrize(
    ("group", "blocks"),
    [
        (Symmetric(3), lambda p, q, z: True),
        (SignedSymmetric(3), lambda p, q, z: (p + q) % 2 == 0),
        (Scaled(3), lambda p, q, z: p == q),
        (Orthogonal(3), lambda p, q, z: p + q == 2),
        (Orthogonal(3, fixes_mean=True), lambda p, q, z: p + q <= 2),
        (GeneralLinear(3), lambda p, q, z: p == q == 1),
    ],
    ids=lambda value: "" if callable(value) else repr(value),
)
def test_the_table_of_allowed_blocks(group, blocks) -> None:
    """p strands of degree 1, q of degree -1, z of degree 0, which groups that mix neurons do not have."""
    most = 1 if is_charged(group, 0) else 3
    for p, q, z in itertools.product(range(4), range(4), range(most)):
        if p + q + z:
            assert group.rule.allows([1] * p + [-1] * q + [0] * z) == blocks(p, q, z), (p, q, z)


def test_what_a_group_changes_besides_the_order() -> None:
    assert not is_charged(Symmetric(2)) and not is_charged(Fixed(2))
    assert is_charged(Scaled(2)) and is_charged(Scaled(2), -1) and not is_charged(Scaled(2), 0)
    assert all(is_charged(group) for group in MATRICES)


def test_longest_increasing_subsequences() -> None:
    for values in itertools.permutations(range(6)):
        chosen = itertools.chain.from_iterable(itertools.combinations(values, k) for k in range(7))
        assert longest_increasing(values) == max(len(c) for c in chosen if list(c) == sorted(c))


@pytest.mark.parametrize("make", [Scaled, Orthogonal, GeneralLinear])
@pytest.mark.parametrize("degree", [0, -1, 2.5, True, "3"])
def test_degrees_are_whole_numbers(make, degree) -> None:
    with pytest.raises(GroupError, match="number of neurons"):
        make(degree)


def test_fixes_mean_is_yes_or_no() -> None:
    with pytest.raises(GroupError, match="fixes_mean='yes'"):
        Orthogonal(3, fixes_mean="yes")
