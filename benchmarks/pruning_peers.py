"""Pruning beside Torch-Pruning 1.6: the same channels left out, the same weights left, and the time of each.

``python -m benchmarks.pruning_peers``, with ``torch-pruning`` installed (``pip install --no-deps torch-pruning``). On the plain CNNs
that both can do. Times are CPU seconds of this process, the best of several rounds: making the dependency graph against tracing
(which also checks itself), then cutting one set; ours once more with the weights put into a module and its function checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

import symnet as sn
from tests.tracing.models import CASES

MODELS = ("lenet", "vgg with batch norm", "resnet18", "mobilenetv2", "densenet", "unet")
ROUNDS = 3


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least CPU time of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peer_cut(
    model: nn.Module, x: torch.Tensor, layer: str, gone: list[int]
) -> dict[str, torch.Tensor]:
    """The weights that Torch-Pruning leaves when it prunes output channels of one layer."""
    import torch_pruning as tp

    graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
    module = model.get_submodule(layer)
    transposed = isinstance(module, nn.ConvTranspose2d)
    prune = (
        tp.prune_conv_out_channels
        if isinstance(module, nn.Conv2d) or transposed
        else tp.prune_linear_out_channels
    )
    graph.get_pruning_group(module, prune, idxs=gone).prune()
    return dict(model.state_dict())


def compare(name: str) -> list[str]:
    """For every set: whether both leave the same weights."""
    case = next(case for case in CASES if case.name == name)
    torch.manual_seed(0)
    model, (x,) = case.make().eval(), case.inputs()
    graph = sn.trace(model, x)
    rows = []
    for neurons, neuron_set in graph.neurons.items():
        layer = next(t for t, axes in graph.tensors.items() if axes.split()[0] == neurons)
        path = layer.rpartition(".")[0]
        if not isinstance(model.get_submodule(path), nn.Conv2d | nn.Linear):
            continue
        gone = [0, 2] if neuron_set.size > 2 else [0]
        ours = sn.surgery.drop(model.state_dict(), graph, {neurons: gone}).weights
        torch.manual_seed(0)
        again = case.make().eval()
        try:
            theirs = peer_cut(again, x, path, gone)
        except Exception as error:
            rows.append(f"{neurons}: Torch-Pruning raised {type(error).__name__}")
            continue
        same = all(
            theirs[n].shape == t.shape and torch.equal(theirs[n], t) for n, t in ours.items()
        )
        rows.append(f"{neurons}: {'the same' if same else 'other weights'}")
    return rows


def times(name: str) -> dict[str, float]:
    case = next(case for case in CASES if case.name == name)
    torch.manual_seed(0)
    model, (x,) = case.make().eval(), case.inputs()
    graph = sn.trace(model, x)
    neurons = next(iter(graph.neurons))
    layer = next(t for t, axes in graph.tensors.items() if axes.split()[0] == neurons)
    cut = sn.surgery.drop(model.state_dict(), graph, {neurons: [0]})
    return {
        "trace": cpu_seconds(lambda: sn.trace(model, x)),
        "drop": cpu_seconds(lambda: sn.surgery.drop(model.state_dict(), graph, {neurons: [0]})),
        "resize": cpu_seconds(lambda: sn.surgery.resize(model, cut)),
        "resize, checked": cpu_seconds(lambda: sn.surgery.resize(model, cut, x)),
        "Torch-Pruning": cpu_seconds(
            lambda: peer_cut(case.make().eval(), x, layer.rpartition(".")[0], [0])
        ),
    }


def main() -> None:
    for name in MODELS:
        print(name)
        for row in compare(name):
            print(f"  {row}")
        print(
            "  CPU seconds: "
            + ", ".join(f"{what} {seconds:.3f}" for what, seconds in times(name).items())
        )


if __name__ == "__main__":
    main()
