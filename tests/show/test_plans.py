"""The plan's picture shows every statistic, table and output, and a line for every use."""

from __future__ import annotations

import pytest

import symnet as sn
from symnet.plan import make_plan
from symnet.show import draw, plan_picture
from symnet.show.plans import ROW_LIMIT

GRAPH = sn.NeuronGraph(
    neurons={"in": sn.Fixed(2), "h": sn.Symmetric(4), "out": sn.Symmetric(3)},
    tensors={"0.weight": "h in", "0.bias": "h", "2.weight": "out h", "2.bias": "out"},
)


def test_every_statistic_table_and_output_is_named() -> None:
    plan = make_plan(GRAPH)
    texts = [text.get_text() for text in plan_picture(plan).axes[0].texts]
    assert len(texts) == 3 + len(plan.statistics) + len(plan.tables) + len(plan.outputs)
    assert {"2.weight: itself", "2.weight: mean over out h", "2.weight  [out h]"} <= set(texts)


def test_every_use_is_a_line() -> None:
    """As many lines as pairs of a statistic and its table, and of a table and its output."""
    plan = make_plan(GRAPH)
    into = sum(len({row.statistic for row in table.rows}) for table in plan.tables)
    out_of = sum(len({slot.tensor for slot in table.slots}) for table in plan.tables)
    assert len(plan_picture(plan).axes[0].lines) == into + out_of


def test_the_title_gives_the_counts() -> None:
    plan = make_plan(GRAPH)
    assert f"{sn.derive(GRAPH).dimension} maps" in plan_picture(plan).get_suptitle()
    assert plan_picture(plan, title="mine").get_suptitle() == "mine"


def test_the_same_picture_has_the_same_bytes() -> None:
    assert draw(plan_picture(make_plan(GRAPH))) == draw(plan_picture(make_plan(GRAPH)))


def test_a_plan_too_large_to_see_is_refused() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, {f"{k}.bias": "h" for k in range(ROW_LIMIT)})
    with pytest.raises(sn.TooLargeError, match="120 / 2 / 60 statistics / tables / outputs"):
        plan_picture(make_plan(graph))
