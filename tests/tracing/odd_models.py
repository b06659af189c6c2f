"""Networks that are odd in one way each, with the order of their group worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from tests.tracing.models import seq

S4, S5, S6 = 24, 120, 720
BY_INDEX = "a choice by index has no gradient to certify with"
COMMUTES = "factors of a product can change places, as they commute: no relabelling of neurons"
ONLY_SUMS = "only sums of two weights matter, so single entries can change places, not only neurons"
WINNERS = "only the largest of a window has a gradient"
ONE_BY_ONE = "positions that lie apart can be exchanged, which notation by intervals cannot say"


class Net(nn.Module):
    """A function of parts and inputs as a module."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.function(self, *inputs, **named)


@dataclass(frozen=True)
class Odd:
    """A network, its inputs, the order of its group, and why ``maximality`` does not certify it, if so."""

    name: str
    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    order: int
    open_because: str = ""

    def __repr__(self) -> str:
        return self.name


ODD: list[Odd] = []


def odd(
    name: str, make: Callable[[], nn.Module], inputs: tuple[Any, ...], order: int, why: str = ""
) -> None:
    ODD.append(Odd(name, make, inputs, order, why))


def between(
    name: str,
    change: Callable[[Tensor], Tensor],
    order: int,
    why: str = "",
    width: int = 4,
    after: int = 0,
) -> None:
    """Two linear layers with something odd between them."""
    parts = {"a": lambda: nn.Linear(2, width), "b": lambda: nn.Linear(after or width, 1)}
    odd(
        name,
        lambda: Net(lambda net, x: net.b(change(net.a(x))), **{k: v() for k, v in parts.items()}),
        (rand(3, 2),),
        order,
        why,
    )


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape))


# ---- between two layers -----------------------------------------------------------------------------------------------------------
between("running sum", lambda h: h.cumsum(-1), 1)
between("sorted neurons", lambda h: h.sort(-1).values, S4, BY_INDEX)
between("gathered in order", lambda h: h.gather(-1, h.argsort(-1)), S4, BY_INDEX)
between("softmax over neurons", lambda h: h.softmax(-1), S4)
between("flipped", lambda h: h.flip(-1), 1, ONE_BY_ONE)
between("rolled", lambda h: h.relu().roll(1, -1), 6, ONE_BY_ONE)
between("every second", lambda h: h[:, ::2], 6, width=6, after=3)
# Every pair can change places by itself, and pairs with pairs.
PAIRS = 2**3 * 6
between("even times odd", lambda h: h[:, ::2] * h[:, 1::2], PAIRS, width=6, after=3)
between(
    "half plus half", lambda h: (h[:, :3] + h[:, 3:]).tanh(), PAIRS, ONLY_SUMS, width=6, after=3
)
between("half times half", lambda h: torch.mul(*h.chunk(2, -1)), PAIRS, width=6, after=3)
between(
    "larger of two halves",
    lambda h: torch.maximum(*h.chunk(2, -1)),
    PAIRS,
    WINNERS,
    width=6,
    after=3,
)
between("half gated by half", lambda h: h[:, :3].sigmoid() * h[:, 3:], 6, width=6, after=3)
between("half minus half", lambda h: (h[:, :3] - h[:, 3:]).tanh(), 6, width=6, after=3)
between(
    "half times half, and a half again",
    lambda h: h[:, :3] * h[:, 3:] + h[:, 3:],
    6,
    width=6,
    after=3,
)
between("halves exchanged by index", lambda h: h[:, [2, 3, 0, 1]].relu(), 4, ONE_BY_ONE)
between("repeated", lambda h: h.repeat_interleave(2, -1), 6 * 8, width=3, after=6)
between("pairs", lambda h: (h[:, :, None] * h[:, None, :].tanh()).flatten(1), 6, width=3, after=9)
between("norm of neurons", lambda h: F.normalize(h, dim=-1), S4)
between(
    "max over channel windows",
    lambda h: F.max_pool1d(h.unsqueeze(1), 2).squeeze(1),
    6 * 8,
    WINNERS,
    width=6,
    after=3,
)
between(
    "capsules",
    lambda h: (h.view(-1, 3, 2) / (1 + h.view(-1, 3, 2).norm(dim=-1, keepdim=True))).flatten(1),
    6 * 8,
    width=6,
)
between("spectrum over samples", lambda h: torch.fft.fft(h, dim=0).real.relu(), S4)
between("complex numbers", lambda h: torch.polar(h, h.tanh()).imag, S4)
between("in a half", lambda h: torch.cat([h[:, :2].tanh(), h[:, 2:].sigmoid()], 1), 4)
between("constant in runs", lambda h: (h * torch.tensor([1.0, 1, 1, 0, 0, 0])).relu(), 36, width=6)
between("identity added", lambda h: (torch.eye(3) + h.T @ h).inverse().diagonal(), 6, width=3)
between("detached data", lambda h: h + h.data.cumsum(-1), 1)
between("through numpy", lambda h: h + torch.from_numpy(h.detach().numpy()[:, ::-1].copy()), 1)
between("through a list", lambda h: h + torch.tensor(sorted(h[0].tolist())), 1)
between(
    "largest two kept",
    lambda h: torch.zeros_like(h).scatter(-1, h.topk(2, -1).indices, h.topk(2, -1).values),
    S6,
    BY_INDEX,
    6,
)
between(
    "largest taken along",
    lambda h: torch.take_along_dim(h, h.argmax(-1, keepdim=True), -1) * h,
    S4,
    BY_INDEX,
)
between(
    "neurons that are largest for the first sample",
    lambda h: h.index_select(-1, h[0].topk(3).indices),
    S4,
    BY_INDEX,
    after=3,
)
between("a random mask", lambda h: F.dropout(h, 0.5, True), 1)
between("determinant", lambda h: h * torch.linalg.det(h.T @ h + torch.eye(4)), S4)
between("linear system", lambda h: torch.linalg.solve(h.T @ h + torch.eye(4), h.T).T, S4)
between("matrix exponential", lambda h: h @ torch.matrix_exp((h.T @ h).tanh()), S4)


