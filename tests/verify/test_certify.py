"""Certificates: the library's layers pass, layers with known gaps are found out, and the words name the gap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import symnet as sn
from symnet.verify.map_words import describe_map
from symnet.verify.ranks import complement, dependencies, rank_of
from tests.cases import GRAPHS
from tests.effort import examples
from tests.random_graphs import random_graph
from tests.verify.wrong_layers import HEADS, LAYERS, MLP, QUERY

Features = dict[str, Tensor]
SQUARE = sn.NeuronGraph({"h": sn.Symmetric(4)}, {"w": "h h", "b": "h"})


# ---- right layers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", GRAPHS)
def test_the_derived_layer_is_complete_and_minimal_on_every_case(name: str) -> None:
    """Also its biases: as many parameters as equivariant biases, all independent."""
    graph = GRAPHS[name]
    certificate = sn.verify.certify(sn.nn.Linear(graph, 1, 1), graph, seed=0).raise_if_failed()
    assert (
        certificate.parameters
        == certificate.rank
        == certificate.dimension
        == sn.derive(graph).dimension
    )
    assert certificate.dimension_by_burnside == certificate.dimension
    assert certificate.bias_parameters == certificate.bias_rank == certificate.bias_dimension
    assert certificate.missing == certificate.redundant == certificate.untied == ()


@settings(max_examples=examples(20))
@given(st.integers(0, 10_000))
def test_the_dense_twin_is_complete_and_minimal_on_random_graphs(number: int) -> None:
    graph = random_graph(number, most=12, tensors=2)
    dense = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, 1, 1))
    sn.verify.certify(dense, graph, seed=number).raise_if_failed()


def test_numbers_are_per_pair_of_channels() -> None:
    certificate = sn.verify.certify(sn.nn.Linear(SQUARE, 2, 3), SQUARE, 2, seed=0).raise_if_failed()
    assert (
        certificate.dimension
        == certificate.rank
        == certificate.parameters
        == sn.derive(SQUARE).dimension
    )
    assert certificate.bias_parameters == certificate.bias_dimension == 3


@pytest.mark.parametrize(
    "graph", [MLP, SQUARE, GRAPHS["attention"]], ids=["mlp", "recurrent", "attention"]
)
def test_the_pool_sees_every_linear_invariant_once(graph: sn.NeuronGraph) -> None:
    certificate = sn.verify.certify(sn.nn.Pool(graph), graph, seed=0).raise_if_failed()
    assert certificate.rank == sn.derive(graph, outputs={"": ""}).dimension


def test_between_other_spaces() -> None:
    spaces = {"inputs": ["w"], "outputs": {"score": "h", "z": ""}}
    sn.verify.certify(
        sn.nn.Linear(SQUARE, 1, 1, **spaces), SQUARE, seed=0, **spaces
    ).raise_if_failed()


# ---- incomplete and redundant layers --------------------------------------------------------------------------------
class DeepSet(nn.Module):
    """On one bias vector the whole space is spanned by two maps: itself and its mean (Zaheer et al. 2017)."""

    def __init__(self, own: int = 1, mean: int = 1, spare: bool = False) -> None:
        super().__init__()
        self.own, self.mean = nn.Parameter(torch.ones(own)), nn.Parameter(torch.ones(mean))
        self.spare = nn.Parameter(torch.ones(())) if spare else None

    def forward(self, x: Features) -> Features:
        b = x["b"]
        return {"b": self.own.sum() * b + 3 * self.mean.sum() * b.mean(1, keepdim=True)}


VECTOR = {"inputs": ["b"], "outputs": ["b"]}


@pytest.mark.parametrize(
    ("own", "mean", "spare", "missing", "redundant"),
    [
        (1, 1, False, 0, 0),
        (1, 0, False, 1, 0),
        (0, 1, False, 1, 0),
        (2, 1, False, 0, 1),
        (1, 3, False, 0, 2),
        (2, 0, True, 1, 2),
    ],
)
def test_a_known_family_is_counted_exactly(
    own: int, mean: int, spare: bool, missing: int, redundant: int
) -> None:
    certificate = sn.verify.certify(DeepSet(own, mean, spare), SQUARE, seed=0, **VECTOR)
    assert certificate.equivariant
    assert certificate.dimension == 2 and certificate.rank == 2 - missing
    assert certificate.parameters == own + mean + spare
    assert len(certificate.missing) == missing and certificate.complete == (missing == 0)
    assert len(certificate.redundant) == redundant and certificate.minimal == (redundant == 0)
    assert bool(certificate) == (not missing and not redundant)


def test_missing_and_repeated_maps_are_named() -> None:
    lacking = sn.verify.certify(DeepSet(0, 1), SQUARE, seed=0, **VECTOR)
    assert lacking.missing == ("'b' -> 'b': per h",)
    lacking = sn.verify.certify(DeepSet(1, 0), SQUARE, seed=0, **VECTOR)
    assert lacking.missing == ("'b' -> 'b': averaged over h, broadcast over h",)
    doubled = sn.verify.certify(DeepSet(2, 1, spare=True), SQUARE, seed=0, **VECTOR)
    assert doubled.redundant == ("own[1] repeats own[0] ('b' -> 'b': per h)", "spare has no effect")
    with pytest.raises(sn.VerificationError) as caught:
        doubled.raise_if_failed()
    assert "NOT minimal" in str(caught.value) and "own[1] repeats own[0]" in str(caught.value)


@settings(max_examples=examples(25))
@given(st.integers(0, 10_000), st.data())
def test_dropping_maps_of_the_complete_layer_is_noticed_map_by_map(
    number: int, data: st.DataObject
) -> None:
    """A complete dense layer with some coefficients held at zero misses as many maps as were dropped, by these words."""
    graph = random_graph(number, most=9, tensors=2)
    dense = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, 1, 1, bias=False))
    maps = sn.derive(graph)
    every = [
        (k, row)
        for k, pair in enumerate(dense.pairs)
        for row in range(maps.between(*pair).dimension)
    ]
    dropped = data.draw(st.lists(st.sampled_from(every), max_size=3, unique=True))
    words = set()
    for k, row in dropped:
        pattern = maps.between(*dense.pairs[k])
        placed = next(p for p in reversed(pattern.diagrams) if p.offset <= row)
        words.add(describe_map(pattern, placed, row - placed.offset))

    class Lacking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense
            for k, weight in enumerate(dense.weights):
                mask = torch.ones(weight.shape[0], 1, 1)
                mask[[row for pair, row in dropped if pair == k]] = 0
                self.register_buffer(f"mask{k}", mask)

        def forward(self, x: Features) -> Features:
            own = {
                f"weights.{k}": w * getattr(self, f"mask{k}")
                for k, w in enumerate(self.dense.weights)
            }
            return torch.func.functional_call(self.dense, own, (x,))

    certificate = sn.verify.certify(Lacking(), graph, seed=number)
    assert certificate.equivariant
    assert certificate.dimension - certificate.rank == len(dropped)
    assert set(certificate.missing) == words
    assert len(certificate.redundant) == len(dropped), "dropped coefficients have no effect"


def test_the_gap_of_a_hand_written_layer_is_found() -> None:
    """The gap of nfn's HNPLinear on 2-3-2: no map from the last hidden bias to the last weight neuron by neuron."""
    graph = sn.catalogue.mlp([2, 3, 2])
    layer = sn.nn.DenseLinear.from_layer(sn.nn.Linear(graph, 1, 1))
    pair = layer.pairs.index(("2.weight", "0.bias"))
    pattern = sn.derive(graph).between("2.weight", "0.bias")
    wanted = [
        "'0.bias' -> '2.weight': per h1, to out 0",
        "'0.bias' -> '2.weight': per h1, to out 1",
    ]
    rows = [
        placed.offset + k
        for placed in pattern.diagrams
        for k in range(placed.count)
        if describe_map(pattern, placed, k) in wanted
    ]

    class Hand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Features) -> Features:
            mask = torch.ones_like(layer.weights[pair])
            mask[rows] = 0
            return torch.func.functional_call(
                self.layer, {f"weights.{pair}": self.layer.weights[pair] * mask}, (x,)
            )

    certificate = sn.verify.certify(Hand(), graph, seed=0)
    assert (certificate.dimension, certificate.rank) == (74, 72) and list(
        certificate.missing
    ) == wanted


