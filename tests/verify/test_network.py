"""The verifier of networks: wrong declarations are rejected, right ones accepted, and what it cannot notice is said."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import symnet as sn


def mlp(*sizes: int, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, target in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(source, target), activation()]
    return nn.Sequential(*layers[:-1])


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x, x, need_weights=False)[0]


class Residual(nn.Module):
    """A residual stream of width 4, read and written by a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.up, self.down, self.leave = (
            nn.Linear(2, 4),
            nn.Linear(4, 5),
            nn.Linear(5, 4),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return self.leave(x + self.down(torch.relu(self.up(x))))


def residual(stream: str) -> sn.NeuronGraph:
    """Right with one stream; with a set of its own for what ``down`` writes, wrong."""
    return sn.NeuronGraph(
        {
            "in": sn.Fixed(2),
            "s": sn.Symmetric(4),
            "t": sn.Symmetric(4),
            "h": sn.Symmetric(5),
            "out": sn.Fixed(3),
        },
        {
            "enter.weight": "s in",
            "enter.bias": "s",
            "up.weight": "h s",
            "up.bias": "h",
            "down.weight": f"{stream} h",
            "down.bias": stream,
            "leave.weight": "out s",
            "leave.bias": "out",
        },
    )


def declared(graph: sn.NeuronGraph, **axes: str) -> sn.NeuronGraph:
    """The graph with the axes of some tensors replaced (names with ``_`` for ``.``)."""
    changes = {name.replace("_", ".", 1): text for name, text in axes.items()}
    return sn.NeuronGraph(dict(graph.neurons), dict(graph.tensors) | changes)


MLP = sn.catalogue.mlp([2, 4, 4, 3])
HEADS = sn.catalogue.attention(6, 3)
CNN = sn.catalogue.cnn([2, 4], classes=3, head="flatten", positions=9)
IMAGE = (2, 2, 3, 3)


def conv_flat() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3))


def rewired(
    graph: sn.NeuronGraph, neurons: dict[str, Any], tensors: dict[str, str]
) -> sn.NeuronGraph:
    return sn.NeuronGraph(dict(graph.neurons) | neurons, dict(graph.tensors) | tensors)


