"""Reading symmetries off networks, side by side with Torch-Pruning and rebasin: ``python -m benchmarks.tracing``.

For every narrow network of the tests: the order of the group that each package finds, whether random elements of it leave the network's
function unchanged (float64, all entries random), and the seconds. symnet's time includes its own check; its order stands
beside the upper bound of ``verify.maximality``. Torch-Pruning finds channels that are pruned together: what pruning channel i removes and
what pruning channel j removes are taken to be exchangeable ("runs no more after pruning": a single channel cannot be taken out
of the groups of a convolution, or what is pruned does not fit together). rebasin's permutations are drawn at random. A package that is not
installed is left out: ``pip install torch-pruning==1.6.1 rebasin==0.0.47``. Run it from a checkout.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn
from benchmarks.tracing_peers import NoExchangeError, exchange_pruned_channels, permute_with_rebasin
from symnet.tracing.examples import copy_model, float_state, randomise, run
from tests.tracing.hugging_face import HUGGING_FACE
from tests.tracing.models import CASES, Case

_PATIENCE = 60  # seconds for one package on one network


@dataclass(frozen=True)
class Finding:
    """What a package says of one network."""

    order: int
    error: float  # of the function after a random element, relative
    seconds: float
    bound: int | None = None

    def words(self, truth: int | None) -> str:
        if self.error > 1e-9:
            verdict = f"wrong ({self.error:.0e})"
        elif self.order == truth:
            verdict = "exact"
        else:
            verdict = (
                f"{100 * math.log(self.order) / math.log(truth):.0f} %"
                if truth and truth > 1
                else "sound"
            )
        return f"{verdict}, {self.seconds:.2f} s"


def example(case: Case) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any], Any]:
    """Model, inputs, keyword inputs, and which outputs count."""
    torch.manual_seed(0)
    keywords = dict(case.keywords())
    outputs = keywords.pop("outputs", None)
    return case.make().eval(), case.inputs(), keywords, outputs


def error_of(
    case: Case, move: Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
) -> float:
    """How much the function of the network with random entries changes when they are moved."""
    model, inputs, keywords, outputs = example(case)
    private = copy_model(model).double()
    state, _ = float_state(private)
    randomise(state, seed=3)
    given = tuple(x.double() if x.is_floating_point() else x for x in inputs), keywords
    before = run(private, given, outputs)
    entries = {name: tensor.detach().clone() for name, tensor in state.items()}
    moved = move(private, entries)
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(moved[name])
    after = run(private, given, outputs)
    return max(float((before[p] - after[p]).abs().max() / before[p].abs().max()) for p in before)


def with_symnet(case: Case) -> Finding:
    model, inputs, keywords, outputs = example(case)
    start = time.perf_counter()
    graph = sn.trace(model, *inputs, outputs=outputs, **keywords)
    seconds = time.perf_counter() - start
    error = error_of(
        case, lambda _, entries: dict(graph.act(graph.random_element(seed=0), entries))
    )
    report = sn.verify.maximality(model, graph, *inputs, outputs=outputs, **keywords)
    return Finding(graph.order, error, seconds, report.bound)


def with_torch_pruning(case: Case) -> Finding:
    found: dict[str, Any] = {}

    def move(model: nn.Module, entries: dict[str, Tensor]) -> dict[str, Tensor]:
        _, inputs, keywords, outputs = example(case)
        result = exchange_pruned_channels(model, entries, inputs, keywords, outputs)
        found.update(order=result.order, seconds=result.seconds)
        return result.moved

    error = error_of(case, move)
    return Finding(found["order"], error, found["seconds"])


def with_rebasin(case: Case) -> Finding:
    found: dict[str, Any] = {}

    def move(model: nn.Module, entries: dict[str, Tensor]) -> dict[str, Tensor]:
        _, inputs, keywords, _ = example(case)
        result = permute_with_rebasin(model, entries, inputs, keywords)
        found.update(order=result.order, seconds=result.seconds)
        return result.moved

    error = error_of(case, move)
    return Finding(found["order"], error, found["seconds"])


CONTESTANTS = {
    "symnet": ("symnet", with_symnet),
    "Torch-Pruning": ("torch_pruning", with_torch_pruning),
    "rebasin": ("rebasin", with_rebasin),
}


def _answer(name: str, case: Case, sender: Connection) -> None:
    warnings.simplefilter("ignore")
    try:
        sender.send(CONTESTANTS[name][1](case))
    except NoExchangeError as error:
        sender.send(str(error))
    except Exception as error:  # whatever a package raises on a network is its result
        sender.send(f"raises {type(error).__name__}")


def in_time(name: str, case: Case) -> Finding | str:
    """A package's finding, from a process of its own that is ended when it takes too long."""
    if find_spec(CONTESTANTS[name][0]) is None:
        return "not installed"
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(name, case, sender))
    process.start()
    sender.close()
    answer: Finding | str = f"no end in {_PATIENCE} s"
    if receiver.poll(_PATIENCE):
        with suppress(EOFError):
            answer = receiver.recv()
    process.terminate()
    process.join()
    return answer


def line(case: Case) -> str:
    """One row of the table."""
    findings = {name: in_time(name, case) for name in CONTESTANTS}
    own = findings["symnet"]
    cells = [case.name]
    truth = None
    if isinstance(own, Finding):
        certified = own.bound == own.order
        truth = own.order
        cells += [f"{own.order:.3g}" if own.order < 1e300 else f"e{math.log10(own.order):.0f}"]
        cells += ["yes" if certified else f"no, at most {own.bound:.3g}"]
    else:
        cells += ["", ""]
    cells += [f if isinstance(f, str) else f.words(truth) for f in findings.values()]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help="networks, by the names of the tests; all of them unless given"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with_symnet(CASES[0])  # what is loaded once is nobody's time
    for module in ("torch_pruning", "rebasin"):
        if find_spec(module):
            import_module(module)
    cases = [*CASES, *(HUGGING_FACE if find_spec("transformers") else [])]
    print(
        f"`python -m benchmarks.tracing {' '.join(sys.argv[1:])}`".replace(" `", "`")
        + f", {datetime.now(UTC):%Y-%m-%d}, one thread, torch {torch.__version__}.\n"
    )
    print(
        f"| network | order | certified maximal | {' | '.join(CONTESTANTS)} |\n|{'---|' * (3 + len(CONTESTANTS))}"
    )
    for case in cases:
        if not arguments.names or case.name in arguments.names:
            print(line(case), flush=True)


if __name__ == "__main__":
    main()
