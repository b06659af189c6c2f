"""How well readers predict the accuracy of networks from their weights: Kendall's tau on networks that no reader was trained on.

    python -m benchmarks.readers --architecture cnn --networks 600 --seed 1719

The zoo is made, or found in the folder. Three splits; every reader is an ``InvariantNetwork`` with the options that its row names, trained
alike (the recipe was fixed before on other zoos); trees are gradient boosting on the same statistics. Rows with probes use the networks'
forward function, rows with "module" know their wiring (strides, padding, norms), the others the graph and the weights alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor, nn

import symnet as sn
from symnet.tasks.configuration import ZooCorpus
from symnet.tasks.zoo import Zoo, load_zoo
from symnet.tasks.zoo_modules import MODULES

SEEDS = (0, 1, 2)
STEPS, BATCH = 300, 64
RESULTS = Path(__file__).parent / "results"


class PlainCNN(nn.Module):
    """The zoo's plain CNN, ``(images, activations, classes)``: a network does not tell which activation it was trained with."""

    def __init__(self, *activations: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activations = activations
        for name, channels in (("0", 1), ("2", 16), ("4", 16)):
            self.add_module(name, nn.Conv2d(channels, 16, 3, stride=2, padding=1))
        self.add_module("8", nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self._logits(x, activation) for activation in self.activations], dim=1)

    def _logits(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        for name in "024":
            x = activation(self.get_submodule(name)(x))
        return self.get_submodule("8")(x.mean((2, 3)))


def module_of(architecture: str, probes: bool) -> nn.Module:
    """A module whose tensors are named as the zoo's are; for probes plain CNNs are run with both activations."""
    if architecture != "cnn":
        return MODULES[architecture]().eval()
    return (PlainCNN(torch.relu, torch.tanh) if probes else PlainCNN(torch.relu)).eval()


ROWS: dict[str, dict[str, Any]] = {
    "statistics": {"statistics": True},
    "path product, graph alone": {"path": True},
    "path product, module": {"path": True, "module": True},
    "statistics + path product, graph alone": {"statistics": True, "path": True},
    "statistics + path product, module": {"statistics": True, "path": True, "module": True},
    "probes": {"probes": 64, "module": True},
    "probes + statistics": {"probes": 64, "statistics": True, "module": True},
    "probes + statistics + path product": {
        "probes": 64,
        "statistics": True,
        "path": True,
        "module": True,
    },
}


def reader(
    row: dict[str, Any], graph: sn.NeuronGraph, architecture: str, channels: int | None
) -> sn.nn.InvariantNetwork:
    """The network of a row."""
    options = {name: value for name, value in row.items() if name != "module"}
    if row.get("module"):
        options |= {
            "module": module_of(architecture, "probes" in row),
            "example": torch.zeros(2, 1, 8, 8),
        }
    return sn.nn.InvariantNetwork(graph, channels, 1, **options)


def train(
    network: sn.nn.InvariantNetwork, x: dict[str, Tensor], accuracy: Tensor, seed: int
) -> None:
    """Binary cross-entropy with the accuracy, and half of it of which of two networks is better."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    call, x = steps_of(network, x)
    network.train()
    for _ in range(STEPS):
        rows = torch.randint(len(accuracy), (min(BATCH, len(accuracy)),), generator=generator)
        score = call({name: tensor[rows] for name, tensor in x.items()})[:, 0]
        target = accuracy[rows]
        loss = nn.functional.binary_cross_entropy_with_logits(score, target)
        better = (target[:, None] > target[None, :]).float()
        ranking = nn.functional.softplus(-(score[:, None] - score[None, :])) * better
        loss = loss + 0.5 * ranking.sum() / better.sum().clamp_min(1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def steps_of(
    network: sn.nn.InvariantNetwork, x: dict[str, Tensor]
) -> tuple[Callable[[Any], Tensor], dict[str, Tensor]]:
    """What a step calls, and on what: a network without layers has its readings taken once."""
    if network.body is not None or network.readings is None:
        return network, x
    readings, head = network.readings, network.head
    with torch.no_grad():
        return (lambda taken: head(readings.mix(taken))), readings.read(x)


def tau_of(network: nn.Module, x: dict[str, Tensor], accuracy: Tensor) -> float:
    with torch.no_grad():
        return float(kendalltau(network(x)[:, 0].numpy(), accuracy.numpy()).statistic)


def measure(zoo: Zoo, architecture: str, layers: bool) -> list[dict[str, Any]]:
    """A row for every reader: tau on each split, parameters, seconds."""
    graph = zoo.graph
    x = {name: tensor.float().unsqueeze(-1) for name, tensor in zoo.weights.items()}
    rows: list[dict[str, Any]] = [
        {"model": "statistics, trees", "tau": [], "parameters": 0, "seconds": 0.0}
    ]
    statistics = sn.nn.Statistics(graph)(x).numpy()
    for seed in SEEDS:
        parts = zoo.parts(seed)
        learn = torch.cat([parts.train, parts.validation])
        trees = HistGradientBoostingRegressor(random_state=seed).fit(
            statistics[learn], zoo.accuracy[learn].numpy()
        )
        predicted = trees.predict(statistics[parts.test])
        rows[0]["tau"].append(
            float(kendalltau(predicted, zoo.accuracy[parts.test].numpy()).statistic)
        )
    show(rows[0])
    chosen = {
        **ROWS,
        **(
            {
                "layers, statistics and path product, module": ROWS[
                    "statistics + path product, module"
                ]
            }
            if layers
            else {}
        ),
    }
    for name, row in chosen.items():
        result: dict[str, Any] = {"model": name, "tau": []}
        start = time.perf_counter()
        for seed in SEEDS:
            parts = zoo.parts(seed)
            learn = torch.cat([parts.train, parts.validation])
            torch.manual_seed(seed)
            network = reader(row, graph, architecture, None if name.startswith("layers") else 0)
            network.calibrate({n: t[learn] for n, t in x.items()})
            train(network, {n: t[learn] for n, t in x.items()}, zoo.accuracy[learn], seed)
            result["tau"].append(
                tau_of(network, {n: t[parts.test] for n, t in x.items()}, zoo.accuracy[parts.test])
            )
        result |= {
            "parameters": sum(p.numel() for p in network.parameters()),
            "seconds": (time.perf_counter() - start) / len(SEEDS),
        }
        show(result)
        rows.append(result)
    return rows


def show(row: dict[str, Any]) -> None:
    tau = torch.tensor(row["tau"])
    print(
        f"{row['model']:<45} {tau.mean():.3f} +- {tau.std():.3f}  {row['parameters']:>8,}  {row['seconds']:6.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", choices=("cnn", "residual", "transformer"), default="cnn")
    parser.add_argument("--networks", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1719, help="of the zoo")
    parser.add_argument("--folder", type=Path, default=Path(".symnet"), help="where zoos are kept")
    parser.add_argument(
        "--layers",
        action="store_true",
        help="also NF-Layers of the default size, which take minutes",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = ZooCorpus(
        architecture=arguments.architecture, networks=arguments.networks, seed=arguments.seed
    )
    zoo = load_zoo(corpus, arguments.folder)
    print(
        f"{len(zoo.accuracy)} networks, {arguments.architecture}, zoo of seed {arguments.seed}; tau, parameters, seconds a split"
    )
    rows = measure(zoo, arguments.architecture, arguments.layers)
    write(rows, arguments, len(zoo.accuracy))


def write(rows: list[dict[str, Any]], arguments: argparse.Namespace, count: int) -> None:
    """The table, as text and as numbers."""
    name = f"readers-{arguments.architecture}"
    head = f"{arguments.architecture}, {count} networks (three fifths and one fifth to learn from, one to report), zoo of seed {arguments.seed}"
    lines = [
        f"# Readers: {head}",
        "",
        "| model | tau | parameters | seconds a split |",
        "|---|---|---|---|",
    ]
    for row in rows:
        tau = torch.tensor(row["tau"])
        lines.append(
            f"| {row['model']} | {tau.mean():.3f} ± {tau.std():.3f} | {row['parameters']:,} | {row['seconds']:.1f} |"
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    described = {
        "architecture": arguments.architecture,
        "networks": count,
        "seed": arguments.seed,
        "rows": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