FLAT_HEADS = "(a + b + c)"
WRONG: dict[str, tuple[Callable[[], nn.Module], sn.NeuronGraph, tuple[int, ...], set[str]]] = {
    "two layers exchanged": (
        lambda: mlp(2, 4, 4, 3),
        declared(MLP, **{"2_weight": "h1 h2"}),
        (5, 2),
        {"h1", "h2"},
    ),
    "a bias of another layer": (
        lambda: mlp(2, 4, 4, 3),
        declared(MLP, **{"2_bias": "h1"}),
        (5, 2),
        {"h1", "h2"},
    ),
    "permuted inputs": (
        lambda: mlp(2, 4, 4, 3),
        MLP.with_groups({"in": sn.Symmetric(2)}),
        (5, 2),
        {"in"},
    ),
    "permuted outputs": (
        lambda: mlp(2, 4, 4, 3),
        MLP.with_groups({"out": sn.Symmetric(3)}),
        (5, 2),
        {"out"},
    ),
    "a residual stream that splits": (Residual, residual("t"), (5, 2), {"s", "t"}),
    "heads as one set": (
        lambda: SelfAttention(6, 3, batch_first=True),
        rewired(
            HEADS,
            {"a": sn.Symmetric(6), "b": sn.Symmetric(6), "c": sn.Symmetric(6)},
            {
                "in_proj_weight": f"{FLAT_HEADS} in",
                "in_proj_bias": FLAT_HEADS,
                "out_proj.weight": "out c",
            },
        ),
        (2, 4, 6),
        {"a", "b", "c"},
    ),
    "dims before heads": (
        lambda: SelfAttention(6, 3, batch_first=True),
        rewired(
            HEADS,
            {},
            {
                "in_proj_weight": "((qk head) + (qk head) + (vo head)) in",
                "in_proj_bias": "((qk head) + (qk head) + (vo head))",
                "out_proj.weight": "out (vo head)",
            },
        ),
        (2, 4, 6),
        {"head", "qk", "vo"},
    ),
    "queries and keys apart": (
        lambda: SelfAttention(6, 3, batch_first=True),
        rewired(
            HEADS,
            {"k": sn.NeuronSet(sn.Symmetric(2), over="head")},
            {
                "in_proj_weight": "((head qk) + (head k) + (head vo)) in",
                "in_proj_bias": "((head qk) + (head k) + (head vo))",
            },
        ),
        (2, 4, 6),
        {"qk", "k"},
    ),
    "positions of an image permuted": (
        conv_flat,
        rewired(CNN, {"hw": sn.Symmetric(9)}, {"3.weight": "out (c1 hw)"}),
        IMAGE,
        {"hw"},
    ),
    "positions before channels": (
        conv_flat,
        rewired(CNN, {}, {"3.weight": "out (9 c1)"}),
        IMAGE,
        {"c1"},
    ),
    "kernel offsets permuted": (
        conv_flat,
        rewired(CNN, {"x": sn.Symmetric(3), "y": sn.Symmetric(3)}, {"0.weight": "c1 in y x"}),
        IMAGE,
        {"x", "y"},
    ),
    "gates of an LSTM permuted": (
        lambda: First(nn.LSTM(2, 3), 3, 2),
        sn.NeuronGraph(
            {**sn.catalogue.lstm(2, 3, classes=2).neurons, "gate": sn.Symmetric(4)},
            {
                name: axes.replace("4 ", "gate ") if "rnn" in name else axes
                for name, axes in sn.catalogue.lstm(2, 3, classes=2).tensors.items()
            },
        ),
        (4, 2, 2),
        {"gate"},
    ),
    "gates after neurons": (
        lambda: First(nn.LSTM(2, 3), 3, 2),
        sn.NeuronGraph(
            dict(sn.catalogue.lstm(2, 3, classes=2).neurons),
            {
                name: axes.replace("(4 h1)", "(h1 4)")
                for name, axes in sn.catalogue.lstm(2, 3, classes=2).tensors.items()
            },
        ),
        (4, 2, 2),
        {"h1"},
    ),
}


class First(nn.Module):
    """A linear head on the first thing that a recurrent network returns."""

    def __init__(self, rnn: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0])


# ---- wrong declarations ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_wrong_declaration_is_rejected(name: str, seed: int) -> None:
    """And the neuron sets that are wrong are named, no others."""
    model, graph, shape, wrong = WRONG[name]
    report = sn.verify.network(model(), graph, torch.randn(shape), seed=seed)
    assert not report.passed
    assert {failure.neurons for failure in report.failures} - {None} == wrong, report


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_every_mlp_is_accepted_and_a_fixed_neuron_is_noticed(seed: int, sizes: list[int]) -> None:
    """Whatever the widths; a network that scales its neurons differently is rejected where they can move."""
    model, graph = mlp(*sizes), sn.catalogue.mlp(sizes)
    x = torch.randn(3, sizes[0])
    sn.verify.network(model, graph, x, seed=seed, trials=2).raise_if_failed()
    if len(sizes) > 2:
        model[1] = nn.Sequential(nn.Tanh(), Ramp())
        report = sn.verify.network(model, graph, x, seed=seed, trials=2)
        assert report.passed == (sizes[1] == 1), report


class Ramp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.arange(1, x.shape[-1] + 1).to(x)


def test_zero_biases_and_unit_norms_hide_nothing() -> None:
    """At initialisation this batch norm is the same for all channels; the declaration that forgets it is found out."""
    model = nn.Sequential(
        nn.Linear(2, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)
    )
    right = {"1.weight": "h", "1.bias": "h", "1.running_mean": "h", "1.running_var": "h"}
    neurons = {"in": sn.Fixed(2), "h": sn.Symmetric(4), "out": sn.Fixed(1)}
    rest = {"0.weight": "h in", "3.weight": "out h", "3.bias": "out"}
    sn.verify.network(
        model, sn.NeuronGraph(neurons, rest | right), torch.randn(5, 2), seed=0
    ).raise_if_failed()
    for forgotten in right:
        graph = sn.NeuronGraph(neurons, rest | right | {forgotten: "4"})
        assert not sn.verify.network(model, graph, torch.randn(5, 2), seed=0), forgotten


