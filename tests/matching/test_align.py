"""align: finds planted elements, preserves functions, ends where no set can be improved, and brings networks together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor, nn

import symnet as sn
from symnet.matching import problem_reading
from symnet.matching.alignment_problem import AlignmentProblem
from symnet.matching.balancing import balance
from symnet.matching.problem_reading import read_problem
from tests.cases import GRAPHS
from tests.effort import examples
from tests.graph.test_catalogue import CASES
from tests.matching.group_elements import all_elements
from tests.random_graphs import random_graph
from tests.tolerances import assert_close

C = sn.catalogue
NETWORKS = {
    "mlp": C.mlp([16, 32, 32, 4]),
    "mlp, all sets permuted": C.mlp([12, 24, 24, 6], io="permuted"),
    "cnn with flatten": C.cnn([1, 8, 8], head="flatten", positions=(4, 4), hidden=(24,)),
    "residual cnn with norms": C.resnet((3, 8, 16), (2, 2), 10),
    "attention": C.attention(24, 4),
    "grouped queries": C.grouped_query_attention(32, 8, 2),
    "grouped queries, rotary": C.grouped_query_attention(32, 4, 2, rotary=True),
    "lstm": C.lstm(5, 8, 2, classes=3, bidirectional=True),
    "gru": C.gru(5, 12),
    "experts": C.experts(8, 12, 4),
    "siren": C.mlp([12, 16, 16, 1]).with_groups(
        {"h1": sn.SignedSymmetric(16), "h2": sn.SignedSymmetric(16)}
    ),
}


def draw(graph: sn.NeuronGraph, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(s, generator=generator, dtype=torch.float64)
        for name, s in graph.shapes.items()
    }


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return float(sum((a[name] - b[name]).square().sum() for name in a)) ** 0.5


def problem_of(graph: sn.NeuronGraph) -> AlignmentProblem:
    arrays = {name: tensor.numpy() for name, tensor in draw(graph, 0).items()}
    return read_problem(graph, arrays, arrays, {})


# ---- planted elements -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_planted_element_is_found(name: str, noise: float) -> None:
    """A noisy copy with moved neurons is moved back exactly: the element found is the inverse of the planted one."""
    graph = NETWORKS[name]
    for seed in (0, 1):
        a, disturbance = draw(graph, seed), draw(graph, seed + 100)
        noisy = {key: tensor + noise * disturbance[key] for key, tensor in a.items()}
        planted = graph.random_element(seed)
        found = sn.align(a, graph.act(planted, noisy), graph, starts=1)
        assert found.element == planted.inverse()
        assert_close(dict(found.aligned), noisy)
        assert found.settled and found.distance_after == pytest.approx(distance(a, noisy))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_kind_of_graph_is_recovered(name: str) -> None:
    """Also other groups, copies over fixed sets, repeated and concatenated axes; several elements may serve."""
    graph = GRAPHS[name]
    for seed in range(3):
        a = draw(graph, seed)
        found = sn.align(a, graph.act(graph.random_element(seed), a), graph)
        assert found.distance_after < 1e-9


@settings(max_examples=examples(40))
@given(st.integers(0, 10_000))
def test_aligning_never_moves_networks_apart(seed: int) -> None:
    """Whatever the graph: the element is of its group, its action gives the aligned weights, and it does no harm."""
    graph = random_graph(seed)
    a, b = draw(graph, seed), draw(graph, seed + 1)
    for measure in ("correlation", "distance"):
        found = sn.align(a, b, graph, starts=2, measure=measure)
        moved = graph.act(found.element, b)
        assert_close(dict(found.aligned), moved)
        assert found.agreement_after >= found.agreement_before - 1e-12
        if measure == "distance":
            assert found.distance_after <= found.distance_before * (1 + 1e-12)
        assert found.distance_after == pytest.approx(distance(a, moved), abs=1e-12)


class Transformer(nn.Module):
    """Tokens in, an encoder with feed-forward blocks and norms on a residual stream, the mean token's classes out."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
        self.embed, self.encoder = (
            nn.Linear(5, 16),
            nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)).mean(1))


