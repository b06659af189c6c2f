"""The verifier of functions: it rejects the whole zoo by name, accepts what is right, and changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import symnet as sn
from tests.cases import GRAPHS
from tests.effort import examples, sweep
from tests.random_graphs import random_graph
from tests.verify.wrong_layers import LAYERS, MLP

Features = dict[str, Tensor]


# ---- the zoo --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LAYERS)
def test_every_wrong_layer_is_rejected_by_name(name: str, seed: int) -> None:
    """The failures name exactly the wrong output, and the neuron sets that show it."""
    case = LAYERS[name]
    report = sn.verify.equivariance(case.wrong(), case.graph, seed=seed, **case.spaces)
    assert not report.passed
    expected = f"'{case.output}'" if case.output else "the output"
    assert {failure.tensor for failure in report.failures} == {expected}, report
    if case.neurons:
        assert {failure.neurons for failure in report.failures} - {None} == set(case.neurons), (
            report
        )
    else:
        assert any(case.action in failure.action for failure in report.failures), report
    assert expected in str(report) and str(seed) in str(report)


@pytest.mark.parametrize("name", LAYERS)
def test_its_right_neighbour_is_accepted(name: str) -> None:
    """So the rejection is for the mistake, not for what the layer is."""
    case = LAYERS[name]
    report = sn.verify.equivariance(
        case.right(), case.graph, seed=0, **case.spaces
    ).raise_if_failed()
    assert report.max_error < 1e-12


@pytest.mark.parametrize(
    "name", sweep(LAYERS, {repr(name) for name in list(LAYERS) if name not in list(LAYERS)[::10]})
)
def test_a_failed_report_raises_its_own_text(name: str) -> None:
    case = LAYERS[name]
    report = sn.verify.equivariance(case.wrong(), case.graph, seed=0, trials=2, **case.spaces)
    with pytest.raises(sn.VerificationError) as caught:
        report.raise_if_failed()
    assert str(caught.value) == str(report)
    assert len(str(report).splitlines()) < 40, "a report fits one screen"


# ---- right layers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GRAPHS)
def test_the_derived_layer_is_accepted_on_every_case(name: str) -> None:
    layer = sn.nn.Linear(GRAPHS[name], 2, 3)
    report = sn.verify.equivariance(layer, GRAPHS[name], in_channels=2, seed=0).raise_if_failed()
    assert report.max_error < 1e-11


@settings(max_examples=examples(30))
@given(st.integers(0, 10_000))
def test_the_derived_layer_is_accepted_on_random_graphs(number: int) -> None:
    graph = random_graph(number)
    dense = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, 1, 2))
    sn.verify.equivariance(dense, graph, seed=number, trials=2).raise_if_failed()


@settings(max_examples=examples(30))
@given(st.integers(0, 10_000))
def test_a_dense_matrix_with_one_changed_entry_is_rejected(number: int) -> None:
    """Wherever an orbit has two or more entries, or an entry must vanish, changing one is noticed."""
    graph = random_graph(number)
    layer = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, 1, 1, bias=False)).double()
    pair = layer.pairs[number % len(layer.pairs)]
    labels = torch.from_numpy(sn.derive(graph).between(*pair).labels())
    sizes = torch.bincount(labels[labels >= 0], minlength=1)
    tied = ((labels < 0) | (sizes[labels] > 1)).nonzero()
    row, column = tied[number % len(tied)].tolist() if len(tied) else (0, 0)

    def changed(x: Features) -> Features:
        y = layer(x)
        y[pair[0]].view(y[pair[0]].shape[0], -1)[:, row] += (
            0.01 * x[pair[1]].reshape(len(x[pair[1]]), -1)[:, column]
        )
        return y

    report = sn.verify.equivariance(changed, graph, seed=number)
    assert report.passed == (not len(tied)), report
    if len(tied):
        assert f"'{pair[0]}'" in {failure.tensor for failure in report.failures}


def test_a_composition_with_lazy_parameters_is_accepted() -> None:
    """The contract's network, before its lazy head has ever run."""
    net = nn.Sequential(
        sn.nn.Linear(MLP, 1, 4), sn.nn.Pointwise(nn.ReLU()), sn.nn.Pool(MLP), nn.LazyLinear(3)
    )
    sn.verify.equivariance(net, MLP, seed=0).raise_if_failed()
    assert isinstance(net[3], nn.LazyLinear), "the module given has not run"


def test_other_spaces() -> None:
    """From one tensor to scores a neuron and an invariant."""
    spaces = {"inputs": ["2.weight"], "outputs": {"score": "h1", "z": ""}}
    layer = sn.nn.Linear(MLP, 2, 3, **spaces)
    sn.verify.equivariance(layer, MLP, in_channels=2, seed=0, **spaces).raise_if_failed()
    exchanged = {"inputs": ["2.weight"], "outputs": {"score": "h2", "z": ""}}
    assert not sn.verify.equivariance(layer, MLP, in_channels=2, seed=0, **exchanged)