# ---- I/O that moves -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("axes", ["in", "... in", ["in"], ["... in"], {"0": "_ in"}])
def test_axes_of_inputs_can_be_written_in_many_ways(axes: Any) -> None:
    graph = sn.catalogue.mlp([3, 4, 2], io="permuted")
    report = sn.verify.network(
        mlp(3, 4, 2), graph, torch.randn(5, 3), input_axes=axes, output_axes="out", seed=0
    )
    assert report.raise_if_failed().max_error < 1e-12


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ("nobody", None, "no neuron set 'nobody'"),
        ("... in ... in", None, "more than once"),
        ("_ _ in", None, "names 3 dims"),
        (["in", "in"], None, "2 texts for 1 inputs"),
        ({"x": "in"}, None, "the inputs are '0'"),
        ("out", None, "input '0'"),
        ("in", {"logits": "out"}, "the outputs are ''"),
    ],
)
def test_wrong_axes_are_explained(inputs: Any, outputs: Any, words: str) -> None:
    graph = sn.catalogue.mlp([3, 4, 2], io="permuted")
    with pytest.raises(sn.SymnetError) as caught:
        sn.verify.network(
            mlp(3, 4, 2), graph, torch.randn(5, 3), input_axes=inputs, output_axes=outputs, seed=0
        )
    assert words in str(caught.value)


def test_a_failure_of_io_says_how_to_declare_it() -> None:
    report = sn.verify.network(
        mlp(3, 4, 2), sn.catalogue.mlp([3, 4, 2], io="permuted"), torch.randn(5, 3), seed=0
    )
    assert not report.passed and "input_axes=" in str(report)


# ---- structures -----------------------------------------------------------------------------------------------------
class Pair(NamedTuple):
    mean: Tensor
    spread: Tensor


@dataclass
class Output:
    logits: Tensor
    extra: dict[str, Tensor]


class Structured(nn.Module):
    """Takes a tuple and a keyword, returns what it is told to, wrong in its second half if asked for."""

    def __init__(self, kind: str, wrong: bool = False) -> None:
        super().__init__()
        self.first, self.last, self.kind, self.wrong = nn.Linear(2, 4), nn.Linear(4, 3), kind, wrong

    def forward(self, pair: tuple[Tensor, Tensor], *, scale: Tensor) -> Any:
        hidden = torch.tanh(self.first(pair[0] + pair[1]) * scale)
        left, right = self.last(hidden), hidden[..., 0] if self.wrong else hidden.sum(-1)
        if self.kind == "tuple":
            return left, right
        if self.kind == "named tuple":
            return Pair(left, right)
        if self.kind == "dict":
            return {"logits": left, "note": "text", "extra": [right, None, 1.5]}
        return Output(left, {"sum": right})


TWO_LAYERS = sn.NeuronGraph(
    {"in": sn.Fixed(2), "h": sn.Symmetric(4), "out": sn.Fixed(3)},
    {"first.weight": "h in", "first.bias": "h", "last.weight": "out h", "last.bias": "out"},
)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("tuple", "[1]"), ("named tuple", "[1]"), ("dict", "extra[0]"), ("dataclass", "extra.sum")],
)
def test_outputs_in_containers_are_compared_by_path(kind: str, path: str) -> None:
    """Nothing is overlooked: a mistake in the last of them is found and named."""
    inputs, kwargs = (torch.randn(5, 2), torch.randn(5, 2)), {"scale": torch.tensor(0.7)}
    sn.verify.network(Structured(kind), TWO_LAYERS, inputs, kwargs=kwargs, seed=0).raise_if_failed()
    report = sn.verify.network(
        Structured(kind, wrong=True), TWO_LAYERS, inputs, kwargs=kwargs, seed=0
    )
    assert {failure.tensor for failure in report.failures} == {f"output '{path}'"}


