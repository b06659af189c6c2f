"""Graphs of common architectures, keyed as the matching torch modules key their state dicts.

Every function says in its docstring which module it describes. ``io="fixed"`` holds input and output neurons fixed
(the HNP setting of Zhou et al. 2023, arXiv 2302.14040), ``io="permuted"`` permutes them (NP).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral

from symnet.errors import GraphError, TooLargeError
from symnet.graph.adapters import lora, pad_rank
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import Fixed, PermutationGroup, Symmetric

Neurons = dict[str, PermutationGroup | NeuronSet]
LAYERS_LIMIT = 10_000


def mlp(sizes: Sequence[int], io: str = "fixed", bias: bool = True) -> NeuronGraph:
    """The graph of ``nn.Sequential(Linear, ReLU, Linear, ReLU, ..., Linear)``.

    Neuron sets ``in``, ``h1``, ``h2``, ..., ``out``; tensors ``0.weight``, ``0.bias``, ``2.weight``, ...

    Args:
        sizes: widths from input to output, at least two.
        io: "fixed" or "permuted" input and output neurons.
        bias: whether the layers have biases.

    Example:
        >>> mlp([2, 32, 1])
        neurons
          in: Fixed(2)
          h1: Symmetric(32)
          out: Fixed(1)
        tensors
          0.weight: h1 in
          0.bias: h1
          2.weight: out h1
          2.bias: out
    """
    sizes = _whole("mlp", sizes)
    if len(sizes) < 2:
        raise GraphError(
            f"mlp({list(sizes)}) names {len(sizes)} widths; give at least two, the inputs and the outputs."
        )
    hidden = [f"h{number}" for number in range(1, len(sizes) - 1)]
    neurons: Neurons = {"in": _io_group(io, sizes[0])}
    neurons |= {name: Symmetric(size) for name, size in zip(hidden, sizes[1:-1], strict=True)}
    neurons["out"] = _io_group(io, sizes[-1])
    tensors: dict[str, str] = {}
    for number, (source, target) in enumerate(_steps(list(neurons))):
        tensors |= _affine(f"{2 * number}.", f"{target} {source}", bias)
    return NeuronGraph(neurons, tensors)


def cnn(
    channels: Sequence[int],
    kernel_size: int | Sequence[int] = 3,
    classes: int = 10,
    *,
    dims: int = 2,
    io: str = "fixed",
    head: str = "pool",
    positions: int | Sequence[int] | None = None,
    hidden: Sequence[int] = (),
    pooling: bool = False,
    bias: bool = True,
) -> NeuronGraph:
    """The graph of a convolutional ``nn.Sequential``: convolutions, then a linear head.

    With ``head="pool"``: ``nn.Sequential(Conv2d, ReLU, ..., Conv2d, ReLU, AdaptiveAvgPool2d(1), Flatten(), Linear)``; with
    ``head="flatten"`` the same without the global pool. ``hidden`` puts ``Linear, ReLU`` before the last Linear;
    ``pooling`` puts a ``MaxPool2d`` after every ReLU of a convolution. Neuron sets ``in``, ``c1``, ..., ``h1``, ..., ``out``.

    Args:
        channels: of the input and of every convolution's output, at least two.
        kernel_size: one for all dims, or one a dim.
        classes: number of outputs.
        dims: 1, 2 or 3 for Conv1d, Conv2d or Conv3d.
        positions: with ``head="flatten"`` the size of the last feature map: height and width, or their product.

    Example:
        >>> dict(cnn([1, 8, 16]).tensors)
        {'0.weight': 'c1 in 3 3', '0.bias': 'c1', '2.weight': 'c2 c1 3 3', '2.bias': 'c2', '6.weight': 'out c2', '6.bias': 'out'}
        >>> cnn([1, 8], head="flatten", positions=(4, 4)).tensors["3.weight"]
        'out (c1 16)'
    """
    channels = _whole("cnn", channels)
    kernel = _kernel(kernel_size, dims)
    flat = _flat_positions(head, positions)
    if len(channels) < 2:
        raise GraphError(
            f"cnn({list(channels)}) names {len(channels)} channels; give the input's and at least one more."
        )
    convolved = [f"c{number}" for number in range(1, len(channels))]
    between = [f"h{number}" for number in range(1, len(hidden) + 1)]
    neurons: Neurons = {"in": _io_group(io, channels[0])}
    neurons |= {name: Symmetric(size) for name, size in zip(convolved, channels[1:], strict=True)}
    neurons |= {name: Symmetric(size) for name, size in zip(between, hidden, strict=True)}
    neurons["out"] = _io_group(io, classes)
    tensors: dict[str, str] = {}
    step = 3 if pooling else 2
    for number, (source, target) in enumerate(_steps(["in", *convolved])):
        tensors |= _affine(f"{step * number}.", f"{target} {source} {kernel}", bias)
    start = step * len(convolved) + (2 if head == "pool" else 1)
    last = f"({convolved[-1]} {flat})" if flat else convolved[-1]
    for number, (source, target) in enumerate(_steps([last, *between, "out"])):
        tensors |= _affine(f"{start + 2 * number}.", f"{target} {source}", bias)
    return NeuronGraph(neurons, tensors)


def resnet(
    channels: Sequence[int] = (3, 64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    classes: int = 1000,
    *,
    stem: int = 7,
    io: str = "fixed",
) -> NeuronGraph:
    """The graph of a residual network with batch norms, keyed as torchvision's ``ResNet(BasicBlock, blocks)``.

    The defaults are ``resnet18``. Running means and variances belong to the graph: they move with their channels. Neuron
    sets: one residual stream a stage, ``stage1``, ``stage2``, ..., and every block's inner channels, ``stage1.0``, ...

    Args:
        channels: of the input, then of every stage; the stem has those of the first stage.
        blocks: residual blocks in every stage; the first of a later stage has a ``downsample`` (convolution and norm).
        stem: kernel size of the first convolution.

    Example:
        >>> graph = resnet((3, 8, 16), (1, 1), classes=10)
        >>> list(graph.neurons), graph.tensors["layer2.0.downsample.0.weight"]
        (['in', 'stage1', 'stage1.0', 'stage2', 'stage2.0', 'out'], 'stage2 stage1 1 1')
    """
    if len(channels) != len(blocks) + 1 or min(blocks, default=0) < 1:
        raise GraphError(
            f"resnet got {len(channels)} channels {list(channels)} for {len(blocks)} stages {list(blocks)}; give the input's "
            "channels and one more for every stage, and at least one block a stage."
        )
    _check_layers(sum(_whole("resnet(blocks=...)", blocks)))
    neurons: Neurons = {"in": _io_group(io, channels[0])}
    tensors = {"conv1.weight": f"stage1 in {stem} {stem}"} | _batch_norm("bn1.", "stage1")
    for stage, count in enumerate(blocks, start=1):
        stream = f"stage{stage}"
        neurons[stream] = Symmetric(channels[stage])
        for block in range(count):
            inner, prefix = f"{stream}.{block}", f"layer{stage}.{block}."
            neurons[inner] = Symmetric(channels[stage])
            first = block == 0 and stage > 1
            source = f"stage{stage - 1}" if first else stream
            tensors |= {f"{prefix}conv1.weight": f"{inner} {source} 3 3"} | _batch_norm(f"{prefix}bn1.", inner)
            tensors |= {f"{prefix}conv2.weight": f"{stream} {inner} 3 3"} | _batch_norm(f"{prefix}bn2.", stream)
            if first:
                tensors |= {f"{prefix}downsample.0.weight": f"{stream} {source} 1 1"}
                tensors |= _batch_norm(f"{prefix}downsample.1.", stream)
    neurons["out"] = _io_group(io, classes)
    tensors |= _affine("fc.", f"out stage{len(blocks)}", True)
    return NeuronGraph(neurons, tensors)


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
    """The graph of ``torch.nn.RNN(inputs, hidden, layers)``; with ``classes``, of a linear head on top of it.

    Without a head the module's output is the last layer's hidden state, which moves with its neurons: check it with
    ``verify.network(..., output_axes=["... h1", None])``. With ``classes`` the keys are those of
    ``nn.ModuleDict({"rnn": nn.RNN(...), "head": nn.Linear(hidden, classes)})``, the head reading both directions.
    Neuron sets ``in``, ``h1``, ``h2``, ... (backward ``h1_reverse``, ...), and ``out`` for the classes.

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
    """The graph of ``torch.nn.LSTM(inputs, hidden, layers)``: four gates stacked on the hidden axis, as in ``rnn``.

    ``projection`` is torch's ``proj_size``: the state then has sets ``p1``, ``p2``, ... of its own.

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
    """The graph of ``torch.nn.GRU(inputs, hidden, layers)``: three gates stacked on the hidden axis, as in ``rnn``.

    Example:
        >>> gru(3, 8, bidirectional=True, classes=2).tensors["head.weight"]
        'out (h1 + h1_reverse)'
    """
    return _recurrent(3, inputs, hidden, layers, bidirectional, bias, classes, io)


def attention(
    model: int, heads: int, *, head_size: int | None = None, bias: bool = True, io: str = "fixed"
) -> NeuronGraph:
    """The graph of ``torch.nn.MultiheadAttention(model, heads)`` used as self-attention.

    Heads move as wholes; inside every head its query-key dims and its value-output dims move on their own.

    Args:
        head_size: of one head, if not ``model / heads`` as in torch.

    Example:
        >>> dict(attention(8, 2, bias=False).tensors)
        {'in_proj_weight': '((head qk) + (head qk) + (head vo)) in', 'out_proj.weight': 'out (head vo)'}
    """
    size = head_size or _divide("attention", "model", model, "heads", heads)
    neurons: Neurons = {
        "in": _io_group(io, model),
        "head": Symmetric(heads),
        "qk": NeuronSet(Symmetric(size), over=("head",)),
        "vo": NeuronSet(Symmetric(size), over=("head",)),
        "out": _io_group(io, model),
    }
    joined = "((head qk) + (head qk) + (head vo))"
    tensors = {"in_proj_weight": f"{joined} in"} | ({"in_proj_bias": joined} if bias else {})
    return NeuronGraph(neurons, tensors | _affine("out_proj.", "out (head vo)", bias))


def grouped_query_attention(
    model: int,
    heads: int,
    kv_heads: int,
    *,
    head_size: int | None = None,
    bias: bool = False,
    rotary: bool = False,
    io: str = "fixed",
) -> NeuronGraph:
    """The graph of grouped-query attention with linear maps ``q_proj``, ``k_proj``, ``v_proj`` and ``o_proj`` (as in Llama).

    Every key-value head serves ``heads / kv_heads`` query heads; the groups move as wholes, the query heads within them.

    Args:
        rotary: whether queries and keys are rotated by position, which tells their dims apart.

    Example:
        >>> graph = grouped_query_attention(16, 4, 2)
        >>> graph.tensors["q_proj.weight"], graph.tensors["k_proj.weight"], graph.tensors["o_proj.weight"]
        ('(kv rep qk) in', '(kv qk) in', 'out (kv rep vo)')
    """
    size = head_size or _divide("grouped_query_attention", "model", model, "heads", heads)
    repeats = _divide("grouped_query_attention", "heads", heads, "kv_heads", kv_heads)
    neurons: Neurons = {
        "in": _io_group(io, model),
        "kv": Symmetric(kv_heads),
        "rep": NeuronSet(Symmetric(repeats), over=("kv",)),
        "qk": Fixed(size) if rotary else NeuronSet(Symmetric(size), over=("kv",)),
        "vo": NeuronSet(Symmetric(size), over=("kv",)),
        "out": _io_group(io, model),
    }
    axes = {"q": "(kv rep qk) in", "k": "(kv qk) in", "v": "(kv vo) in", "o": "out (kv rep vo)"}
    tensors: dict[str, str] = {}
    for name, text in axes.items():
        tensors |= _affine(f"{name}_proj.", text, bias)
    return NeuronGraph(neurons, tensors)


def experts(model: int, hidden: int, count: int, *, bias: bool = False, io: str = "fixed") -> NeuronGraph:
    """The graph of a mixture of experts whose weights are stacked: experts move as wholes, neurons within each.

    Tensors ``router.weight`` (a ``Linear`` without bias from model to experts), ``up`` ``(experts, hidden, model)`` and
    ``down`` ``(experts, model, hidden)``, with ``up_bias`` and ``down_bias`` if asked for.

    Example:
        >>> dict(experts(8, 16, 4).tensors)
        {'router.weight': 'e in', 'up': 'e f in', 'down': 'e out f'}
    """
    neurons: Neurons = {
        "in": _io_group(io, model),
        "e": Symmetric(count),
        "f": NeuronSet(Symmetric(hidden), over=("e",)),
        "out": _io_group(io, model),
    }
    tensors = {"router.weight": "e in", "up": "e f in"} | ({"up_bias": "e f"} if bias else {})
    return NeuronGraph(neurons, tensors | {"down": "e out f"} | ({"down_bias": "e out"} if bias else {}))


# ---- parts ----------------------------------------------------------------------------------------------------------
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
    _check_layers(layers)
    neurons: Neurons = {"in": _io_group(io, inputs)}
    tensors: dict[str, str] = {}
    prefix = "" if classes is None else "rnn."
    source = "in"
    for layer in range(layers):
        states = []
        for direction in ("", "_reverse") if bidirectional else ("",):
            own, key = f"h{layer + 1}{direction}", f"l{layer}{direction}"
            neurons[own] = Symmetric(hidden)
            stacked = own if gates == 1 else f"({gates} {own})"
            state = own
            if projection:
                state = f"p{layer + 1}{direction}"
                neurons[state] = Symmetric(projection)
            states.append(state)
            tensors |= {
                f"{prefix}weight_ih_{key}": f"{stacked} {source}",
                f"{prefix}weight_hh_{key}": f"{stacked} {state}",
            }
            if bias:
                tensors |= {f"{prefix}bias_ih_{key}": stacked, f"{prefix}bias_hh_{key}": stacked}
            if projection:
                tensors[f"{prefix}weight_hr_{key}"] = f"{state} {own}"
        source = f"({' + '.join(states)})" if bidirectional else states[0]
    if classes is not None:
        neurons["out"] = _io_group(io, classes)
        tensors |= _affine("head.", f"out {source}", bias)
    return NeuronGraph(neurons, tensors)


def _steps(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Every layer's inputs and outputs."""
    return zip(names[:-1], names[1:], strict=True)


