"""Plans: one parameter an orbit, a cost that is what is multiplied, a text that a teacher would show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import symnet as sn
from symnet.plan import make_plan, run_plan
from symnet.plan.adjoint import adjoint, dropped_sizes
from tests.cases import GRAPHS, mlp
from tests.random_graphs import random_graph


def random_run(graph: sn.NeuronGraph, seed: int) -> tuple:
    layer = sn.nn.Linear(graph, 2, 3, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = {name: rng.normal(size=(2, *shape, 2)) for name, shape in graph.shapes.items()}
    matrices = [matrix.detach().numpy() for matrix in layer.matrices()]
    bias = layer.bias_vector()  # None where every bias must vanish
    return layer, x, matrices, None if bias is None else bias.detach().numpy()


def check_interpreter(graph: sn.NeuronGraph, seed: int) -> None:
    layer, x, matrices, bias = random_run(graph, seed)
    expected = layer({name: torch.from_numpy(value) for name, value in x.items()})
    found = run_plan(layer.plan, x, matrices, bias)
    assert list(found) == list(expected)
    for name in found:
        assert np.allclose(found[name], expected[name].detach().numpy(), rtol=1e-10, atol=1e-10)


def check_adjoint(graph: sn.NeuronGraph, seed: int) -> None:
    """<y, L x> = <L* y, x>."""
    layer, x, matrices, _ = random_run(graph, seed)
    y = run_plan(layer.plan, x, matrices)
    weights = {
        name: np.random.default_rng(seed + 1).normal(size=value.shape) for name, value in y.items()
    }
    transposed = []
    for table, matrix in zip(layer.plan.tables, matrices, strict=True):
        rows, columns = dropped_sizes(layer.plan, table)
        transposed.append((matrix * np.repeat(columns, 3) / np.repeat(rows, 2)[:, None]).T)
    back = run_plan(adjoint(layer.plan), weights, transposed)
    one = sum((y[name] * weights[name]).sum() for name in y)
    other = sum((back[name] * x[name]).sum() for name in x)
    assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_numpy_interpreter_and_torch_agree(name) -> None:
    check_interpreter(GRAPHS[name], 0)
    check_adjoint(GRAPHS[name], 0)


@given(st.integers(0, 1_000_000))
def test_interpreter_and_adjoint_of_random_graphs(seed) -> None:
    graph = random_graph(seed)
    check_interpreter(graph, seed)
    check_adjoint(graph, seed)


@given(st.integers(0, 1_000_000))
def test_a_plan_has_one_parameter_an_orbit(seed) -> None:
    graph = random_graph(seed)
    maps = sn.derive(graph)
    plan = make_plan(graph)
    assert (plan.dimension, plan.bias_dimension) == (maps.dimension, maps.bias_dimension)


def test_every_statistic_is_taken_once() -> None:
    plan = make_plan(mlp(2, 3, 4, 2))
    keys = [(s.tensor, s.block, s.pattern, s.kept) for s in plan.statistics]
    assert len(keys) == len(set(keys))
    for number, statistic in enumerate(plan.statistics):
        assert statistic.source is None or statistic.source < number


@pytest.mark.parametrize("name", GRAPHS)
def test_a_statistic_is_taken_from_the_smallest_one_that_holds_it(name) -> None:
    """A mean over two axes from the mean over one of them; of that plan's backward pass likewise."""
    for plan in (make_plan(GRAPHS[name]), adjoint(make_plan(GRAPHS[name]))):
        for number, statistic in enumerate(plan.statistics):
            holding = [
                other.size
                for other in plan.statistics[:number]
                if (other.tensor, other.block, other.pattern)
                == (statistic.tensor, statistic.block, statistic.pattern)
                and set(other.kept) > set(statistic.kept)
            ]
            source = None if statistic.source is None else plan.statistics[statistic.source]
            assert (source and source.size) == min(holding, default=None)


def test_tied_entries_of_a_table_cannot_be_written_to() -> None:
    """They are shared by every layer of the plan."""
    plan = make_plan(GRAPHS["rotations over heads"])
    indices = [
        index
        for table in plan.tables
        for index in (table.index, table.bias_index)
        if index is not None
    ]
    assert indices and not any(index.flags.writeable for index in indices)


def test_a_table_is_as_large_as_the_limit_and_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = mlp(3, 4, 2, io="fixed")
    most = max(table.height * table.width for table in make_plan(graph).tables)
    monkeypatch.setattr("symnet.plan.lowering.MATRIX_LIMIT", most)
    make_plan(graph)
    monkeypatch.setattr("symnet.plan.lowering.MATRIX_LIMIT", most - 1)
    with pytest.raises(sn.TooLargeError, match="would have"):
        make_plan(graph)


def test_the_cost_is_that_of_single_channels_unless_told() -> None:
    plan = make_plan(mlp(2, 3, 2))
    assert plan.cost() == plan.cost(1, 1)


def test_the_cost_counts_every_product() -> None:
    """By hand for W: h2 h1 alone: itself (n2 n1), its two means (n2, n1), its total mean (1)."""
    graph = sn.NeuronGraph({"h1": sn.Symmetric(5), "h2": sn.Symmetric(7)}, {"w": "h2 h1"})
    cost = make_plan(graph).cost(in_channels=2, out_channels=3)
    assert cost.multiplies == (35 + 7 + 5 + 1) * 6
    assert cost.parameters == 4 * 6 + 3
    assert (cost.read, cost.written, cost.bytes(8)) == (70, 105, 1400)


def test_fixed_sets_are_channels() -> None:
    plan = make_plan(mlp(3, 4, 2, io="fixed"))
    assert {table.sizes for table in plan.tables} == {(4,), ()}


def test_planning_does_not_depend_on_width() -> None:
    narrow, wide = make_plan(mlp(8, 8, 8, 8)), make_plan(mlp(8000, 8000, 8000, 8000))
    assert len(narrow.statistics) == len(wide.statistics)
    assert [(t.height, t.width) for t in narrow.tables] == [
        (t.height, t.width) for t in wide.tables
    ]


def test_the_plan_of_a_three_layer_mlp_reads_as_a_lesson() -> None:
    text = repr(make_plan(mlp(2, 3, 4, 2)))
    assert "62 maps" in text
    for words in (
        "1. statistics",
        "2. tables",
        "3. outputs",
        "mean over h1",
        "[h2,h1]",
        "multiplies",
        "bytes",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) < 160 and len(text.splitlines()) < 40


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(sn.GraphError, match="at least one tensor among its inputs"):
        make_plan(sn.NeuronGraph({"h": sn.Symmetric(2)}, {}))
