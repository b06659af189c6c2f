"""Weight matching side by side with rebasin: ``pip install rebasin``, then ``python -m benchmarks.matching``.

Both packages align the same two networks, drawn from different seeds; for every planted case the second is the first with noise, its
neurons moved. Shown are the distance after alignment relative to before, the error of the second network's function (0 is
right), and the seconds. rebasin's reading of the network is part of its time; symnet is given the graph. Run it from a checkout: the networks
are those of the tests. The packages look at weights only, no activations.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

import symnet as sn
from tests.graph.test_catalogue import CASES, ResNet, conv_stack

C = sn.catalogue


@dataclass(frozen=True)
class Pair:
    """Two networks to be brought together."""

    graph: sn.NeuronGraph
    a: nn.Module
    b: nn.Module
    x: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a package made of a pair."""

    distance: float
    error: float  # of the second network's outputs, relative to the largest
    seconds: float

    def __str__(self) -> str:
        return f"{self.distance:9.4f} {self.error:9.1e} {self.seconds:8.2f}"


def make_mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def networks(
    large: bool,
) -> dict[str, tuple[sn.NeuronGraph, Callable[[], nn.Module], tuple[int, ...]]]:
    """By name: graph, how the network is made, shape of an input."""
    found: dict[str, tuple[sn.NeuronGraph, Callable[[], nn.Module], tuple[int, ...]]] = {
        "MLP 64-128-128-10": (C.mlp([64, 128, 128, 10]), make_mlp, (4, 64)),
        "CNN, global pool": (
            C.cnn([3, 32, 64], classes=10),
            lambda: conv_stack(
                2, (3, 32, 64), False, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
            ),
            (4, 3, 8, 8),
        ),
        "CNN, flattened": (
            C.cnn([3, 32, 64], classes=10, head="flatten", positions=(4, 4), pooling=True),
            lambda: conv_stack(2, (3, 32, 64), True, nn.Flatten(), nn.Linear(1024, 10)),
            (4, 3, 16, 16),
        ),
        "ResNet, 2 stages": (
            C.resnet((3, 16, 32), (2, 2), 10, stem=3),
            lambda: ResNet((3, 16, 32), (2, 2), 10, 3),
            (2, 3, 8, 8),
        ),
    }
    for name in (
        "rnn, two layers, both directions",
        "attention",
        "grouped-query attention",
        "experts",
    ):
        case = CASES[name]
        found[name] = (case.graph("fixed"), case.model, case.shape)
    if large:
        widths = (3, 64, 128, 256, 512)
        found["ResNet-18"] = (
            C.resnet(),
            lambda: ResNet(widths, (2, 2, 2, 2), 1000, 7),
            (1, 3, 32, 32),
        )
    return found


def make_pair(name: str, planted: bool, large: bool) -> Pair:
    graph, make, shape = networks(large)[name]
    torch.manual_seed(0)
    a, b = make().eval(), make().eval()
    if planted:
        state = a.state_dict()
        moved = {
            key: state[key] + 0.3 * state[key].std() * torch.randn(shape)
            for key, shape in graph.shapes.items()
        }
        positive = {key: moved[key].abs() for key in moved if key.endswith("running_var")}
        b.load_state_dict({**state, **graph.act(graph.random_element(seed=1), moved | positive)})
    return Pair(graph, a, b, torch.randn(shape))


def judge(pair: Pair, state: dict[str, Tensor], seconds: float) -> Outcome:
    """Distance and function of the moved network, with what it was asked to be."""
    twin = copy.deepcopy(pair.b).double()
    with torch.no_grad():
        before = twin(pair.x.double())
        twin.load_state_dict(state)
        after = twin(pair.x.double())
    first, second = (
        tensor if isinstance(tensor, Tensor) else tensor[0] for tensor in (before, after)
    )
    error = float((first - second).abs().max() / first.abs().max())
    own, old = pair.a.state_dict(), pair.b.state_dict()

    def distance(other: dict[str, Tensor]) -> float:
        return (
            sum(
                float((own[n].double() - other[n].double()).square().sum())
                for n in pair.graph.shapes
            )
            ** 0.5
        )

    return Outcome(distance(state) / distance(old), error, seconds)


def with_symnet(pair: Pair) -> Outcome:
    start = time.perf_counter()
    found = sn.align(pair.a, pair.b, pair.graph)
    return judge(pair, dict(found.aligned), time.perf_counter() - start)


def with_rebasin(pair: Pair) -> Outcome | str:
    if find_spec("rebasin") is None:
        return "not installed"
    from rebasin import PermutationCoordinateDescent

    moved = copy.deepcopy(pair.b)
    start = time.perf_counter()
    try:
        PermutationCoordinateDescent(pair.a, moved, pair.x).rebasin()
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        return f"raises {type(error).__name__}"
    return judge(pair, moved.state_dict(), time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large", action="store_true", help="also two networks of ResNet-18's size"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = f"{'distance':>9} {'error':>9} {'seconds':>8}"
    print(
        f"{'':34} {'second':8} | {'symnet':>28} | {'rebasin':>28}\n{'':43} | {columns} | {columns}"
    )
    for name in networks(arguments.large):
        for planted in (True, False):
            pair = make_pair(name, planted, arguments.large)
            kind = "planted" if planted else "other"
            print(
                f"{name:34} {kind:8} | {with_symnet(pair)} | {with_rebasin(pair)!s:>28}", flush=True
            )


if __name__ == "__main__":
    main()