def test_a_traced_transformer_is_matched() -> None:
    """From the module to the match with nothing between: the graph is traced, the planted element found, the function kept."""
    torch.manual_seed(0)
    a, b, x = Transformer().eval(), Transformer().eval(), torch.randn(2, 4, 5)
    graph = sn.trace(a, x)
    weights = {name: tensor.clone() for name, tensor in a.state_dict().items()}
    for seed in range(3):
        planted = graph.random_element(seed)
        noisy = {
            name: t + 0.2 * float(t.std()) * torch.randn_like(t) for name, t in weights.items()
        }
        found = sn.align(weights, graph.act(planted, noisy), graph, starts=1)
        assert_close(dict(found.aligned), noisy, torch.float32)
    assert sn.align(a, b, graph).verify(a, x).raise_if_failed().max_error < 1e-12


# ---- optimality -----------------------------------------------------------------------------------------------------
SMALL = [name for name, graph in GRAPHS.items() if 1 < graph.order <= 600]


@pytest.mark.parametrize("name", SMALL)
def test_no_set_can_be_improved_alone(name: str) -> None:
    """Against every element that moves one set and what is over it: the result is the best of them."""
    graph = GRAPHS[name]
    problem = problem_of(graph)
    units = [unit for unit in problem.units() if problem.is_exact(unit)]
    a = draw(graph, 1)
    found = sn.align(a, draw(graph, 2), graph, measure="distance")
    for unit in units:
        for element in all_elements(graph, only=problem.unit(unit)):
            assert (
                distance(a, graph.act(element, dict(found.aligned))) >= found.distance_after - 1e-9
            )


def test_the_best_of_the_whole_group_is_often_found() -> None:
    """Against brute force over the group, on pairs of unrelated tiny networks: the global optimum in most cases."""
    hits = []
    for name in SMALL:
        graph = GRAPHS[name]
        elements = list(all_elements(graph))
        assert len(elements) == graph.order
        for seed in range(2):
            a, b = draw(graph, seed), draw(graph, seed + 10)
            best = min(distance(a, graph.act(element, b)) for element in elements)
            found = sn.align(a, b, graph, measure="distance").distance_after
            assert found >= best - 1e-9
            hits.append(found <= best + 1e-9)
    print(f"global optimum found in {sum(hits)} of {len(hits)}")
    assert sum(hits) >= 0.75 * len(hits)


ROTATED = {
    "a stream": sn.NeuronGraph(
        {"s": sn.Orthogonal(8), "h": sn.Symmetric(6)},
        {"embed": "s 5", "up": "h s", "down": "s h", "read": "3 s"},
    ),
    "a stream about its mean": sn.NeuronGraph(
        {"s": sn.Orthogonal(8, fixes_mean=True), "h": sn.Symmetric(6)},
        {"embed": "s 9", "up": "h s", "down": "s h"},
    ),
    "inside heads": sn.NeuronGraph(
        {"head": sn.Symmetric(3), "dim": sn.NeuronSet(sn.Orthogonal(4), over="head")},
        {"v": "(head dim) 6", "o": "7 (head dim)"},
    ),
    "signs that one tensor does not show": sn.NeuronGraph(
        {"h": sn.SignedSymmetric(6)}, {"w": "h 5", "gain": "h.", "out": "4 h"}
    ),
}


@pytest.mark.parametrize("name", ROTATED)
def test_rotations_are_found(name: str) -> None:
    """A planted element with rotations is undone, with noise up to what Procrustes leaves; the element is of the group."""
    graph = ROTATED[name]
    for seed in range(3):
        a, disturbance = draw(graph, seed), draw(graph, seed + 50)
        planted = graph.random_element(seed)
        found = sn.align(a, graph.act(planted, a), graph)
        assert found.distance_after < 1e-6
        assert_close(graph.act(found.element @ planted, a), a)
        noisy = {key: t + 0.05 * disturbance[key] for key, t in a.items()}
        found = sn.align(a, graph.act(planted, noisy), graph)
        assert found.distance_after <= distance(a, noisy) * 1.01 and found.settled


SCALED = {
    "relu mlp": sn.NeuronGraph(
        {"h1": sn.Scaled(6), "h2": sn.Scaled(5)},
        {"w1": "h1 4", "b1": "h1", "w2": "h2 h1*", "b2": "h2", "w3": "3 h2*"},
    ),
    "inside groups": sn.NeuronGraph(
        {"g": sn.Symmetric(3), "c": sn.NeuronSet(sn.Scaled(4), over="g")},
        {"w": "(g c) 5", "b": "(g c)", "v": "2 (g c*)"},
    ),
    "fed by itself": sn.NeuronGraph({"h": sn.Scaled(5)}, {"i": "h 4", "r": "h h*", "o": "3 h*"}),
}


