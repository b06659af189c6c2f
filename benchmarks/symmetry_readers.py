"""Do symmetries beyond permutations matter to readers of weights? Two small studies, each on natural and on moved networks.

    python -m benchmarks.symmetry_readers zoo        # ReLU, tanh and sine networks: their accuracy, read from their weights
    python -m benchmarks.symmetry_readers adapters   # LoRA adapters: quality and data, read from their factors
    python -m benchmarks.symmetry_readers zoo --quick
    python -m benchmarks.symmetry_readers tables     # of the saved results, in Markdown

"Moved" networks compute the same functions: a random element of their own group (with scales between 1/e and e, signs, invertible maps)
was applied. Results go to ``benchmarks/results/symmetry_readers.json``; the tables in ``docs/tasks/symmetries.md`` are made from them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.nn import functional as F

import symnet as sn

RESULTS = Path(__file__).parent / "results" / "symmetry_readers.json"
Features = dict[str, Tensor]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sine": lambda x: torch.sin(2 * x),
}
INPUTS, HIDDEN, CLASSES = 6, 16, 4
COPIES = 4  # moved copies of the training set, for augmentation


# ---- networks to read -------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Networks:
    """Weights by tensor ``(networks, *axes, 1)``, their graph with its whole group, and what is asked of each."""

    weights: Features
    graph: sn.NeuronGraph
    targets: Tensor  # (networks, columns): a number to predict, then perhaps a class

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, index: Tensor) -> Networks:
        return Networks({n: w[index] for n, w in self.weights.items()}, self.graph, self.targets[index])

    def moved(self, seed: int) -> Networks:
        """Every network moved by an element of its own."""
        rng = np.random.default_rng(seed)
        parts = [
            self.graph.act(self.graph.random_element(rng), {n: w[k] for n, w in self.weights.items()})
            for k in range(len(self))
        ]
        return Networks({n: torch.stack([p[n] for p in parts]) for n in self.weights}, self.graph, self.targets)


def own_graph(activation: str) -> sn.NeuronGraph:
    group = sn.Scaled(HIDDEN) if activation == "relu" else sn.SignedSymmetric(HIDDEN)
    return sn.NeuronGraph(
        {"in": sn.Fixed(INPUTS), "h": group, "out": sn.Fixed(CLASSES)},
        {"0.weight": "h in", "0.bias": "h", "2.weight": "out h*", "2.bias": "out"},
    )


def classifiers(activation: str, count: int, seed: int) -> Networks:
    """Classifiers of warped clusters, trained all at once: learning rates, steps, label noise and start differ; target: accuracy."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    uniform = lambda low, high: low + (high - low) * torch.rand(count, generator=generator)  # noqa: E731
    centres, mixing = normal(3 * CLASSES, INPUTS) * 1.2, normal(INPUTS, INPUTS) / INPUTS**0.5

    def draw(size: int) -> tuple[Tensor, Tensor]:
        which = torch.randint(3 * CLASSES, (size,), generator=generator)
        points = centres[which] + 0.8 * normal(size, INPUTS)
        return torch.tanh(points @ mixing) * 2, which % CLASSES

    scale = uniform(math.log(0.5), math.log(2)).exp()[:, None, None]
    weights = {
        "0.weight": normal(count, HIDDEN, INPUTS) * scale / INPUTS**0.5,
        "0.bias": 0.1 * normal(count, HIDDEN),
        "2.weight": normal(count, CLASSES, HIDDEN) / HIDDEN**0.5,
        "2.bias": torch.zeros(count, CLASSES),
    }
    rates, lengths = uniform(math.log(0.01), math.log(0.5)).exp(), uniform(math.log(5), math.log(300)).exp()
    noise = uniform(0, 0.7)

    def outputs(x: Tensor) -> Tensor:
        hidden = ACTIVATIONS[activation](x @ weights["0.weight"].mT + weights["0.bias"][:, None])
        return hidden @ weights["2.weight"].mT + weights["2.bias"][:, None]

    for step in range(300):
        x, y = draw(64)
        wrong = torch.rand(count, 64, generator=generator) < noise[:, None]
        labels = torch.where(wrong, torch.randint(CLASSES, (count, 64), generator=generator), y)
        for tensor in weights.values():
            tensor.requires_grad_(True)
        loss = (
            F.cross_entropy(outputs(x).flatten(0, 1), labels.flatten(), reduction="none").view(count, 64).mean(1).sum()
        )
        gradients = torch.autograd.grad(loss, list(weights.values()))
        rate = torch.where(step < lengths, rates, 0.0)
        weights = {
            name: (w - rate.view(-1, *[1] * (w.ndim - 1)) * g).detach()
            for (name, w), g in zip(weights.items(), gradients, strict=True)
        }
    x, y = draw(4000)
    accuracy = (outputs(x).argmax(-1) == y).float().mean(1)
    return Networks({n: w.unsqueeze(-1) for n, w in weights.items()}, own_graph(activation), accuracy[:, None])


