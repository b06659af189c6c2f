"""Outlets: the axes over which a network adds up a neuron set, so that
copies of a neuron share what stands there.

If a neuron is doubled, the weights that read it are halved; if it is left out, they are what has to
vanish for nothing else to change. A graph says which axes belong to a set, not which of them read
it: that is guessed here by the layout of torch's layers where it is unambiguous, and proved on a
module by ``symnet.surgery.outgoing``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from symnet.errors import GraphError
from symnet.graph import NeuronGraph
from symnet.graph.blocks import axes_of_dims
from symnet.graph.notation import print_axes, symbols_in
from symnet.graph.space import TensorSpace
from symnet.groups import is_trivial

# Entries beside a vector that say that its module treats every neuron by itself.
_POINTWISE_BUFFERS = ("running_mean", "running_var")


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """One occurrence of a neuron set: a dim of a block of a tensor."""

    tensor: str
    block: int
    dim: int


class Copies(StrEnum):
    """How often a set's neurons may be copied while what reads them is
    divided, and the function stays.
    """

    # each any number of times: with zeros where it is read, a neuron has no influence
    any = "any"
    alike = "alike"  # each as often as the others: a norm or softmax over the set hears of them
    none = "none"


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where a set is read, and how often its neurons may be copied.

    ``proved``: it was tried out on a module; otherwise the layout of torch's layers was trusted.
    """

    places: tuple[Place, ...]
    copies: Copies
    proved: bool

    @property
    def silencing(self) -> bool:
        """Whether zeros at the places silence a neuron, so that leaving it
        out is the same as masking it.
        """
        return self.copies is Copies.any


# What `outgoing=` takes: outlets by set, or names of the tensors that read it.
OutgoingLike = Mapping[str, Outlets | Iterable[str]]


def places_of(graph: NeuronGraph, name: str) -> Iterator[Place]:
    """Every occurrence of a set."""
    for tensor, space in graph.weights.items():
        if name in space.symbols:
            for number, block in enumerate(space.blocks):
                for dim, instance in enumerate(block.instances):
                    if instance.symbol == name:
                        yield Place(tensor, number, dim)


def axis_of(tensor: TensorSpace, place: Place) -> int:
    """The tensor's axis in which an occurrence is written."""
    return axes_of_dims(tensor.blocks[place.block], len(tensor.axes))[place.dim]


def read_outlets(graph: NeuronGraph, name: str, outgoing: OutgoingLike | None) -> Outlets:
    """The outlets of a set: as given, or by the layout of torch's layers.

    Raises:
        GraphError: a tensor that the set does not index; or nothing is given, and the layout could
            mean two things.
    """
    if outgoing is not None and not isinstance(outgoing, Mapping):
        raise GraphError(
            f"outgoing={outgoing!r:.60}: give what reads each set, for instance {{'{name}': "
            "['2.weight']}."
        )
    chosen = (outgoing or {}).get(name)
    if chosen is None:
        return guess_outlets(graph, name)
    if isinstance(chosen, Outlets):
        return chosen
    tensors = [chosen] if isinstance(chosen, str) else list(chosen)
    places = list(places_of(graph, name))
    for tensor in tensors:
        if tensor not in {place.tensor for place in places}:
            raise GraphError(
                f"outgoing={{'{name}': [... '{tensor}']}}: '{tensor}' is no tensor over "
                f"'{name}'; these are "
                f"{', '.join(dict.fromkeys(place.tensor for place in places))}."
            )
    kept = []
    for tensor in tensors:
        inside = [place for place in places if place.tensor == tensor]
        later = [place for place in inside if axis_of(graph.weights[tensor], place) > 0]
        kept += later if later and len(later) < len(inside) else inside
    return Outlets(tuple(kept), Copies.any if kept else Copies.alike, proved=False)


