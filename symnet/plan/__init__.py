"""Layer plans: what a layer computes, torch-free, with its cost and a numpy interpreter."""

from symnet.plan.interpreter import run_plan
from symnet.plan.layer_plan import Cost, LayerPlan, describe
from symnet.plan.lowering import lower, make_plan
from symnet.plan.network_plan import NetworkPlan, Stage
from symnet.plan.steps import Slot, Statistic, Table, TableRow

Row = TableRow  # its name before

__all__ = [
    "Cost",
    "LayerPlan",
    "NetworkPlan",
    "Slot",
    "Stage",
    "Statistic",
    "Table",
    "TableRow",
    "describe",
    "lower",
    "make_plan",
    "run_plan",
]


def __dir__() -> list[str]:
    return __all__
