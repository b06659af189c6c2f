"""Compile the kernels for a GPU that is not there: ``python -m benchmarks.gpu_compile`` prints what they need of it.

Triton and the assembler that it brings need no device. Seen: that every kernel compiles, its shared memory, registers,
spills, wide loads. Not seen: how fast it is.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from symnet.nn.kernels.operands import KernelBlock, tiles

TYPES = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}
GROUPS = 8  # tensors in one launch
VARIES = (False, True, False)  # a row, a column and a global term
CAPABILITY = 90
KINDS = ("forward", "backward")


def signature(
    kind: str, dtype: torch.dtype, channels: int
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Of a launch of eight tensors of 64 x 64 neurons: the program, its arguments' types, and its constants."""
    import triton.language as tl

    from symnet.nn.kernels import programs

    program = programs.forward_program if kind == "forward" else programs.backward_program
    block = KernelBlock(
        torch.empty(1, 64, 64, channels, dtype=dtype, device="meta"),
        torch.empty(channels, channels, dtype=dtype, device="meta"),
    )
    exact = dtype == torch.float64
    constants: dict[str, Any] = tiles("forward" if kind == "forward" else "backward", block)
    constants |= {
        "GROUPS": GROUPS,
        "VARIES": VARIES,
        "INTERPRETED": False,
        "PRECISION": "ieee" if exact else "tf32",
    }
    constants |= {"ACC": tl.float64 if exact else tl.float32}
    constants |= {"RELU": True, "SUMS": True} if kind == "forward" else {"MASKED": True, "SUMS": 1}
    types: dict[str, Any] = {}
    for name in program.arg_names:
        if name in constants:
            types[name] = "constexpr"
        elif name in ("ys", "xs", "ws", "dxs", "dys"):
            types[name] = (TYPES[dtype],) * GROUPS
        elif name == "terms":
            types[name] = (TYPES[dtype],) * (GROUPS * len(VARIES))
        elif name in ("rows", "columns", "partials"):
            types[name] = TYPES[dtype] if exact else "*fp32"
        elif name.endswith("_strides"):
            types[name] = ("i32",) * {"w_strides": 2, "term_strides": 4 * len(VARIES)}.get(name, 4)
        else:
            types[name] = "i32"
    return program, types, constants


def aligned(program: Any, types: dict[str, Any]) -> dict[tuple[int, ...], list[list[object]]]:
    """Pointers and numbers of channels are multiples of 16, as in torch's allocations and the workloads."""
    hint: list[list[object]] = [["tt.divisibility", 16]]
    found: dict[tuple[int, ...], list[list[object]]] = {}
    for number, name in enumerate(program.arg_names):
        if isinstance(types[name], tuple):
            found |= {(number, part): hint for part in range(len(types[name]))}
        elif types[name].startswith("*") or name in ("K", "N"):
            found[(number,)] = hint
    return found


def compiled(kind: str, dtype: torch.dtype, channels: int) -> dict[str, Any]:
    """What the assembler reports of one kernel."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    program, types, constants = signature(kind, dtype, channels)
    options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
    source = ASTSource(
        fn=program,
        signature=types,
        constexprs={(program.arg_names.index(name),): value for name, value in constants.items()},
        attrs=aligned(program, types),
    )
    kernel = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
    text = kernel.asm["ptx"]
    report = _assembled(text)
    return {
        **{"kind": kind, "dtype": str(dtype), "channels": channels, **options},
        **{
            "tile": [constants[name] for name in ("BI", "BJ", "BK", "BN")],
            "shared_bytes": kernel.metadata.shared,
        },
        **{"registers": report[0], "spilled_bytes": report[1]},
        "atomics": len(re.findall(r"\b(?:atom|red)\.", text)),
    }


def _assembled(text: str) -> tuple[int, int]:
    """Registers of a thread, and bytes that it stores elsewhere for want of them."""
    import triton

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(text)
        assembler = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
        command = [
            str(assembler),
            "-v",
            f"-arch=sm_{CAPABILITY}a",
            str(path),
            "-o",
            str(path.with_suffix(".cubin")),
        ]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, spilled = (
        re.search(r"Used (\d+) registers", report),
        re.search(r"(\d+) bytes spill stores", report),
    )
    return int(registers[1]) if registers else -1, int(spilled[1]) if spilled else -1


def every() -> Iterator[tuple[str, torch.dtype, int]]:
    """The workloads' channels in the dtypes that the bars name, and the widest of each dtype."""
    for dtype, channels in (
        (torch.bfloat16, (16, 32, 64, 128)),
        (torch.float32, (16, 64, 128)),
        (torch.float64, (64,)),
    ):
        for width in channels:
            for kind in KINDS:
                yield kind, dtype, width


def main() -> None:
    print(json.dumps([compiled(*launch) for launch in every()], indent=1))


if __name__ == "__main__":
    main()
