"""Do symmetries beyond permutations matter to readers of weights? Two small studies, each on
natural and on moved networks.

    python -m benchmarks.symmetry_readers zoo        # ReLU, tanh and sine networks: their accuracy,
    read from their weights python -m benchmarks.symmetry_readers adapters   # LoRA adapters:
    quality and data, read from their factors python -m benchmarks.symmetry_readers zoo --quick
    python -m benchmarks.symmetry_readers tables     # of the saved results, in Markdown

"Moved" networks compute the same functions: a random element of their own group (with scales
between 1/e and e, signs, invertible maps) was applied. Results go to
``benchmarks/results/symmetry_readers.json``; the tables in ``docs/tasks/symmetries.md`` are made
from them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.nn import functional as F

import symnet as sn
from benchmarks.symmetry_networks import ACTIVATIONS, Features, Networks, adapters, classifiers

RESULTS = Path(__file__).parent / "results" / "symmetry_readers.json"
COPIES = 4  # moved copies of the training set, for augmentation


# ---- readers -------------------------------------------------------------------------------------
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
    moving = {
        n: sn.Symmetric(one.size)
        for n, one in graph.neurons.items()
        if not isinstance(one.group, sn.Fixed)
    }
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
    parts = [
        product,
        sn.nn.Pointwise(nn.ReLU()),
        mix,
        sn.nn.Pointwise(nn.ReLU()),
        sn.nn.Pool(graph, inputs=space),
    ]
    return nn.Sequential(*parts)


def to_scalars(graph: sn.NeuronGraph, channels: int) -> nn.Module:
    pairs = [
        (name, name.replace("lora_A", "lora_B"))
        for name in graph.tensors
        if name.endswith("lora_A")
    ]
    space = {"scalar": ""}
    return nn.Sequential(
        sn.nn.Product(graph, channels, 32, outputs=space, pairs=pairs),
        sn.nn.Pool(graph, inputs=space),
    )


def zoo_readers(graph: sn.NeuronGraph) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, reader, and what is done to networks before: nothing, their normal form, or random
    moves in training.
    """
    simple = permuted(graph)
    pool = lambda: nn.Sequential(*layers_over(simple), sn.nn.Pool(simple))  # noqa: E731
    yield "permutations", Reader(pool(), 1), "nothing"
    yield (
        "permutations and products",
        Reader(Beside(pool(), of_products(simple, "h")), 1),
        "nothing",
    )
    own = Beside(
        of_products(graph, "h."),
        nn.Sequential(Only("2.bias"), sn.nn.Pool(graph, inputs=["2.bias"])),
    )
    yield "own group", Reader(own, 1), "nothing"
    yield "normal form, permutations", Reader(pool(), 1), "normal form"
    yield "permutations, augmented", Reader(pool(), 1), "augmentation"
    yield "flat", Reader(Flat(), 1), "nothing"


def adapter_readers(graph: sn.NeuronGraph) -> Iterator[tuple[str, nn.Module, str]]:
    simple = permuted(graph)
    signed = graph.with_groups(
        {n: sn.SignedSymmetric(s.size) for n, s in graph.neurons.items() if n.endswith(".r")}
    )
    yield (
        "GL layers and product",
        Reader(nn.Sequential(sn.nn.Linear(graph, 1, 4), to_scalars(graph, 4)), 5),
        "nothing",
    )
    odd = [*layers_over(signed, nn.Tanh, 4), to_scalars(signed, 4)]
    yield "SVD normal form, signed layers", Reader(nn.Sequential(*odd), 5), "normal form"
    yield "explicit product, flat", Reader(Flat(products=True), 5), "nothing"
    yield (
        "permutations of r",
        Reader(nn.Sequential(*layers_over(simple, channels=4), sn.nn.Pool(simple)), 5),
        "nothing",
    )
    yield "flat", Reader(Flat(), 5), "nothing"


# ---- training and scores -------------------------------------------------------------------------
def prepared(networks: Networks, how: str) -> Features:
    if how != "normal form":
        return networks.weights
    normal, _ = sn.normal_form(networks.weights, networks.graph, batch_dims=1)
    return normal


def train(
    reader: nn.Module, data: Networks, how: str, steps: int, seed: int
) -> Callable[[Networks], Tensor]:
    """A function from networks to predictions; tensors are divided by their spread over the
    training set.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = prepared(data, how)
    copies = (
        [data.moved(COPIES * seed + k).weights for k in range(COPIES)]
        if how == "augmentation"
        else []
    )
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


def study(
    data: Networks, readers: Callable[[sn.NeuronGraph], Iterator], seeds: int, steps: int
) -> list[dict]:
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
            row = {
                "reader": name,
                "seed": seed,
                "parameters": size,
                "seconds": round(time.perf_counter() - start, 1),
            }
            row |= {
                kind: scores(predict(some), some.targets)
                for kind, some in (("natural", test), ("moved", moved))
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


# ---- tables --------------------------------------------------------------------------------------
MEASURES = {
    "zoo": {"tau": "Kendall's tau"},
    "adapters": {"tau": "quality, tau", "class": "data, accuracy"},
}


def tables(results: Mapping[str, list[dict]]) -> str:
    """Markdown tables of saved results: mean and standard deviation over seeds, natural and
    moved.
    """
    return "\n\n".join(_table(name, rows) for name, rows in results.items())


def _table(name: str, rows: list[dict]) -> str:
    measures = MEASURES.get(name, MEASURES["zoo"])
    columns = [(kind, measure) for measure in measures for kind in ("natural", "moved")]
    seeds = len({row["seed"] for row in rows})
    head = (
        f"| {name}, {seeds} seeds | parameters | "
        + " | ".join(f"{measures[m]}, {kind}" for kind, m in columns)
        + " |"
    )
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["zoo", "adapters", "tables"])
    parser.add_argument("--only", choices=list(ACTIVATIONS), help="one activation of the zoo")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, few networks and steps: does it run?"
    )
    options = parser.parse_args()
    if options.what == "tables":
        print(tables(json.loads(RESULTS.read_text())))
        return
    count, seeds, steps = (80, 1, 20) if options.quick else (600, 3, 250)
    names = (
        ([options.only] if options.only else list(ACTIVATIONS))
        if options.what == "zoo"
        else ["adapters"]
    )
    for name in names:
        zoo = options.what == "zoo"
        data = classifiers(name, count, 0) if zoo else adapters(count, 0)
        rows = study(data, zoo_readers if zoo else adapter_readers, seeds, steps)
        if not options.quick:
            saved: Mapping = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps({**saved, name: rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
