"""Whether two sets of weights make one architecture compute the same function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import ShapeError
from symnet.graph import NeuronGraph
from symnet.nn.features import Source
from symnet.verify import Difference, Report
from symnet.verify.comparison import as_double, flatten
from symnet.verify.random_networks import double_copy, load, to_double


def read_state(source: Source, graph: NeuronGraph) -> dict[str, Tensor]:
    """The whole state of a module or state dict, detached; the graph's
    tensors and their aliases among it.

    Raises:
        ShapeError: a tensor of the graph is missing or misshapen.
    """
    state = source.state_dict() if isinstance(source, nn.Module) else source
    for name, shape in graph.shapes.items():
        if name not in state or tuple(state[name].shape) != shape:
            shape_read = tuple(state[name].shape) if name in state else "missing"
            raise ShapeError(
                f"Tensor '{name}' has axes '{graph.tensors[name]}' of sizes {shape}, but in the "
                f"given weights it is {shape_read}. Pass weights of this architecture, one "
                "network at a time."
            )
    return {name: tensor.detach() for name, tensor in state.items()}


def only_weights(state: Mapping[str, Tensor], graph: NeuronGraph) -> dict[str, Tensor]:
    """The entries that the graph describes: its tensors and their aliases."""
    return {
        name: tensor
        for name, tensor in state.items()
        if graph.aliases.get(name, name) in graph.weights
    }


def same_function(
    model: nn.Module,
    graph: NeuronGraph,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    inputs: Sequence[Any],
    action: str,
    tolerance: float,
    seed: int = 0,
) -> Report:
    """A report that compares the outputs of a copy of the model, in float64
    and eval mode, with either weights.

    Args:
        model: any module of the architecture; it is not touched.
        before: weights by tensor of the graph; what the graph does not describe is the model's own.
        after: weights that should make no difference.
        action: what was done to the weights, for the report.
    """
    twin, double = double_copy(model), [to_double(value) for value in inputs]
    outputs = []
    for weights in (before, after):
        load(twin, graph, weights)
        with torch.no_grad():
            outputs.append(
                {path or "output": as_double(x) for path, x in flatten(twin(*double)).items()}
            )
    old, new = outputs
    checks = tuple(
        Difference(path, None, action, _error(x, new[path]), 0) for path, x in old.items()
    )
    return Report(f"{type(model).__name__}: {action}", seed, tolerance, checks)


def _error(x: Tensor, y: Tensor) -> float:
    """Largest difference relative to the largest entry; infinite where an output is not finite."""
    if not x.numel():
        return 0.0
    error = float((x - y).abs().max() / x.abs().max().clamp_min(1e-300))
    return error if error == error else float("inf")
