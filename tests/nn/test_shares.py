"""Shares of variance that the initialisation draws by, and choices that layers make unless told."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import symnet as sn
from symnet.nn.compiled_plan import CompiledPlan
from symnet.nn.encodings import sinusoids
from symnet.nn.initialization import _share
from symnet.plan import make_plan
from tests.cases import GRAPHS


@pytest.mark.parametrize("sizes", [(2,), (3, 4), (2, 2, 5)])
def test_the_components_of_independent_weights_share_their_variance(sizes: tuple[int, ...]) -> None:
    """Analysis of variance: over all sets of kept axes the shares sum to one; the total mean's is 1/n."""
    neurons = {f"h{k}": sn.Symmetric(size) for k, size in enumerate(sizes)}
    plan = make_plan(sn.NeuronGraph(neurons, {"w": " ".join(neurons)}))
    (pattern,) = {statistic.pattern for statistic in plan.statistics}
    subsets = [
        kept
        for count in range(len(sizes) + 1)
        for kept in itertools.combinations(range(len(sizes)), count)
    ]
    assert sum(_share(pattern, kept) for kept in subsets) == pytest.approx(1.0, rel=1e-12)
    assert _share(pattern, ()) == pytest.approx(1 / math.prod(sizes))


def test_a_parent_below_its_kept_child_is_not_centred() -> None:
    """The child's mean is the parent's component: centring both would count it twice."""
    neurons = {"head": sn.Symmetric(3), "dim": sn.NeuronSet(sn.Symmetric(4), over="head")}
    plan = make_plan(sn.NeuronGraph(neurons, {"w": "(head dim)"}))
    pattern = next(statistic.pattern for statistic in plan.statistics if len(statistic.kept) == 2)
    assert _share(pattern, (0, 1)) == pytest.approx(3 / 4)
    assert _share(pattern, (0,)) == pytest.approx(2 / 3 / 4)
    assert _share(pattern, ()) == pytest.approx(1 / 12)


@pytest.mark.parametrize("graph", ["rotations", "reflections", "intransitive"])
def test_layers_of_generated_groups_keep_unit_variance(graph: str) -> None:
    """Tied entries are counted all, the first parameter's among them."""
    torch.manual_seed(0)
    layer = sn.nn.Linear(GRAPHS[graph], 64, 64, bias=False)
    with torch.no_grad():
        x = {name: torch.randn(64, *shape, 64) for name, shape in GRAPHS[graph].shapes.items()}
        for value in layer(x).values():
            assert float(value.square().mean()) == pytest.approx(1.0, abs=0.08)


def test_sinusoids_are_those_of_the_transformer() -> None:
    """Vaswani et al. 2017, section 3.5: wavelengths from 2 pi in steps of a power of 10,000; sines, then cosines."""
    for channels in (6, 5, 1):
        found, half = sinusoids(7, channels), (channels + 1) // 2
        for position, channel in itertools.product(range(7), range(channels)):
            angle = position / 10_000 ** ((channel % half) / half)
            expected = math.sin(angle) if channel < half else math.cos(angle)
            assert float(found[position, channel]) == pytest.approx(expected, abs=1e-5)


def test_sets_are_wide_beyond_sixteen_neurons_and_checkpoints_are_asked_for() -> None:
    narrow, wide = sn.catalogue.mlp([16, 3, 2]), sn.catalogue.mlp([17, 3, 2])
    assert sn.nn.LowRankLinear(narrow, 1, 1).wide == () and sn.nn.LowRankLinear(
        wide, 1, 1
    ).wide == ("in",)
    assert sn.nn.Network().checkpoint is False


@pytest.mark.parametrize("name", GRAPHS)
def test_direct_statistics_are_those_of_direct_tables_and_what_they_are_made_of(name: str) -> None:
    compiled = CompiledPlan(make_plan(GRAPHS[name]))
    needed = {row.statistic for table in compiled.tables if table.is_direct for row in table.rows}
    while more := {compiled.statistics[k].source for k in needed} - needed - {None}:
        needed |= more
    assert compiled.direct_statistics == needed
