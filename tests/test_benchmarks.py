"""The benchmarks run, keep what they measured, and say what was missed."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as suite
from benchmarks import layers, memory, networks
from benchmarks.bars import Bar
from benchmarks.contestants import CONTESTANTS
from benchmarks.timing import Rounds, circumstances
from benchmarks.workloads import WORKLOADS, Workload

TINY = Workload("tiny", "", (2, 3, 3, 1), 2, 2)


def test_ratios_are_taken_round_by_round() -> None:
    rounds = Rounds({"ours": [2.0, 4.0, 6.0], "floor": [1.0, 2.0, 3.0]}, kept=3, run=3)
    assert (rounds.ratio("ours", "floor").middle, rounds.median("ours")) == (2.0, 4.0)


@pytest.mark.parametrize("io", ["permuted", "fixed"])
def test_contestants_compute_outputs_of_the_same_shapes(io) -> None:
    """symnet, and nfn where installed, give every tensor; F1 does too."""
    wanted = sorted(x.numel() for x in TINY.features(TINY.graph(io)).values())
    for name, make in CONTESTANTS.items():
        made = make(TINY, io)
        if made is None or name == "F2":
            continue
        assert sorted(tensor.numel() for tensor in made[0]()) == wanted, name


def test_a_bar_says_whether_it_was_met() -> None:
    verdicts = [Bar("x", 2.0, 1.0, measured).verdict for measured in (0.9, 1.5, 2.1, None)]
    assert verdicts == ["aim met", "met", "MISSED", "not measured"]


def test_a_run_is_written_as_a_page_and_as_numbers(monkeypatch) -> None:
    monkeypatch.setitem(WORKLOADS, "b", TINY)
    results = {
        "layers": {
            ("a", "permuted", kind): r for kind, r in layers.measure(TINY, "permuted", 3, cpu_time=True).items()
        },
        "networks": networks.stacks("b", 3, cpu_time=True),
        "traced": [{"network": "one", "maps": 3}],
        "making": dict.fromkeys(suite.solver._MAKING, 0.5),
        "orbits": {"some group": (3, 0.1)},
        "import": 0.1,
        "memory": {name: {"F1": 2.0, "symnet": 2.2, "nfn": None} for name in ("b", "e", "c32", "d")},
    }
    facts = circumstances("test", True)
    page = suite.markdown(results, facts)
    assert "| peak memory of forward+backward, b, over F1 | 1.15 | 1.05 | 1.1 | - | met |" in page
    assert "not measured" in page and "| one | 3 |" in page
    assert json.loads(suite.as_json(results, facts))["layers"]["a | permuted | forward"]["run"] == 3


def test_peak_memory_is_at_least_the_outputs_and_gradients() -> None:
    """F1's outputs are one feature size, its input gradients another; measured in a fresh process."""
    found = memory.measure("c32", "F1")
    if found is None:
        pytest.skip("no /proc/self/clear_refs on this system")
    assert 1.5 < found < 6