@pytest.mark.parametrize("name", SCALED)
def test_scales_are_undone(name: str) -> None:
    """Planted scales and order: the element found takes the disguised network back to the first."""
    graph = SCALED[name]
    for seed in range(3):
        a = draw(graph, seed)
        planted = graph.random_element(seed)
        found = sn.align(a, graph.act(planted, a), graph)
        assert found.element == planted.inverse()
        assert found.agreement_after == pytest.approx(1) and found.distance_after < 1e-8


def test_balanced_weights_are_the_smallest() -> None:
    """Against random scales: none makes the sum of squares smaller; and two disguises of a network have one balanced form."""
    graph = SCALED["relu mlp"]
    a = draw(graph, 7)
    arrays = {key: t.numpy() for key, t in a.items()}
    least = graph.act(balance(graph, arrays), arrays)
    for seed in range(20):
        other = graph.act(graph.random_element(seed), arrays)
        assert sum(np.square(t).sum() for t in other.values()) >= sum(
            np.square(t).sum() for t in least.values()
        )
        again = graph.act(balance(graph, other), other)
        norms = [{key: np.sort(np.abs(t).ravel()) for key, t in w.items()} for w in (least, again)]
        assert all(np.allclose(norms[0][key], norms[1][key], atol=1e-10) for key in norms[0])


def test_stretched_sets_are_refused_with_a_way_out() -> None:
    graph = sn.NeuronGraph({"r": sn.GeneralLinear(3)}, {"w": "r 2", "v": "2 r*"})
    with pytest.raises(sn.GraphError, match=r"GeneralLinear\(3\) of 'r'.*normal form"):
        sn.align(draw(graph, 0), draw(graph, 1), graph)


def test_heads_are_matched_by_what_is_inside() -> None:
    """Two heads whose sums of dims are alike, so that matching heads before dims would have to guess."""
    graph = sn.NeuronGraph(
        {
            "head": sn.Symmetric(2),
            "dim": sn.NeuronSet(sn.Symmetric(2), over="head"),
            "m": sn.Fixed(1),
        },
        {"w": "(head dim) m"},
    )
    a = {"w": torch.tensor([[1.0], [-1.0], [3.0], [-3.0]])}
    b = {"w": torch.tensor([[-3.0], [3.0], [-1.0], [1.0]])}
    found = sn.align(a, b, graph)
    assert found.distance_after == 0.0
    assert found.element["head"].tolist() == [1, 0] and found.element["dim"].tolist() == [
        [1, 0],
        [1, 0],
    ]