def _io_group(io: str, size: int) -> PermutationGroup:
    if io not in ("fixed", "permuted"):
        raise GraphError(
            f"io={io!r}; write 'fixed' for input and output neurons that may be told apart, or 'permuted'."
        )
    return Fixed(size) if io == "fixed" else Symmetric(size)


def _affine(prefix: str, axes: str, bias: bool) -> dict[str, str]:
    """Weight, and the bias on the weight's first axis (one word, or one pair of parentheses)."""
    first = axes[: axes.index(")") + 1] if axes.startswith("(") else axes.split()[0]
    return {f"{prefix}weight": axes} | ({f"{prefix}bias": first} if bias else {})


def _batch_norm(prefix: str, channels: str) -> dict[str, str]:
    return {f"{prefix}{part}": channels for part in ("weight", "bias", "running_mean", "running_var")}


def _divide(what: str, name: str, total: int, parts_name: str, parts: int) -> int:
    if parts < 1 or total % parts:
        raise GraphError(
            f"{what} got {name}={total} and {parts_name}={parts}; {name} must be a multiple of {parts_name}."
        )
    return total // parts


def _check_layers(layers: int) -> None:
    if layers > LAYERS_LIMIT:
        digits = f"{layers:,}" if layers < 10**18 else "more than 10^18"
        raise TooLargeError(f"A network of {digits} layers: the catalogue makes at most {LAYERS_LIMIT:,}.")


