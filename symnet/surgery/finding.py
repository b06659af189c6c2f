"""outgoing: what reads every neuron set of a network, tried out on the network itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from symnet.errors import SymnetError
from symnet.graph import NeuronGraph
from symnet.graph.neuron_graph import require_graph
from symnet.surgery.outlets import Copies, Outlets, Place
from symnet.surgery.proving import Trial
from symnet.surgery.resizing import resize
from symnet.surgery.selection import is_divisible, refuse_indivisible
from symnet.surgery.widening import widen
from symnet.tracing.fresh_inputs import Inputs


def outgoing(
    model: nn.Module,
    graph: NeuronGraph,
    *inputs: Any,
    sets: Iterable[str] | None = None,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    **keyword_inputs: Any,
) -> dict[str, Outlets]:
    """Where every neuron set is read, and how often its neurons may be
    copied: tried out on a copy of the network.

    Two neurons of a set are made equal. Where the network adds the set up, what one of them gains
    the other may lose, though the gain alone would be noticed. If a neuron with zeros there has no
    influence, it may be copied any number of times, and masking it is leaving it out. If not, a
    network of twice as many is tried. Nothing is claimed of sets of one neuron.

    Args:
        model: the network of the graph, or a narrower one of the same structure; it is copied, and
            run in float64.
        inputs, keyword_inputs: what to call it with.
        sets: the neuron sets to look at (default: all that can be cut).
        outputs: which outputs count, by name, as in ``sn.trace``.

    Returns:
        Outlets by neuron set, for ``widen(..., outgoing=...)``; also for a wider graph of the same
        structure.

    Example:
        >>> import symnet as sn
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> graph = sn.catalogue.mlp([2, 4, 1])
        >>> outgoing(model, graph, torch.randn(5, 2))["h1"]
        Outlets(places=(Place(tensor='2.weight', block=0, dim=1),),
                copies=<Copies.any: 'any'>, proved=True)
    """
    require_graph(graph, "outgoing")
    names = [n for n, s in graph.neurons.items() if is_divisible(s)] if sets is None else list(sets)
    for name in names:
        refuse_indivisible(graph, name, "keep")
    trial = Trial(model, graph, (inputs, keyword_inputs), outputs, seed)
    trial.require_run()
    outlets = {}
    for name in names:
        outlets[name] = trial.outlets(name)
        if outlets[name].proved and not outlets[name].silencing:
            outlets[name] = _copied_alike(
                model, graph, name, outlets[name].places, (inputs, keyword_inputs), outputs
            )
    return outlets


def _copied_alike(
    model: nn.Module,
    graph: NeuronGraph,
    name: str,
    places: tuple[Place, ...],
    inputs: Inputs,
    outputs: Sequence[str] | None,
) -> Outlets:
    """Whether a set may be doubled although something else hears of it: with what reads it
    halved, as after a norm, or as it is, as after a softmax.
    """
    weights = {
        tensor: array
        for tensor, array in model.state_dict().items()
        if isinstance(array, torch.Tensor)
    }
    for tried in dict.fromkeys((places, ())):
        outlets = Outlets(tried, Copies.alike, proved=True)
        try:
            doubled = widen(
                weights, graph, {name: 2 * graph.neurons[name].size}, outgoing={name: outlets}
            )
            resize(model, doubled, *inputs[0], outputs=outputs, **inputs[1])
        except SymnetError:
            continue
        return outlets
    return Outlets(places, Copies.none, proved=True)