def mean_correlation(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """By numpy's own correlation; a tensor whose values are all the same does not count."""
    counted = [(t.numel(), t.numpy().ravel(), b[name].numpy().ravel()) for name, t in a.items()]
    counted = [(n, x, y) for n, x, y in counted if np.ptp(x) > 0 and np.ptp(y) > 0]
    whole = sum(n for n, _, _ in counted)
    return float(sum(n * np.corrcoef(x, y)[0, 1] for n, x, y in counted) / max(whole, 1))


@pytest.mark.parametrize("name", SMALL)
def test_the_agreement_is_the_mean_correlation_of_tensors(name: str) -> None:
    """Against numpy's correlations, before and after; and no move of one set makes it larger."""
    graph = GRAPHS[name]
    if any(isinstance(s.group, sn.SignedSymmetric) for s in graph.neurons.values()):
        pytest.skip("with signs, means are not taken off")
    a, b = draw(graph, 5), draw(graph, 6)
    found = sn.align(a, b, graph)
    assert found.agreement_before == pytest.approx(mean_correlation(a, b), abs=1e-12)
    assert found.agreement_after == pytest.approx(
        mean_correlation(a, dict(found.aligned)), abs=1e-12
    )
    problem = problem_of(graph)
    for unit in filter(problem.is_exact, problem.units()):
        for element in all_elements(graph, only=problem.unit(unit)):
            assert (
                mean_correlation(a, graph.act(element, dict(found.aligned)))
                <= found.agreement_after + 1e-9
            )


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
def test_statistics_of_norms_do_not_decide(noise: float) -> None:
    """Variances in the thousands beside weights of a tenth, noise in proportion: every neuron is found by correlation.

    By distance, the variances' noise is larger than all weights together, and neurons are laid wrongly.
    """
    graph = C.resnet((3, 8, 16), (2, 2), 10)
    a = {name: t * (5e3 if "running" in name else 0.1) for name, t in draw(graph, 2).items()}
    noisy = {name: t + noise * t.std() * draw(graph, 3)[name] for name, t in a.items()}
    planted = graph.random_element(4)
    moved = graph.act(planted, noisy)
    assert sn.align(a, moved, graph).element == planted.inverse()
    assert sn.align(a, moved, graph, measure="distance").element != planted.inverse()


@pytest.mark.parametrize("name", ["residual cnn with norms", "grouped queries", "experts"])
def test_cutting_blocks_and_single_precision_change_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As large networks are read: in pieces and in float32; the element is that of the whole in float64."""
    graph = NETWORKS[name]
    a, disturbance = draw(graph, 0), draw(graph, 1)
    b = graph.act(
        graph.random_element(2), {key: t + 0.3 * disturbance[key] for key, t in a.items()}
    )
    whole, pieces = sn.align(a, b, graph, starts=1), len(problem_of(graph).terms)
    single = [{key: t.float() for key, t in weights.items()} for weights in (a, b)]
    monkeypatch.setattr(problem_reading, "SMALL", 0)
    monkeypatch.setattr(problem_reading, "PART", max(s.size for s in graph.weights.values()) // 3)
    assert (
        problem_reading.precision(graph, single[0]) is np.float32
        and problem_reading.precision(graph, a) is np.float64
    )
    assert len(read_problem(graph, *single, {}, np.float32).terms) > pieces
    for state in (single, (a, b)):
        found = sn.align(*state, graph, starts=1)
        assert found.element == whole.element
        assert found.agreement_after == pytest.approx(whole.agreement_after, abs=1e-6)


def test_nothing_is_copied_and_changes_are_noticed() -> None:
    """What is not moved is the network's own memory; a network that trains on after the match is refused."""
    graph = C.mlp([4, 6, 3])
    a, b = draw(graph, 0), draw(graph, 1)
    found = sn.align(a, b, graph)
    assert found.reference["0.weight"].data_ptr() == a["0.weight"].data_ptr()
    assert found.aligned["2.bias"].data_ptr() == b["2.bias"].data_ptr()
    b["0.weight"].mul_(2)
    with pytest.raises(sn.ShapeError, match=r"'0.weight' was changed in place"):
        found.interpolate(0.5)


def test_equal_networks_need_one_start() -> None:
    graph = C.mlp([4, 6, 3])
    a = draw(graph, 0)
    found = sn.align(a, graph.act(graph.random_element(1), a), graph, starts=5)
    assert len(found.values) == 1 and found.agreement_after == pytest.approx(1)


# ---- functions ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.always])
def test_the_function_is_preserved(name: str) -> None:
    """The aligned network of two unrelated ones computes what the second computed, on real modules."""
    case = CASES[name]
    torch.manual_seed(0)
    a, b = case.model().double(), case.model().double()
    found = sn.align(a, b, case.graph("fixed"), starts=1)
    x = torch.randn(case.shape, dtype=torch.float64)
    assert found.verify(a, x).raise_if_failed().max_error < 1e-12
    twin = case.model().double().eval()
    twin.load_state_dict(dict(found.aligned))
    with torch.no_grad():
        assert_close({"y": twin(x)}, {"y": b.eval()(x)})


def test_interpolation_has_both_networks_at_its_ends() -> None:
    """At 0 the first, at 1 the aligned second, half way their mean; counters are the first's."""
    torch.manual_seed(1)
    a, b = (
        nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
        for _ in "ab"
    )
    b.train()(torch.randn(3, 1, 2, 2))
    norms = {f"1.{part}": "c" for part in ("weight", "bias", "running_mean", "running_var")}
    graph = sn.NeuronGraph(
        {"c": sn.Symmetric(4)},
        {"0.weight": "c 1 1 1", "0.bias": "c", **norms, "3.weight": "2 (c 4)", "3.bias": "2"},
    )
    found = sn.align(a, b, graph)
    assert_close(found.interpolate(0.0), a.state_dict(), torch.float32)
    kept = {"1.num_batches_tracked": torch.tensor(0)}
    assert_close(found.interpolate(1.0), {**found.aligned, **kept}, torch.float32)
    middle = {
        n: (t + found.aligned[n]) / 2 if t.is_floating_point() else t
        for n, t in a.state_dict().items()
    }
    assert_close(found.interpolate(0.5), middle, torch.float32)


def train(seed: int, x: Tensor, y: Tensor) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def test_the_loss_barrier_falls() -> None:
    """Between two MLPs that learned digits from different starts, the middle is much better after alignment."""
    bunch = load_digits()
    x, y = torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target)
    a, b = train(1, x[:1200], y[:1200]), train(2, x[:1200], y[:1200])
    graph = C.mlp([64, 64, 64, 10])
    found = sn.align(a, b, graph)

    def loss(state: dict[str, Tensor]) -> float:
        with torch.no_grad():
            return float(
                nn.functional.cross_entropy(
                    torch.func.functional_call(a, state, (x[1200:],)), y[1200:]
                )
            )

    ends = (loss(found.interpolate(0.0)) + loss(found.interpolate(1.0))) / 2
    naive = {n: (t + b.state_dict()[n]) / 2 for n, t in a.state_dict().items()}
    before, after = loss(naive) - ends, loss(found.interpolate(0.5)) - ends
    print(f"barrier {before:.3f} before, {after:.3f} after alignment")
    assert before > 0.2 and after < before / 2