# ---- checks that cannot notice --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda x: torch.zeros(len(x["0.bias"])), "same for different features"),
        (lambda x: {"0.bias": torch.ones_like(x["0.bias"])}, "same for different features"),
        (lambda x: x["0.bias"].sum((1, 2)).log(), "not finite"),
        (lambda x: {"0.bias": x["0.bias"] * float("inf")}, "not finite"),
    ],
)
def test_what_cannot_be_noticed_does_not_pass(fn: Callable[[Features], object], words: str) -> None:
    report = sn.verify.equivariance(fn, MLP, seed=0)
    assert not report.passed and words in str(report)


def test_inputs_without_effect_are_listed() -> None:
    report = sn.verify.equivariance(lambda x: {"0.bias": x["0.bias"]}, MLP, seed=0)
    assert report.passed and set(report.dead) == set(MLP.tensors) - {"0.bias"}


def test_a_trivial_group_is_said() -> None:
    graph = sn.NeuronGraph({"h": sn.Fixed(3)}, {"v": "h"})
    report = sn.verify.equivariance(lambda x: {"v": x["v"].cumsum(1)}, graph)
    assert report.passed and "group is trivial" in str(report)


# ---- nothing changes ------------------------------------------------------------------------------------------------
def test_a_module_is_left_as_it_was() -> None:
    """Parameters, dtype, mode, gradients, the random state and the default dtype."""
    net = nn.Sequential(sn.nn.Linear(MLP, 1, 2), sn.nn.Pointwise(nn.Dropout(0.5))).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    random.seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    sn.verify.equivariance(net, MLP, seed=0).raise_if_failed()
    assert torch.equal(torch.rand(2), expected) and torch.get_default_dtype() == torch.float32
    assert net.training and all(module.training for module in net.modules())
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_report_repeats_from_its_seed() -> None:
    wrong = LAYERS["transposed pool"].wrong()
    first = sn.verify.equivariance(wrong, MLP)
    again = sn.verify.equivariance(wrong, MLP, seed=first.seed)
    assert again.checks == first.checks and again.max_error == first.max_error > 0.1


def test_a_function_that_writes_into_its_features_is_still_compared_rightly() -> None:
    def doubled(x: Features) -> Features:
        x["0.bias"].mul_(2)
        return x

    sn.verify.equivariance(doubled, MLP, seed=0).raise_if_failed()


def test_a_method_of_a_module_is_checked_in_float64() -> None:
    layer = sn.nn.Linear(MLP, 1, 2)
    sn.verify.equivariance(layer.forward, MLP, seed=0).raise_if_failed()
    assert next(layer.parameters()).dtype == torch.float32


# ---- errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fn", "error", "words"),
    [
        (lambda x: [x["0.bias"]], sn.VerificationError, "expected a dict of tensors"),
        (lambda x: {}, sn.VerificationError, "expected a dict of tensors"),
        (lambda x: {"y": x["0.bias"]}, sn.ShapeError, "outputs={'y': 'axes'}"),
        (lambda x: {"0.bias": x["0.weight"]}, sn.ShapeError, "'0.bias'"),
        (lambda x: {"0.bias": 3}, sn.ShapeError, "is int"),
        (lambda x: x["0.bias"].sum(), sn.ShapeError, "(batch, ...)"),
    ],
)
def test_errors_say_what_was_expected(
    fn: Callable[[Features], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        sn.verify.equivariance(fn, MLP, seed=0)
    assert words in str(caught.value)


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"batch": 0}, {"in_channels": 0}])
def test_counts_must_be_positive(wrong: dict[str, int]) -> None:
    with pytest.raises(sn.VerificationError, match="at least 1"):
        sn.verify.equivariance(lambda x: x, MLP, **wrong)


def test_a_function_in_single_precision_is_computed_in_double() -> None:
    """Whatever it makes or casts inside."""
    weight = torch.randn(1, 1)
    sn.verify.equivariance(
        lambda x: {name: nn.functional.linear(t.float(), weight) for name, t in x.items()},
        MLP,
        seed=0,
    ).raise_if_failed()


@pytest.mark.parametrize(
    ("group", "action"),
    [
        (sn.Cyclic(3), "permuting"),
        (sn.SignedSymmetric(3), "permuting and flipping"),
        (sn.Scaled(3), "permuting and scaling"),
        (sn.Orthogonal(3), "rotating"),
        (sn.GeneralLinear(3), "mixing"),
    ],
)
def test_a_report_says_what_was_done_to_the_neurons(group, action) -> None:
    graph = sn.NeuronGraph({"h": group, "f": sn.Symmetric(2)}, {"w": "h", "v": "f"})
    report = sn.verify.equivariance(lambda x: x, graph, trials=1)
    assert f"{action} 'h'" in str(report)
    assert ("permuting all sets" if action == "permuting" else "moving all sets") in str(report)
