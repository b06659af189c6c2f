"""What a user can get wrong is refused with a SymnetError that names it and says what to do, before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import symnet as sn

GRAPH = sn.catalogue.mlp([2, 4, 1])
X = {name: torch.randn(3, *shape, 1) for name, shape in GRAPH.shapes.items()}
H = sn.Symmetric(2)


def layer() -> sn.nn.Linear:
    return sn.nn.Linear(GRAPH, 1, 2)


def changed(convert: Callable[[torch.Tensor], Any]) -> dict[str, Any]:
    return {name: convert(value) for name, value in X.items()}


def state(convert: Callable[[tuple[int, ...]], Any]) -> dict[str, Any]:
    return {name: convert(shape) for name, shape in GRAPH.shapes.items()}


# What is tried, and words of the error: the thing that is wrong, and the remedy.
GROUPS: list[tuple[Callable[[], object], str]] = [
    (lambda: sn.Symmetric(-1), r"Symmetric\(-1\).*at least 1"),
    (lambda: sn.Fixed("3"), r"Fixed\('3'\).*whole number"),
    (lambda: sn.Cyclic(math.nan), r"Cyclic\(nan\)"),
    (
        lambda: sn.Generated(3, [[0.5, 1.2, 2.9]]),
        r"Generator 0.*\[0.5, 1.2, 2.9\].*not a permutation of 0..2",
    ),
    (lambda: sn.Generated(3, ["012"]), "'012'.*not a permutation"),
    (lambda: sn.Generated(3, [[0, 1, None]]), "Generator 0.*List every index once"),
    (lambda: sn.Generated(3, [5]), "Generator 0.* is 5"),
    (lambda: sn.Generated(3, 5), r"Generated\(3, 5\).*list of permutations"),
    (lambda: sn.Generated(3, "abc"), "'abc'.*list of permutations"),
    (lambda: sn.Symmetric(10**9).order, "1000000000 neurons has about 8.57e.09 digits"),
]
DECLARATIONS: list[tuple[Callable[[], object], str]] = [
    (lambda: sn.NeuronSet(H, over=5), "over=5.*name of a neuron set"),
    (lambda: sn.NeuronSet(H, over=["a", 5]), "over=.*'a', 5.*list of names"),
    (lambda: sn.NeuronGraph([("h", H)], {"w": "h"}), "neurons=.*give a dict by name.*Symmetric"),
    (lambda: sn.NeuronGraph({"h": H}, ["h"]), "tensors=.*give a dict by name"),
    (lambda: sn.NeuronGraph({"h": H}, {"w": "h"}, aliases=["w"]), "aliases=.*give a dict by name"),
    (lambda: sn.NeuronGraph({"h": H}, {"w": "h"}, notes=5), "notes=5.*list of texts"),
    (
        lambda: sn.NeuronGraph({"h": H}, {"w": None}),
        "Tensor 'w' has the axes None; write them as a text",
    ),
    (
        lambda: sn.NeuronGraph({"h": H}, {"w": (2, 2)}),
        r"Tensor 'w' has the axes \(2, 2\); write them as a text",
    ),
    (lambda: sn.NeuronGraph({"h": H}, {"w": ["h"]}), r"Tensor 'w' has the axes \['h'\]"),
    (
        lambda: sn.NeuronGraph({"h": H}, {"w": "(" * 5000 + "h" + ")" * 5000}),
        "more than 100 parentheses",
    ),
    (
        lambda: sn.NeuronGraph({"h": H}, {"w": "h " + "9" * 5000}),
        "a size.*5000 digits|size has 5000 digits",
    ),
    (lambda: sn.NeuronGraph({"h": H}, {"w": "h ²"}), "no neuron set '²' is declared"),
    (
        lambda: sn.NeuronGraph(
            {f"v{k}": sn.NeuronSet(H, over=f"v{k + 1}") for k in range(3000)} | {"v3000": H}, {}
        ),
        "'v0' is over others.*more than 100 deep",
    ),
    (lambda: GRAPH.space(5), "5 is no space.*names of the graph's tensors"),
    (lambda: GRAPH.space({"a": 5}), "Tensor 'a' has the axes 5"),
    (lambda: GRAPH.space({5: "h1"}), "5 cannot name a tensor"),
    (lambda: GRAPH.with_groups(5), "with_groups got 5; give a dict"),
    (lambda: GRAPH.ancestors("zz"), "no neuron set 'zz'; they are in, h1, out"),
    (lambda: GRAPH.random_element(seed=-1), "seed=-1.*at least 0"),
    (lambda: GRAPH.random_element(seed="a"), "seed='a'"),
    (lambda: GRAPH.random_element(only=5), "only=5: give names"),
    (lambda: GRAPH.act(None, X, 1), "act got None; draw an element"),
    (lambda: GRAPH.act(GRAPH.identity(), 5), "act got a int; expected a dict"),
    (lambda: GRAPH.act(GRAPH.identity(), {"0.bias": [1, 2]}), "Tensor '0.bias' is a list"),
    (lambda: GRAPH.act(GRAPH.identity(), X, batch_dims=-1), "batch_dims=-1"),
    (lambda: GRAPH.act(GRAPH.identity(), X, batch_dims="1"), "batch_dims='1'"),
    (
        lambda: sn.NeuronGraph({"h": sn.Symmetric(10**12)}, {"w": "h"}).random_element(0),
        "7.45e.03 GiB.*'h'",
    ),
    (lambda: sn.parse(5), "parse got a int.*sn.load"),
    (lambda: sn.parse(""), "without a section 'neurons'"),
    (lambda: sn.parse(str(GRAPH).split("tensors")[0]), "without a section 'tensors'.*cut off"),
    (lambda: sn.derive(5), "derive got 5 where a graph is expected"),
    (lambda: sn.catalogue.mlp(5), "mlp got 5; give a list of whole numbers"),
    (lambda: sn.catalogue.mlp([2, "a"]), "mlp got .*whole numbers of at least 1"),
    (lambda: sn.catalogue.cnn([1, 2], kernel_size=2.5), "kernel_size.*2.5"),
    (lambda: sn.catalogue.cnn([1, 2], head="flatten", positions=(0, 2)), r"positions.*\[0, 2\]"),
]
LAYERS: list[tuple[Callable[[], object], str]] = [
    (lambda: sn.nn.Linear(5, 1, 1), "Linear got 5 where a graph is expected"),
    (lambda: sn.nn.Linear(GRAPH, True, 1), "in_channels=True"),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, dtype=torch.int64), "dtype=torch.int64.*floating-point"),
    (
        lambda: sn.nn.Linear(GRAPH, 1, 1, dtype=torch.complex64),
        "dtype=torch.complex64.*floating-point",
    ),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, dtype="float32"), "dtype='float32'"),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, gain=math.nan), "gain=nan"),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, gain="x"), "gain='x'"),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, interactions=["full"]), "choose 'full' or 'adjacent'"),
    (lambda: sn.nn.Linear(GRAPH, 1, 1, inputs={}), "Linear has no inputs"),
    (lambda: sn.nn.Pool(GRAPH, inputs={}), "Pool has no inputs"),
    (lambda: sn.nn.Pool(5), "Pool got 5"),
    (lambda: layer()([1]), "Linear got a list; expected a dict"),
    (lambda: layer()(changed(lambda v: v.numpy())), "'0.weight' is no tensor but a ndarray"),
    (lambda: layer()(dict.fromkeys(X)), "'0.weight' is no tensor but a NoneType"),
    (
        lambda: layer()(changed(torch.Tensor.double)),
        r"'0.weight' is torch.float64 instead of torch.float32.*\.to\(",
    ),
    (
        lambda: layer()({**X, "0.bias": X["0.bias"].double()}),
        "'0.bias' is torch.float64 instead of torch.float32",
    ),
    (
        lambda: layer()(changed(torch.Tensor.long)),
        "'0.weight' is torch.int64: features are real numbers",
    ),
    (
        lambda: layer()(changed(torch.Tensor.cfloat)),
        "'0.weight' is torch.complex64: features are real",
    ),
    (
        lambda: layer()(changed(lambda v: v.to("meta"))),
        "'0.weight' lies on 'meta' instead of 'cpu'",
    ),
    (
        lambda: sn.nn.Pool(GRAPH)(changed(torch.Tensor.long)),
        "torch.int64: features are real numbers",
    ),
    (
        lambda: sn.nn.Pool(GRAPH)({**X, "0.bias": torch.randn(3, 4, 2)}),
        "'0.bias' has 2 channels instead of 1",
    ),
    (lambda: sn.nn.DenseLinear.from_layer(5), "from_layer got a int"),
    (
        lambda: sn.nn.DenseLinear.from_layer(layer())(changed(lambda v: torch.cat([v, v], -1))),
        "has 2 channels instead of 1",
    ),
    (lambda: sn.nn.Pointwise(5), "Pointwise got 5"),
    (
        lambda: sn.nn.Pointwise(torch.nn.ReLU())(X["0.bias"]),
        "Pointwise got a Tensor; expected a dict",
    ),
    (lambda: sn.nn.Dropout("a"), "p='a'"),
    (lambda: sn.nn.Dropout(math.nan), "p=nan"),
    (lambda: sn.nn.Dropout(0.5)(X["0.bias"]), "Dropout got a Tensor"),
    (lambda: sn.nn.LayerNorm(GRAPH, 0), "channels=0"),
    (lambda: sn.nn.LayerNorm(GRAPH, 1, eps=-1), "eps=-1"),
    (lambda: sn.features(5, GRAPH), "features got 5; it takes modules or state dicts"),
    (lambda: sn.features(torch.nn.Linear(2, 2), 5), "features got 5 where a graph"),
    (
        lambda: sn.features(state(lambda shape: None), GRAPH),
        "'0.weight' is no floating-point tensor but a NoneType",
    ),
    (
        lambda: sn.features(state(np.zeros), GRAPH),
        "'0.weight' is no floating-point tensor but a ndarray",
    ),
    (
        lambda: sn.features(state(lambda s: torch.zeros(s).long()), GRAPH),
        "no floating-point tensor but torch.int64",
    ),
    (
        lambda: sn.features(
            [state(torch.zeros), state(lambda s: torch.zeros(s, device="meta"))], GRAPH
        ),
        "different devices, cpu, meta",
    ),
    (lambda: sn.state_dicts(X, 5), "state_dicts got 5"),
]
VERIFIERS: list[tuple[Callable[[], object], str]] = [
    (lambda: sn.verify.equivariance(5, GRAPH), "5 cannot be called"),
    (lambda: sn.verify.equivariance(lambda x: x, 5), "equivariance got 5 where a graph"),
    (lambda: sn.verify.equivariance(lambda x: x, GRAPH, "1"), "in_channels='1'"),
    (lambda: sn.verify.equivariance(lambda x: x, GRAPH, seed=-5), "seed=-5"),
    (lambda: sn.verify.equivariance(lambda x: x, GRAPH, seed="a"), "seed='a'"),
    (lambda: sn.verify.equivariance(lambda x: x, GRAPH, tolerance=-1), "tolerance=-1"),
    (
        lambda: sn.verify.network(torch.nn.Linear(2, 2), 5, torch.randn(1, 2)),
        "network got 5 where a graph",
    ),
    (
        lambda: sn.verify.network(torch.nn.Linear(2, 2), GRAPH, torch.randn(1, 2), trials=0),
        "trials=0",
    ),
    (
        lambda: sn.verify.network(
            torch.nn.Linear(2, 2, device="meta"), GRAPH, torch.randn(1, 2), streamed=False
        ),
        "parameters on the device 'meta'",
    ),
    (lambda: sn.verify.certify(5, GRAPH), "5 cannot be called"),
]


@pytest.mark.parametrize(("call", "words"), [*GROUPS, *DECLARATIONS, *LAYERS, *VERIFIERS])
def test_wrong_input_is_named_with_its_remedy(call, words) -> None:
    with pytest.raises(sn.SymnetError, match=f"(?s){words}"):
        call()


@pytest.mark.parametrize("check", [sn.verify.equivariance, sn.verify.certify])
@pytest.mark.parametrize("tolerance", [math.nan, math.inf])
def test_no_tolerance_passes_everything(check, tolerance) -> None:
    """Nothing is larger than NaN: a function that is far from equivariant would pass."""
    with pytest.raises(sn.VerificationError, match=f"tolerance={tolerance}"):
        check(
            lambda x: {name: value.flip(1) for name, value in x.items()}, GRAPH, tolerance=tolerance
        )


def test_autocast_may_mix_dtypes() -> None:
    """What is refused elsewhere: under autocast every product chooses its dtype."""
    mixed = {**X, "0.bias": X["0.bias"].bfloat16()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(value.dtype == torch.bfloat16 for value in layer()(mixed).values())


def test_features_of_a_network_of_two_dtypes_go_there_and_back() -> None:
    """Norms in float32 beside weights in bfloat16: each tensor keeps its dtype."""
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 4).bfloat16(), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    )
    (again,) = sn.state_dicts(sn.features(model, GRAPH), GRAPH)
    assert {name: value.dtype for name, value in again.items()} == {
        n: v.dtype for n, v in model.state_dict().items()
    }


def test_tied_tensors_that_differ_are_not_read_as_one() -> None:
    """A network whose tied tensors have come apart is none of this architecture; equal copies are."""
    graph = sn.NeuronGraph(
        {"h": sn.Symmetric(3)}, {"encoder": "h h"}, aliases={"decoder": "encoder"}
    )
    weight = torch.full((3, 3), math.nan)
    assert list(sn.features({"encoder": weight, "decoder": weight.clone()}, graph)) == ["encoder"]
    for other in (torch.zeros(3, 3), weight[:2], weight.double()):
        with pytest.raises(
            sn.ShapeError, match="'decoder' is tied to 'encoder', but holds other values"
        ):
            sn.features({"encoder": weight, "decoder": other}, graph)


@pytest.mark.parametrize("name", ["a\u2028b", "a\x0bb", "a\rb", " a", ""])
def test_tensor_names_keep_to_their_line(name) -> None:
    """The text form has a line for every tensor; what breaks lines may not stand in a name."""
    with pytest.raises(sn.GraphError, match="cannot name a tensor"):
        sn.NeuronGraph({"h": H}, {name: "h"})


@pytest.mark.parametrize("name", ["values", "keys", "copy", "training", "forward", "class", "in"])
def test_neuron_sets_may_be_called_anything(name) -> None:
    """Also what torch's dicts of parameters call their methods, and what is a word of Python."""
    graph = sn.NeuronGraph({name: sn.Symmetric(2)}, {"weight": name})
    first, second = sn.nn.Linear(graph, 1, 1), sn.nn.Linear(graph, 1, 1)
    second.load_state_dict(first.state_dict())
    x = {"weight": torch.randn(3, 2, 1)}
    assert torch.equal(first(x)["weight"], second(x)["weight"])