def test_an_output_can_be_left_out_and_that_is_said() -> None:
    inputs, kwargs = (torch.randn(5, 2), torch.randn(5, 2)), {"scale": torch.tensor(0.7)}
    model = Structured("tuple", wrong=True)
    for path in ("1", "[1]"):  # as ``trace`` names it, and with dots
        report = sn.verify.network(
            model, TWO_LAYERS, inputs, kwargs=kwargs, output_axes={path: None}, seed=0
        )
        assert report.passed and "output '[1]' was left out" in str(report)


def test_outputs_are_chosen_by_name_as_in_trace() -> None:
    inputs, kwargs = (torch.randn(5, 2), torch.randn(5, 2)), {"scale": torch.tensor(0.7)}
    model = Structured("dict", wrong=True)
    assert not sn.verify.network(model, TWO_LAYERS, inputs, kwargs=kwargs, seed=0)
    sn.verify.network(
        model, TWO_LAYERS, inputs, kwargs=kwargs, outputs=["logits"], seed=0
    ).raise_if_failed()
    with pytest.raises(sn.VerificationError, match="of these names"):
        sn.verify.network(model, TWO_LAYERS, inputs, kwargs=kwargs, outputs=["loss"], seed=0)


def test_whole_numbers_as_inputs() -> None:
    """Tokens stay in the range of the example; embeddings of tokens that never came are listed."""
    model = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    graph = sn.NeuronGraph(
        {"model": sn.Symmetric(4), "h": sn.Symmetric(5)},
        {
            "0.weight": "50 model",
            "1.weight": "h model",
            "1.bias": "h",
            "3.weight": "2 h",
            "3.bias": "2",
        },
    )
    report = sn.verify.network(model, graph, torch.randint(10, (3, 6)), seed=0).raise_if_failed()
    assert "entries have no effect" in report.dead["0.weight"]


