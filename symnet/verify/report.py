"""Reports: what was checked, the worst error, the seed that repeats it, and the verdict."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from symnet.display import Displayed
from symnet.errors import VerificationError

_SHOWN = 8  # lines of one kind that a report prints
_SINGLE_PRECISION = 1e-3  # relative errors up to here may come from float32 inside


@dataclass(frozen=True, slots=True)
class Difference:
    """One comparison: which tensor differed by how much when what was done.

    ``error`` is the largest difference of an entry, relative to the tensor's largest entry.
    """

    tensor: str
    neurons: str | None  # the neuron set that was moved alone; None if several were, or none
    action: str  # "permuting 'h1'", "permuting all sets", "running twice", ...
    error: float
    trial: int

    def __str__(self) -> str:
        return f"{self.tensor} is off by {self.error:.2g} on {self.action} (trial {self.trial})"


@dataclass(frozen=True)
class Report(Displayed):
    """The verdict of a check, with its evidence. True if it passed; ``print`` shows one screen.

    ``max_error`` is the largest relative error of any comparison, ``worst`` the comparison it
    occurred in, ``failures`` the worst comparison of every tensor and action beyond the tolerance,
    simple actions before permuting everything. ``problems`` are reasons to fail that are no
    comparison (outputs that do not depend on the weights, or are not finite). ``dead`` says which
    tensors, or parts of them, the outputs do not depend on: nothing can be said about their
    symmetry.
    """

    subject: str
    seed: int
    tolerance: float
    checks: tuple[Difference, ...]
    problems: tuple[str, ...] = ()
    dead: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems and not self.failures and bool(self.checks)

    @property
    def worst(self) -> Difference | None:
        return max(self.checks, key=lambda check: check.error, default=None)

    @property
    def max_error(self) -> float:
        return math.nan if self.worst is None else self.worst.error

    @property
    def failures(self) -> tuple[Difference, ...]:
        order = {
            action: number
            for number, action in enumerate(dict.fromkeys(check.action for check in self.checks))
        }
        first_failures: dict[tuple[str, str], Difference] = {}
        for check in sorted(self.checks, key=lambda check: (order[check.action], -check.error)):
            if check.error > self.tolerance:
                first_failures.setdefault((check.tensor, check.action), check)
        return tuple(first_failures.values())

    def raise_if_failed(self) -> Report:
        """This report, if it passed.

        Raises:
            VerificationError: the report in words.
        """
        if not self.passed:
            raise VerificationError(str(self))
        return self

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        lines = [f"{'PASSED' if self.passed else 'FAILED'}: {self.subject}"]
        lines += entry("problem", self.problems)
        lines += entry("failures", map(str, self.failures))
        if self.worst is not None:
            lines += entry("worst", [f"{self.worst} (tolerance {self.tolerance:.2g}, relative)"])
        if self.failures and not self.problems and self.max_error < _SINGLE_PRECISION:
            hint = (
                f"Errors of {self.max_error:.0e} look like float32 arithmetic inside. If that is "
                "meant, pass tolerance=1e-3."
            )
            lines += entry("hint", [hint])
        lines += entry("checked", [self._actions()])
        lines += entry("not felt", (f"{name}: {what}" for name, what in self.dead.items()))
        lines += entry("note", self.notes)
        return "\n".join([*lines, f"  {'seed':<9} {self.seed}"])

    def _actions(self) -> str:
        counts: dict[str, set[int]] = {}
        for check in self.checks:
            counts.setdefault(check.action, set()).add(check.trial)
        names = [f"{action} ({len(trials)}x)" for action, trials in counts.items()]
        more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return ", ".join(names[:_SHOWN] + more) or "nothing"

    __repr__ = __str__


def entry(label: str, texts: Iterable[str]) -> list[str]:
    """Lines under one label, wrapped, and cut after the first few."""
    kept = list(texts)
    shown = kept[:_SHOWN] + ([f"and {len(kept) - _SHOWN} more"] if len(kept) > _SHOWN else [])
    lines: list[str] = []
    for text in shown:
        head = f"  {label:<9} " if not lines else " " * 12
        lines += textwrap.wrap(
            text, 116, initial_indent=head, subsequent_indent=" " * 12, break_long_words=False
        )
    return lines
