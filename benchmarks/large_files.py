"""Memory and speed of surgery on a model of any size: ``python -m benchmarks.large_files FOLDER [--layers 32]``.

Writes the shards of a Llama with random weights (32 layers: 6.9 B parameters, 13.8 GB) into FOLDER, cuts a quarter of its heads and
of its MLP from file to file in a process of its own, and prints the process's largest memory and the time. The graph is that of
a narrow Llama with as many layers, with the sizes written in.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

import symnet as sn
from symnet.surgery.budgets import kind_of

WIDE = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
}
NARROW = {
    "hidden_size": 24,
    "intermediate_size": 10,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "vocab_size": 11,
}
SIZES = {"stream": 4096, "mlp": 11008, "head": 32, "kv": 32, "head_dim": 128}


def wide_graph(layers: int) -> sn.NeuronGraph:
    """The graph of the wide model: traced on a narrow one, sizes replaced by kind of set."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            **NARROW, num_hidden_layers=layers, pad_token_id=None, bos_token_id=1, eos_token_id=2
        )
    )
    graph = sn.trace(model, torch.randint(11, (2, 5)), outputs=["logits"], use_cache=False)
    neurons = {
        n: sn.NeuronSet(sn.Symmetric(SIZES[kind_of(n)]), s.over) for n, s in graph.neurons.items()
    }
    # Anonymous axes: the vocabulary, and the keys' dims that the rotary embedding pins.
    tensors = {
        n: axes.replace("11 ", "32000 ", 1)
        if axes.startswith("11 ")
        else axes.replace(" 4)", " 128)")
        for n, axes in graph.tensors.items()
    }
    return sn.NeuronGraph(neurons, tensors, aliases=graph.aliases)


def tensors(graph: sn.NeuronGraph) -> Iterator[tuple[str, torch.Tensor]]:
    """Random bfloat16 weights, one tensor after another."""
    block = torch.randn(1 << 20).mul_(0.02).to(torch.bfloat16)
    for name, shape in graph.shapes.items():
        count = graph.weights[name].size
        yield name, block.repeat(-(-count // len(block)))[:count].view(shape)


def peak_memory() -> float:
    """The largest memory of this process so far, GiB, mapped files included (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def cut(folder: Path, layers: int) -> dict[str, float]:
    """Cuts the model in the folder; in a process whose memory is measured."""
    graph = sn.load(folder / "graph.symnet")
    before = peak_memory()
    start = time.perf_counter()
    budget = {
        kind: 0.75
        for kind in ("kv", "head", "mlp")
        if any(kind_of(n) == kind for n in graph.neurons)
    }
    choices = sn.surgery.choose(sn.surgery.importance(folder / "wide", graph, "l2"), graph, budget)
    done = sn.surgery.keep(folder / "wide", graph, choices, out=folder / "narrow", overwrite=True)
    seconds = time.perf_counter() - start
    peak = peak_memory()
    read, written = (
        sum(p.stat().st_size for p in (folder / n).iterdir()) / 1e9 for n in ("wide", "narrow")
    )
    return {
        "parameters": graph.weights.size, "left": done.graph.weights.size, "seconds": round(seconds, 1), "peak_gib": round(peak, 2),
        "imports_gib": round(before, 2), "read_gb": round(read, 2), "written_gb": round(written, 2),
        "gb_per_second": round((read + written) / seconds, 2), "config_written": float((folder / "narrow" / "config.json").exists()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--cut-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.cut_only:
        print(json.dumps(cut(folder, arguments.layers)))
        return
    from transformers import LlamaConfig

    (folder / "wide").mkdir(parents=True, exist_ok=True)
    graph = wide_graph(arguments.layers)
    graph.save(folder / "graph.symnet")
    sn.files.write_state_file(folder / "wide" / "model.safetensors.index.json", tensors(graph))
    config = LlamaConfig(
        **WIDE, num_hidden_layers=arguments.layers, architectures=["LlamaForCausalLM"]
    )
    config.save_pretrained(folder / "wide")
    command = [
        sys.executable,
        "-m",
        "benchmarks.large_files",
        str(folder),
        "--layers",
        str(arguments.layers),
        "--cut-only",
    ]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
