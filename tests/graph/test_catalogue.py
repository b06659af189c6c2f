"""The catalogue describes real torch modules: same keys, and a group that leaves their function unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import symnet as sn


# ---- modules that torch does not have -------------------------------------------------------------------------------
class BasicBlock(nn.Module):
    """A residual block with the names that torchvision uses."""

    def __init__(self, source: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(source, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(source, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet for few stages."""

    def __init__(
        self, channels: tuple[int, ...], blocks: tuple[int, ...], classes: int, stem: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels[0], channels[1], stem, 1, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[1])
        self.stages = len(blocks)
        source = channels[1]
        for stage, (width, count) in enumerate(zip(channels[1:], blocks, strict=True), start=1):
            first = BasicBlock(source, width, 1 if stage == 1 else 2)
            rest = [BasicBlock(width, width, 1) for _ in range(count - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))
            source = width
        self.fc = nn.Linear(source, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class WithHead(nn.ModuleDict):
    """A recurrent network that is read at every step."""

    def __init__(self, rnn: nn.RNNBase, classes: int) -> None:
        width = (rnn.proj_size or rnn.hidden_size) * (2 if rnn.bidirectional else 1)
        super().__init__({"rnn": rnn, "head": nn.Linear(width, classes)})

    def forward(self, x: Tensor) -> Tensor:
        return self["head"](self["rnn"](x)[0])


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


class GroupedQueryAttention(nn.Module):
    """Attention in which several query heads share one head of keys and values, rotated by position if asked for."""

    def __init__(
        self, model: int, heads: int, kv_heads: int, bias: bool, rotary: bool = False
    ) -> None:
        super().__init__()
        size = model // heads
        self.heads, self.kv_heads, self.size, self.rotary = heads, kv_heads, size, rotary
        self.q_proj = nn.Linear(model, heads * size, bias=bias)
        self.k_proj = nn.Linear(model, kv_heads * size, bias=bias)
        self.v_proj = nn.Linear(model, kv_heads * size, bias=bias)
        self.o_proj = nn.Linear(heads * size, model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        q = self.q_proj(x).view(batch, steps, self.kv_heads, self.heads // self.kv_heads, self.size)
        k = self.k_proj(x).view(batch, steps, self.kv_heads, self.size)
        v = self.v_proj(x).view(batch, steps, self.kv_heads, self.size)
        if self.rotary:
            turn = torch.cos(
                torch.outer(torch.arange(steps) + 1.0, torch.arange(self.size) + 1.0)
            ).to(x)
            q, k = q * turn[:, None, None], k * turn[:, None]
        weights = torch.einsum("bskrd,btkd->bkrst", q, k).softmax(-1)
        return self.o_proj(torch.einsum("bkrst,btkd->bskrd", weights, v).reshape(batch, steps, -1))


class Experts(nn.Module):
    """Every token goes through all experts, weighted by the router."""

    def __init__(self, model: int, hidden: int, count: int, bias: bool) -> None:
        super().__init__()
        self.router = nn.Linear(model, count, bias=False)
        self.up, self.down = (
            nn.Parameter(torch.randn(count, hidden, model)),
            nn.Parameter(torch.randn(count, model, hidden)),
        )
        self.up_bias = nn.Parameter(torch.zeros(count, hidden)) if bias else None
        self.down_bias = nn.Parameter(torch.zeros(count, model)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.einsum("bm,efm->bef", x, self.up)
        hidden = torch.tanh(hidden if self.up_bias is None else hidden + self.up_bias)
        each = torch.einsum("bef,emf->bem", hidden, self.down)
        each = each if self.down_bias is None else each + self.down_bias
        return torch.einsum("be,bem->bm", self.router(x).softmax(-1), each)


# ---- the registry ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Case:
    """A catalogue call, the module it describes, an input, and where the I/O neurons lie when they are permuted."""

    graph: Callable[[str], sn.NeuronGraph]
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    input_axes: Any = "... in"
    output_axes: Any = "... out"
    always: Any = ""  # the output axes that move even with io="fixed"
    dead: tuple[str, ...] = ()  # tensors with entries of which the function does not depend


def conv_stack(
    dims: int, channels: tuple[int, ...], pooling: bool, *head: nn.Module
) -> nn.Sequential:
    conv, pool = getattr(nn, f"Conv{dims}d"), getattr(nn, f"MaxPool{dims}d")
    layers: list[nn.Module] = []
    for source, target in zip(channels[:-1], channels[1:], strict=True):
        layers += [conv(source, target, 3, padding=1), nn.Tanh(), *([pool(2)] if pooling else [])]
    return nn.Sequential(*layers, *head)


C = sn.catalogue
KEY_BIAS = (
    "in_proj_bias",
)  # a key's bias adds the same to all scores of a query: softmax ignores it
CASES = {
    "mlp": Case(
        lambda io: C.mlp([2, 5, 4, 3], io=io),
        lambda: nn.Sequential(
            nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
        ),
        (6, 2),
    ),
    "mlp without biases": Case(
        lambda io: C.mlp([2, 5, 3], io=io, bias=False),
        lambda: nn.Sequential(nn.Linear(2, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False)),
        (6, 2),
    ),
    "mlp of one layer": Case(
        lambda io: C.mlp([3, 2], io=io), lambda: nn.Sequential(nn.Linear(3, 2)), (6, 3)
    ),
    "cnn 1-d": Case(
        lambda io: C.cnn([2, 4, 3], classes=5, dims=1, io=io),
        lambda: conv_stack(
            1, (2, 4, 3), False, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 5)
        ),
        (2, 2, 7),
        "_ in _",
    ),
    "cnn 2-d": Case(
        lambda io: C.cnn([2, 4, 3], classes=5, io=io),
        lambda: conv_stack(
            2, (2, 4, 3), False, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5)
        ),
        (2, 2, 5, 4),
        "_ in ...",
    ),
    "cnn 3-d with pooling": Case(
        lambda io: C.cnn([2, 3, 3], classes=2, dims=3, pooling=True, io=io),
        lambda: conv_stack(
            3, (2, 3, 3), True, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2)
        ),
        (2, 2, 4, 4, 4),
        "_ in ...",
    ),
    "cnn, flattened into an MLP": Case(
        lambda io: C.cnn(
            [2, 3, 4], classes=3, head="flatten", positions=(2, 3), hidden=[5], pooling=True, io=io
        ),
        lambda: conv_stack(
            2, (2, 3, 4), True, nn.Flatten(), nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 3)
        ),
        (2, 2, 8, 12),
        "_ in ...",
    ),
    "cnn, pooled into an MLP": Case(
        lambda io: C.cnn([1, 3], (3, 3), 3, hidden=[4, 5], io=io),
        lambda: conv_stack(
            2,
            (1, 3),
            False,
            *[
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(3, 4),
                nn.Tanh(),
                nn.Linear(4, 5),
                nn.Tanh(),
            ],
            nn.Linear(5, 3),
        ),
        (2, 1, 4, 4),
        "_ in ...",
    ),
    "resnet": Case(
        lambda io: C.resnet((3, 4, 5), (2, 2), classes=4, stem=3, io=io),
        lambda: ResNet((3, 4, 5), (2, 2), 4, 3),
        (2, 3, 6, 6),
        "_ in ...",
    ),
    "rnn": Case(
        lambda io: C.rnn(3, 5, io=io),
        lambda: nn.RNN(3, 5),
        (4, 2, 3),
        output_axes=["h1", "h1"],
        always=["h1", "h1"],
    ),
    "rnn, two layers, both directions": Case(
        lambda io: C.rnn(3, 4, 2, bidirectional=True, classes=2, io=io),
        lambda: WithHead(nn.RNN(3, 4, 2, bidirectional=True), 2),
        (4, 2, 3),
    ),
    "lstm": Case(
        lambda io: C.lstm(3, 4, 2, io=io),
        lambda: nn.LSTM(3, 4, 2),
        (4, 2, 3),
        output_axes={"0": "h2", "1.0": None, "1.1": None},
        always={"0": "h2", "1.0": None, "1.1": None},
    ),
    "lstm, projected": Case(
        lambda io: C.lstm(3, 4, 2, projection=3, bidirectional=True, classes=2, io=io),
        lambda: WithHead(nn.LSTM(3, 4, 2, proj_size=3, bidirectional=True), 2),
        (4, 2, 3),
    ),
    "gru": Case(
        lambda io: C.gru(3, 4, 2, bidirectional=True, io=io),
        lambda: nn.GRU(3, 4, 2, bidirectional=True),
        (4, 2, 3),
        output_axes=["(h2 + h2_reverse)", None],
        always=["(h2 + h2_reverse)", None],
    ),
    "gru without biases": Case(
        lambda io: C.gru(3, 4, bias=False, io=io),
        lambda: nn.GRU(3, 4, bias=False),
        (4, 2, 3),
        output_axes=["h1", "h1"],
        always=["h1", "h1"],
    ),
    "attention": Case(
        lambda io: C.attention(6, 2, io=io),
        lambda: SelfAttention(6, 2, batch_first=True),
        (2, 4, 6),
        dead=KEY_BIAS,
    ),
    "attention without biases": Case(
        lambda io: C.attention(6, 3, bias=False, io=io),
        lambda: SelfAttention(6, 3, batch_first=True, bias=False),
        (2, 4, 6),
    ),
    "grouped-query attention": Case(
        lambda io: C.grouped_query_attention(8, 4, 2, io=io),
        lambda: GroupedQueryAttention(8, 4, 2, False),
        (2, 3, 8),
    ),
    "grouped-query attention with biases": Case(
        lambda io: C.grouped_query_attention(8, 4, 2, bias=True, io=io),
        lambda: GroupedQueryAttention(8, 4, 2, True),
        (2, 3, 8),
        dead=("k_proj.bias",),
    ),
    "grouped-query attention with rotations": Case(
        lambda io: C.grouped_query_attention(8, 4, 2, rotary=True, io=io),
        lambda: GroupedQueryAttention(8, 4, 2, False, rotary=True),
        (2, 3, 8),
    ),
    "experts": Case(lambda io: C.experts(4, 3, 3, io=io), lambda: Experts(4, 3, 3, False), (5, 4)),
    "experts with biases": Case(
        lambda io: C.experts(4, 3, 3, bias=True, io=io), lambda: Experts(4, 3, 3, True), (5, 4)
    ),
}


