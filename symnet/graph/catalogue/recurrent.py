"""Recurrent networks: gates stacked on the hidden axis."""

from __future__ import annotations

from symnet.errors import GraphError
from symnet.graph.catalogue.pieces import Neurons, affine, check_layers, io_group
from symnet.graph.neuron_graph import NeuronGraph
from symnet.groups import Symmetric


def rnn(
    inputs: int,
    hidden: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
    classes: int | None = None,
    io: str = "fixed",
) -> NeuronGraph:
    """The graph of ``torch.nn.RNN(inputs, hidden, layers)``; with ``classes``, of a head on top.

    Without a head the module's output is the last layer's hidden state, which moves with its
    neurons: check it with ``verify.network(..., output_axes=["... h1", None])``.

    Args:
        inputs: width of the input.
        hidden: width of the hidden state.
        layers: how many.
        bidirectional: whether every layer runs in both directions; a head reads both.
        bias: whether the layers have biases.
        classes: outputs of the head; the keys are then those of ``nn.ModuleDict({"rnn":
            nn.RNN(...), "head": nn.Linear(hidden, classes)})``.
        io: "fixed" or "permuted" input and output neurons.

    Returns:
        Neuron sets ``in``, ``h1``, ``h2``, ... (backward ``h1_reverse``, ...), and ``out`` for
        the classes.

    Raises:
        GraphError: no layer, or sizes that are not whole numbers of at least 1.
        TooLargeError: more than 10,000 layers.

    Example:
        >>> dict(rnn(3, 8).tensors)
        {'weight_ih_l0': 'h1 in', 'weight_hh_l0': 'h1 h1', 'bias_ih_l0': 'h1', 'bias_hh_l0': 'h1'}
    """
    return _recurrent(1, inputs, hidden, layers, bidirectional, bias, classes, io)


def lstm(
    inputs: int,
    hidden: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
    classes: int | None = None,
    io: str = "fixed",
    projection: int = 0,
) -> NeuronGraph:
    """The graph of ``torch.nn.LSTM(inputs, hidden, layers)``: four gates on the hidden axis.

    Arguments, neuron sets and errors as ``rnn``'s; ``projection`` is torch's ``proj_size``: the
    state then lies on sets ``p1``, ``p2``, ...

    Example:
        >>> lstm(3, 8, 2).tensors["weight_ih_l1"]
        '(4 h2) h1'
    """
    return _recurrent(4, inputs, hidden, layers, bidirectional, bias, classes, io, projection)


def gru(
    inputs: int,
    hidden: int,
    layers: int = 1,
    *,
    bidirectional: bool = False,
    bias: bool = True,
    classes: int | None = None,
    io: str = "fixed",
) -> NeuronGraph:
    """The graph of ``torch.nn.GRU(inputs, hidden, layers)``: three gates on the hidden axis.

    Arguments, neuron sets and errors are ``rnn``'s.

    Example:
        >>> gru(3, 8, bidirectional=True, classes=2).tensors["head.weight"]
        'out (h1 + h1_reverse)'
    """
    return _recurrent(3, inputs, hidden, layers, bidirectional, bias, classes, io)


def _recurrent(
    gates: int,
    inputs: int,
    hidden: int,
    layers: int,
    bidirectional: bool,
    bias: bool,
    classes: int | None,
    io: str,
    projection: int = 0,
) -> NeuronGraph:
    if layers < 1:
        raise GraphError(f"A recurrent network of {layers} layers; give at least 1.")
    check_layers(layers)
    neurons: Neurons = {"in": io_group(io, inputs)}
    tensors: dict[str, str] = {}
    prefix = "" if classes is None else "rnn."
    source = "in"
    for layer in range(layers):
        states = []
        for direction in ("", "_reverse") if bidirectional else ("",):
            cell = state = f"h{layer + 1}{direction}"
            neurons[cell] = Symmetric(hidden)
            if projection:
                state = f"p{layer + 1}{direction}"
                neurons[state] = Symmetric(projection)
            axes = _cell_axes(gates, source, cell, state, bias)
            tensors |= {f"{prefix}{name}_l{layer}{direction}": text for name, text in axes.items()}
            states.append(state)
        source = f"({' + '.join(states)})" if bidirectional else states[0]
    if classes is not None:
        neurons["out"] = io_group(io, classes)
        tensors |= affine("head.", f"out {source}", bias)
    return NeuronGraph(neurons, tensors)


def _cell_axes(gates: int, source: str, cell: str, state: str, bias: bool) -> dict[str, str]:
    """The axes of the tensors of one layer in one direction, in torch's order."""
    stacked = cell if gates == 1 else f"({gates} {cell})"
    axes = {"weight_ih": f"{stacked} {source}", "weight_hh": f"{stacked} {state}"}
    if bias:
        axes |= {"bias_ih": stacked, "bias_hh": stacked}
    if state != cell:  # torch projects the hidden state (proj_size)
        axes["weight_hr"] = f"{state} {cell}"
    return axes
