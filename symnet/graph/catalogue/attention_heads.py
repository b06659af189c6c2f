"""Attention: heads that move as wholes, with neurons inside each."""

from __future__ import annotations

from symnet.graph.catalogue.pieces import Neurons, affine, io_group, quotient
from symnet.graph.neuron_graph import NeuronGraph
from symnet.graph.neuron_sets import NeuronSet
from symnet.groups import Fixed, Symmetric


def attention(
    model: int, heads: int, *, head_size: int | None = None, bias: bool = True, io: str = "fixed"
) -> NeuronGraph:
    """The graph of ``torch.nn.MultiheadAttention(model, heads)`` used as self-attention.

    Heads move as wholes; inside every head its query-key dims and its value-output dims move
    independently of each other.

    Args:
        model: width of what is read and written.
        heads: how many.
        head_size: of one head, if not ``model / heads`` as in torch.
        bias: whether the maps have biases.
        io: "fixed" or "permuted" input and output neurons.

    Returns:
        Neuron sets ``in``, ``head``, ``qk``, ``vo``, ``out``.

    Raises:
        GraphError: ``model`` is no multiple of ``heads``, or sizes are not at least 1.

    Example:
        >>> graph = attention(8, 2, bias=False)
        >>> graph.tensors["in_proj_weight"], graph.tensors["out_proj.weight"]
        ('((head qk) + (head qk) + (head vo)) in', 'out (head vo)')
    """
    size = head_size or quotient("attention", "model", model, "heads", heads)
    neurons: Neurons = {
        "in": io_group(io, model),
        "head": Symmetric(heads),
        "qk": NeuronSet(Symmetric(size), over=("head",)),
        "vo": NeuronSet(Symmetric(size), over=("head",)),
        "out": io_group(io, model),
    }
    joined = "((head qk) + (head qk) + (head vo))"
    tensors = {"in_proj_weight": f"{joined} in"} | ({"in_proj_bias": joined} if bias else {})
    return NeuronGraph(neurons, tensors | affine("out_proj.", "out (head vo)", bias))


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
    """The graph of grouped-query attention, keyed as Llama's.

    Every key-value head serves ``heads / kv_heads`` query heads; the groups move as wholes, the
    query heads within them (Ainslie et al. 2023, arXiv 2305.13245).

    Args:
        model: width of what is read and written.
        heads: of queries.
        kv_heads: heads of keys and values, a divisor of ``heads``.
        head_size: of one head, if not ``model / heads``.
        bias: whether the maps have biases.
        rotary: whether queries and keys are rotated by position, which tells their dims apart.
        io: "fixed" or "permuted" input and output neurons.

    Returns:
        Neuron sets ``in``, ``kv``, ``rep``, ``qk``, ``vo``, ``out``; the weights of ``q_proj``,
        ``k_proj``, ``v_proj`` and ``o_proj``.

    Raises:
        GraphError: ``model`` is no multiple of ``heads``, or ``heads`` none of ``kv_heads``.

    Example:
        >>> axes = grouped_query_attention(16, 4, 2).tensors
        >>> axes["q_proj.weight"], axes["k_proj.weight"], axes["o_proj.weight"]
        ('(kv rep qk) in', '(kv qk) in', 'out (kv rep vo)')
    """
    size = head_size or quotient("grouped_query_attention", "model", model, "heads", heads)
    repeats = quotient("grouped_query_attention", "heads", heads, "kv_heads", kv_heads)
    neurons: Neurons = {
        "in": io_group(io, model),
        "kv": Symmetric(kv_heads),
        "rep": NeuronSet(Symmetric(repeats), over=("kv",)),
        "qk": Fixed(size) if rotary else NeuronSet(Symmetric(size), over=("kv",)),
        "vo": NeuronSet(Symmetric(size), over=("kv",)),
        "out": io_group(io, model),
    }
    axes = {"q": "(kv rep qk) in", "k": "(kv qk) in", "v": "(kv vo) in", "o": "out (kv rep vo)"}
    tensors: dict[str, str] = {}
    for name, text in axes.items():
        tensors |= affine(f"{name}_proj.", text, bias)
    return NeuronGraph(neurons, tensors)
