"""The table of a fit: every reader that was tried, and which one is kept."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Comparison", "Tried"]

FEW = 100  # networks below which differences between readers say little
TITLES = {
    "r2": "R²",
    "tau": "tau",
    "error": "error",
    "accuracy": "accuracy",
    "certainty": "certainty",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """One reader: its measures on networks that it did not learn from, and what it costs."""

    reader: str
    description: str
    measures: dict[str, float]
    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All readers of a fit.

    Args:
        tried: in the order of trying.
        kept: the reader that answers.
        left_out: why others were not tried, by name.
        networks: how many there were.
        metric: by which the best was chosen.
        reference: the metric of an answer that reads nothing.
    """

    tried: tuple[Tried, ...]
    kept: str
    left_out: dict[str, str]
    networks: int
    metric: str
    reference: float

    @property
    def warning(self) -> str:
        """What is to be said where there are few networks; empty where there are enough."""
        if self.networks >= FEW:
            return ""
        return (
            f"{self.networks} networks are few: the figures may be off by 0.1 and more, and differences between readers say "
            f"little. Give {FEW} or more."
        )

    def __str__(self) -> str:
        others = [name for name in self.tried[0].measures if name != self.metric]
        measures = [self.metric, *others]
        width = max(len(row.reader) for row in self.tried) + 2
        head = f"  {'reader':<{width}}" + "".join(f"{TITLES[name]:>11}" for name in measures)
        lines = [f"{head}{'parameters':>13}{'seconds':>9}"]
        for row in self.tried:
            mark = "*" if row.reader == self.kept else " "
            figures = "".join(f"{row.measures[name]:>11.3f}" for name in measures)
            lines.append(
                f"{mark} {row.reader:<{width}}{figures}{row.parameters:>13,}{row.seconds:>9.0f}  {row.description}"
            )
        lines.append(f"  {'(nothing read)':<{width}}{self.reference:>11.3f}")
        lines += [f"  {name} was left out: {why}" for name, why in self.left_out.items()]
        lines.append(
            f"On {self.networks} networks, each judged by a reader that had not learned from it; * is kept, by {TITLES[self.metric]}."
        )
        return "\n".join([*lines, *([self.warning] if self.warning else [])])
