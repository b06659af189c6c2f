"""The NP layer of an L-layer MLP has 4 L^2 + 10 L - 4 maps, and every one of them is an entry, a row mean, a column mean or a total mean.

Source: Zhou et al. 2023 (arXiv 2302.14040), the layer for permuted inputs and outputs.

Neuron sets ``h_0, ..., h_L``; weight ``W_i`` has axes ``h_i h_(i-1)``, bias ``b_i`` has ``h_i``. A pair of tensors has ``2^s`` maps, where ``s``
is the number of sets that they share: for each shared set the two indices are equal, or it does not matter. So ``W_i`` sees itself in 4 ways,
its neighbours ``W_(i-1)``, ``W_(i+1)`` and the biases ``b_i``, ``b_(i-1)`` in 2, and everything else through its mean, in 1.
"""

from __future__ import annotations

import itertools

import sympy as sp

import symnet as sn
from derivations.evidence import Tensors, agree, count_maps, matrix_of, same_span

L = sp.Symbol("L", integer=True, positive=True)
ROW, COLUMN, K, M = sp.symbols("i j k m", integer=True)


def tensors(layers: int) -> Tensors:
    """Weights and biases of an MLP by the sets on their axes."""
    found: dict[str, tuple[tuple[str, ...], int]] = {}
    for number in range(1, layers + 1):
        found[f"{2 * (number - 1)}.weight"] = ((f"h{number}", f"h{number - 1}"), 1)
        found[f"{2 * (number - 1)}.bias"] = ((f"h{number}",), 1)
    return found


def terms(output: tuple[str, ...], given: tuple[str, ...]) -> list[sp.Expr]:
    """The maps of one pair of tensors as products of deltas: any subset of the shared sets is asked to be equal."""
    rows, columns = (ROW, COLUMN)[: len(output)], (K, M)[: len(given)]
    shared = [
        (a, b)
        for (a, name), (b, other) in itertools.product(
            zip(rows, output, strict=True), zip(columns, given, strict=True)
        )
        if name == other
    ]
    chosen = itertools.chain.from_iterable(
        itertools.combinations(shared, size) for size in range(len(shared) + 1)
    )
    return [sp.prod([sp.KroneckerDelta(a, b) for a, b in equal]) for equal in chosen]


def derive() -> dict[str, sp.Basic]:
    """The counts for any number of layers, and the layer's terms for the middle weight of a deep MLP."""
    weights = 4 * L + 2 * 2 * (L - 1) + (L**2 - L - 2 * (L - 1))  # itself; two neighbours; the rest
    biases = 2 * L + (L**2 - L)
    mixed = 2 * L + 2 * (L - 1) + (L**2 - L - (L - 1))  # b_i, b_(i-1), the rest
    # Shared neurons, set by set: h_0 lies in one tensor, h_L in two, the others in three; a weight shares two sets with itself.
    by_sets = (2 * L) ** 2 + 1**2 + 2**2 + 3**2 * (L - 1) + L
    return {
        "weights to weights": sp.expand(weights),
        "biases to biases": sp.expand(biases),
        "biases to weights, and weights to biases": sp.expand(mixed),
        "all": sp.expand(weights + biases + 2 * mixed),
        "all, counted by sets": sp.expand(by_sets),
        "W_i to itself": sp.Tuple(*terms(("h2", "h1"), ("h2", "h1"))),
        "W_(i+1) to W_i": sp.Tuple(*terms(("h2", "h1"), ("h3", "h2"))),
        "b_(i-1) to W_i": sp.Tuple(*terms(("h2", "h1"), ("h1",))),
    }


def check() -> list[str]:
    """Every pair of tensors of a 3-layer MLP, term by term; totals up to 6 layers; the paper's polynomial."""
    results = derive()
    facts = [agree("4 L^2 + 10 L - 4 maps", results["all"], 4 * L**2 + 10 * L - 4)]
    agree("the same counted by sets", results["all"], results["all, counted by sets"])
    for layers in range(1, 7):
        maps = sn.derive(sn.catalogue.mlp([5, *range(2, layers + 1), 3], io="permuted"))
        agree(f"{layers} layers", int(results["all"].subs(L, layers)), maps.dimension)
        agree(f"{layers} layers, pair by pair", count_maps(tensors(layers)), maps.dimension)
        by_kind = dict.fromkeys(itertools.product(("weight", "bias"), repeat=2), 0)
        for s, t in maps.pairs():
            by_kind[s.split(".")[1], t.split(".")[1]] += maps.between(s, t).dimension
        kinds = {"weights to weights": ("weight", "weight"), "biases to biases": ("bias", "bias")}
        for name, kind in kinds.items():
            agree(f"{layers} layers, {name}", int(results[name].subs(L, layers)), by_kind[kind])
        for kind in (("weight", "bias"), ("bias", "weight")):
            agree(
                f"{layers} layers, mixed",
                int(results["biases to weights, and weights to biases"].subs(L, layers)),
                by_kind[kind],
            )
    facts.append("totals for 1 to 6 layers: weights, biases and mixed")
    facts.append(_term_by_term())
    return facts


def _term_by_term() -> str:
    widths = [2, 3, 4, 2]
    maps, described = sn.derive(sn.catalogue.mlp(widths, io="permuted")), tensors(3)
    for s, t in maps.pairs():
        ours, theirs = described[s][0], described[t][0]
        rows = dict(zip((ROW, COLUMN), (widths[int(name[1])] for name in ours), strict=False))
        columns = dict(zip((K, M), (widths[int(name[1])] for name in theirs), strict=False))
        matrices = [matrix_of(term, rows, columns) for term in terms(tuple(ours), tuple(theirs))]
        same_span(f"{t} to {s}", matrices, maps.between(s, t).labels())
    return (
        "all 36 pairs of tensors of a 2-3-4-2 MLP: the written terms are a basis of symnet's maps"
    )
