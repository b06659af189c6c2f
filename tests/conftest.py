"""Settings of every test: reproducible examples, one thread, tolerances from one table."""

from __future__ import annotations

import os
import re
from typing import Any

import torch
from hypothesis import HealthCheck, settings

# `make test-all` asks for the thorough one with --hypothesis-profile.
settings.register_profile(
    "thorough",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("thorough"), max_examples=20)
settings.load_profile("quick")
torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ.setdefault(
        "TRITON_INTERPRET", "1"
    )  # before Triton is imported: its kernels then run on the CPU

# What the summary counts: title -> pattern of the test's name.
COUNTED = {
    "pages with all their code blocks": r"test_docs\.py::test_every_block_runs",
    "derivations held against the library": r"test_derivations\.py::test_the_claim_holds",
    "derivations with every sign changed": r"test_derivations\.py::test_a_changed_sign",
    "formulas read from texts": r"test_formulas\.py::test_the_formula",
    "doctests": r"^symnet/",
}
# What tests/hostile record with record_property: how often each was tried.
TRIED = (
    "hostile files",
    "cut files",
    "names as data",
    "sizes from texts",
    "writers on full disks",
    "kills",
)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How much of the documentation was executed, and what was tried."""
    passed = [
        report.nodeid
        for report in terminalreporter.stats.get("passed", [])
        if report.when == "call"
    ]
    counts = {
        title: sum(bool(re.search(pattern, name)) for name in passed)
        for title, pattern in COUNTED.items()
    }
    if any(counts.values()):
        terminalreporter.write_sep("-", "executed documentation")
        for title, count in counts.items():
            terminalreporter.write_line(f"{count:5d}  {title}")
        terminalreporter.write_line(f"{_recorded(terminalreporter, 'blocks'):5d}  code blocks")
    tried = {title: _recorded(terminalreporter, title) for title in TRIED}
    if any(tried.values()):
        terminalreporter.write_sep("-", "hostile input, kills and full disks")
        for title, count in tried.items():
            terminalreporter.write_line(f"{count:5d}  {title}")
    broken, noticed = (
        _recorded(terminalreporter, name) for name in ("broken actions", "broken actions noticed")
    )
    if broken:
        terminalreporter.write_sep("-", "mutated graphs of traced networks")
        terminalreporter.write_line(
            f"{noticed} of {broken} broken actions noticed by the tracer's check"
        )


def _recorded(terminalreporter: Any, name: str) -> int:
    """The sum of what tests recorded under a name."""
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])
    ]
    return sum(
        int(dict(report.user_properties).get(name, 0))
        for report in reports
        if report.when == "call"
    )
