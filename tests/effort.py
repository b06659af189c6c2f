"""How much is tried: by ``make test`` enough to notice a law that is broken, by ``make test-all`` all there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import settings

THOROUGH = settings.get_profile("thorough").max_examples


def examples(thorough: int) -> int:
    """Examples of a costly property: all by ``make test-all``, a quarter by ``make test``."""
    return thorough if settings.default.max_examples == THOROUGH else max(thorough // 4, 4)


def sweep(cases: Iterable[Any], large: Collection[str]) -> list[Any]:
    """Parameters, of which those that take seconds (by ``repr``) are left to ``make test-all``."""
    return [pytest.param(case, marks=[pytest.mark.slow] * (repr(case) in large)) for case in cases]


def pairs(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    """All pairs, for two arguments; those are not slow that show every value of each once."""
    rows, columns = list(first), list(second)
    most = max(len(rows), len(columns))
    quick = {(rows[k % len(rows)], columns[k % len(columns)]) for k in range(most)}
    return [
        pytest.param(*pair, marks=[pytest.mark.slow] * (pair not in quick))
        for pair in product(rows, columns)
    ]
