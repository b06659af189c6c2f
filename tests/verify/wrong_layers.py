"""A zoo of nearly right layers. Each differs from a right one in one place, which a verifier has to find and name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import symnet as sn

Features = dict[str, Tensor]
Function = Callable[[Features], Any]

WIDTH = 3
MLP = sn.catalogue.mlp(
    [2, WIDTH, WIDTH, 2]
)  # square in the middle: a wrong axis has the right size
HEADS = sn.catalogue.attention(4, 2, head_size=2, bias=False)
QUERY = {"q": "(head qk) in"}
CIRCLE = sn.NeuronGraph({"x": sn.Cyclic(5)}, {"w": "x x", "v": "x"})
SCALES = sn.NeuronGraph({"h": sn.Scaled(3)}, {"0.weight": "h 2", "1.weight": "2 h*", "norm": "h."})
SIGNS = sn.NeuronGraph({"s": sn.SignedSymmetric(3)}, {"w": "s 2"})
ROTATIONS = sn.NeuronGraph(
    {"m": sn.Orthogonal(3), "b": sn.Orthogonal(3, fixes_mean=True)}, {"x": "m", "y": "b"}
)
ADAPTER = sn.NeuronGraph({"r": sn.GeneralLinear(2)}, {"A": "r 3", "B": "3 r*", "gram": "3 3"})
COPIES = sn.NeuronGraph(
    {"e": sn.Symmetric(2), "d": sn.NeuronSet(sn.GeneralLinear(2), over="e")},
    {"q": "e d", "k": "e d*", "s": "e"},
)
W, B1, B2 = "2.weight", "0.bias", "2.bias"


@dataclass(frozen=True)
class WrongLayer:
    """A wrong layer, the right one beside it, and where the mistake shows.

    ``output`` is the output tensor that is wrong ("" for the tensor of an invariant function); ``neurons`` the sets whose
    permutation alone shows it (empty: it shows without any).
    """

    wrong: Callable[[], Function]
    right: Callable[[], Function]
    output: str
    neurons: tuple[str, ...]
    graph: sn.NeuronGraph = MLP
    spaces: Mapping[str, Any] = field(default_factory=dict)
    action: str = "permuting"


def change(name: str, value: Callable[[Features], Tensor]) -> Callable[[], Function]:
    """The identity layer with one output replaced by a function of the features."""
    return lambda: lambda x: {**x, name: value(x)}


def as_invariant(value: Callable[[Features], Tensor]) -> Callable[[], Function]:
    return lambda: value


class AddParameter(nn.Module):
    """Adds a parameter of this shape, zero at first, to one tensor."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.bias = name, nn.Parameter(torch.zeros(shape))

    def forward(self, x: Features) -> Features:
        return {**x, self.name: x[self.name] + self.bias}


class Apply(nn.Module):
    """Applies a module to one tensor, its channels aside."""

    def __init__(self, name: str, module: nn.Module, dim: int = -1) -> None:
        super().__init__()
        self.name, self.module, self.dim = name, module, dim

    def forward(self, x: Features) -> Features:
        return {
            **x,
            self.name: self.module(x[self.name].transpose(self.dim, -1)).transpose(self.dim, -1),
        }


