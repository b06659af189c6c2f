"""symnet merge, lineage and audit: results, exit codes, and nothing overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import symnet as sn
from symnet.files import read_state_file, write_state_file
from tests.cli import running

ARCH = "mlp:32-48-48-8"
GRAPH = sn.catalogue.mlp([32, 48, 48, 8])


class Outcome(NamedTuple):
    code: int
    output: str
    errors: str


Command = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs one command: its exit code, and what it printed."""

    def command(*arguments: str) -> Outcome:
        code = running.run(*arguments)
        return Outcome(code, *capsys.readouterr())

    return command


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A network, its disguised child with a little noise, an exact copy in another order, and a stranger."""
    generator = torch.Generator().manual_seed(0)
    a, other = (
        {n: torch.randn(s, generator=generator) for n, s in GRAPH.shapes.items()} for _ in range(2)
    )
    child = {n: t + 0.1 * torch.randn(t.shape, generator=generator) for n, t in a.items()}
    networks = {"a": a, "child": GRAPH.act(GRAPH.random_element(1), child), "other": other}
    networks["copy"] = GRAPH.act(GRAPH.random_element(2), a)
    for name, weights in networks.items():
        write_state_file(tmp_path / f"{name}.safetensors", weights)
    return {name: str(tmp_path / f"{name}.safetensors") for name in networks}


def test_lineage_tells_a_child_from_a_stranger(files: dict[str, str], run: Command) -> None:
    child = run("lineage", files["a"], files["child"], "--arch", ARCH, "--samples", "299", "--json")
    assert child.code == 0 and json.loads(child.output)["related"] is True
    stranger = run("lineage", files["a"], files["other"], "--arch", ARCH, "--samples", "299")
    assert stranger.code == 1 and "NOTHING SHOWN" in stranger.output


def test_merge_writes_the_mean_and_overwrites_nothing(
    files: dict[str, str], run: Command, tmp_path: Path
) -> None:
    out = tmp_path / "merged.pt"
    merged = run("merge", files["a"], files["copy"], "--arch", ARCH, "-o", str(out), "--json")
    assert merged.code == 0 and json.loads(merged.output)["agreement"] > 0.999
    a, written = read_state_file(files["a"]), read_state_file(out)
    assert all(torch.allclose(written[name], a[name], atol=1e-6) for name in a)
    again = run("merge", files["a"], files["copy"], "--arch", ARCH, "-o", str(out))
    assert again.code == 2 and "--force" in again.errors
    forced = run(
        "merge",
        files["a"],
        files["copy"],
        "--arch",
        ARCH,
        "-o",
        str(out),
        "--weights",
        "0.5,0.5",
        "--force",
    )
    assert forced.code == 0 and "Written to" in forced.output


def test_audit_of_a_file_and_of_a_folder(
    files: dict[str, str], run: Command, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    one = run("audit", files["a"], "--arch", ARCH, "-o", str(page))
    assert one.code == 0 and "h1: Symmetric(48)" in one.output
    assert "<h1>Audit of" in page.read_text() and "Symmetric(48)" in page.read_text()
    folder = run("audit", str(tmp_path), "--arch", ARCH, "--json")
    assert folder.code == 0 and json.loads(folder.output)["copies"] == [
        ["a.safetensors", "copy.safetensors"]
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["merge", "a", "-o", "x.pt", "--arch", ARCH], "two files or more"),
        (["merge", "a", "b", "-o", "x.pt"], "Say what the weights belong to"),
        (["lineage", "a", "b", "--arch", ARCH, "--level", "2"], "probability between 0 and 1"),
        (["audit", "nowhere.pt", "--arch", ARCH], "nowhere.pt"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], words: str, run: Command) -> None:
    result = run(*arguments)
    assert (
        result.code == 2 and words in result.errors and len(result.errors.strip().splitlines()) == 1
    )