def _add_in_place(h: Tensor) -> Tensor:
    h = h.clone()
    h[:, 0] += 1
    return h.relu()


between("one neuron shifted in place", _add_in_place, 6)

# ---- weights ----------------------------------------------------------------------------------------------------------------------
odd("weight used both ways", lambda: Net(lambda n, x: (n.w @ (n.w.T @ n.a(x).T).relu()).sum(0), a=nn.Linear(2, 4), w=weight(4, 3)),
    (rand(5, 2),), S4 * 6)  # fmt: skip
odd("weight summed up", lambda: Net(lambda n, x: n.b(F.linear(x, n.a.weight.cumsum(0)).relu()), a=nn.Linear(2, 4), b=nn.Linear(4, 1)),
    (rand(3, 2),), 1)  # fmt: skip
odd("layer three times", lambda: Net(lambda n, x: n.b(n.h(n.h(n.h(n.a(x)).relu()).relu())), a=nn.Linear(2, 4), h=nn.Linear(4, 4),
    b=nn.Linear(4, 1)), (rand(3, 2),), S4)  # fmt: skip
odd("ensemble in one tensor", lambda: Net(
    lambda n, x: torch.bmm(torch.bmm(x.expand(3, -1, -1), n.w).relu(), n.v).tanh().mean(0), w=weight(3, 2, 4), v=weight(3, 4, 1)),
    (rand(5, 2),), 6 * S4**3)  # fmt: skip
odd("a kernel in both directions", lambda: Net(
    lambda n, x: F.conv_transpose2d(F.conv2d(x, n.w, padding=1).relu(), n.w, padding=1), w=weight(4, 2, 3, 3)),
    (rand(2, 2, 5, 5),), S4)  # fmt: skip
odd("weights made by a network", lambda: Net(
    lambda n, x, z: (x.unsqueeze(1) @ n.g(z).view(-1, 2, 4)).relu().squeeze(1) @ n.b, g=nn.Linear(3, 8), b=weight(4, 1)),
    (rand(5, 2), rand(5, 3)), S4)  # fmt: skip
odd("three factors", lambda: Net(
    lambda n, x: torch.einsum("bi,ijk,bj,k->b", n.a(x).relu(), n.w, n.a(x).relu(), n.v), a=nn.Linear(2, 3), w=weight(3, 3, 4), v=weight(4)),
    (rand(5, 2),), 6 * S4, COMMUTES)  # fmt: skip
