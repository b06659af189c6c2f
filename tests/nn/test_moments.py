"""Pool: more than means, over the same entries, for invariants and for neurons."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

import symnet as sn
from symnet.nn.pool import MOMENTS
from tests.cases import GRAPHS
from tests.tolerances import assert_close


def random_features(graph: sn.NeuronGraph, channels: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(3, *shape, channels, dtype=torch.float64, generator=generator)
        for name, shape in graph.shapes.items()
    }


def test_moments_of_a_weight_are_those_of_its_entries() -> None:
    graph = sn.NeuronGraph(
        {"i": sn.Symmetric(6), "h": sn.Symmetric(5), "o": sn.Fixed(2)}, {"w": "h i", "v": "o h"}
    )
    x = random_features(graph, 1)
    pool = sn.nn.Pool(graph, moments=MOMENTS)
    mean, spread, least, largest, *quartiles = pool(x)[:, :7].T
    entries = x["w"].flatten(1)
    assert torch.allclose(mean, entries.mean(1)) and torch.allclose(
        spread, entries.std(1, correction=0)
    )
    assert torch.allclose(least, entries.amin(1)) and torch.allclose(largest, entries.amax(1))
    wanted = torch.quantile(entries, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), dim=1)
    assert torch.allclose(torch.stack(quartiles), wanted)
    assert pool.numbers == 7 and pool(x).shape == (3, pool.dimension * 7)


def test_moments_for_each_neuron_run_over_everything_else() -> None:
    graph = sn.NeuronGraph(
        {"i": sn.Symmetric(6), "h": sn.Symmetric(5)}, {"w": "h i", "b": "h", "s": "h h"}
    )
    x = random_features(graph, 1)
    y = sn.nn.Pool(graph, moments=("mean", "spread"), outputs={"of h": "h"})(x)["of h"]
    rows = [y[..., 2 * k : 2 * k + 2] for k in range(y.shape[-1] // 2)]
    wanted = [
        (v.mean(2), v.std(2, correction=0))
        for v in (x["w"][..., 0], x["s"][..., 0], x["s"][..., 0].mT)
    ]
    for mean, spread in wanted:
        assert any(torch.allclose(row, torch.stack([mean, spread], -1)) for row in rows)


@pytest.mark.parametrize(
    "name", ["mlp fixed", "cnn", "recurrent", "attention", "fused and concatenated"]
)
def test_moments_are_invariant_or_equivariant_and_means_alone_are_the_pool_as_before(name) -> None:
    graph = GRAPHS[name]
    report = sn.verify.equivariance(sn.nn.Pool(graph, moments=MOMENTS), graph, 2, seed=0, trials=2)
    assert report.passed, report
    moving = next(
        n
        for n, one in graph.neurons.items()
        if isinstance(one.group, sn.Symmetric) and not one.over
    )
    pool = sn.nn.Pool(graph, moments=MOMENTS, outputs={"y": moving})
    report = sn.verify.equivariance(pool, graph, 2, outputs={"y": moving}, seed=0, trials=2)
    assert report.passed, report
    x = random_features(graph)
    only = sn.nn.Pool(graph, moments=("mean", "spread"))
    means = only(x).view(3, -1, 2, 2)
    assert torch.allclose(
        sn.nn.Pool(graph)(x).sort().values, means_of(only, graph, x).sort().values
    )
    assert means.shape[1] == only.dimension
    for other in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert_close(other(x), pool(x))
    assert pool({n: v[:0] for n, v in x.items()})["y"].shape == (0, *pool(x)["y"].shape[1:])


def means_of(pool: sn.nn.Pool, graph: sn.NeuronGraph, x: dict[str, torch.Tensor]) -> torch.Tensor:
    """The means among means and spreads: for every row its folded positions' means, then their spreads."""
    (compiled,) = pool._compiled
    found, start, flat = [], 0, pool(x).view(3, -1, 2)
    for row in compiled.plan.tables[0].rows:
        size = compiled.plan.statistics[row.statistic].folded_size
        found.append(flat[:, start : start + size])
        start += 2 * size
    return torch.cat(found, dim=1).flatten(1)


def test_what_has_no_moments_is_refused() -> None:
    with pytest.raises(sn.GraphError, match="choose some of mean, spread"):
        sn.nn.Pool(GRAPHS["cnn"], moments=("median",))
    with pytest.raises(sn.GraphError, match="change sign"):
        sn.nn.Pool(GRAPHS["odd activations"], moments=("mean", "spread"))
    with pytest.raises(sn.GraphError, match="cannot pool to 'y'"):
        sn.nn.Pool(GRAPHS["cnn"], moments=("mean",), outputs={"y": "c1 in 2"} | {"y": "c1 2"})
    with pytest.raises(sn.GraphError, match="leave moments= out"):
        sn.nn.Pool(GRAPHS["rotations"], moments=("largest",))


def test_pooled_features_have_the_dtype_of_what_is_pooled() -> None:
    graph = GRAPHS["mlp fixed"]
    x = {name: value.bfloat16() for name, value in random_features(graph).items()}
    assert sn.nn.Pool(graph)(x).dtype == torch.bfloat16
    assert sn.nn.Pool(graph, moments=MOMENTS)(x).dtype == torch.bfloat16
