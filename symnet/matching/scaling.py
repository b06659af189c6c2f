"""Positive scales of neurons: between activations like ReLU, what comes
in may grow as what goes out shrinks.

If ``f(c x) = c f(x)`` for every ``c > 0`` (ReLU, leaky ReLU, max and average pools, no activation
at all), multiplying a neuron's incoming weights and bias by c and dividing its outgoing weights by
c changes nothing. A graph does not know activations, so the user names the neuron sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import torch
from torch import Tensor

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.action import apply_views
from symnet.graph.blocks import Block
from symnet.graph.neuron_sets import ancestors_of
from symnet.graph.notation import symbols_in

# Names of neuron sets; or by name the tensors that come in; or by name {"in": tensors, "out":
# tensors}.
ScaleLike = Iterable[str] | Mapping[str, Iterable[str] | Mapping[str, Iterable[str]]]


@dataclass(frozen=True)
class Scaling:
    """Neuron sets whose scale is free, in an order in which no set
    changes what comes into an earlier one.
    """

    graph: NeuronGraph
    incoming: Mapping[str, tuple[str, ...]]  # by neuron set: tensors that are multiplied
    outgoing: Mapping[str, tuple[str, ...]]  # those that are divided

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a set's factors: sizes of its ancestors, then its own."""
        sizes = self.graph.neurons
        return tuple(sizes[x].size for x in (*ancestors_of(sizes)[name], name))

    def apply(
        self, weights: Mapping[str, Tensor], factors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The same function with every neuron's incoming weights multiplied by its factor.

        Args:
            factors: positive, by neuron set, of the shape that ``shape`` gives.
        """
        result = dict(weights)
        for name, factor in factors.items():
            for tensors, by in ((self.incoming[name], factor), (self.outgoing[name], 1 / factor)):
                for tensor in tensors:
                    result[tensor] = self._multiply(result[tensor], tensor, name, by)
        return result | {
            alias: result[kept] for alias, kept in self.graph.aliases.items() if alias in result
        }

    def norms(self, weights: Mapping[str, Tensor], name: str) -> Tensor:
        """Euclidean norm of each neuron's incoming weights and bias:
        float64, of the set's shape.
        """
        total = torch.zeros(self.shape(name), dtype=torch.float64)
        for tensor in self.incoming[name]:
            for block in self.graph.weights[tensor].blocks:
                if (place := _place(block, name)) is not None:
                    view = apply_views(weights[tensor].detach().double().cpu(), block.views)
                    total += _neurons_first(view, block, place).square().sum(-1)
        return total.sqrt()

    def _multiply(self, array: Tensor, tensor: str, name: str, factor: Tensor) -> Tensor:
        result = array.clone()
        for block in self.graph.weights[tensor].blocks:
            if (place := _place(block, name)) is not None:
                view = apply_views(result, block.views)
                kept = _kept(block, place)
                order = sorted(range(len(kept)), key=kept.__getitem__)
                shape = [block.instances[d].size if d in kept else 1 for d in range(view.ndim)]
                view *= factor.permute(order).reshape(shape).to(view)
        return result


def read_scaling(graph: NeuronGraph, scale: ScaleLike) -> Scaling:
    """Which tensors come into the named sets and which go out, with
    every check that the structure allows.

    Without a mapping, the one tensor with further axes that has the set on its first axis comes in
    (as in ``nn.Linear`` and ``nn.Conv2d``), with a bias on the set alone; all others go out. With
    ``{"in": ..., "out": ...}`` tensors in neither are left alone:
    ``{"c1": {"in": ["bn1.weight", "bn1.bias"], "out": ["conv2.weight"]}}`` for channels that a
    batch norm has normed.

    Raises:
        GraphError: a set whose scale cannot be free as declared; says why, and what to write.
    """
    named = (
        scale
        if isinstance(scale, Mapping)
        else dict.fromkeys([scale] if isinstance(scale, str) else scale)
    )
    incoming, outgoing = {}, {}
    for name, tensors in named.items():
        if name not in graph.neurons:
            raise GraphError(
                f"scale names '{name}'; the neuron sets are {', '.join(graph.neurons)}."
            )
        touching = [t for t, space in graph.weights.items() if name in space.symbols]
        _refuse_repeats(graph, name, touching)
        if tensors is None:
            incoming_tensors = _guess_incoming(graph, name, touching)
            left = tuple(t for t in touching if t not in incoming_tensors)
        else:
            incoming_tensors, left = _read_named(name, tensors, touching)
        incoming[name], outgoing[name] = incoming_tensors, left
        if not incoming[name] or not outgoing[name]:
            raise GraphError(
                f"'{name}' has no {'incoming' if not incoming[name] else 'outgoing'} weights, so "
                "there is nothing to trade its scale with. Leave it out of scale= if it is an "
                f"input or output of the network; otherwise name its tensors: scale={{'{name}': "
                "{'in': [...], 'out': [...]}}."
            )
    ordered = _in_order(incoming, outgoing)
    return Scaling(graph, {n: incoming[n] for n in ordered}, {n: outgoing[n] for n in ordered})


def _read_named(
    name: str, tensors: Iterable[str] | Mapping[str, Iterable[str]], touching: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tensors that the user says come in, and those that go out."""
    if isinstance(tensors, Mapping):
        if not {"in"} <= set(tensors) <= {"in", "out"}:
            raise GraphError(
                f"scale of '{name}' has the keys {', '.join(tensors)}; write {{'in': [...], "
                "'out': [...]}."
            )
        incoming, out = tuple(tensors["in"]), tensors.get("out")
    else:
        incoming, out = tuple(tensors), None
    left = tuple(t for t in touching if t not in incoming) if out is None else tuple(out)
    for tensor in (*incoming, *left):
        if tensor not in touching:
            raise GraphError(
                f"'{tensor}' cannot come into or go out of '{name}': the tensors over that set "
                f"are {', '.join(touching)}."
            )
    if both := set(incoming) & set(left):
        raise GraphError(f"'{min(both)}' cannot both come into '{name}' and go out of it.")
    return incoming, left


def _refuse_repeats(graph: NeuronGraph, name: str, tensors: Iterable[str]) -> None:
    for tensor in tensors:
        for block in graph.weights[tensor].blocks:
            if sum(instance.symbol == name for instance in block.instances) > 1:
                raise GraphError(
                    f"The scale of '{name}' is not free: it indexes '{tensor}' "
                    f"({graph.tensors[tensor]}) twice, so what goes out of these neurons comes "
                    "into them as well (recurrent weights). Leave it out of scale=."
                )


def _guess_incoming(graph: NeuronGraph, name: str, tensors: Iterable[str]) -> tuple[str, ...]:
    matrices, vectors = [], []
    above = ancestors_of(graph.neurons)[name]
    for tensor in tensors:
        space = graph.weights[tensor]
        set_and_ancestors = {name, *above}
        if all(
            instance.symbol in set_and_ancestors
            for block in space.blocks
            for instance in block.instances
        ):
            vectors.append(tensor)
        elif _on_first_axis(graph, tensor, name):
            matrices.append(tensor)
    if len(matrices) > 1 or len(vectors) > 1:
        raise GraphError(
            f"It is not clear what comes into '{name}': {', '.join(matrices + vectors)} all "
            "could. Batch and layer norms take a scale out (their weight and bias are what "
            "comes in, and the weights before them must be left out of it); a residual stream "
            "has one scale for everything that is added to it. Name the tensors: "
            f"scale={{'{name}': {{'in': [...], 'out': [...]}}}}; those in neither are left alone."
        )
    return (*matrices, *vectors)


def _on_first_axis(graph: NeuronGraph, tensor: str, name: str) -> bool:
    first, *others = graph.weights[tensor].axes
    return name in symbols_in(first) and not any(name in symbols_in(axis) for axis in others)


def _in_order(
    incoming: Mapping[str, tuple[str, ...]], outgoing: Mapping[str, tuple[str, ...]]
) -> list[str]:
    before = {
        n: [m for m in incoming if m != n and set(outgoing[m]) & set(incoming[n])] for n in incoming
    }
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as error:
        raise GraphError(
            f"The sets {', '.join(error.args[1])} feed one another in a circle, so their scales "
            "cannot be chosen one by one. Leave one of them out of scale=."
        ) from None


def _place(block: Block, name: str) -> int | None:
    """The dim that a set indexes in a block; it has at most one."""
    return next((k for k, instance in enumerate(block.instances) if instance.symbol == name), None)


def _kept(block: Block, place: int) -> list[int]:
    """The dims of the set's ancestors, in their order, then its own."""
    return [*(dim for _, dim in block.instances[place].parents), place]


def _neurons_first(view: Tensor, block: Block, place: int) -> Tensor:
    kept = _kept(block, place)
    rest = [d for d in range(view.ndim) if d not in kept]
    return view.permute(kept + rest).reshape(*(view.shape[d] for d in kept), -1)