def test_words_of_diagonals_parts_and_heads() -> None:
    def words(graph: sn.NeuronGraph, **spaces: object) -> set[str]:
        maps = sn.derive(graph, **spaces)  # type: ignore[arg-type]
        patterns = [maps.between(s, t) for s in maps.outputs for t in maps.inputs]
        return {
            describe_map(p, placed, k)
            for p in patterns
            for placed in p.diagrams
            for k in range(placed.count)
        }

    assert "'w' -> 'b': per h, from the diagonal of h" in words(SQUARE)
    assert "'b' -> 'w': per h, onto the diagonal of h" in words(SQUARE)
    heads = words(HEADS, inputs=QUERY, outputs=QUERY)
    assert "'q' -> 'q': per head, averaged over qk, broadcast over qk, from in 1, to in 2" in heads
    assert len(heads) == sn.derive(HEADS, inputs=QUERY, outputs=QUERY).dimension, (
        "no two maps share their words"
    )
    assert any("part 2" in text for text in words(GRAPHS["fused and concatenated"]))


# ---- layers that are not equivariant --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["transposed pool", "one untied pair", "transposed weight", "wrong head order"]
)
def test_a_wrong_linear_layer_is_not_equivariant(name: str) -> None:
    case = LAYERS[name]
    certificate = sn.verify.certify(case.wrong(), case.graph, seed=0, **case.spaces)
    assert not certificate.equivariant and not certificate
    assert certificate.untied and f"to '{case.output}'" in certificate.untied[0]
    right = sn.verify.certify(case.right(), case.graph, seed=0, **case.spaces)
    assert right.equivariant and not right.untied


