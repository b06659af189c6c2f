"""Random declarations, small enough for the brute-force oracles."""

from __future__ import annotations

import math

import numpy as np

import symnet as sn

GROUPS = (
    "Symmetric",
    "Symmetric",
    "Symmetric",
    "SignedSymmetric",
    "Fixed",
    "Cyclic",
    "Dihedral",
    "Generated",
)


def random_group(rng: np.random.Generator, size: int, kind: str) -> object:
    if kind == "Generated":
        count = int(rng.integers(0, 3))
        return sn.Generated(size, [rng.permutation(size).tolist() for _ in range(count)])
    return getattr(sn, kind)(size)


def random_graph(seed: int, most: int = 64, tensors: int = 3) -> sn.NeuronGraph:
    """A graph of 1 to 4 sets of 1 to 5 neurons, with parents, repeated, composite and concatenated axes."""
    rng = np.random.default_rng(seed)
    neurons: dict[str, sn.NeuronSet] = {}
    for number in range(int(rng.integers(1, 5))):
        over: tuple[str, ...] = ()
        if neurons and rng.random() < 0.5:
            over = (str(rng.choice(list(neurons))),)
            if len(neurons) > 1 and rng.random() < 0.2:
                over = tuple(str(n) for n in rng.choice(list(neurons), size=2, replace=False))
        group = random_group(rng, int(rng.integers(1, 6)), str(rng.choice(GROUPS)))
        neurons[f"v{number}"] = sn.NeuronSet(group, over)
    found: dict[str, str] = {}
    attempts = 0
    while len(found) < tensors and attempts < 400:
        attempts += 1
        axes = [random_axis(rng, neurons) for _ in range(int(rng.integers(0, 4)))]
        try:
            graph = sn.NeuronGraph(neurons, {"t": " ".join(axes)})
        except sn.SymnetError:
            continue
        if math.prod(graph.shapes["t"]) <= most:
            found[f"t{len(found)}"] = " ".join(axes)
    return sn.NeuronGraph(neurons, found)


def random_axis(rng: np.random.Generator, neurons: dict[str, sn.NeuronSet]) -> str:
    if rng.random() < 0.1:
        return str(int(rng.integers(1, 4)))
    names = list(neurons)
    word = with_parents(rng, neurons, str(rng.choice(names)))
    if rng.random() < 0.15:
        other = with_parents(rng, neurons, str(rng.choice(names)))
        sign = str(rng.choice(["+", "&"]))
        if rng.random() < 0.3:  # what another axis has at each part
            return f"({word} + {other}) ({' | '.join(str(name) for name in rng.choice(names, size=2))})"
        return f"({word} {sign} {other})"
    return word


def with_parents(rng: np.random.Generator, neurons: dict[str, sn.NeuronSet], name: str) -> str:
    found: dict[str, None] = {}

    def add(which: str) -> None:
        for parent in neurons[which].over:
            add(parent)
        found[which] = None

    if rng.random() < 0.8:
        add(name)
    else:
        found[name] = None
    words = list(found)
    if rng.random() < 0.3:
        rng.shuffle(words)
    return words[0] if len(words) == 1 else f"({' '.join(words)})"
