"""Time the layer on a GPU: ``python -m benchmarks.gpu --json benchmarks/results/gpu.json``.

Workloads b, c32 (batch 64) and a (batch 2048), all sets permuted, in bfloat16 and float32: symnet by both routes, the
floor of one ``torch.mm`` a tensor, and nfn if it is installed. Every contestant is captured in CUDA graphs, for its
forward pass and for forward and backward, and the graphs alternate. Beside the ratios: the bytes that features need to
move at least, over time, against a copy's bandwidth; and the time of the first call, in which kernels are compiled.

Needs a CUDA device; without one it says so and ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import symnet as sn
from benchmarks.contestants import nfn_linear
from benchmarks.workloads import WORKLOADS, Workload

BATCHES = {"b": 64, "c32": 64, "a": 2048}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
Contestant = tuple[Callable[[], list[Tensor]], list[Tensor]]
Make = Callable[[Workload], Contestant | None]

# In units of one read or write of all features, the least that any layer moves: forward X and Y; backward dY, X and dX.
LEAST_UNITS = {"forward": 2, "both": 5}


def floor(workload: Workload) -> Contestant:
    """One ``torch.mm`` a tensor."""
    x = workload.features(workload.graph("permuted"))
    flat = [tensor.detach().flatten(0, -2).requires_grad_() for tensor in x.values()]
    matrices = [torch.randn(workload.channels, workload.channels, requires_grad=True) for _ in flat]
    return lambda: [torch.mm(a, b) for a, b in zip(flat, matrices, strict=True)], [*flat, *matrices]


def layer(backend: str) -> Make:
    """symnet's layer by one route."""

    def make(workload: Workload) -> Contestant | None:
        if backend == "triton" and find_spec("triton") is None:
            return None
        graph = workload.graph("permuted")
        x = workload.features(graph)
        linear = sn.nn.Linear(graph, workload.channels, workload.channels)

        def forward() -> list[Tensor]:
            with sn.nn.backend("triton" if backend == "triton" else "torch"):
                return list(linear(x).values())

        return forward, [*x.values(), *linear.parameters()]

    return make


CONTESTANTS: dict[str, Make] = {
    "torch.mm": floor,
    "symnet, torch": layer("torch"),
    "symnet, triton": layer("triton"),
    "nfn": lambda workload: nfn_linear(workload, "permuted"),
}


def captured(contestant: Contestant) -> tuple[dict[str, Any], dict[str, float]]:
    """CUDA graphs of the forward pass and of forward and backward, and the seconds of the first calls."""
    forward, wanted = contestant
    start = time.perf_counter()
    outputs = forward()
    torch.cuda.synchronize()
    first = {"forward": time.perf_counter() - start}
    gradients = [torch.randn_like(output) for output in outputs]
    del outputs

    def only_forward() -> object:
        with torch.no_grad():
            return forward()

    def both() -> object:
        return torch.autograd.grad(forward(), wanted, gradients, allow_unused=True)

    start = time.perf_counter()
    both()
    torch.cuda.synchronize()
    first["forward and backward after it"] = time.perf_counter() - start
    graphs = {}
    for kind, call in (("forward", only_forward), ("both", both)):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graphs[kind] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[kind]):
            call()
    return graphs, first


def seconds(replay: Callable[[], object], repeats: int) -> float:
    """Of one replay, by the device's clock."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(repeats):
        replay()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / repeats


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a 1 GiB copy."""
    source = torch.empty(2**28)
    target = torch.empty_like(source)
    target.copy_(source)
    return (
        2
        * source.nbytes
        / statistics.median(seconds(lambda: target.copy_(source), 10) for _ in range(7))
    )


def measure(workload: Workload, rounds: int) -> dict[str, Any]:
    """Times of all contestants in all rounds, alternating; their ratios to the floor; bytes a second at least moved."""
    graphs, first = {}, {}
    for name, make in CONTESTANTS.items():
        start = time.perf_counter()
        if (contestant := make(workload)) is not None:
            graphs[name], first[name] = captured(contestant)
            first[name]["all with capture"] = time.perf_counter() - start
    features = sum(t.nbytes for t in workload.features(workload.graph("permuted"), False).values())
    result: dict[str, Any] = {"bytes of all features": features, "first call, s": first}
    for kind, units in LEAST_UNITS.items():
        times: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(rounds):
            for name, own in graphs.items():
                times[name].append(seconds(own[kind].replay, 5))
        ratios = {
            name: [a / b for a, b in zip(own, times["torch.mm"], strict=True)]
            for name, own in times.items()
        }
        result[kind] = {
            name: {
                "ms": 1000 * statistics.median(own),
                "over torch.mm": statistics.median(ratios[name]),
                "spread (interquartile)": statistics.quantiles(ratios[name])[2]
                - statistics.quantiles(ratios[name])[0],
                "least bytes / time": units * features / statistics.median(own),
            }
            for name, own in times.items()
        }
    return result


def without_device() -> str | None:
    """Why this machine cannot run it."""
    if torch.cuda.is_available():
        return None
    built = torch.version.cuda or "no CUDA"
    return (
        f"benchmarks.gpu needs a CUDA device; torch {torch.__version__} (built with {built}) finds none on this machine. "
        "What the kernels need of a GPU is printed without one by: python -m benchmarks.gpu_compile"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workloads", nargs="*", default=list(BATCHES), help=", ".join(BATCHES))
    parser.add_argument("--dtypes", nargs="*", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--json", type=Path, help="write date, device, command and every figure here"
    )
    arguments = parser.parse_args()
    if (reason := without_device()) is not None:
        print(reason, file=sys.stderr)
        sys.exit(2)
    torch.set_default_device("cuda")
    record: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "python": platform.python_version(),
        "copy, bytes a second": copy_bandwidth(),
        "results": {},
    }
    for name in arguments.workloads:
        for dtype in arguments.dtypes:
            torch.set_default_dtype(DTYPES[dtype])
            found = measure(replace(WORKLOADS[name], batch=BATCHES[name]), arguments.rounds)
            record["results"][f"{name} {dtype}"] = found
            print_table(f"{name} {dtype}", found, record["copy, bytes a second"])
            torch.cuda.empty_cache()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")


def print_table(title: str, found: dict[str, Any], copy: float) -> None:
    for kind in LEAST_UNITS:
        for name, own in found[kind].items():
            share = own["least bytes / time"] / copy
            spread = own["spread (interquartile)"]
            print(
                f"{title:10} {kind:8} {name:15} {own['ms']:9.3f} ms  {own['over torch.mm']:6.2f} ± {spread:.2f} torch.mm  "
                f"{share:5.0%} of copy bandwidth"
            )


if __name__ == "__main__":
    main()