class FlatNetwork(nn.Module):
    """What one must not do with weights: flatten them all and multiply; with ``pooled``, sum over the neurons first."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.linear = nn.Linear(1 if pooled else WIDTH, 5)

    def forward(self, x: Features) -> Tensor:
        values = x[B1][..., 0]
        return self.linear(values.sum(1, keepdim=True) if self.pooled else values)


def mean_of_heads(x: Features, kept: tuple[int, ...]) -> Tensor:
    """q plus its means over some of the axes (head, qk)."""
    q = x["q"].unflatten(1, (2, 2))
    return (q + q.mean(kept, keepdim=True)).flatten(1, 2)


def untied(x: Features) -> Tensor:
    return x[B2] + x[W].mean(2) + 0.01 * nn.functional.pad(x[W][:, :1, 0], (0, 0, 0, WIDTH - 1))


LAYERS: dict[str, WrongLayer] = {
    "transposed pool": WrongLayer(
        change(W, lambda x: x[W] + x[W].mean(1).unsqueeze(2)),
        change(W, lambda x: x[W] + x[W].mean(1).unsqueeze(1)),
        W,
        ("h1", "h2"),
    ),
    "mean over the wrong axis": WrongLayer(
        change(B2, lambda x: x[B2] + x[W].mean(1)),
        change(B2, lambda x: x[B2] + x[W].mean(2)),
        B2,
        ("h1", "h2"),
    ),
    "max over the wrong axis": WrongLayer(
        change(B1, lambda x: x[W].amax(2)), change(B1, lambda x: x[W].amax(1)), B1, ("h1", "h2")
    ),
    "one untied pair": WrongLayer(
        change(B2, untied), change(B2, lambda x: x[B2] + x[W].mean(2)), B2, ("h1", "h2")
    ),
    "transposed weight": WrongLayer(
        change(W, lambda x: x[W] + x[W].transpose(1, 2)),
        change(W, lambda x: x[W] + x[W]),
        W,
        ("h1", "h2"),
    ),
    "diagonal of two different sets": WrongLayer(
        change(B2, lambda x: x[B2] + x[W].diagonal(dim1=1, dim2=2).transpose(1, 2)),
        change(B2, lambda x: x[B2] + x[W].mean(2)),
        B2,
        ("h1", "h2"),
    ),
    "neighbouring layer's bias": WrongLayer(
        change(B1, lambda x: x[B1] + x[B2]),
        change(B1, lambda x: x[B1] + x[B2].mean(1, keepdim=True)),
        B1,
        ("h1", "h2"),
    ),
    "a bias on one neuron": WrongLayer(
        lambda: AddParameter(B1, (WIDTH, 1)), lambda: AddParameter(B1, (1, 1)), B1, ("h1",)
    ),
    "a norm with weights over neurons": WrongLayer(
        lambda: Apply(B1, nn.LayerNorm(WIDTH), dim=1),
        lambda: Apply(B1, nn.LayerNorm(WIDTH, elementwise_affine=False), dim=1),
        B1,
        ("h1",),
    ),
    "an encoding on a permuted axis": WrongLayer(
        change("0.weight", lambda x: x["0.weight"] + torch.arange(3.0)[None, :, None, None]),
        change("0.weight", lambda x: x["0.weight"] + torch.arange(2.0)[None, None, :, None]),
        "0.weight",
        ("h1",),
    ),
    "off-by-one roll": WrongLayer(
        change(B2, lambda x: x[B2].roll(1, 1)),
        change(B2, lambda x: x[B2].roll(WIDTH, 1)),
        B2,
        ("h2",),
    ),
    "sorted neurons": WrongLayer(
        change(B1, lambda x: x[B1].sort(1).values),
        change(B1, lambda x: x[B1].sort(2).values),
        B1,
        ("h1",),
    ),
    "running sum over neurons": WrongLayer(
        change(B1, lambda x: x[B1].cumsum(1)),
        change("0.weight", lambda x: x["0.weight"].cumsum(2)),
        B1,
        ("h1",),
    ),
    "triangular mask": WrongLayer(
        change(W, lambda x: x[W][..., 0].tril()[..., None]),
        change(W, lambda x: x[W].relu()),
        W,
        ("h1", "h2"),
    ),
    "attention among neurons with a window": WrongLayer(
        lambda: Apply(B1, nn.Conv1d(1, 1, 3, padding=1), dim=1),
        lambda: Apply(B1, nn.Conv1d(1, 1, 1), dim=1),
        B1,
        ("h1",),
    ),
    "wrong head order": WrongLayer(
        change(
            "q",
            lambda x: (
                x["q"]
                + x["q"]
                .unflatten(1, (2, 2))
                .mean(1, keepdim=True)
                .expand(-1, 2, -1, -1, -1)
                .flatten(1, 2)
            ),
        ),
        change("q", lambda x: mean_of_heads(x, (2,))),
        "q",
        ("qk",),
        HEADS,
        {"inputs": QUERY, "outputs": QUERY},
    ),
    "heads laid out the other way": WrongLayer(
        change(
            "q",
            lambda x: mean_of_heads(
                {"q": x["q"].unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)}, (2,)
            ),
        ),
        change("q", lambda x: mean_of_heads(x, (1, 2))),
        "q",
        ("head", "qk"),
        HEADS,
        {"inputs": QUERY, "outputs": QUERY},
    ),
    "reflection of a circle": WrongLayer(
        change("v", lambda x: x["v"].flip(1)),
        change("v", lambda x: x["v"].roll(2, 1)),
        "v",
        ("x",),
        CIRCLE,
    ),
    "skewed diagonal of a circle": WrongLayer(
        change("v", lambda x: x["w"].flip(2).diagonal(dim1=1, dim2=2).transpose(1, 2)),
        change("v", lambda x: x["w"].roll(1, 2).diagonal(dim1=1, dim2=2).transpose(1, 2)),
        "v",
        ("x",),
        CIRCLE,
    ),
    "noise": WrongLayer(
        change(B1, lambda x: x[B1] + 1e-6 * torch.randn_like(x[B1])),
        change(B1, lambda x: x[B1] + 1e-6),
        B1,
        (),
        action="twice",
    ),
    "dropout active in eval mode": WrongLayer(
        change(B1, lambda x: nn.functional.dropout(x[B1], 0.1)),
        lambda: Apply(B1, nn.Dropout(0.1)),
        B1,
        (),
        action="twice",
    ),
    "mean over the batch": WrongLayer(
        change(B1, lambda x: x[B1] - x[B1].mean(0, keepdim=True)),
        change(B1, lambda x: x[B1] - x[B1].mean(1, keepdim=True)),
        B1,
        (),
        action="batch",
    ),
    "an invariant of the other samples": WrongLayer(
        change(W, lambda x: x[W] * (1 + x[B2].square().mean())),
        change(W, lambda x: x[W] * (1 + x[B2].square().mean((1, 2))[:, None, None, None])),
        W,
        (),
        action="batch",
    ),
    "mask from the zeros of the first sample": WrongLayer(
        change(B1, lambda x: torch.where(x[B1][:1] != 0, x[B1] + 1, x[B1])),
        change(B1, lambda x: torch.where(x[B1] != 0, x[B1] + 1, x[B1])),
        B1,
        (),
        action="batch",
    ),
    "mask from zeros, at other neurons": WrongLayer(
        change(B1, lambda x: torch.where(x[B2] != 0, x[B1], -x[B1])),
        change(B1, lambda x: torch.where(x[B1] != 0, x[B1], -x[B1])),
        B1,
        ("h1", "h2"),
    ),
    "all neurons flattened": WrongLayer(
        lambda: FlatNetwork(False), lambda: FlatNetwork(True), "", ("h1",)
    ),
    "the first neuron": WrongLayer(
        as_invariant(lambda x: x["0.weight"][:, 0]),
        as_invariant(lambda x: x["0.weight"][:, :, 0].sum(1)),
        "",
        ("h1",),
    ),
    "the place of the largest neuron": WrongLayer(
        as_invariant(lambda x: x[B1][..., 0].argmax(1)),
        as_invariant(lambda x: x[B1][..., 0].amax(1)),
        "",
        ("h1",),
    ),
    "alternating sum": WrongLayer(
        as_invariant(lambda x: x[B1][:, ::2].sum(1) - x[B1][:, 1::2].sum(1)),
        as_invariant(lambda x: x[B1].sum(1) - x[B2].sum(1)),
        "",
        ("h1",),
    ),
    "a wrong degree": WrongLayer(
        change("1.weight", lambda x: x["1.weight"] + x["0.weight"].sum(2)[:, None]),
        change("1.weight", lambda x: x["1.weight"] + x["0.weight"].sum(2)[:, None] * 0),
        "1.weight",
        ("h",),
        SCALES,
    ),
    "a missing star": WrongLayer(
        change("norm", lambda x: x["norm"] + (x["0.weight"].sum(2) * x["0.weight"].sum(2))),
        change("norm", lambda x: x["norm"] + (x["0.weight"].sum(2) * x["1.weight"].sum(1))),
        "norm",
        ("h",),
        SCALES,
    ),
    "a function that scales do not pass": WrongLayer(
        change("0.weight", lambda x: nn.functional.gelu(x["0.weight"])),
        change("0.weight", lambda x: x["0.weight"].relu()),
        "0.weight",
        ("h",),
        SCALES,
    ),
    "scales that may be negative under ReLU": WrongLayer(
        change("w", lambda x: x["w"].relu()),
        change("w", lambda x: x["w"] * x["w"].square()),
        "w",
        ("s",),
        SIGNS,
    ),
    "rotations where only those hold that fix the ones": WrongLayer(
        change("x", lambda x: x["x"] - x["x"].mean(1, keepdim=True)),
        change("x", lambda x: x["x"] / x["x"].square().mean(1, keepdim=True).sqrt()),
        "x",
        ("m",),
        ROTATIONS,
    ),
    "the mean of a stream": WrongLayer(
        change("y", lambda x: x["y"] + x["y"].amax(1, keepdim=True)),
        change("y", lambda x: x["y"] + x["y"].mean(1, keepdim=True)),
        "y",
        ("b",),
        ROTATIONS,
    ),
    "a contraction of primal with primal": WrongLayer(
        change("gram", lambda x: x["gram"] + torch.einsum("brxc,bryc->bxyc", x["A"], x["A"])),
        change("gram", lambda x: x["gram"] + torch.einsum("bxrc,bryc->bxyc", x["B"], x["A"])),
        "gram",
        ("r",),
        ADAPTER,
    ),
    "the transpose of a dual": WrongLayer(
        change("A", lambda x: x["A"] + x["B"].transpose(1, 2)),
        change("A", lambda x: x["A"] + x["A"].flip(2)),
        "A",
        ("r",),
        ADAPTER,
    ),
    "features of a rank one by one": WrongLayer(
        change("A", lambda x: x["A"].relu()),
        change("A", lambda x: 2 * x["A"]),
        "A",
        ("r",),
        ADAPTER,
    ),
    "one matrix for all heads": WrongLayer(
        change("q", lambda x: x["q"] + x["k"]),
        change(
            "q", lambda x: x["q"] + x["q"].sum(1, keepdim=True) * 0 + x["s"][:, :, None] * x["q"]
        ),
        "q",
        ("d",),
        COPIES,
    ),
}
