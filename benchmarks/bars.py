"""The bars that a layer is held against, and what a run measured for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.layers import KINDS, Measured

Results = dict[
    str, Any
]  # what benchmarks.__main__ gathers: "layers", "networks", "making", "orbits", "memory", "import"


@dataclass(frozen=True)
class Bar:
    """One line of the table: what is measured, what it must not exceed, what is aimed for, what was seen.

    floor: the same ratio for the necessary products alone (F2), which no executor of matrix products can beat.
    """

    what: str
    must: float
    aim: float | None
    measured: float | None
    spread: str = ""
    floor: float | None = None

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        if self.aim is not None and self.measured <= self.aim:
            return "aim met"
        if self.measured <= self.must:
            return "met"
        return "MISSED" if self.floor is None else f"MISSED; the products alone: {self.floor:.2f}"


# workload -> other -> (forward must, forward+backward must, aims)
_LAYER_BARS = {
    "b": {"F1": ((1.45, 1.0), (1.40, 1.0)), "nfn": ((0.28, 0.18), (0.25, 0.14))},
    "a": {"F2": ((2.0, 1.15), (1.55, 1.25)), "nfn": ((0.5, 0.25), (0.67, 0.5))},
    "c8": {
        "F1": ((1.9, None), (1.85, None)),
        "F2": ((None, 1.1), (None, 1.1)),
        "nfn": ((0.59, 0.3), (0.59, 0.3)),
    },
    "c32": {
        "F1": ((1.9, None), (1.85, None)),
        "F2": ((None, 1.1), (None, 1.1)),
        "nfn": ((0.59, 0.3), (0.59, 0.3)),
    },
    "d": {"F2": ((1.25, 1.1), (1.15, 1.1))},
    "e": {"F2": ((1.45, 1.1), (1.3, 1.1))},
}


def bars(results: Results) -> Iterator[Bar]:
    """Every bar, with what a run measured."""
    layers: Measured = results["layers"]
    for workload, others in _LAYER_BARS.items():
        for other, limits in others.items():
            for kind, (must, aim) in zip(KINDS, limits, strict=True):
                if must is not None:
                    yield _ratio(layers, workload, "permuted", kind, other, must, aim)
    for workload in [
        name for name in _LAYER_BARS if name != "b"
    ]:  # 784 fixed inputs: too large for either
        for kind in KINDS:
            yield _ratio(layers, workload, "fixed", kind, "nfn", 0.65, 0.4)
    yield from _depth(layers)
    yield from _solver(results)
    yield from _memory(results["memory"])
    for kind, rounds in results["networks"].items():
        ratio = rounds.ratio("Network", "F1 + ReLU")
        yield Bar(
            f"4 layers with ReLU on b, {kind}, over F1 + ReLU", 1.5, 0.9, ratio.middle, str(ratio)
        )


def _ratio(
    layers: Measured, workload: str, io: str, kind: str, other: str, must: float, aim: float | None
) -> Bar:
    what = f"{workload}, I/O {io}, {kind}, over {other}"
    rounds = layers.get((workload, io, kind))
    if rounds is None or other not in rounds.seconds:
        return Bar(what, must, aim, None)
    ratio = rounds.ratio("symnet", other)
    floor = rounds.ratio("F2", other).middle if "F2" in rounds.seconds and other != "F2" else None
    return Bar(what, must, aim, ratio.middle, str(ratio), floor)


def _depth(layers: Measured) -> Iterator[Bar]:
    for kind in KINDS:
        pair = [layers.get((name, "permuted", kind)) for name in ("c32", "c8")]
        if pair[0] is not None and pair[1] is not None:
            grown = pair[0].median("symnet") / pair[1].median("symnet")
            yield Bar(f"time of c32 over c8 (features grow 4.24 times), {kind}", 5.0, 4.3, grown)


def _solver(results: Results) -> Iterator[Bar]:
    making = results["making"]
    yield Bar(
        "c32, derive + plan + first call, s", 2.0, 0.3, making["c32, derive + plan + first call"]
    )
    wide = making["derive + plan, b at full width"] / making["derive + plan, b at width 8"]
    yield Bar("derive + plan, b at full width over width 8", 1.5, 1.1, wide)
    yield Bar("derive, 400 tensors, s", 2.0, None, making["derive, 400 tensors"])
    yield Bar("derive + plan, 400 tensors, s", 5.0, None, making["derive + plan, 400 tensors"])
    yield Bar(
        "derive + plan, 400 tensors, adjacent, s",
        1.0,
        None,
        making["derive + plan, 400 tensors, adjacent"],
    )
    for name, (count, taken) in results["orbits"].items():
        yield Bar(f"orbits of pairs, {name} ({count:,} orbits), s", 2.0, 0.1, taken)
    yield Bar("import symnet beyond torch, s", 1.5, None, results["import"])


def _memory(memory: dict[str, dict[str, float | None]]) -> Iterator[Bar]:
    for workload, must in {"b": 1.15, "e": 1.15, "c32": 1.25, "d": 1.5}.items():
        ours, floor = memory[workload]["symnet"], memory[workload]["F1"]
        ratio = None if ours is None or floor is None else ours / floor
        yield Bar(f"peak memory of forward+backward, {workload}, over F1", must, 1.05, ratio)