def test_another_batch_size_is_tried_where_it_is_taken() -> None:
    """A network that is wrong only for other batch sizes is rejected; one that refuses them is told."""

    class Odd(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self[0](x) * (Ramp()(torch.ones(4)) if len(x) != 5 else 1)
            return self[2](torch.tanh(hidden))

    class Strict(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(5, 2))

    graph = sn.catalogue.mlp([2, 4, 1])
    assert not sn.verify.network(Odd(*mlp(2, 4, 1)), graph, torch.randn(5, 2), seed=0)
    report = sn.verify.network(
        Strict(*mlp(2, 4, 1)), graph, torch.randn(5, 2), seed=0
    ).raise_if_failed()
    assert "refused" in str(report)


# ---- tied tensors ---------------------------------------------------------------------------------------------------
class Tied(nn.Module):
    """An autoencoder of one matrix: encoder (h, in), decoder the same tensor read the other way."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 4, bias=False), nn.Linear(3, 4, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.encoder(x)) @ self.decoder.weight


def test_tied_tensors_are_acted_on_once() -> None:
    """As an alias, or declared twice alike; declared twice with different axes they are an error."""
    neurons = {"in": sn.Fixed(3), "h": sn.Symmetric(4), "g": sn.Symmetric(4)}
    once = sn.NeuronGraph(
        neurons, {"encoder.weight": "h in"}, aliases={"decoder.weight": "encoder.weight"}
    )
    twice = sn.NeuronGraph(neurons, {"encoder.weight": "h in", "decoder.weight": "h in"})
    for graph in (once, twice):
        sn.verify.network(Tied(), graph, torch.randn(5, 3), seed=0).raise_if_failed()
    apart = sn.NeuronGraph(neurons, {"encoder.weight": "h in", "decoder.weight": "g in"})
    with pytest.raises(sn.ShapeError, match=r"one tied tensor.*aliases="):
        sn.verify.network(Tied(), apart, torch.randn(5, 3))


# ---- what cannot be noticed -----------------------------------------------------------------------------------------
class WithSpare(nn.Module):
    """``spare`` is never read; ``idle`` is read, and subtracted again."""

    def __init__(self, spare: bool, idle: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2, 4), nn.Linear(4, 3)
        self.spare = nn.Parameter(torch.randn(4)) if spare else None
        self.idle = nn.Parameter(torch.randn(4)) if idle else None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if self.idle is not None:
            hidden = hidden + self.idle - self.idle
        return self.last(torch.tanh(hidden))


def spare_graph(name: str, axes: str) -> sn.NeuronGraph:
    return sn.NeuronGraph(dict(TWO_LAYERS.neurons), dict(TWO_LAYERS.tensors) | {name: axes})


def test_a_tensor_that_is_never_read_is_not_passed_in_silence() -> None:
    """If the group moves it the check fails; held fixed, or on request, it is only listed."""
    model, x = WithSpare(True, False), torch.randn(5, 2)
    report = sn.verify.network(model, spare_graph("spare", "h"), x, seed=0)
    assert (
        not report.passed
        and "'spare'" in report.problems[0]
        and "never read" in report.dead["spare"]
    )
    for fine in (
        sn.verify.network(model, spare_graph("spare", "4"), x, seed=0),
        sn.verify.network(model, spare_graph("spare", "h"), x, seed=0, allow_unread=True),
    ):
        assert fine.passed and "not felt" in str(fine) and "spare" in str(fine)


def test_a_tensor_without_effect_is_listed() -> None:
    """As a key's bias under softmax: it is read, but no action on it can be seen."""
    report = sn.verify.network(
        WithSpare(False, True), spare_graph("idle", "h"), torch.randn(5, 2), seed=0
    )
    assert report.passed and "without any effect" in report.dead["idle"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda x: x * float("nan"), "holds NaN"),
        (lambda x: x * 0 + float("inf"), "no finite number"),
        (lambda x: torch.zeros_like(x), "do not depend on any tensor"),
        (lambda x: x * float(np.random.rand()), "running it twice"),
    ],
)
def test_a_check_that_can_notice_nothing_fails(
    output: Callable[[Tensor], Tensor], words: str
) -> None:
    class Ending(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return output(x)

    model = mlp(2, 4, 3).append(Ending())
    report = sn.verify.network(model, sn.catalogue.mlp([2, 4, 3]), torch.randn(5, 2), seed=0)
    assert not report.passed and words in str(report)


def test_buffers_are_felt_though_they_have_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    names = ("weight", "bias", "running_mean", "running_var")
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(4)},
        {
            "0.weight": "h 2",
            "0.bias": "h",
            **{f"1.{n}": "h" for n in names},
            "3.weight": "1 h",
            "3.bias": "1",
        },
    )
    assert sn.verify.network(model, graph, torch.randn(5, 2), seed=0).raise_if_failed().dead == {}


# ---- the state dict -------------------------------------------------------------------------------------------------
def test_a_graph_that_does_not_cover_the_state_is_one_error() -> None:
    """Missing, unknown and misshapen entries, each by name."""
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(4)}, {"0.weight": "h 3", "0.bias": "h", "9.weight": "h"}
    )
    with pytest.raises(sn.ShapeError) as caught:
        sn.verify.network(mlp(2, 4, 1), graph, torch.randn(5, 2))
    for words in (
        "'0.weight'",
        "(4, 2)",
        "'9.weight' (4,) is missing",
        "'2.weight' (1, 4) is not in the graph",
        "'2.bias'",
    ):
        assert words in str(caught.value)


def test_what_lies_outside_of_the_graph_is_said() -> None:
    """Complex entries, and tensors in lists: they stay as they are."""
    model = mlp(2, 4, 1)
    model.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))
    model[1].gains = [torch.ones(4), torch.ones(4)]
    report = sn.verify.network(model, sn.catalogue.mlp([2, 4, 1]), torch.randn(5, 2), seed=0)
    assert (
        report.passed
        and "'phase' lies outside" in str(report)
        and "'1.gains' lies outside" in str(report)
    )


