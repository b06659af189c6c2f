"""``symnet prune`` and ``symnet widen``: files, checks on the module, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import symnet as sn
from tests.cli.running import run

MODEL = """\
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 1)), torch.randn(5, 2)

class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 1)
    def forward(self, x):
        return self.b(torch.tanh(self.a(x)) / self.a.weight.shape[0])

def sized():
    return Sized(), torch.randn(5, 2)
"""


@pytest.fixture
def weights(folder: Path) -> Path:
    (folder / "cut_nets.py").write_text(MODEL)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        *(
            torch.nn.Linear(a, b) if a else torch.nn.Tanh()
            for a, b in ((2, 8), (0, 0), (8, 6), (0, 0), (6, 1))
        )
    )
    sn.files.write_state_file(folder / "net.pt", net.state_dict())
    return folder


def test_prune_keeps_the_neurons_with_the_largest_scores(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            "prune",
            "net.pt",
            "--arch",
            "mlp:2-8-6-1",
            "--keep",
            "h1=3",
            "-o",
            "small.pt",
            "--graph",
            "s.symnet",
            "--json",
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["sets"] == {"h1": [8, 3]} and found["written"] == "small.pt"
    state, graph = sn.files.read_state_file("net.pt"), sn.catalogue.mlp([2, 8, 6, 1])
    scores = sn.surgery.importance(state, graph, "l2")
    expected = sn.surgery.keep(state, graph, sn.surgery.choose(scores, graph, {"h1": 3}))
    written = sn.files.read_state_file("small.pt")
    assert all(torch.equal(written[n], t) for n, t in expected.weights.items())
    assert sn.load("s.symnet") == expected.graph


def test_prune_and_widen_are_checked_on_the_module(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            "prune",
            "net.pt",
            "--module",
            "cut_nets:net",
            "--keep",
            "0.5",
            "--together",
            "-o",
            "a.safetensors",
        )
        == 0
    )
    output = " ".join(capsys.readouterr().out.split())
    assert "checked on the module" in output and "Written to a.safetensors." in output
    assert (
        run(
            "widen",
            "net.pt",
            "--module",
            "cut_nets:net",
            "--to",
            "layer0=12",
            "--noise",
            "0.1",
            "-o",
            "b.pt",
        )
        == 0
    )
    wide, state = sn.files.read_state_file("b.pt"), sn.files.read_state_file("net.pt")
    torch.testing.assert_close(wide["2.weight"].sum(1), state["2.weight"].sum(1))


def test_a_network_that_depends_on_a_size_fails_the_check(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = {
        "a.weight": torch.randn(8, 2),
        "a.bias": torch.randn(8),
        "b.weight": torch.randn(1, 8),
        "b.bias": torch.randn(1),
    }
    sn.files.write_state_file("sized.pt", net)
    assert (
        run("prune", "sized.pt", "--module", "cut_nets:sized", "--keep", "0.5", "-o", "c.pt") == 1
    )
    assert "outputs are off by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["prune", "net.pt", "--keep", "0.5", "-o", "x.pt"], "Say what the weights belong to"),
        (
            ["prune", "net.pt", "--arch", "mlp:2-8-6-1", "--keep", "h9=0.5", "-o", "x.pt"],
            "'h9', which is no neuron set",
        ),
        (
            ["prune", "net.pt", "--arch", "mlp:2-8-6-1", "--keep", "many", "-o", "x.pt"],
            "write a share such as 0.5",
        ),
        (
            [
                "prune",
                "net.pt",
                "--arch",
                "mlp:2-8-6-1",
                "--keep",
                "0.5",
                "--keep",
                "h1=2",
                "-o",
                "x.pt",
            ],
            "is for all sets",
        ),
        (
            ["prune", "net.pt", "--arch", "mlp:2-8-6-1", "--keep", "1.0", "-o", "x.pt"],
            "Every neuron stays",
        ),
        (
            ["prune", "net.pt", "--arch", "mlp:2-8-6-1", "--keep", "0.5", "-o", "net.pt"],
            "is where the weights are read from",
        ),
        (
            ["prune", "none.pt", "--arch", "mlp:2-8-6-1", "--keep", "0.5", "-o", "x.pt"],
            "There is no file none.pt",
        ),
        (
            ["prune", "net.pt", "--arch", "mlp:2-9-6-1", "--keep", "0.5", "-o", "x.pt"],
            "'0.weight' has axes",
        ),
        (
            ["widen", "net.pt", "--arch", "mlp:2-8-6-1", "--to", "h1", "-o", "x.pt"],
            "write SET=SIZE",
        ),
        (
            ["widen", "net.pt", "--arch", "mlp:2-8-6-1", "--to", "h1=4", "-o", "x.pt"],
            "it has 8 neurons",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    weights: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert problem in error and error.count("\n") == 1 and not Path("x.pt").exists()


def test_nothing_is_overwritten_without_force(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("prune", "net.pt", "--arch", "mlp:2-8-6-1", "--keep", "0.5", "-o", "out.pt")
    Path("out.pt").write_text("mine")
    assert run(*arguments) == 2
    assert Path("out.pt").read_text() == "mine"
    assert run(*arguments, "--force") == 0
    assert sn.files.read_state_file("out.pt")["0.weight"].shape == (4, 2)
