"""What layers are made from, checked before anything is made."""

from __future__ import annotations

import math
from numbers import Real

import torch

from symnet.errors import GraphError, ShapeError
from symnet.graph import Space
from symnet.graph.neuron_graph import require_graph


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise unless a value is a whole number of at least ``least``.

    Raises:
        ShapeError: with the value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ShapeError(f"{name}={value!r}: give a whole number, at least {least}.")


def check_layer(
    graph: object,
    in_channels: object,
    out_channels: object,
    gain: object,
    dtype: object,
    who: str = "Linear",
) -> None:
    """Raise unless a layer can be made from these.

    Raises:
        GraphError, ShapeError: which argument it is, and what it should be.
    """
    require_graph(graph, who)
    check_count("in_channels", in_channels)
    check_count("out_channels", out_channels)
    if isinstance(gain, bool) or not isinstance(gain, Real) or not math.isfinite(gain) or gain < 0:
        raise ShapeError(
            f"gain={gain!r}: give the standard deviation of the outputs, a finite number of at "
            "least 0."
        )
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ShapeError(
            f"dtype={dtype!r}: parameters are real numbers; give a floating-point dtype such as "
            "torch.float32."
        )


def check_spaces(who: str, inputs: Space, outputs: Space) -> tuple[Space, Space]:
    """Both spaces, if there is something to read.

    Raises:
        ShapeError: there are no inputs.
    """
    if not len(inputs):
        raise ShapeError(
            f"{who} has no inputs: the graph has no tensors, or inputs= names none. Name one at "
            "least."
        )
    return inputs, outputs


def check_interactions(interactions: object) -> None:
    """Raise unless these are interactions that a layer can have.

    Raises:
        GraphError: with those there are.
    """
    if not isinstance(interactions, str) or interactions not in ("full", "adjacent"):
        raise GraphError(f"interactions={interactions!r}: choose 'full' or 'adjacent'.")