def test_a_wrong_bias_is_untied() -> None:
    case = LAYERS["a bias on one neuron"]
    assert "the bias of '0.bias'" in sn.verify.certify(case.wrong(), case.graph, seed=0).untied[0]
    assert sn.verify.certify(case.right(), case.graph, seed=0).untied == ()


def test_a_function_without_parameters_is_one_map() -> None:
    certificate = sn.verify.certify(lambda x: {"b": x["b"]}, SQUARE, seed=0, **VECTOR)
    assert certificate.equivariant and certificate.rank == 1 and certificate.parameters == 0
    assert (
        certificate.missing == ("'b' -> 'b': averaged over h, broadcast over h",)
        and certificate.minimal
    )


def test_a_layer_that_is_not_linear_in_its_parameters() -> None:
    """Products of parameters: two parameters, but only the maps that the derivative spans."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

        def forward(self, x: Features) -> Features:
            return {"b": self.a * self.b * x["b"]}

    certificate = sn.verify.certify(Product(), SQUARE, seed=0, **VECTOR)
    assert certificate.rank == 1 and certificate.parameters == 2 and not certificate.minimal
    assert "not linear in its parameters" in str(certificate)


def test_a_nonlinear_function_is_refused() -> None:
    with pytest.raises(sn.VerificationError, match=r"linear.*verify\.equivariance"):
        sn.verify.certify(lambda x: {"b": x["b"].relu()}, SQUARE, **VECTOR)


def test_too_large_a_layer_is_refused_with_its_size() -> None:
    graph = sn.catalogue.mlp([2, 100, 100, 1])
    with pytest.raises(sn.TooLargeError, match="narrower architecture"):
        sn.verify.certify(sn.nn.Linear(graph, 1, 1), graph)


def test_the_layer_is_left_as_it_was() -> None:
    layer = sn.nn.Linear(SQUARE, 1, 1)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    sn.verify.certify(layer, SQUARE, seed=0)
    for name, tensor in layer.state_dict().items():
        assert tensor.dtype == torch.float32 and torch.equal(tensor, before[name])


# ---- foreign containers ---------------------------------------------------------------------------------------------
class ListLayer(nn.Module):
    """A layer on lists of weights and biases, channels first: it scales everything, and adds the mean to every bias."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.mean = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def forward(
        self, weights: list[Tensor], biases: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        assert all(w.ndim == 4 for w in weights) and all(b.ndim == 3 for b in biases)
        return [self.scale * w for w in weights], [
            b * self.scale + self.mean * b.mean(2, keepdim=True) for b in biases
        ]


