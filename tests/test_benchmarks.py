"""The benchmarks run, keep what they measured, and say what was missed."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks import __main__ as suite
from benchmarks import layers, memory, mutation, networks, symmetry_readers
from benchmarks.bars import Bar
from benchmarks.contestants import CONTESTANTS
from benchmarks.mutants import Mutant, mutants
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


def test_the_page_on_symmetries_shows_the_saved_results() -> None:
    """Every figure of the page comes from the file of results."""
    page = (Path(__file__).parents[1] / "docs/tasks/symmetries.md").read_text(encoding="utf-8")
    results = json.loads(symmetry_readers.RESULTS.read_text(encoding="utf-8"))
    assert set(results) == {"relu", "tanh", "sine", "adapters"}
    for table in symmetry_readers.tables(results).split("\n\n"):
        assert table in page


def test_a_bar_says_whether_it_was_met() -> None:
    verdicts = [Bar("x", 2.0, 1.0, measured).verdict for measured in (0.9, 1.5, 2.1, None)]
    assert verdicts == ["aim met", "met", "MISSED", "not measured"]
    assert Bar("x", 0.5, None, 0.8, floor=0.7).verdict == "MISSED; the products alone: 0.70"


def test_a_run_is_written_as_a_page_and_as_numbers(monkeypatch) -> None:
    monkeypatch.setitem(WORKLOADS, "b", TINY)
    results = {
        "layers": {
            ("a", "permuted", kind): r
            for kind, r in layers.measure(TINY, "permuted", 3, cpu_time=True).items()
        },
        "networks": networks.stacks("b", 3, cpu_time=True),
        "reader": networks.reader(3, batch=2, cpu_time=True),
        "traced": [{"network": "one", "maps": 3}],
        "making": dict.fromkeys(suite.solver._MAKING, 0.5),
        "orbits": {"some group": (3, 0.1)},
        "import": 0.1,
        "memory": {
            name: {"F1": 2.0, "symnet": 2.2, "nfn": None} for name in ("b", "e", "c32", "d")
        },
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


def test_mutants_are_small_mistakes_that_run() -> None:
    """Each differs from the source in one place and still compiles; texts, limits and errors are left alone."""
    source = '''
LIMIT = 100

def clamp(x: int, low: int = 0) -> int:
    """Between low and 10."""
    if x < low and not x == 3:
        raise ValueError(f"{x} < {low}")
    items = [k for k in range(x + 1) if k % 2]
    items.append(5)
    return min(x, len(items))
'''
    found = list(mutants(source))
    plain = ast.unparse(ast.parse(source))
    assert len({one.source for one in found}) == len(found) > 8
    for one in found:
        compile(one.source, "mutant", "exec")
        lines = zip(one.source.splitlines(), plain.splitlines(), strict=True)
        assert sum(a != b for a, b in lines) == 1, one.change
        assert all(
            text in one.source
            for text in ("LIMIT = 100", "Between low and 10.", "raise ValueError")
        )
    changes = {one.change for one in found}
    assert {"Lt to LtE", "Add to Sub", "min to max", "condition negated", "Not dropped"} <= changes
    assert any(change.startswith("dropped: items.append") for change in changes)


def test_a_mutation_run_names_what_noticed_and_what_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted run goes on where it was; ``--again`` runs the survivors alone."""
    run: list[str] = []

    def first_unnoticed(copy: Path, file: str, mutant: Mutant) -> mutation.Outcome:
        run.append(f"{file}:{mutant.place}")
        return mutation.Outcome(run[-1], mutant.change, "FAILED tests/x" if len(run) > 1 else "")

    monkeypatch.setattr(mutation, "run_one", first_unnoticed)
    page = tmp_path / "page.md"
    arguments = ["--folders", "groups", "--seed", "1", "--workers", "1", "-o", str(page), "--count"]
    mutation.main([*arguments, "2"])
    first = list(run)
    assert "| groups | 2 | 1 | 50 % |" in page.read_text() and f"- {first[0]}: " in page.read_text()
    mutation.main([*arguments, "2"])
    assert run == first
    mutation.main([*arguments, "2", "--again"])
    assert run == [*first, first[0]] and "- none" in page.read_text()