odd(
    "lazy modules",
    lambda: seq(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(1)),
    (rand(3, 2),),
    S4,
    "not initialised",
)
odd("a root of a weight", lambda: Net(lambda n, x: n.a(x).relu() @ n.s.sqrt(), a=nn.Linear(2, 4), s=nn.Parameter(torch.rand(4, 1) + 0.1)),
    (rand(3, 2),), S4)  # fmt: skip

# ---- factorisations ---------------------------------------------------------------------------------------------------------------
odd("two group norms that do not align", lambda: seq(
    nn.Conv2d(1, 12, 1), nn.GroupNorm(3, 12), nn.ReLU(), nn.GroupNorm(4, 12), nn.ReLU(), nn.Conv2d(12, 1, 1)),
    (rand(2, 1, 3, 3),), 144, "the whole of one pattern of groups can be turned round")  # fmt: skip
odd("joins that do not align", lambda: Net(
    lambda n, x: n.o(torch.cat([n.a(x), n.b(x)], -1) + torch.cat([n.c(x), n.d(x)], -1)),
    a=nn.Linear(2, 2), b=nn.Linear(2, 5), c=nn.Linear(2, 4), d=nn.Linear(2, 3), o=nn.Linear(7, 1)), (rand(3, 2),), 2 * 2 * 6)  # fmt: skip
odd("groups of four, then groups of six", lambda: seq(
    nn.Conv1d(1, 12, 1), nn.ReLU(), nn.Conv1d(12, 12, 1, groups=3), nn.ReLU(), nn.Conv1d(12, 12, 1, groups=2), nn.ReLU(), nn.Conv1d(12, 1, 1)),
    (rand(2, 1, 5),), S4**3 * S4**2 * 2**2 * S6**2, "the bound is three times the order; which of them is right is open")  # fmt: skip
odd("channels shifted in time", lambda: Net(
    lambda n, x: (lambda h: n.b(torch.cat([F.pad(h[:, 1:, :1], (0, 0, 0, 1)), F.pad(h[:, :-1, 1:2], (0, 0, 1, 0)), h[:, :, 2:]], -1)))(n.a(x).relu()),
    a=nn.Linear(2, 6), b=nn.Linear(6, 1)), (rand(3, 5, 2),), S4)  # fmt: skip
odd("squared distance of two layers", lambda: Net(lambda n, x: F.mse_loss(n.a(x).relu(), n.b(x)), a=nn.Linear(2, 4), b=nn.Linear(2, 4)),
    (rand(3, 2),), S4)  # fmt: skip
odd("pooled and put back", lambda: Net(
    lambda n, x: n.b(F.max_unpool2d(*F.max_pool2d(n.a(x).relu(), 2, return_indices=True), 2)), a=nn.Conv2d(1, 4, 1), b=nn.Conv2d(4, 1, 1)),
    (rand(2, 1, 4, 4),), S4, WINNERS)  # fmt: skip
odd("members of an ensemble side by side", lambda: Net(
    lambda n, x: (torch.einsum("bi,eoi->beo", x, n.w) + n.c).relu().flatten(1) @ n.v, w=weight(3, 4, 2), c=weight(3, 4), v=weight(12, 1)),
    (rand(5, 2),), 6 * S4**3, "all twelve neurons can be exchanged, but they lie on two axes")  # fmt: skip
odd("pruned", lambda: seq(prune.random_unstructured(nn.Linear(2, 4), "weight", 0.5), nn.ReLU(), nn.Linear(4, 1)),
    (rand(3, 2),), S4)  # fmt: skip
odd("padded channels", lambda: Net(
    lambda n, x: n.b(F.pad(n.a(x), (0, 3)) + n.c(x)), a=nn.Linear(2, 4), c=nn.Linear(2, 7), b=nn.Linear(7, 1)), (rand(3, 2),), S4 * 6)  # fmt: skip
odd("stacked, then side by side", lambda: Net(
    lambda n, x: n.o(torch.stack([n.a(x), n.c(x)], 1).relu().flatten(1)), a=nn.Linear(3, 4), c=nn.Linear(3, 4), o=nn.Linear(8, 1)),
    (rand(6, 3),), S4**2)  # fmt: skip
odd("stacked, one norm for both", lambda: Net(
    lambda n, x: n.o(n.n(torch.stack([n.a(x), n.c(x)], 1)).flatten(1)), a=nn.Linear(3, 4), c=nn.Linear(3, 4), n=nn.LayerNorm(4),
    o=nn.Linear(8, 1)), (rand(6, 3),), S4)  # fmt: skip