def guess_outlets(graph: NeuronGraph, name: str) -> Outlets:
    """Outlets by the layout of torch's layers: a tensor's output axis is
    that of its bias, or else the first.

    Raises:
        GraphError: the layout could mean two things; says which tensors, and what to write.
    """
    makes: list[Place] = []
    reads: list[Place] = []
    alone: list[Place] = []
    for place in places_of(graph, name):
        tensor = graph.weights[place.tensor]
        if _is_vector(graph, tensor, place):
            alone.append(place)
            continue
        output = _output_axis(graph, tensor)
        if output is None:
            raise _unclear(
                graph,
                name,
                f"it cannot be told whether '{place.tensor}' ({print_axes(tensor.axes)}) makes "
                "or reads it",
            )
        (makes if axis_of(tensor, place) == output else reads).append(place)
    if not reads or not (makes or alone):
        raise _unclear(
            graph,
            name,
            f"nothing {'reads' if not reads else 'makes'} it by the layout of torch's layers",
        )
    normed = _norm_like(graph, name, makes, alone)
    return Outlets(tuple(reads), Copies.any if normed is None else Copies.alike, proved=False)


def _unclear(graph: NeuronGraph, name: str, why: str) -> GraphError:
    tensors = list(dict.fromkeys(place.tensor for place in places_of(graph, name)))
    shown = ", ".join(tensors[:6]) + (", ..." if len(tensors) > 6 else "")
    return GraphError(
        f"What reads '{name}' is not clear: {why}. Name the tensors that read it, "
        f"outgoing={{'{name}': [...]}} of {shown}; or have it found out: "
        "outgoing=sn.surgery.outgoing(model, graph, inputs)."
    )


def _is_vector(graph: NeuronGraph, tensor: TensorSpace, place: Place) -> bool:
    """Whether a tensor holds numbers for each neuron alone, as biases and norms' weights do."""
    instances = tensor.blocks[place.block].instances
    set_and_ancestors = {
        instances[place.dim].symbol,
        *(ancestor for ancestor, _ in instances[place.dim].parents),
    }
    later = [symbol for axis in tensor.axes[1:] for symbol in symbols_in(axis)]
    symbols = [
        instance.symbol
        for instance in instances
        if instance.symbol is not None or instance.size > 1
    ]
    return not later and set(symbols) <= set_and_ancestors and len(symbols) == len(set(symbols))


def _output_axis(graph: NeuronGraph, tensor: TensorSpace) -> int | None:
    """The axis of a matrix that its layer makes; None if the layout leaves it open."""
    if len(tensor.axes) > 2 and any(list(symbols_in(axis)) for axis in tensor.axes[2:]):
        return None  # stacked matrices: nothing says which axis is multiplied
    if tensor.name in graph.aliases.values():
        return None  # tied: one layer may read what the other makes
    if (
        "weight" not in tensor.name.rpartition(".")[2]
        and ".parametrizations." not in f".{tensor.name}"
    ):
        return None  # a parameter of someone's own, used in a way of its own
    bias = _bias_of(graph, tensor.name)
    if bias is not None and len(bias.axes) == 1 and bias.axes[0] in tensor.axes[:2]:
        return tensor.axes.index(bias.axes[0])
    notes = [note for note in graph.notes if note.startswith(f"{tensor.name}, axis 0")]
    if any("looked up" in note for note in notes):
        return 1  # an embedding
    moves = any(
        not is_trivial(graph.neurons[symbol].group) for symbol in symbols_in(tensor.axes[0])
    )
    # Rows that are held in place, without a bias and without a note on why: a last layer, or an
    # embedding.
    return 0 if moves or notes else None


def _bias_of(graph: NeuronGraph, name: str) -> TensorSpace | None:
    """The bias beside a weight: '0.bias' of '0.weight', 'rnn.bias_hh_l0' of 'rnn.weight_hh_l0'."""
    path, _, last = name.rpartition(".")
    path = path.partition(".parametrizations")[0] if ".parametrizations" in f".{path}" else path
    candidates = [f"{path}.{last.replace('weight', 'bias')}", f"{path}.bias"]
    names = [candidate.lstrip(".") for candidate in candidates if candidate.lstrip(".") != name]
    keys = [graph.aliases.get(candidate, candidate) for candidate in names]
    return next((graph.weights[key] for key in keys if key in graph.weights), None)


def _norm_like(
    graph: NeuronGraph, name: str, makes: Iterable[Place], alone: Iterable[Place]
) -> str | None:
    """A module with weights for each neuron that makes none of them: a
    norm may compute its mean over the set.
    """
    layers = {place.tensor.rpartition(".")[0] for place in makes}
    for place in alone:
        module = place.tensor.rpartition(".")[0]
        beside = {f"{module}.{buffer}" for buffer in _POINTWISE_BUFFERS}
        if module not in layers and not beside & set(graph.weights) and makes:
            return module
    return None