@pytest.mark.parametrize("io", ["fixed", "permuted"])
@pytest.mark.parametrize("name", CASES)
def test_the_group_leaves_the_module_unchanged(name: str, io: str) -> None:
    """With fixed I/O the function is invariant; with permuted I/O it moves with its inputs and outputs."""
    case = CASES[name]
    graph = case.graph(io)
    axes = {"output_axes": case.always} if case.always else {}
    if io == "permuted":
        axes = {"input_axes": case.input_axes, "output_axes": case.output_axes}
    report = sn.verify.network(
        case.model(), graph, torch.randn(case.shape), seed=5, **axes
    ).raise_if_failed()
    assert report.max_error < 1e-12
    # Some entries of kernels may lie on padding; no tensor may go unnoticed but those that have no effect by nature.
    unfelt = {key for key, what in report.dead.items() if "entries" not in what}
    assert unfelt <= set(case.dead) <= set(report.dead), report


@pytest.mark.parametrize("name", CASES)
def test_keys_are_those_of_the_module(name: str) -> None:
    """In the state dict's own order, running statistics included, step counters not."""
    case = CASES[name]
    state = case.model().state_dict()
    floating = {
        key: tuple(tensor.shape) for key, tensor in state.items() if tensor.is_floating_point()
    }
    assert dict(case.graph("fixed").shapes) == floating


