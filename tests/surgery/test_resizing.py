"""Laws of resize: the numbers of every layer, attention that torch cannot run, errors that name what stands in the way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import symnet as sn
from symnet.surgery import ResizeError
from symnet.surgery.resized_attention import ResizedAttention
from tests.surgery.choices import divisible
from tests.tracing.models import Recurrent


def traced(model: nn.Module, *inputs: Tensor) -> sn.NeuronGraph:
    return sn.trace(model, *inputs)


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (5, 3), {"0": {"out_features": 2}}),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(),
                                  nn.Conv2d(4, 1, 1)),
            (2, 1, 6, 6),
            {"0": {"out_channels": 2}, "1": {"num_features": 2}, "3": {"groups": 2, "in_channels": 2, "out_channels": 2}},
        ),
        (
            lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.PReLU(4), nn.ConvTranspose1d(4, 2, 3)),
            (2, 2, 6),
            {"0": {"out_channels": 2}, "1": {"num_parameters": 2}, "2": {"in_channels": 2, "out_channels": 2}},
        ),
    ],
)  # fmt: skip
def test_the_numbers_beside_the_weights_are_set(
    model, shape: tuple[int, ...], expected: dict
) -> None:
    net, x = model(), torch.randn(shape)
    graph = traced(net, x)
    (name,) = divisible(graph)
    cut = sn.surgery.keep(net.state_dict(), graph, {name: [3, 1]})
    for resized in (sn.surgery.resize(net, cut, x), sn.surgery.resize(net, cut)):
        for path, numbers in expected.items():
            assert {n: getattr(resized.get_submodule(path), n) for n in numbers} == numbers
        repr(resized), resized(x)
    assert net[0].weight.shape[0] == 4


def test_groups_of_a_convolution_follow_the_set_that_was_cut() -> None:
    """Leaving out a group makes one group less; leaving out channels within makes each smaller."""
    net = nn.Sequential(
        nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 1, 1)
    )
    x = torch.randn(2, 2, 5, 5)
    graph = traced(net, x)
    parent = next(name for name in graph.neurons if not graph.ancestors(name))
    children = [name for name in graph.neurons if graph.ancestors(name)]
    fewer = sn.surgery.resize(net, sn.surgery.keep(net.state_dict(), graph, {parent: [0, 2, 3]}), x)
    assert (fewer[2].groups, fewer[2].weight.shape[1]) == (3, 2)
    narrower = sn.surgery.resize(
        net, sn.surgery.keep(net.state_dict(), graph, {children[0]: [1]}), x
    )
    assert (narrower[2].groups, narrower[2].weight.shape[1]) == (4, 1)


def test_tied_parameters_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.bias = nn.Linear(4, 6), nn.Parameter(torch.zeros(4))
            self.again = self.inner.weight

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.inner(x)) @ self.again + self.bias

    net, x = Tied(), torch.randn(3, 4)
    graph = traced(net, x)
    (name,) = divisible(graph)
    resized = sn.surgery.resize(net, sn.surgery.keep(net.state_dict(), graph, {name: [0, 5]}), x)
    assert resized.again is resized.inner.weight and resized.again.shape == (2, 4)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_of_our_own_computes_what_torch_s_does(same: bool, batch_first: bool) -> None:
    """At unchanged sizes, with masks, padding and averaged weights; torch's module cannot run at others."""
    torch.manual_seed(0)
    sizes = {} if same else {"kdim": 5, "vdim": 6}
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first, **sizes).double().eval()
    ours = ResizedAttention(module, 0.5)
    q, k, v = (
        torch.randn(3, n, w, dtype=torch.float64)
        for n, w in ((4, 8), (5, sizes.get("kdim", 8)), (5, sizes.get("vdim", 8)))
    )
    inputs = [x if batch_first else x.transpose(0, 1) for x in (q, k, v)]
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 4] = True
    mask = torch.randn(4, 5, dtype=torch.float64)
    bias = torch.zeros(3, 5, dtype=torch.float64).masked_fill(padding, -torch.inf)
    expected, weights = module(*inputs, key_padding_mask=bias, attn_mask=mask)
    result, ours_weights = ours(*inputs, key_padding_mask=padding, attn_mask=mask)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(ours_weights, weights)
    alone = [x[0] if batch_first else x[:, 0] for x in inputs]
    torch.testing.assert_close(ours(*alone)[0], module(*alone)[0])
    assert set(ours.state_dict()) == set(module.state_dict())


