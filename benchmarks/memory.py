"""Peak memory of one forward and backward pass, above inputs and parameters: ``python -m benchmarks.memory b symnet``.

Each figure comes from a process of its own, in which nothing else was ever freed. The peak is the kernel's own (VmHWM),
set back right before the pass; Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.contestants import CONTESTANTS
from benchmarks.workloads import WORKLOADS


def peak_bytes(workload: str, contestant: str, io: str) -> float:
    """Peak of one pass above what was there before, in this process."""
    made = CONTESTANTS[contestant](WORKLOADS[workload], io)
    if made is None:
        raise SystemExit(f"{contestant} is not installed")
    forward, wanted = made
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident
    outputs = forward()
    torch.autograd.grad(
        outputs, wanted, [torch.ones(()).expand_as(y) for y in outputs], allow_unused=True
    )
    return float(_status("VmHWM") - before)


def feature_bytes(workload: str, io: str) -> float:
    """Bytes of all features once."""
    chosen = WORKLOADS[workload]
    return 4.0 * chosen.batch * chosen.channels * chosen.graph(io).weights.size


def measure(workload: str, contestant: str, io: str = "permuted") -> float | None:
    """Peak in feature sizes, from a fresh process; None if the contestant is not installed."""
    command = [sys.executable, "-m", "benchmarks.memory", workload, contestant, "--io", io]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(ended.stdout) if ended.returncode == 0 else None


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {key}; peak memory is measured on Linux.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("contestant", choices=list(CONTESTANTS))
    parser.add_argument("--io", choices=["permuted", "fixed"], default="permuted")
    arguments = parser.parse_args()
    peak = peak_bytes(arguments.workload, arguments.contestant, arguments.io)
    print(peak / feature_bytes(arguments.workload, arguments.io))


if __name__ == "__main__":
    main()
