"""canonicalize: one representative for all weights that differ by
scale, sign and order of neurons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from symnet.errors import GraphError
from symnet.graph import GroupElement, NeuronGraph
from symnet.groups import SignedSymmetric, Symmetric
from symnet.matching.ordering import Ordering, put_in_order
from symnet.matching.same_function import only_weights, read_state, same_function
from symnet.matching.scaling import ScaleLike, Scaling, read_scaling
from symnet.nn.features import Source
from symnet.verify import Report


@dataclass(frozen=True, eq=False)
class Canonical:
    """Canonical weights, and what leads back to the weights they came from.

    First every neuron was divided by its entry of ``scales``, then the neurons were moved by
    ``element``, whose group is that of ``graph`` (with signs where signs were removed). ``ties``
    says where no rule could choose: there the form depends on the given order or signs.
    """

    graph: NeuronGraph
    weights: Mapping[str, Tensor]
    scales: Mapping[
        str, Tensor
    ]  # by neuron set: float64 (*ancestor sizes, n), norms of what comes in; 1 for dead neurons
    element: GroupElement
    ties: tuple[str, ...]
    scaling: Scaling

    def restore(self, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The weights before: of the canonical ones, or of others that
        should go the same way back.
        """
        tensors = dict(self.weights if weights is None else weights)
        tensors |= self.graph.act(self.element.inverse(), only_weights(tensors, self.graph))
        return self.scaling.apply(tensors, self.scales)

    def verify(self, model: nn.Module, *inputs: Any, tolerance: float = 1e-10) -> Report:
        """Whether the model computes the same function with the weights
        before and after, in float64.

        This is what shows that a named set really stands between activations that allow its scale
        or sign to be removed. Removing is undone in float64 for the comparison, so that the
        rounding of float32 weights plays no part.
        """
        after = {name: t.double() for name, t in only_weights(self.weights, self.graph).items()}
        return same_function(
            model,
            self.graph,
            self.restore(after),
            after,
            inputs,
            "taking the canonical form",
            tolerance,
        )

    def __repr__(self) -> str:
        lines = [f"Canonical form of {len(self.graph.weights)} tensors: {self.element!r}"]
        for name, scale in self.scales.items():
            lines.append(
                f"  scale of {name}: {float(scale.min()):.4g} to {float(scale.max()):.4g} removed"
            )
        lines += [f"  undecided: {tie}" for tie in self.ties]
        if self.scales:
            lines.append(
                "  scales are free only between positively homogeneous activations: check with "
                ".verify(model, x)"
            )
        return "\n".join(lines)


def canonicalize(
    weights: Source,
    graph: NeuronGraph,
    *,
    scale: ScaleLike = (),
    sign: Iterable[str] | bool = (),
    order: Iterable[str] | bool = (),
) -> Canonical:
    """The weights with scale, sign and order of the named neuron sets
    removed: the same function, and the way back.

    A set's *scale* is the norm of each neuron's incoming weights and bias: it becomes 1, and its
    outgoing weights take it. This is a symmetry only where the neurons are followed by positively
    homogeneous activations (ReLU, leaky ReLU, none): the graph does not know, so you name the sets;
    ``result.verify(model, x)`` checks it. A set's *sign* makes the sum of cubes of a neuron's
    weights positive; a symmetry for odd activations (tanh, sin). Its *order* is lexicographic in
    its weights, in the order of the graph's tensors; a symmetry always. Neurons without any
    incoming weight keep their scale.

    Args:
        weights: a module or state dict; not changed.
        scale: neuron sets; or by neuron set the tensors that come in, or
            ``{"in": tensors, "out": tensors}``, where that cannot be read off the axes (see
            ``read_scaling``).
        sign: neuron sets; True for all whose group is SignedSymmetric.
        order: neuron sets; True for all whose group is Symmetric or SignedSymmetric.

    Raises:
        GraphError: no such set, nothing named, or a set for which this is no symmetry, with the
            reason.
        ShapeError: the weights do not fit the graph.

    Example:
        >>> from symnet.graph import catalogue
        >>> graph = catalogue.mlp([2, 3, 1], bias=False)
        >>> weights = {
        ...     "0.weight": torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]]),
        ...     "2.weight": torch.ones(1, 3),
        ... }
        >>> canonicalize(weights, graph, scale=["h1"], order=True).weights["0.weight"]
        tensor([[ 0.0000, -1.0000],
                [ 0.0000,  0.0000],
                [ 0.6000,  0.8000]])
    """
    signed_sets, ordered = _named(graph, "sign", sign), _named(graph, "order", order)
    scaling = read_scaling(graph, scale)
    if not (scaling.incoming or signed_sets or ordered):
        raise GraphError(
            "canonicalize was told nothing to remove. Name neuron sets: scale=['h1'] (ReLU), "
            "sign=['h1'] (tanh, sin), order=True."
        )
    state = read_state(weights, graph)
    signed = graph.with_groups(
        {name: SignedSymmetric(graph.neurons[name].size) for name in signed_sets}
    )
    scales: dict[str, Tensor] = {}
    for name in scaling.incoming:
        norms = scaling.norms(state, name)
        scales[name] = torch.where(norms > 0, norms, 1.0)
        state = scaling.apply(state, {name: 1 / scales[name]})
    arrays = {name: state[name].double().cpu().numpy() for name in graph.weights}
    ordering: Ordering = put_in_order(signed, arrays, signed_sets, ordered)
    state |= signed.act(ordering.element, only_weights(state, graph))
    kept = {name: tensor.clone() for name, tensor in state.items()}
    return Canonical(
        signed,
        MappingProxyType(kept),
        MappingProxyType(scales),
        ordering.element,
        ordering.ties,
        scaling,
    )


def _named(graph: NeuronGraph, what: str, names: Iterable[str] | bool) -> tuple[str, ...]:
    """The sets that an argument names, each with a group for which it makes sense."""
    kinds = SignedSymmetric if what == "sign" else Symmetric | SignedSymmetric
    if isinstance(names, bool):
        return (
            tuple(n for n, s in graph.neurons.items() if isinstance(s.group, kinds))
            if names
            else ()
        )
    chosen = (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in graph.neurons:
            raise GraphError(
                f"{what} names '{name}'; the neuron sets are {', '.join(graph.neurons)}."
            )
        if not isinstance(group := graph.neurons[name].group, Symmetric | SignedSymmetric):
            raise GraphError(
                f"{what} names '{name}', whose group is {group!r:.60}: its neurons may not be "
                f"exchanged or turned freely. Leave it out of {what}=, or declare "
                f"sn.Symmetric({group.degree}) with graph.with_groups."
            )
    return chosen