odd("last states of an LSTM, side by side", lambda: Net(
    lambda n, x: n.b(n.r(x)[1][0].transpose(0, 1).flatten(1)), r=nn.LSTM(2, 3, 2, batch_first=True), b=nn.Linear(6, 1)),
    (rand(3, 4, 2),), 36)  # fmt: skip
odd("an LSTM with a projection", lambda: Net(
    lambda n, x: n.b(n.r(x)[0]), r=nn.LSTM(2, 4, proj_size=3, batch_first=True), b=nn.Linear(3, 1)), (rand(3, 4, 2),), S4 * 6)  # fmt: skip


# ---- choices by index -------------------------------------------------------------------------------------------------------------
def _experts() -> dict[str, nn.Module | nn.Parameter]:
    return {"r": nn.Linear(3, 4), "up": weight(4, 5, 3), "down": weight(4, 3, 5)}


def _chosen(
    net: Any, x: Tensor, up: Tensor, down: Tensor, move: Callable[[Tensor], Tensor] = lambda h: h
) -> Tensor:
    h = move(torch.einsum("bfm,bm->bf", net.up[up], x).relu())
    return torch.einsum("bmf,bf->bm", net.down[down], h)


def _two_best(net: Any, x: Tensor) -> Tensor:
    scores, chosen = net.r(x).topk(2, -1)
    h = torch.einsum("bkfm,bm->bkf", net.up[chosen], x).relu()
    return torch.einsum("bkmf,bkf,bk->bm", net.down[chosen], h, scores.softmax(-1))


def _masked(net: Any, x: Tensor) -> Tensor:
    shares = net.r(x).softmax(-1)
    gates = F.one_hot(shares.argmax(-1), 4) * shares
    h = torch.einsum("efm,bm->bef", net.up, x).relu()
    return torch.einsum("emf,bef,be->bm", net.down, h, gates.to(h.dtype))


WHOLE, SHARED = S4 * S5**4, S4 * S5
odd("two best experts", lambda: Net(_two_best, **_experts()), (rand(6, 3),), WHOLE, BY_INDEX)
odd("best expert by mask", lambda: Net(_masked, **_experts()), (rand(6, 3),), WHOLE, BY_INDEX)
odd("in by one expert, out by another", lambda: Net(lambda n, x: _chosen(n, x, n.r(x).argmax(-1), n.r(x).argmin(-1)), **_experts()),
    (rand(6, 3),), SHARED, BY_INDEX)  # fmt: skip
odd("out by another sample's expert", lambda: Net(
    lambda n, x: _chosen(n, x, n.r(x).argmax(-1), n.r(x).argmax(-1), lambda h: h.roll(1, 0)), **_experts()),
    (rand(6, 3),), SHARED, BY_INDEX)  # fmt: skip
odd("samples mixed within experts", lambda: Net(
    lambda n, x: _chosen(n, x, n.r(x).argmax(-1), n.r(x).argmax(-1), lambda h: (x @ x.T).softmax(-1) @ h), **_experts()),
    (rand(6, 3),), SHARED, BY_INDEX)  # fmt: skip
odd("out by the second choice", lambda: Net(
    lambda n, x: _chosen(n, x, n.r(x).topk(2, -1).indices[:, 0], n.r(x).topk(2, -1).indices[:, 1]), **_experts()),
    (rand(6, 3),), SHARED, BY_INDEX)  # fmt: skip
odd("codes by distance", lambda: Net(
    lambda n, x: n.b(F.embedding(torch.cdist(n.a(x), n.code).argmin(-1), n.code).tanh()), a=nn.Linear(2, 4), code=weight(6, 4),
    b=nn.Linear(4, 1)), (rand(7, 2),), S4 * S6, BY_INDEX)  # fmt: skip
odd("position counted on", lambda: Net(
    lambda n, x: n.b(n.e((n.a(x).argmax(-1) + 1) % 4)), a=nn.Linear(3, 4), e=nn.Embedding(4, 5), b=nn.Linear(5, 1)),
    (rand(6, 3),), S5, BY_INDEX)  # fmt: skip