# ---- the value, options, errors -------------------------------------------------------------------------------------
def test_inputs_are_left_alone_and_results_repeat() -> None:
    graph = NETWORKS["mlp"]
    a, b = draw(graph, 0), draw(graph, 1)
    kept = {name: tensor.clone() for name, tensor in b.items()}
    first, second = sn.align(a, b, graph, seed=3), sn.align(a, b, graph, seed=3)
    assert first.element == second.element and first.values == second.values
    assert_close(b, kept)


def test_tensors_without_importance_do_not_count() -> None:
    """With everything but one bias left out, only that bias is put in order."""
    graph = C.mlp([2, 5, 1])
    a, b = draw(graph, 0), draw(graph, 1)
    found = sn.align(a, b, graph, importance={"0.weight": 0, "2.weight": 0})
    assert torch.equal(found.aligned["0.bias"].argsort(), a["0.bias"].argsort())


def test_tied_tensors_stay_tied() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(4)}, {"w": "h 3"}, aliases={"again": "w"})
    a = torch.randn(4, 3)
    moved = a[[2, 0, 3, 1]]
    found = sn.align({"w": a, "again": a}, {"w": moved, "again": moved}, graph)
    assert torch.equal(found.aligned["again"], a) and torch.equal(found.aligned["w"], a)


def test_the_report_says_what_was_found() -> None:
    graph = NETWORKS["residual cnn with norms"]
    text = repr(sn.align(draw(graph, 0), draw(graph, 1), graph))
    assert all(
        words in text
        for words in ("distance", "sweeps", "best of 3 starts", "stage1", "tensors that are closer")
    )


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({"0.weight": torch.zeros(5, 5)}, {}, "0.weight"),
        ({"0.bias": torch.full((5,), float("nan"))}, {}, "not finite, in 0.bias"),
        ({}, {"starts": 0}, "at least 1"),
        ({}, {"measure": "angle"}, "correlation, distance"),
        ({}, {"importance": {"bias": 1.0}}, "importance names 'bias'"),
        ({}, {"importance": {"0.bias": -1.0}}, "at least 0"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Tensor], options: dict, words: str) -> None:
    graph = C.mlp([2, 5, 1])
    with pytest.raises(sn.SymnetError, match=words):
        sn.align(draw(graph, 0), {**draw(graph, 1), **change}, graph, **options)


def test_a_group_too_large_to_try_is_refused() -> None:
    """Ten points of which any two may be exchanged are given as Generated: 10! elements, and no assignment."""
    group = sn.Generated(10, sn.Symmetric(10).generators)
    graph = sn.NeuronGraph({"x": group}, {"w": "x"})
    with pytest.raises(sn.TooLargeError, match=r"'x' has a group of 3628800 elements.*Fixed\(10\)"):
        sn.align({"w": torch.randn(10)}, {"w": torch.randn(10)}, graph)