def test_only_modules_are_networks() -> None:
    with pytest.raises(sn.ShapeError, match=r"verify\.equivariance"):
        sn.verify.network(lambda x: x, MLP, torch.randn(5, 2))  # type: ignore[arg-type]


# ---- nothing changes ------------------------------------------------------------------------------------------------
def test_the_model_is_left_as_it_was() -> None:
    """State, dtype, mode, gradients, requires_grad, the inputs, the random state and the default dtype."""
    model = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)
    ).train()
    model[0].weight.requires_grad_(False)
    names = ("weight", "bias", "running_mean", "running_var")
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(4)},
        {
            "0.weight": "h 2",
            "0.bias": "h",
            **{f"1.{n}": "h" for n in names},
            "3.weight": "1 h",
            "3.bias": "1",
        },
    )
    x = torch.randn(5, 2)
    before, x_before = copy.deepcopy(model.state_dict()), x.clone()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    sn.verify.network(model, graph, x, seed=0).raise_if_failed()
    assert torch.equal(torch.rand(2), expected) and torch.get_default_dtype() == torch.float32
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(tensor.dtype == before[name].dtype for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules()) and torch.equal(x, x_before)
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
    assert all(p.grad is None for p in model.parameters())


def test_a_report_of_a_network_repeats_from_its_seed() -> None:
    model, x = mlp(2, 4, 4, 3), torch.randn(5, 2)
    first = sn.verify.network(model, WRONG["two layers exchanged"][1], x)
    again = sn.verify.network(model, WRONG["two layers exchanged"][1], x, seed=first.seed)
    assert first.checks == again.checks and math.isfinite(first.max_error)


def test_single_precision_inside_gets_a_hint() -> None:
    """An error of about 1e-7 is no broken symmetry, and not passed either, unless the tolerance says so."""

    class Rounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            low = torch.from_numpy(
                x.numpy().astype(np.float32)
            )  # torch alone would compute it in float64
            return torch.from_numpy(low.numpy().mean(-1, keepdims=True)) + low

    model = nn.Sequential(nn.Linear(2, 40), Rounded(), nn.Linear(40, 1))
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(40)},
        {"0.weight": "h 2", "0.bias": "h", "2.weight": "1 h", "2.bias": "1"},
    )
    x = torch.randn(50, 2)
    report = sn.verify.network(model, graph, x, seed=0)
    assert not report.passed and "tolerance=1e-3" in str(report)
    assert sn.verify.network(model, graph, x, seed=0, tolerance=1e-3).passed


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: x @ torch.ones(3, 1, dtype=torch.float32),
        lambda x: x.half().float() / 3,
        lambda x: torch.softmax(x, -1, dtype=torch.float32) @ (torch.arange(3) / 7),
        lambda x: torch.nn.functional.layer_norm(x.bfloat16(), (3,)).to(x.dtype),
    ],
)
def test_casts_inside_lose_nothing(cast: Callable[[Tensor], Tensor]) -> None:
    class Single(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return cast(x)

    model = mlp(2, 4, 3).append(Single())
    report = sn.verify.network(model, sn.catalogue.mlp([2, 4, 3]), torch.randn(5, 2), seed=0)
    assert report.raise_if_failed().max_error < 1e-13


def test_a_network_that_does_not_run_is_one_error() -> None:
    """In the model's own words; a tuple in place of several inputs is told."""
    with pytest.raises(sn.VerificationError, match="mat1 and mat2"):
        sn.verify.network(mlp(2, 4, 3), MLP, torch.randn(5, 3))
    with pytest.raises(sn.VerificationError, match=r"pass \*inputs"):
        sn.verify.network(mlp(2, 4, 3), MLP, (torch.randn(5, 2),))


def test_a_model_without_outputs_is_refused() -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    with pytest.raises(sn.VerificationError, match="no tensors"):
        sn.verify.network(
            mlp(2, 4, 3).append(Silent()), sn.catalogue.mlp([2, 4, 3]), torch.randn(5, 2)
        )