odd("position as a number", lambda: Net(
    lambda n, x: n.b(n.a(x)) * n.a(x).argmax(-1, keepdim=True), a=nn.Linear(3, 4), b=nn.Linear(4, 1)), (rand(6, 3),), 1, BY_INDEX)  # fmt: skip
odd("position returned", lambda: Net(lambda n, x: (n.a(x).argmax(-1), n.b(n.a(x))), a=nn.Linear(3, 4), b=nn.Linear(4, 1)),
    (rand(6, 3),), 1, BY_INDEX)  # fmt: skip
odd("messages along edges", lambda: Net(
    lambda n, x, e: n.b(torch.zeros(len(x), 4).index_add(0, e[1], n.a(x).relu()[e[0]])).relu(), a=nn.Linear(2, 4), b=nn.Linear(4, 1)),
    (rand(5, 2), torch.tensor([[0, 1, 2, 3, 4, 4], [1, 2, 3, 4, 0, 2]])), S4)  # fmt: skip


# ---- joins that take turns, or differ from part to part -------------------------------------------------------------
class ShuffleUnits(nn.Module):
    """Units that keep half of the channels, change the other half, and interleave the two."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
        self.units = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(units))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        for unit in self.units:
            kept, changed = x.chunk(2, 1)
            x = F.channel_shuffle(torch.cat([kept, unit(changed).tanh()], 1), 2)
        return self.last(x).mean((2, 3))


odd("shuffled channels", lambda: ShuffleUnits(1), (rand(2, 1, 5, 5),), S4**3)
odd("channels shuffled twice", lambda: ShuffleUnits(2), (rand(2, 1, 5, 5),), S4**2 * 2**4)
odd("packed cross-attention", lambda: Net(
    lambda n, x, y: n.o(n.a(n.i(x), n.j(y), n.j(y), need_weights=False)[0]), i=nn.Linear(3, 4), j=nn.Linear(3, 4),
    a=nn.MultiheadAttention(4, 2, batch_first=True), o=nn.Linear(4, 2)), (rand(2, 4, 3), rand(2, 5, 3)), S4**3 * 2 * 2**4)  # fmt: skip


def _joined_tokens(net: Any, x: Tensor) -> Tensor:
    x = torch.cat([net.tokens.expand(len(x), -1, -1), net.embed(x)], 1)
    return net.head((torch.softmax(net.q(x) @ net.k(x).transpose(1, 2), -1) @ x)[:, -1])


odd("learned tokens joined to a sequence", lambda: Net(
    _joined_tokens, embed=nn.Linear(2, 4), tokens=weight(1, 3, 4), q=nn.Linear(4, 3), k=nn.Linear(4, 3), head=nn.Linear(4, 2)),
    (rand(2, 5, 2),), S4 * 6 * 6)  # fmt: skip


def _sampled_heads(net: Any, image: Tensor, queries: Tensor) -> Tensor:
    values = net.values(image).flatten(0, 1).unsqueeze(1)
    grid = (
        net.places(queries)
        .view(len(image), -1, 3, 2)
        .transpose(1, 2)
        .flatten(0, 1)
        .unsqueeze(2)
        .tanh()
    )
    sampled = F.grid_sample(values, grid, align_corners=False)
    return net.out(sampled.view(len(image), 3, -1).transpose(1, 2))


odd("heads in the batch of grid_sample", lambda: Net(
    _sampled_heads, values=nn.Conv2d(1, 3, 1), places=nn.Linear(2, 6), out=nn.Linear(3, 1)), (rand(2, 1, 5, 5), rand(2, 4, 2)), 6)  # fmt: skip
odd("positions flipped, rolled and resampled", lambda: Net(
    lambda n, x: n.b(F.interpolate(n.a(x).relu().flip(-1).roll(1, -2), scale_factor=2, mode="bilinear") * n.p),
    a=nn.Conv2d(1, 4, 1), p=weight(8, 8), b=nn.Conv2d(4, 1, 1)), (rand(2, 1, 4, 4),), S4)  # fmt: skip
odd("scattered to constant places", lambda: Net(
    lambda n, x: n.b(torch.zeros(len(x), 6, 4).scatter(1, torch.tensor([0, 2, 5])[None, :, None].expand(len(x), 3, 4), n.a(x).relu())),
    a=nn.Linear(2, 4), b=nn.Linear(4, 1)), (rand(2, 3, 2),), S4)  # fmt: skip
