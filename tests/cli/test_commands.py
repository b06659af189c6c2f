"""The commands: what they print is what the library says, and the exit code is the verdict."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import symnet as sn
from tests.cli.running import TEXT, run


# ---- derive ---------------------------------------------------------------------------------------------------------
def test_derive_says_what_the_library_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("derive", "small.symnet", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    graph = sn.load("small.symnet")
    maps = sn.derive(graph)
    assert found["dimension"] == found["dimension_by_burnside"] == maps.dimension
    assert found["bias_dimension"] == maps.bias_dimension
    assert found["between"]["0.weight"]["2.bias"] == maps.between("0.weight", "2.bias").dimension
    assert found["graph"]["tensors"]["0.weight"] == {"axes": "h in", "shape": [4, 2]}
    assert found["graph"]["order"] == "24"
    assert found["counts_agree"] is True


def test_derive_prints_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("derive", "small.symnet", "--plan") == 0
    output = capsys.readouterr().out
    assert "Symmetric(4)" in output and "LayerPlan" in output
    assert "Burnside's lemma agrees: it counts 41." in " ".join(output.split())


def test_derive_between_other_spaces(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            "derive",
            "small.symnet",
            "--from",
            "0.bias=h",
            "--to",
            "score=h",
            "--to",
            "z=",
            "--json",
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["between"] == {"score": {"0.bias": 2}, "z": {"0.bias": 1}}


def test_derive_with_other_groups(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's NP: inputs and outputs permuted as well."""
    assert run("derive", "small.symnet", "--permuted", "in", "--permuted", "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    graph = sn.load("small.symnet").with_groups({"in": sn.Symmetric(2), "out": sn.Symmetric(1)})
    assert found["dimension"] == sn.derive(graph).dimension


def test_derive_fails_when_the_counts_differ(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is the verdict of the check, not of the printing."""
    from symnet.sharing import EquivariantMaps

    monkeypatch.setattr(
        EquivariantMaps, "dimension_by_burnside", property(lambda self: self.dimension + 1)
    )
    assert run("derive", "small.symnet") == 1
    assert run("derive", "small.symnet", "--json") == 1


def test_an_order_of_a_million_digits_is_printed_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("derive", "mlp:2-2000-2000-1") == 0
    assert "about 10^11471" in capsys.readouterr().out


# ---- verify ---------------------------------------------------------------------------------------------------------
def test_verify_the_derived_layer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "small.symnet", "--json", "--channels", "2") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True and found["max_error"] < 1e-10


def test_verify_a_network_of_ones_own(folder: Path) -> None:
    assert (
        run("verify", "small.symnet", "--module", "cli_example_modules:mlp", "--input", "3,2") == 0
    )
    assert run("verify", "small.symnet", "--module", "cli_example_modules:mlp_with_inputs") == 0


def test_a_wrong_declaration_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network whose neurons can be told apart, declared as if they could not."""
    text = (
        TEXT.replace("0.", "layers.0.")
        .replace("2.weight", "layers.2.weight")
        .replace("2.bias", "layers.2.bias")
    )
    Path("ordered.symnet").write_text(text)
    arguments = (
        "verify",
        "ordered.symnet",
        "--module",
        "cli_example_modules:ordered",
        "--input",
        "3,2",
    )
    assert run(*arguments) == 1
    capsys.readouterr()
    assert run(*arguments, "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_verify_a_layer_of_ones_own(folder: Path) -> None:
    assert run("verify", "small.symnet", "--layer", "cli_example_modules:total") == 0
    assert run("verify", "small.symnet", "--layer", "cli_example_modules:first_neuron") == 1


def test_certify_the_derived_layer_and_an_incomplete_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The derived layer has every map once; one that only scales has the identities, and misses the rest."""
    assert run("verify", "small.symnet", "--certify", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] and found["minimal"] and found["rank"] == found["dimension"] == 41
    assert run("verify", "small.symnet", "--certify", "--layer", "cli_example_modules:scaling") == 1


# ---- trace ----------------------------------------------------------------------------------------------------------
def test_trace_finds_and_verifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("symnet.tracing", reason="tracing is not there yet")
    assert (
        run("trace", "cli_example_modules:mlp", "--input", "5,2", "--json", "-o", "traced.symnet")
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    graph = sn.load("traced.symnet")
    assert sn.parse(found["text"]) == graph
    assert sn.derive(graph).dimension == sn.derive(sn.load("small.symnet")).dimension


# ---- show -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["tying", "graph", "plan", "orbit", "square"])
def test_show_writes_pictures(folder: Path, what: str) -> None:
    assert run("show", "small.symnet", "-o", f"{what}.png", "--what", what) == 0
    assert Path(f"{what}.png").read_bytes().startswith(b"\x89PNG")


def test_show_draws_a_named_orbit_and_a_moving_square(folder: Path) -> None:
    assert (
        run(
            "show",
            "small.symnet",
            "-o",
            "o.svg",
            "--what",
            "orbit",
            "--entry",
            "0.bias[1] 0.weight[1, 0]",
        )
        == 0
    )
    assert b"<svg" in Path("o.svg").read_bytes()
    Path("tiny.symnet").write_text("neurons\n  h: Symmetric(2)\ntensors\n  b: h\n")
    assert run("show", "tiny.symnet", "-o", "s.gif", "--what", "square") == 0
    assert Path("s.gif").read_bytes().startswith(b"GIF89a")


def test_show_writes_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "small.symnet", "-o", "page.html", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "written": "page.html",
        "bytes": Path("page.html").stat().st_size,
    }


def test_show_narrows_when_asked_and_says_so_when_needed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("show", "mlp:2-32-32-1", "-o", "wide.png") == 2
    assert "--narrow 3" in capsys.readouterr().err
    assert run("show", "mlp:2-32-32-1", "-o", "wide.png", "--narrow", "3") == 0


# ---- align ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def two_networks(folder: Path) -> dict[str, torch.Tensor]:
    """a.pt, and b.pt: the same with its neurons moved and a little noise."""
    torch.manual_seed(0)
    graph = sn.load("small.symnet")
    first = {name: torch.randn(shape) for name, shape in graph.shapes.items()}
    noisy = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in first.items()}
    sn.data.write_state_file("a.pt", first)
    sn.data.write_state_file("b.pt", graph.act(graph.random_element(seed=2), noisy))
    return noisy


def test_align_undoes_a_planted_element(
    two_networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written is B as it was before its neurons were moved."""
    assert run("align", "a.pt", "b.pt", "--arch", "small.symnet", "-o", "moved.pt", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found["moved"] == ["h"]
        and found["same_function"] is None
        and found["written"] == "moved.pt"
    )
    assert found["distance_after"] < 0.1 < found["distance_before"]
    moved = sn.data.read_state_file("moved.pt")
    assert all(torch.equal(moved[name], tensor) for name, tensor in two_networks.items())


def test_align_traces_verifies_and_mixes(
    two_networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("align", "a.pt", "b.pt", "--module", "cli_example_modules:mlp_with_inputs")
    assert run(*arguments, "-o", "mixed.pt", "--mix", "0.5") == 0
    output = capsys.readouterr().out
    assert (
        "PASSED" in output
        and "No neuron set can be improved alone" in output
        and "mixed.pt" in output
    )
    first, mixed = sn.data.read_state_file("a.pt"), sn.data.read_state_file("mixed.pt")
    for name, tensor in first.items():
        torch.testing.assert_close(mixed[name], (tensor + two_networks[name]) / 2)
    assert run(*arguments, "--json") == 0
    assert json.loads(capsys.readouterr().out)["same_function"] is True


# ---- derivations ----------------------------------------------------------------------------------------------------
def test_derivations_are_run_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("derivations", "orbits_are_ties", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["holds"] is True and found["facts"]
    assert run("derivations", "orbits_are_ties") == 0
    assert "Held against symnet:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["derivations", "bench"])
def test_what_only_a_checkout_has_is_named(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed package has neither folder."""
    for name in ("derivations", "benchmarks", "derivations.__main__", "benchmarks.__main__"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "derivations", raising=False)
    monkeypatch.delitem(sys.modules, "benchmarks", raising=False)
    monkeypatch.setattr(
        sys,
        "path",
        [place for place in sys.path if not (Path(place or ".") / "derivations").is_dir()],
    )
    sys.path_importer_cache.clear()
    assert run(command) == 2
    assert "run this command in a checkout" in capsys.readouterr().err


# ---- demo -----------------------------------------------------------------------------------------------------------
@dataclass
class MovedRow:
    reader: str
    changed: float
    largest_change_float64: float


@pytest.mark.parametrize(
    ("moved", "code"),
    [
        ([MovedRow("NF-Layers", 0.0, 1e-15), MovedRow("flat MLP", 0.5, 1.0)], 0),
        ([MovedRow("NF-Layers", 0.0, 1e-3)], 1),
        ([MovedRow("NF-Layers", 0.1, 1e-15)], 1),
        ([], 1),
    ],
)
def test_demo_holds_only_if_no_prediction_moves(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    moved: list[MovedRow],
    code: int,
) -> None:
    from symnet.tasks import digits_inr

    calls = []

    def pretend(out_dir: Path, **options: object) -> SimpleNamespace:
        calls.append((out_dir, options["seeds"], options["quick"]))
        return SimpleNamespace(moved=moved, as_json=lambda: "{}")

    monkeypatch.setattr(digits_inr, "run", pretend)
    assert run("demo", "-o", "out", "--seeds", "3", "--quick", "--json") == code
    assert calls == [(Path("out"), 3, True)]
    assert capsys.readouterr().out == "{}\n"
    assert Path("out/.gitignore").read_text() == "*\n"


def test_a_check_that_fails_inside_the_demo_ends_with_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from symnet.tasks import digits_inr

    def fail(*arguments: object, **options: object) -> None:
        raise sn.VerificationError("the layer is not equivariant")

    monkeypatch.setattr(digits_inr, "run", fail)
    assert run("demo", "-o", "out") == 1