def adapters(count: int, seed: int, rank: int = 4) -> Networks:
    """Rank-4 adapters of both layers of one digits classifier, each trained on turned digits; targets: accuracy, and the turn."""
    digits = sn.data.digits()
    images = torch.as_tensor(digits.images).float().reshape(-1, 8, 8)
    images = images / images.max()
    labels = torch.as_tensor(digits.classes).long()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    train, test = order[:1200], order[1200:]
    base = _base_network(images[train].flatten(1), labels[train], generator)
    turns = torch.randint(4, (count,), generator=generator)
    turned = torch.stack([torch.rot90(images, k, (1, 2)).flatten(1) for k in range(4)])
    sizes = {"0": (32, rank, 64), "2": (10, rank, 32)}
    factors = {
        f"{n}.lora_A": torch.randn(count, rank, i, generator=generator) / i**0.5 for n, (_, _, i) in sizes.items()
    }
    factors |= {f"{n}.lora_B": torch.zeros(count, o, rank) for n, (o, _, _) in sizes.items()}
    uniform = lambda low, high: low + (high - low) * torch.rand(count, generator=generator)  # noqa: E731
    rates, lengths = uniform(math.log(0.02), math.log(0.3)).exp(), uniform(math.log(5), math.log(200)).exp()
    noise = uniform(0, 0.8)

    def outputs(x: Tensor) -> Tensor:
        for name in ("0", "2"):
            x = (
                x @ base[f"{name}.weight"].mT
                + base[f"{name}.bias"]
                + x @ factors[f"{name}.lora_A"].mT @ factors[f"{name}.lora_B"].mT
            )
            x = torch.relu(x) if name == "0" else x
        return x

    for step in range(200):
        chosen = train[torch.randint(len(train), (count, 32), generator=generator)]
        x, y = turned[turns[:, None], chosen], labels[chosen]
        wrong = torch.rand(count, 32, generator=generator) < noise[:, None]
        y = torch.where(wrong, torch.randint(10, (count, 32), generator=generator), y)
        for tensor in factors.values():
            tensor.requires_grad_(True)
        loss = F.cross_entropy(outputs(x).flatten(0, 1), y.flatten(), reduction="none").view(count, 32).mean(1).sum()
        gradients = torch.autograd.grad(loss, list(factors.values()))
        rate = torch.where(step < lengths, rates, 0.0).view(-1, 1, 1)
        factors = {n: (w - rate * g).detach() for (n, w), g in zip(factors.items(), gradients, strict=True)}
    held = test[:300]
    accuracy = (outputs(turned[turns][:, held]).argmax(-1) == labels[held]).float().mean(1)
    graph = sn.catalogue.lora(sizes)
    finite = torch.stack([f.isfinite().flatten(1).all(1) for f in factors.values()]).all(0)  # a few diverge
    found = Networks(
        {n: factors[n].unsqueeze(-1) for n in graph.tensors}, graph, torch.stack([accuracy, turns.float()], 1)
    )
    return found.at(finite.nonzero()[:, 0])


def _base_network(x: Tensor, y: Tensor, generator: torch.Generator) -> Features:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(400):
        chosen = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


