"""A module's linear part as a program: the module recorded once, then rewritten by the rules."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from symnet.errors import ShapeError, TraceError
from symnet.nn.linearization_rules import LinearProgram, Rewriting


def linearize(
    module: nn.Module, names: Mapping[str, str], inputs: tuple[Any, ...]
) -> LinearProgram:
    """The linear program of a module on one sample.

    Args:
        names: for every name of the state dict that is a weight, the name that features have for it
            (tied ones share it).
        inputs: what the module is called with, a batch; its first sample gives the shapes.

    Raises:
        ShapeError: there is no tensor among the inputs.
        TraceError: the module cannot be recorded.
    """
    if not inputs or not isinstance(inputs[0], Tensor) or not inputs[0].dim():
        raise ShapeError(
            "The products along a traced network need an example of its input: "
            "PathProduct(graph, module, images)."
        )
    # In float64 attention and recurrences are not fused into one operation.
    module = copy.deepcopy(module).double().eval().requires_grad_(False)
    sample = tuple(_first_sample(value) for value in inputs)
    by_name = {
        name: tensor.detach() for name, tensor in module.state_dict().items() if name in names
    }
    state = {names[name]: tensor for name, tensor in by_name.items()}

    def call(values: dict[str, Tensor], first: Tensor) -> Tensor:
        result = functional_call(
            module, {name: values[names[name]] for name in by_name}, (first, *sample[1:])
        )
        return first_tensor(result)

    try:
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            recorded = make_fx(functionalize(call, remove="mutations"))(state, sample[0])
            if _writes_in_place(recorded):  # inside operations that were taken apart
                recorded = make_fx(functionalize(recorded, remove="mutations"))(state, sample[0])
    except (
        RuntimeError,
        TypeError,
        ValueError,
        NotImplementedError,
        IndexError,
        StopIteration,
    ) as error:
        raise TraceError(
            f"The module's program cannot be recorded: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}. PathProduct(graph) without the "
            "module goes by the graph's own order."
        ) from error
    if places := _writes_in_place(recorded):
        raise TraceError(
            f"The module's program writes in place ({places[0]}), in a way that cannot be "
            "followed. PathProduct(graph) without the module goes by the graph's own order."
        )
    return Rewriting(recorded, list(state), state, sample[0]).program()


def _writes_in_place(recorded: fx.GraphModule) -> list[str]:
    """The operations that write into their arguments."""
    targets = [node.target for node in recorded.graph.nodes if node.op == "call_function"]
    return [
        str(op) for op in targets if isinstance(op, torch._ops.OpOverload) and op._schema.is_mutable
    ]


def _first_sample(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value[:1] if value.dim() else value
    return value.double() if value.is_floating_point() else value


def first_tensor(result: Any) -> Tensor:
    """The first tensor of real numbers in what a module returns.

    Raises:
        ShapeError: there is none.
    """
    for leaf in tree_leaves(result):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            return leaf
    raise ShapeError(
        f"The module returned {type(result).__name__} without a tensor of real numbers: nothing "
        "can be read off it."
    )
