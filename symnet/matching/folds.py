"""Folds: symmetries that are no action along axes, taken out of the weights before anything else.

A graph cannot express them, so the user names the tensors, or ``find_folds`` reads them off the
network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.notation import symbols_in
from symnet.graph.strand_arrays import strands_of


@dataclass(frozen=True, slots=True)
class Gain:
    """The gain of a norm: it becomes 1, and the tensors that read the normed stream take it along
    the named axis.

    Args:
        tensor: the gain, with one axis.
        readers: by tensor the axis on which it reads the stream: ``{"q.weight": 1, "k.weight":
            1}``.
    """

    tensor: str
    readers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Unread:
    """Entries without influence, such as a key's bias under a softmax: they become 0."""

    tensor: str


@dataclass(frozen=True, slots=True)
class Shift:
    """A bias that only passes through a matrix: it becomes 0, and ``into += weight @ bias``.

    A value's bias passes through attention, whose weights add up to 1, and through the output
    matrix.
    """

    bias: str
    weight: str
    into: str


@dataclass(frozen=True, slots=True)
class ClassMean:
    """The mean over classes, which a softmax does not see: subtracted along the first axis.

    The outputs change by one number for all classes; probabilities stay as they are.
    """

    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phase:
    """Phases of sines ``sin(frequency * (W x + b))``: every bias comes into ``(-period / 4, period
    / 4]``.

    Whole periods change nothing; half a period changes the sign of the outgoing weights.

    Args:
        bias: of the set, with one axis.
        outgoing: tensors that read the sines, by axis.
        frequency: the factor inside the sine.
    """

    bias: str
    outgoing: Mapping[str, int]
    frequency: float = 1.0


Fold = Gain | Unread | Shift | ClassMean | Phase


def apply_fold(
    fold: Fold, tensors: Mapping[str, Tensor], graph: NeuronGraph, batch_dims: int
) -> tuple[dict[str, Tensor], str]:
    """The tensors with a fold taken out, and what was done in words.

    Raises:
        GraphError: the fold names no tensor of the graph, or axes that do not fit one another.
    """
    _check(fold, graph)
    result = dict(tensors)
    match fold:
        case Gain(tensor, readers):
            gain = result[tensor]
            for reader, axis in readers.items():
                result[reader] = result[reader] * _along(gain, axis, graph, reader, batch_dims)
            result[tensor] = torch.ones_like(gain)
            return result, f"gain '{tensor}' folded into {_list(readers)}: it is 1"
        case Unread(tensor):
            result[tensor] = torch.zeros_like(result[tensor])
            return result, f"'{tensor}' is without influence: it is 0"
        case Shift(bias, weight, into):
            result[into] = result[into] + _matrix_times(result[weight], result[bias], batch_dims)
            result[bias] = torch.zeros_like(result[bias])
            return result, f"bias '{bias}' folded through '{weight}' into '{into}': it is 0"
        case ClassMean(names):
            for name in names:
                result[name] = result[name] - result[name].mean(batch_dims, keepdim=True)
            return (
                result,
                f"mean over classes taken out of {_list(names)}: outputs change by a common number",
            )
        case Phase(bias, outgoing, frequency):
            half = math.pi / frequency
            turns = torch.round(result[bias] / half).detach()
            result[bias] = result[bias] - turns * half
            signs = 1 - 2 * (turns % 2)
            for name, axis in outgoing.items():
                result[name] = result[name] * _along(signs, axis, graph, name, batch_dims)
            return (
                result,
                f"phases of '{bias}' within a quarter of a period, signs into {_list(outgoing)}",
            )
        case _:
            assert_never(fold)


def folded_tensors(fold: Fold) -> tuple[str, ...]:
    """Tensors that hold nothing any more, and leave the graph."""
    match fold:
        case Gain(tensor, _) | Unread(tensor):
            return (tensor,)
        case Shift(bias, _, _):
            return (bias,)
        case ClassMean() | Phase():
            return ()
        case _:
            assert_never(fold)


def _along(vector: Tensor, axis: int, graph: NeuronGraph, tensor: str, batch_dims: int) -> Tensor:
    """A vector ``(*batch, n, *channels)`` shaped so that it multiplies one axis of a tensor."""
    dims, channels = len(graph.shapes[tensor]), vector.shape[batch_dims + 1 :]
    shape = [*vector.shape[:batch_dims], *([1] * dims), *channels]
    shape[batch_dims + axis] = vector.shape[batch_dims]
    return vector.reshape(shape)


def _matrix_times(weight: Tensor, bias: Tensor, batch_dims: int) -> Tensor:
    """``weight @ bias`` over the axis after the first, channels kept."""
    return (weight * bias.unsqueeze(batch_dims)).sum(batch_dims + 1)


def _check(fold: Fold, graph: NeuronGraph) -> None:
    match fold:
        case Gain(tensor, readers) | Phase(tensor, readers):
            axes = {tensor: 0, **readers}
        case Unread(tensor):
            axes = {tensor: 0}
        case Shift(bias, weight, into):
            axes = {bias: 0, weight: 1, into: 0}
        case ClassMean(names):
            axes = dict.fromkeys(names, 0)
        case _:
            assert_never(fold)
    for name, axis in axes.items():
        if name not in graph.weights:
            raise GraphError(
                f"{fold} names '{name}'; the graph's tensors are {', '.join(graph.weights)}."
            )
        if not 0 <= axis < max(len(graph.shapes[name]), 1):
            raise GraphError(
                f"{fold} names axis {axis} of '{name}', which has shape {graph.shapes[name]}."
            )
    if isinstance(fold, Gain | Phase):
        source = next(iter(axes))
        if any(graph.shapes[name][axis] != graph.shapes[source][0] for name, axis in axes.items()):
            raise GraphError(
                f"{fold}: the named axes have other sizes than '{source}', {graph.shapes[source]}."
            )


def _list(names: Mapping[str, int] | Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def without_tensors(graph: NeuronGraph, names: Sequence[str]) -> NeuronGraph:
    """The graph without some tensors, and without neuron sets that no other tensor shows."""
    tensors = {name: tensor.axes for name, tensor in graph.weights.items() if name not in names}
    shown = {symbol for axes in tensors.values() for axis in axes for symbol in symbols_in(axis)}
    shown |= {parent for name in shown for parent in graph.ancestors(name)}
    neurons = {
        name: one
        for name, one in graph.neurons.items()
        if name in shown or not strands_of(graph, name)
    }
    aliases = {alias: kept for alias, kept in graph.aliases.items() if kept in tensors}
    return NeuronGraph(neurons, tensors, aliases=aliases, notes=graph.notes)