# ---- readers ------------------------------------------------------------------------------------------------------------------------
class Reader(nn.Module):
    """Layers over features, then a perceptron on the vector they give."""

    def __init__(self, layers: nn.Module, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.layers = layers
        self.head = nn.Sequential(nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x: Features) -> Tensor:
        return self.head(self.layers(x))


class Beside(nn.Module):
    """Vectors of several branches, one after another."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Features) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], -1)


class Only(nn.Module):
    """Some tensors of the features."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def forward(self, x: Features) -> Features:
        return {name: x[name] for name in self.names}


class Flat(nn.Module):
    """All entries as one vector; with ``products`` those of ``lora_B @ lora_A`` instead."""

    def __init__(self, products: bool = False) -> None:
        super().__init__()
        self.products = products

    def forward(self, x: Features) -> Tensor:
        if self.products:
            names = [name.removesuffix(".lora_A") for name in x if name.endswith(".lora_A")]
            x = {name: x[f"{name}.lora_B"][..., 0] @ x[f"{name}.lora_A"][..., 0] for name in names}
        return torch.cat([tensor.flatten(1) for tensor in x.values()], -1)


def permuted(graph: sn.NeuronGraph) -> sn.NeuronGraph:
    """The graph with nothing but permutations."""
    moving = {n: sn.Symmetric(one.size) for n, one in graph.neurons.items() if not isinstance(one.group, sn.Fixed)}
    return graph.with_groups(moving)


def layers_over(
    graph: sn.NeuronGraph, function: Callable[[], nn.Module] = nn.ReLU, channels: int = 8
) -> list[nn.Module]:
    first, second = sn.nn.Linear(graph, 1, channels), sn.nn.Linear(graph, channels, channels)
    return [first, sn.nn.Pointwise(function()), second, sn.nn.Pointwise(function())]


def of_products(graph: sn.NeuronGraph, strand: str, channels: int = 32) -> nn.Module:
    """Products of two weights per neuron, then layers over neurons."""
    space = {"neuron": strand}
    product = sn.nn.Product(graph, 1, channels, outputs=space)
    mix = sn.nn.Linear(graph, channels, channels, inputs=space, outputs=space)
    parts = [product, sn.nn.Pointwise(nn.ReLU()), mix, sn.nn.Pointwise(nn.ReLU()), sn.nn.Pool(graph, inputs=space)]
    return nn.Sequential(*parts)


def to_scalars(graph: sn.NeuronGraph, channels: int) -> nn.Module:
    pairs = [(name, name.replace("lora_A", "lora_B")) for name in graph.tensors if name.endswith("lora_A")]
    space = {"scalar": ""}
    return nn.Sequential(
        sn.nn.Product(graph, channels, 32, outputs=space, pairs=pairs), sn.nn.Pool(graph, inputs=space)
    )


def zoo_readers(graph: sn.NeuronGraph) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, reader, and what is done to networks before: nothing, their normal form, or random moves in training."""
    simple = permuted(graph)
    pool = lambda: nn.Sequential(*layers_over(simple), sn.nn.Pool(simple))  # noqa: E731
    yield "permutations", Reader(pool(), 1), "nothing"
    yield "permutations and products", Reader(Beside(pool(), of_products(simple, "h")), 1), "nothing"
    own = Beside(of_products(graph, "h."), nn.Sequential(Only("2.bias"), sn.nn.Pool(graph, inputs=["2.bias"])))
    yield "own group", Reader(own, 1), "nothing"
    yield "normal form, permutations", Reader(pool(), 1), "normal form"
    yield "permutations, augmented", Reader(pool(), 1), "augmentation"
    yield "flat", Reader(Flat(), 1), "nothing"


def adapter_readers(graph: sn.NeuronGraph) -> Iterator[tuple[str, nn.Module, str]]:
    simple = permuted(graph)
    signed = graph.with_groups({n: sn.SignedSymmetric(s.size) for n, s in graph.neurons.items() if n.endswith(".r")})
    yield "GL layers and product", Reader(nn.Sequential(sn.nn.Linear(graph, 1, 4), to_scalars(graph, 4)), 5), "nothing"
    odd = [*layers_over(signed, nn.Tanh, 4), to_scalars(signed, 4)]
    yield "SVD normal form, signed layers", Reader(nn.Sequential(*odd), 5), "normal form"
    yield "explicit product, flat", Reader(Flat(products=True), 5), "nothing"
    yield "permutations of r", Reader(nn.Sequential(*layers_over(simple, channels=4), sn.nn.Pool(simple)), 5), "nothing"
    yield "flat", Reader(Flat(), 5), "nothing"


# ---- training and scores ------------------------------------------------------------------------------------------------------------
def prepared(networks: Networks, how: str) -> Features:
    if how != "normal form":
        return networks.weights
    normal, _ = sn.normal_form(networks.weights, networks.graph, batch_dims=1)
    return normal


def train(reader: nn.Module, data: Networks, how: str, steps: int, seed: int) -> Callable[[Networks], Tensor]:
    """A function from networks to predictions; tensors are divided by their spread over the training set."""
    generator = torch.Generator().manual_seed(seed)
    weights = prepared(data, how)
    copies = [data.moved(COPIES * seed + k).weights for k in range(COPIES)] if how == "augmentation" else []
    spread = {name: w.std().clamp_min(1e-6) for name, w in weights.items()}
    centre, width = data.targets[:, 0].mean(), data.targets[:, 0].std()

    def read(several: Features) -> Tensor:
        return reader({name: w / spread[name] for name, w in several.items()})

    read({name: w[:2] for name, w in weights.items()})
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(data), (48,), generator=generator)
        batch = data.at(chosen)
        source = copies[step % len(copies)] if copies else weights
        output = read({name: w[chosen] for name, w in source.items()})
        loss = (output[:, 0] - (batch.targets[:, 0] - centre) / width).square().mean()
        if output.shape[1] > 1:
            loss = loss + F.cross_entropy(output[:, 1:], batch.targets[:, 1].long())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def predict(networks: Networks) -> Tensor:
        output = read(prepared(networks, how))
        return torch.cat([output[:, :1] * width + centre, output[:, 1:]], 1)

    return predict


def scores(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    truth, guess = targets[:, 0], predictions[:, 0]
    found = {
        "tau": float(kendalltau(guess.numpy(), truth.numpy()).statistic),
        "R2": float(1 - (guess - truth).square().mean() / truth.var(correction=0)),
    }
    if predictions.shape[1] > 1:
        found["class"] = float((predictions[:, 1:].argmax(-1) == targets[:, 1]).float().mean())
    return found


def study(data: Networks, readers: Callable[[sn.NeuronGraph], Iterator], seeds: int, steps: int) -> list[dict]:
    rows = []
    for seed in range(seeds):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
        cut = 3 * len(data) // 4
        training, test = data.at(order[:cut]), data.at(order[cut:])
        moved = test.moved(1000 + seed)
        torch.manual_seed(seed)
        for name, reader, how in readers(data.graph):
            start = time.perf_counter()
            predict = train(reader, training, how, steps, seed)
            size = sum(p.numel() for p in reader.parameters())
            row = {"reader": name, "seed": seed, "parameters": size, "seconds": round(time.perf_counter() - start, 1)}
            row |= {kind: scores(predict(some), some.targets) for kind, some in (("natural", test), ("moved", moved))}
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


# ---- tables -------------------------------------------------------------------------------------------------------------------------
MEASURES = {"zoo": {"tau": "Kendall's tau"}, "adapters": {"tau": "quality, tau", "class": "data, accuracy"}}


def tables(results: Mapping[str, list[dict]]) -> str:
    """Markdown tables of saved results: mean and standard deviation over seeds, natural and moved."""
    return "\n\n".join(_table(name, rows) for name, rows in results.items())


def _table(name: str, rows: list[dict]) -> str:
    measures = MEASURES.get(name, MEASURES["zoo"])
    columns = [(kind, measure) for measure in measures for kind in ("natural", "moved")]
    seeds = len({row["seed"] for row in rows})
    head = f"| {name}, {seeds} seeds | parameters | " + " | ".join(f"{measures[m]}, {kind}" for kind, m in columns) + " |"
    lines = [head, "|---|---" + "|---" * len(columns) + "|"]
    for reader in dict.fromkeys(row["reader"] for row in rows):
        several = [row for row in rows if row["reader"] == reader]
        cells = []
        for kind, measure in columns:
            values = np.array([row[kind][measure] for row in several])
            cells.append(f"{values.mean():.2f} ± {values.std():.2f}")
        lines.append(f"| {reader} | {several[0]['parameters']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["zoo", "adapters", "tables"])
    parser.add_argument("--only", choices=list(ACTIVATIONS), help="one activation of the zoo")
    parser.add_argument("--quick", action="store_true", help="one seed, few networks and steps: does it run?")
    options = parser.parse_args()
    if options.what == "tables":
        print(tables(json.loads(RESULTS.read_text())))
        return
    count, seeds, steps = (80, 1, 20) if options.quick else (600, 3, 250)
    names = ([options.only] if options.only else list(ACTIVATIONS)) if options.what == "zoo" else ["adapters"]
    for name in names:
        zoo = options.what == "zoo"
        data = classifiers(name, count, 0) if zoo else adapters(count, 0)
        rows = study(data, zoo_readers if zoo else adapter_readers, seeds, steps)
        if not options.quick:
            saved: Mapping = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps({**saved, name: rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
