"""Readings and scales inside networks: invariant, set once from data, saved to the last bit."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

import symnet as sn
from symnet.nn.readings import InputScale, PathNumbers
from tests.tolerances import assert_close


def networks(
    count: int = 4,
) -> tuple[nn.Module, torch.Tensor, sn.NeuronGraph, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    modules = [
        nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
        ).eval()
        for _ in range(count)
    ]
    images = torch.rand(2, 1, 8, 8)
    graph = sn.trace(modules[0], images)
    return modules[0], images, graph, sn.features(modules, graph)


def calibrated(network: nn.Module, x: dict[str, torch.Tensor]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few networks
        return network.calibrate(x).eval()


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 0, "statistics": True},
        {"channels": 0, "path": True},
        {"channels": 2, "path": True, "statistics": True, "moments": ("mean", "spread", "largest")},
    ],
)
def test_readers_without_a_module_are_invariant(options) -> None:
    _, _, graph, x = networks()
    reader = calibrated(sn.nn.InvariantNetwork(graph, outputs=2, **options), x)
    assert reader(x).shape == (4, 2)
    report = sn.verify.equivariance(reader, graph, seed=0, trials=2)
    assert report.passed, report


def test_readers_with_a_module_are_invariant_and_every_parameter_learns() -> None:
    module, images, graph, x = networks()
    options = {"statistics": True, "path": True, "probes": 5, "module": module, "example": images}
    reader = calibrated(sn.nn.InvariantNetwork(graph, 2, 2, **options), x)
    report = sn.verify.equivariance(reader, graph, seed=0, trials=2)
    assert report.passed, report
    reader.train()(x).square().sum().backward()
    idle = [n for n, p in reader.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not [name for name in idle if "readings" in name or "head" in name], idle
    assert not [n for n, _ in reader.named_parameters() if ".sources." in n]


def test_scales_are_those_of_the_networks_to_learn_from_and_are_saved() -> None:
    _, _, graph, x = networks()
    large = {name: 100 * value for name, value in x.items()}
    scale = InputScale(graph.weights)
    scale.calibrate(large)
    assert_close(
        {n: v.square().mean() for n, v in scale(large).items()},
        {n: torch.ones(()) for n in large},
        torch.float32,
    )
    reader = sn.nn.InvariantNetwork(graph, 2, 1)
    before = reader(x)
    calibrated(reader, large)
    assert (
        torch.allclose(reader(large), calibrated(sn.nn.InvariantNetwork(graph, 2, 1), x)(x))
        is False
    )
    again = sn.nn.InvariantNetwork(graph, 2, 1)
    again.load_state_dict(reader.state_dict())
    assert torch.equal(again(large), reader(large)) and not torch.equal(before, reader(x))
    editor = sn.nn.EquivariantNetwork(graph, 2).calibrate(large)
    assert torch.equal(editor.scale.deviation, scale.deviation)


SCRIPT = """
import sys, torch, symnet as sn
from torch import nn
module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)).eval()
reader = sn.nn.load(sys.argv[1], module=module)
x = torch.load(sys.argv[2])
torch.save(reader(x).detach(), sys.argv[3])
"""


def test_a_saved_reader_gives_the_same_answers_in_a_new_process_to_the_last_bit(tmp_path) -> None:
    module, images, graph, x = networks()
    options = {
        "statistics": True,
        "path": True,
        "probes": torch.rand(3, 1, 8, 8),
        "module": module,
        "example": images,
    }
    reader = calibrated(
        sn.nn.InvariantNetwork(graph, 2, 2, moments=("mean", "spread"), **options), x
    )
    files = [str(tmp_path / name) for name in ("reader.safetensors", "x.pt", "y.pt")]
    sn.nn.save(reader, files[0])
    torch.save(x, files[1])
    with pytest.raises(sn.SymnetError, match=r"load\(path, module=module\)"):
        sn.nn.load(files[0])
    subprocess.run([sys.executable, "-c", SCRIPT, *files], check=True)
    assert torch.equal(torch.load(files[2]), reader(x).detach())


def test_a_size_is_chosen_that_fits_and_the_repr_says_how_large_it_is() -> None:
    module, images, graph, _ = networks()
    for options in (
        {},
        {"path": True, "statistics": True, "probes": 64, "module": module, "example": images},
    ):
        reader = sn.nn.InvariantNetwork(graph, **options)
        count = sum(p.numel() for p in reader.parameters())
        assert count <= 300_000
        assert f"{count:,} parameters, {count / graph.weights.size:.3g} for each weight" in repr(
            reader
        )
    with pytest.warns(UserWarning, match="networks are few to learn"):
        reader.calibrate(sn.features([module], graph))


def test_the_numbers_of_a_product_have_no_scale_and_wide_ends_are_projected() -> None:
    graph = sn.catalogue.mlp([3, 8, 2])
    numbers = PathNumbers(sn.nn.PathProduct(graph, hidden=False))
    x = {
        name: torch.randn(4, *shape, 1, dtype=torch.float64) for name, shape in graph.shapes.items()
    }
    one, other = numbers(x), numbers({name: 3 * value for name, value in x.items()})
    assert one.shape == (4, 2 * 3 + 1 + 2) and torch.allclose(one[:, :7], other[:, :7])
    wide = PathNumbers(sn.nn.PathProduct(sn.catalogue.mlp([3000, 4, 2]), hidden=False))
    x = {
        name: torch.randn(1, *shape, 1)
        for name, shape in sn.catalogue.mlp([3000, 4, 2]).shapes.items()
    }
    assert wide(x).shape[1] == 4096 + 1 + 2
    zero = numbers(
        {name: torch.zeros(1, *shape, 1).double() for name, shape in graph.shapes.items()}
    )
    assert bool(zero.isfinite().all())


def test_errors_say_what_is_missing() -> None:
    module, _, graph, _ = networks()
    with pytest.raises(sn.ShapeError, match="channels=0 leaves no layers"):
        sn.nn.InvariantNetwork(graph, 0, 1)
    with pytest.raises(sn.ShapeError, match="give example="):
        sn.nn.InvariantNetwork(graph, 0, 1, path=True, module=module)
    with pytest.raises(sn.ShapeError, match="probes= needs module="):
        sn.nn.InvariantNetwork(graph, 0, 1, probes=8)
