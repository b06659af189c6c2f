"""How long it takes before a layer runs: deriving, planning, the first call; orbits by generators; import."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import symnet as sn
from symnet.nn.linear import compile_plan
from symnet.sharing import Interactions
from symnet.sharing.tuple_orbits import tuple_orbits


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """Median of a few calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def first_call(graph: sn.NeuronGraph, channels: int) -> None:
    """Derive, plan, draw parameters and run once."""
    layer = sn.nn.Linear(graph, channels, channels)
    with torch.no_grad():
        layer({name: torch.zeros(1, *shape, channels) for name, shape in graph.shapes.items()})


# Each in a process of its own: counts and plans are remembered.
_MAKING = {
    "c32, derive + plan + first call": "first_call(WORKLOADS['c32'].graph('permuted'), 32)",
    "derive + plan, b at full width": "plan([784, 512, 512, 10])",
    "derive + plan, b at width 8": "plan([8, 8, 8, 8])",
    "derive, 400 tensors": "sn.derive(sn.catalogue.mlp([16] * 201)).dimension",
    "derive + plan, 400 tensors": "plan([16] * 201)",
    "derive + plan, 400 tensors, adjacent": "plan([16] * 201, 'adjacent')",
}


def plan(widths: list[int], interactions: Interactions = "full") -> None:
    """The compiled plan of an MLP's complete layer, all neurons permuted."""
    space = sn.catalogue.mlp(widths, io="permuted").space()
    compile_plan(space, space, interactions)


def making() -> dict[str, float]:
    """Seconds until a layer has run once; the widths of workload b against widths of 8; a graph of 400 tensors."""
    start = "import time; from benchmarks.solver import *; from benchmarks.workloads import WORKLOADS; s = time.perf_counter(); "
    end = "; print(time.perf_counter() - s)"
    return {name: _fresh(start + call + end) for name, call in _MAKING.items()}


def _fresh(code: str, times: int = 3) -> float:
    """Median of what fresh processes print."""
    runs = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(times)
    ]
    return statistics.median(runs)


def orbits(n: int = 3025) -> dict[str, tuple[int, float]]:
    """Number of orbits on pairs of n points, and seconds for the label of every pair."""
    side = round(n**0.5)
    groups = {
        f"S{side} x S{side} on a {side} x {side} grid": _rows_and_columns(side),
        f"rotations and reflections of a {side} x {side} grid": _grid_symmetries(
            side, shifts=False
        ),
        f"the same with shifts (a torus of {side} x {side})": _grid_symmetries(side, shifts=True),
        f"cyclic shifts of {n} points": sn.Cyclic(n),
    }
    found = {}
    for name, group in groups.items():

        def label(group: sn.Generated | sn.Cyclic = group) -> None:
            tuple_orbits.cache_clear()
            tuple_orbits(group, 2)

        taken = seconds(label)
        found[name] = tuple_orbits(group, 2).count, taken
    return found


def _rows_and_columns(side: int) -> sn.Generated:
    points = np.arange(side * side).reshape(side, side)
    swap = np.arange(side)
    swap[:2] = 1, 0
    turn = np.roll(np.arange(side), 1)
    return sn.Generated(
        side * side,
        [points[order].ravel().tolist() for order in (swap, turn)]
        + [points[:, order].ravel().tolist() for order in (swap, turn)],
    )


def _grid_symmetries(side: int, *, shifts: bool) -> sn.Generated:
    points = np.arange(side * side).reshape(side, side)
    moves = [np.rot90(points), np.fliplr(points)]
    if shifts:
        moves += [np.roll(points, 1, 0), np.roll(points, 1, 1)]
    return sn.Generated(side * side, [move.ravel().tolist() for move in moves])


def importing() -> float:
    """Seconds that ``import symnet`` takes beyond torch's own, each in fresh processes."""
    return _fresh(
        "import torch, time; s = time.perf_counter(); import symnet; print(time.perf_counter() - s)"
    )
