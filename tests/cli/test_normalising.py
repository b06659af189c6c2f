"""Laws of ``symnet normalise`` and ``symnet trace --groups all``: what is written computes the same, in one form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import symnet as sn
from tests.cli.running import run

MODULE = ("--module", "cli_example_modules:mlp_with_inputs")  # tanh


@pytest.fixture
def networks(folder: Path) -> dict[str, torch.Tensor]:
    """a.pt, and b.pt: the same with signs of its neurons changed."""
    torch.manual_seed(0)
    graph = sn.load("small.symnet").with_groups({"h": sn.SignedSymmetric(4)})
    graph.save("signed.symnet")
    first = {name: torch.randn(shape) for name, shape in graph.shapes.items()}
    sn.data.write_state_file("a.pt", first)
    sn.data.write_state_file("b.pt", graph.act(graph.random_element(seed=3), first))
    return first


def test_both_files_go_to_one_form(
    networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    """With the module: found, verified, written. Up to the order of neurons, which is left."""
    assert run("normalise", "a.pt", *MODULE, "-o", "a2.pt", "--graph", "left.symnet", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (
        said["same_function"] is True
        and "sums of cubes" in said["removed"][-1]
        and said["written"] == "a2.pt"
    )
    assert run("normalise", "b.pt", "--arch", "signed.symnet", "-o", "b2.pt") == 0
    assert "Not verified" in capsys.readouterr().out
    forms = [sn.data.read_state_file(name) for name in ("a2.pt", "b2.pt")]
    found = sn.align(*forms, sn.load("left.symnet"))
    assert found.distance_after < 1e-6
    assert not torch.equal(
        sn.data.read_state_file("a.pt")["0.weight"], sn.data.read_state_file("b.pt")["0.weight"]
    )
    assert all(tensor.dtype == torch.float32 for tensor in forms[0].values())


def test_a_graph_that_is_none_of_the_networks_fails(networks: dict[str, torch.Tensor]) -> None:
    """Scales under tanh: written, told, and exit code 1."""
    text = (
        Path("small.symnet")
        .read_text()
        .replace("Symmetric(4)", "Scaled(4)")
        .replace("out h\n", "out h*\n")
    )
    Path("wrong.symnet").write_text(text)
    assert run("normalise", "a.pt", "--arch", "wrong.symnet", *MODULE) == 1


def test_a_graph_of_permutations_has_nothing_to_remove(
    networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("normalise", "a.pt", "--arch", "small.symnet", *MODULE) == 0
    assert "nothing: the graph has permutations only" in capsys.readouterr().out


def test_an_architecture_is_needed(
    networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("normalise", "a.pt") == 2
    assert "--module" in capsys.readouterr().err


def test_trace_finds_all_groups(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trace", "cli_example_modules:mlp_with_inputs", "--groups", "all") == 0
    assert "SignedSymmetric(4)" in capsys.readouterr().out