def test_heads_of_torch_s_encoder_are_cut() -> None:
    layer = nn.TransformerEncoderLayer(8, 4, 6, batch_first=True)
    net = nn.Sequential(
        nn.Linear(3, 8), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    ).eval()
    x = torch.randn(2, 5, 3)
    graph = traced(net, x)
    head = next(name for name in graph.neurons if name.endswith("head"))
    cut = sn.surgery.keep(net.state_dict(), graph, {head: [0, 1, 3]})
    resized = sn.surgery.resize(net, cut, x)
    attention = resized[1].layers[0].self_attn
    assert isinstance(attention, ResizedAttention) and attention.num_heads == 3
    resized.load_state_dict(cut.weights)


class Heads(nn.Module):
    """Attention whose sizes are attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.labels = 4, 3, 4
        self.qkv, self.out = nn.Linear(5, 36), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            p.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for p in self.qkv(x).chunk(3, -1)
        )
        scores = (q @ k.transpose(-2, -1) / 3**0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).flatten(2))


def test_numbers_in_a_class_of_one_s_own_are_found_by_trial() -> None:
    """The number of heads changes; the number of labels, which happens to be as large, does not."""
    net, x = Heads(), torch.randn(2, 6, 5)
    graph = traced(net, x)
    cut = sn.surgery.keep(net.state_dict(), graph, {"head": [0, 2, 3]})
    resized = sn.surgery.resize(net, cut, x)
    assert (resized.num_heads, resized.head_dim, resized.labels) == (3, 3, 4)
    with pytest.raises(ResizeError, match=r"num_heads = 4.*Give example inputs.*attributes="):
        sn.surgery.resize(net, cut)
    told = sn.surgery.resize(net, cut, attributes={"num_heads": 3, "labels": 4})
    torch.testing.assert_close(told(x), resized(x))


def test_a_number_in_the_code_is_named_with_its_line() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 6), nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.relu(self.first(x)).view(-1, 6))

    net, x = Linear(), torch.randn(5, 2)
    graph = traced(net, x)
    (name,) = divisible(graph)
    cut = sn.surgery.keep(net.state_dict(), graph, {name: [0, 1, 2, 3]})
    with pytest.raises(
        ResizeError,
        match=r"holds one as a number at 'return self.last.*view\(-1, 6\).*none of its attributes",
    ):
        sn.surgery.resize(net, cut, x)


def test_a_module_that_depends_on_a_size_otherwise_is_noticed() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(2, 6), nn.Linear(6, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.relu(self.first(x)) / self.first.weight.shape[0])

    net, x = Scaled(), torch.randn(5, 2)
    graph = traced(net, x)
    (name,) = divisible(graph)
    with pytest.raises(sn.VerificationError, match="runs, but its outputs are off by"):
        sn.surgery.resize(net, sn.surgery.keep(net.state_dict(), graph, {name: [0, 1]}), x)


def test_recurrent_layers_of_one_module_have_one_size() -> None:
    net, x = Recurrent("LSTM", 2), torch.randn(5, 2, 3)
    graph = traced(net, x)
    names = divisible(graph)
    with pytest.raises(ResizeError, match="LSTM has one hidden_size for all of its layers"):
        sn.surgery.resize(net, sn.surgery.keep(net.state_dict(), graph, {names[0]: [0, 1]}), x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), "lack '0.bias'"),
        (lambda w: w.update({"9.bias": torch.zeros(3)}), "no state entry '9.bias'"),
        (lambda w: w.update({"0.bias": torch.zeros(3, 1)}), "2 axes in the weights and 1"),
    ],
)
def test_weights_of_another_module_are_refused(change, message: str) -> None:
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    weights = dict(net.state_dict())
    change(weights)
    with pytest.raises(sn.ShapeError, match=message):
        sn.surgery.resize(net, weights)


def test_the_old_module_and_its_random_state_are_left_as_they_are() -> None:
    net, x = (
        nn.Sequential(nn.Linear(2, 4), nn.Dropout(), nn.Linear(4, 1)).train(),
        torch.randn(5, 2),
    )
    graph = traced(net, x)
    before, random = {n: t.clone() for n, t in net.state_dict().items()}, torch.get_rng_state()
    (name,) = divisible(graph)
    resized = sn.surgery.resize(net, sn.surgery.keep(net.state_dict(), graph, {name: [0]}), x)
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert net.training and resized.training and resized[0].weight.requires_grad
    resized(x).sum().backward()
    assert net[0].weight.grad is None
