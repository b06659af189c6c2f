"""One registry of graphs that tests draw on: small instances of everything that the theory names."""

from __future__ import annotations

from symnet import (
    Cyclic,
    Dihedral,
    Fixed,
    Generated,
    NeuronGraph,
    NeuronSet,
    SignedSymmetric,
    Symmetric,
)


def mlp(*sizes: int, io: str = "permuted") -> NeuronGraph:
    """An MLP with all sets permuted, or inputs and outputs fixed."""
    last = len(sizes) - 1
    neurons = {
        f"h{k}": (Fixed if io == "fixed" and k in (0, last) else Symmetric)(n)
        for k, n in enumerate(sizes)
    }
    tensors = {}
    for k in range(last):
        tensors[f"{2 * k}.weight"] = f"h{k + 1} h{k}"
        tensors[f"{2 * k}.bias"] = f"h{k + 1}"
    return NeuronGraph(neurons, tensors)


GRAPHS: dict[str, NeuronGraph] = {
    "scalar": NeuronGraph({}, {"scale": ""}),
    "one neuron": NeuronGraph({"h": Symmetric(1)}, {"w": "h h", "b": "h"}),
    "mlp permuted": mlp(2, 3, 4, 2),
    "mlp fixed": mlp(2, 3, 4, 2, io="fixed"),
    "mlp, width 1": mlp(2, 3, 1, io="permuted"),
    "cnn": NeuronGraph(
        {"in": Fixed(1), "c1": Symmetric(3), "c2": Symmetric(2), "out": Fixed(2)},
        {"0.weight": "c1 in 2 2", "0.bias": "c1", "2.weight": "c2 c1 2 2", "4.weight": "out c2"},
    ),
    "cnn, flattened": NeuronGraph(
        {"c": Symmetric(3), "h": Symmetric(2)}, {"0.weight": "c 2 2", "3.weight": "h (c 4)"}
    ),
    "recurrent": NeuronGraph(
        {"gate": Fixed(2), "h": Symmetric(4), "in": Symmetric(2)},
        {"hh": "(gate h) h", "ih": "(gate h) in", "b": "(gate h)"},
    ),
    "attention": NeuronGraph(
        {"head": Symmetric(2), "qk": NeuronSet(Symmetric(3), over="head"), "model": Symmetric(3)},
        {"q": "(head qk) model", "k": "(head qk) model", "o": "model (head qk)"},
    ),
    "grouped queries": NeuronGraph(
        {
            "kv": Symmetric(2),
            "rep": NeuronSet(Symmetric(2), over="kv"),
            "qk": NeuronSet(Symmetric(2), over="kv"),
            "model": Symmetric(2),
        },
        {"q": "(kv rep qk) model", "k": "(kv qk) model"},
    ),
    "grouped convolution": NeuronGraph(
        {
            "g": Symmetric(2),
            "o": NeuronSet(Symmetric(2), over="g"),
            "i": NeuronSet(Symmetric(3), over="g"),
        },
        {"w": "(g o) i 2", "norm": "(g o)"},
    ),
    "copies over a fixed set": NeuronGraph(
        {"e": Fixed(2), "f": NeuronSet(Symmetric(2), over="e"), "m": Symmetric(2)},
        {"up": "e f m", "down": "e m f"},
    ),
    "fused and concatenated": NeuronGraph(
        {
            "head": Symmetric(2),
            "qk": NeuronSet(Symmetric(2), over="head"),
            "model": Symmetric(2),
            "c": Symmetric(3),
        },
        {"qkv": "((head qk) + (head qk)) model", "join": "model (c + model)"},
    ),
    "shuffled channels": NeuronGraph(
        {"kept": Symmetric(3), "changed": Symmetric(3), "out": Symmetric(2)},
        {"unit": "changed out", "last": "out (kept & changed)", "both": "((kept & changed) + out)"},
    ),
    "packed cross-attention": NeuronGraph(
        {"qk": Symmetric(2), "vo": Symmetric(3), "x": Symmetric(2), "memory": Symmetric(2)},
        {
            "in_proj": "(qk + qk + vo) (x | memory | memory)",
            "bias": "(qk + qk + vo)",
            "out": "x vo",
        },
    ),
    "rotations": NeuronGraph({"x": Cyclic(5), "h": Symmetric(2)}, {"w": "x x", "v": "h x"}),
    "reflections": NeuronGraph({"x": Dihedral(4)}, {"w": "x x", "v": "x"}),
    "intransitive": NeuronGraph(
        {"x": Generated(5, [[1, 0, 2, 3, 4], [0, 1, 3, 4, 2]])}, {"w": "x x", "v": "x"}
    ),
    "rotations over heads": NeuronGraph(
        {"head": Symmetric(2), "x": NeuronSet(Cyclic(3), over="head")},
        {"w": "(head x)", "v": "(head x) head"},
    ),
    "odd activations": NeuronGraph(
        {"in": Fixed(2), "h1": SignedSymmetric(3), "h2": SignedSymmetric(2), "out": Fixed(1)},
        {
            "0.weight": "h1 in",
            "0.bias": "h1",
            "2.weight": "h2 h1",
            "4.weight": "out h2",
            "4.bias": "out",
            "hh": "h1 h1",
        },
    ),
    "signed copies": NeuronGraph(
        {"head": Symmetric(2), "x": NeuronSet(SignedSymmetric(2), over="head")},
        {"w": "(head x)", "v": "(head x) (head x)"},
    ),
    "more dims than neurons": NeuronGraph({"h": Symmetric(2)}, {"w": "h h h", "v": "h h"}),
}

__all__ = ["GRAPHS", "mlp"]
