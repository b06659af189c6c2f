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


def test_a_long_plan_is_drawn_with_equal_blocks_once() -> None:
    """Forty layers on one stream: every row says how many it stands for, and the counts are those of the whole plan."""
    neurons = {"stream": sn.Symmetric(4), **{f"b.{k}.h": sn.Symmetric(3) for k in range(40)}}
    tensors = {f"b.{k}.up": f"b.{k}.h stream" for k in range(40)} | {"norm": "stream"}
    plan = make_plan(sn.NeuronGraph(neurons, tensors))
    figure = plan_picture(plan)
    texts = {text.get_text() for text in figure.axes[0].texts}
    per_block = sum(statistic.tensor == "b.0.up" for statistic in plan.statistics)
    assert len(plan.statistics) > ROW_LIMIT
    assert {
        f"b.0.up: {per_block} statistics   × 40",
        "b.0.up   × 40",
        "norm",
        "[b.0.h]   × 40",
    } <= texts
    assert figure.get_suptitle().startswith(f"The plan: {plan.dimension:,} maps")
    assert f"in {len(plan.tables)} tables" in figure.get_suptitle()


def test_a_plan_too_large_to_see_is_refused() -> None:
    names = [f"{chr(97 + k % 26)}{k}" for k in range(ROW_LIMIT + 1)]
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, dict.fromkeys(names, "h"))
    with pytest.raises(sn.TooLargeError, match="61 / 2 / 61 tensors read / tables / outputs"):
        plan_picture(make_plan(graph))