def _whole(what: str, sizes: object) -> list[int]:
    """The sizes as a list, if they are whole numbers of at least 1 (also numpy's, which overflow when multiplied)."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise GraphError(f"{what} got {sizes!r:.60}; give a list of whole numbers.")
    kept = list(sizes)
    if any(isinstance(size, bool) or not isinstance(size, Integral) or size < 1 for size in kept):
        raise GraphError(f"{what} got {kept!r:.60}; give whole numbers of at least 1.")
    return [int(size) for size in kept]


def _kernel(kernel_size: int | Sequence[int], dims: int) -> str:
    if dims not in (1, 2, 3):
        raise GraphError(f"cnn(dims={dims}): 1, 2 or 3 are possible (Conv1d, Conv2d, Conv3d).")
    sizes = _whole("cnn(kernel_size=...)", kernel_size if isinstance(kernel_size, Iterable) else [kernel_size] * dims)
    if len(sizes) != dims:
        raise GraphError(
            f"cnn(kernel_size={sizes}, dims={dims}): give one kernel size, or one for each of the {dims} dims."
        )
    return " ".join(map(str, sizes))


def _flat_positions(head: str, positions: int | Sequence[int] | None) -> int:
    """Number of positions that a flattened feature map has; 0 under a global pool."""
    if head not in ("pool", "flatten"):
        raise GraphError(f"cnn(head={head!r}); write 'pool' for a global average pool before the head, or 'flatten'.")
    if (head == "flatten") != (positions is not None):
        raise GraphError(
            f"cnn(head={head!r}, positions={positions}): a flattened head needs positions=(height, width) of the last "
            "feature map, and a pooled head has none."
        )
    if positions is None:
        return 0
    return math.prod(_whole("cnn(positions=...)", positions if isinstance(positions, Iterable) else [positions]))


__all__ = [
    "attention",
    "cnn",
    "experts",
    "grouped_query_attention",
    "gru",
    "lora",
    "lstm",
    "mlp",
    "pad_rank",
    "resnet",
    "rnn",
]