def test_sizes_from_numpy_do_not_overflow() -> None:
    """They become Python's integers: dimensions and orders are exact."""
    fixed = sn.NeuronGraph({"h": sn.Fixed(np.int64(5 * 10**9))}, {"w": "h"})
    assert sn.derive(fixed).dimension == 25 * 10**18
    copies = {"u": sn.Symmetric(100), "h": sn.NeuronSet(sn.Cyclic(np.int64(1000)), over="u")}
    assert sn.NeuronGraph(copies, {"w": "(u h)"}).order == math.factorial(100) * 1000**100
    assert sn.catalogue.mlp(np.array([2, 3, 1])) == sn.catalogue.mlp([2, 3, 1])


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.symnet"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(sn.NotationError, match=r"graph\.symnet is no UTF-8 text"):
        sn.load(path)


@pytest.mark.parametrize("degree", [3, 4, 7, 8])
def test_wide_rotations_and_reflections_are_counted_in_closed_form(degree) -> None:
    """Orbits by closed form equal Burnside's count; 10,000 points on a circle take no longer than four."""
    maps = sn.derive(sn.NeuronGraph({"c": sn.Dihedral(degree)}, {"w": "c c"}))
    assert (
        maps.dimension
        == maps.dimension_by_burnside
        == np.unique(maps.between("w", "w").labels()).size
    )
    wide = sn.derive(sn.NeuronGraph({"c": sn.Dihedral(10**4)}, {"w": "c c"}))
    assert wide.dimension == wide.dimension_by_burnside