def test_io_fixed_holds_inputs_and_outputs() -> None:
    """``with_groups`` turns one into the other."""
    fixed, permuted = sn.catalogue.mlp([2, 4, 3]), sn.catalogue.mlp([2, 4, 3], io="permuted")
    assert fixed.with_groups({"in": sn.Symmetric(2), "out": sn.Symmetric(3)}) == permuted
    assert fixed.order == 24 and permuted.order == 24 * 2 * 6


@pytest.mark.parametrize("layers", [2, 3, 4, 5])
def test_known_dimension_of_mlps(layers: int) -> None:
    """All sets permuted and widths of at least 2: ``4 L^2 + 10 L - 4`` maps (Zhou et al. 2023)."""
    graph = sn.catalogue.mlp([2, 3, 4, 2, 5, 3][: layers + 1], io="permuted")
    maps = sn.derive(graph)
    assert maps.dimension == maps.dimension_by_burnside == 4 * layers**2 + 10 * layers - 4


@pytest.mark.parametrize(
    ("sizes", "dimension"), [([2, 3, 2], 74), ([3, 2, 3, 2], 142), ([2, 3, 2, 3, 2], 164)]
)
def test_known_dimension_of_mlps_with_fixed_io(sizes: list[int], dimension: int) -> None:
    assert sn.derive(sn.catalogue.mlp(sizes)).dimension == dimension


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_known_dimension_of_a_recurrent_matrix(size: int) -> None:
    """``W_hh`` to itself: four instances of one set, 1, 8, 14, 15, 15 set partitions into at most n parts."""
    maps = sn.derive(
        sn.catalogue.rnn(2, size, bias=False), inputs=["weight_hh_l0"], outputs=["weight_hh_l0"]
    )
    assert maps.dimension == [1, 8, 14, 15, 15][size - 1]


def test_the_contract_of_the_cnn() -> None:
    graph = sn.catalogue.cnn([1, 16, 16, 16], kernel_size=3, classes=10, io="fixed")
    assert graph.shapes["0.weight"] == (16, 1, 3, 3) and graph.shapes["8.weight"] == (10, 16)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: C.mlp([3]), "at least two"),
        (lambda: C.mlp([3, 2], io="free"), "'fixed'"),
        (lambda: C.cnn([3]), "at least one more"),
        (lambda: C.cnn([3, 4], dims=4), "Conv1d"),
        (lambda: C.cnn([3, 4], kernel_size=(3, 3), dims=3), "each of the 3 dims"),
        (lambda: C.cnn([3, 4], head="flatten"), "positions=(height, width)"),
        (lambda: C.cnn([3, 4], positions=4), "a pooled head has none"),
        (lambda: C.cnn([3, 4], head="attention"), "'pool'"),
        (lambda: C.resnet((3, 4), (1, 1)), "one more for every stage"),
        (lambda: C.rnn(3, 4, 0), "at least 1"),
        (lambda: C.attention(7, 2), "multiple of heads"),
        (lambda: C.grouped_query_attention(8, 4, 3), "multiple of kv_heads"),
    ],
)
def test_errors_say_what_to_give(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(sn.GraphError) as caught:
        wrong()
    assert words in str(caught.value)