class Container:
    def __init__(self, weights: list[Tensor], biases: list[Tensor]) -> None:
        self.weights, self.biases = weights, biases


class ContainerLayer(ListLayer):
    def forward(self, both: Container) -> Container:  # type: ignore[override]
        return Container(*super().forward(both.weights, both.biases))


@pytest.mark.parametrize(("layer", "container"), [(ListLayer, None), (ContainerLayer, Container)])
def test_layers_on_lists_and_containers(layer: type[nn.Module], container: type | None) -> None:
    graph = sn.catalogue.mlp([2, 3, 2], io="permuted")
    wrapped = sn.verify.on_lists(layer(), graph, container=container)
    sn.verify.equivariance(wrapped, graph, in_channels=2, seed=0).raise_if_failed()
    certificate = sn.verify.certify(wrapped, graph, seed=0)
    assert certificate.equivariant and certificate.rank == certificate.parameters == 2
    assert certificate.subject == layer.__name__


def test_layers_on_flat_vectors() -> None:
    """A linear map on all weights at once is complete only for the trivial group, and else not equivariant."""
    graph = sn.catalogue.mlp([1, 2, 1])

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(7, 7))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("ij,bjc->bic", self.weight, x)

    moved = sn.verify.certify(sn.verify.on_vectors(Flat(), graph), graph, seed=0)
    assert not moved.equivariant and moved.untied
    held = graph.with_groups({"h1": sn.Fixed(2)})
    assert (
        sn.verify.certify(sn.verify.on_vectors(Flat(), held), held, seed=0).raise_if_failed().rank
        == 49
    )
    with pytest.raises(sn.ShapeError, match="expected"):
        sn.verify.on_vectors(nn.Flatten(), graph)(
            {name: torch.zeros(1, *s, 1) for name, s in graph.shapes.items()}
        )


# ---- ranks ----------------------------------------------------------------------------------------------------------
@settings(max_examples=60)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.integers(0, 10_000))
def test_ranks_complements_and_dependencies_agree(
    rows: int, rank: int, columns: int, seed: int
) -> None:
    """Rank plus complement is everything; every dependent row is the named combination of earlier ones."""
    rng = np.random.default_rng(seed)
    rank = min(rank, rows, columns)
    family = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    found = rank_of(family)
    assert found.rank == np.linalg.matrix_rank(family) == rank if rows else found.rank == 0
    added = complement(family, np.eye(columns), found.rank)
    assert len(added) == columns - found.rank
    assert rank_of(np.concatenate([family, np.eye(columns)[added]])).rank == columns
    repeats = dependencies(family, found.rank)
    assert len(repeats) == rows - found.rank
    for row, weights in repeats:
        assert all(k < row for k in weights)
        total = sum((weight * family[k] for k, weight in weights.items()), np.zeros(columns))
        np.testing.assert_allclose(total, family[row], atol=1e-6)


def test_a_rank_without_a_gap_is_refused() -> None:
    slightly = np.array([[1.0, 0.0], [1.0, 1e-9]])
    with pytest.raises(sn.VerificationError, match="cannot be decided"):
        rank_of(slightly)
    assert rank_of(np.array([[1.0, 0.0], [1.0, 1e-3]])).rank == 2
    assert rank_of(np.array([[1.0, 0.0], [1.0, 0.0]])).margin > 1e10
