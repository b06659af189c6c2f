"""The command line: what it prints is what the library says, and its exit code is the verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import symnet as sn
from symnet.cli import main
from symnet.cli.architectures import change_groups, complete_architecture, read_architecture, read_spaces
from symnet.cli.modules import import_object, make_module, read_input

TEXT = """\
# an MLP 2-4-1
neurons
  in: Fixed(2)
  h: Symmetric(4)
  out: Fixed(1)
tensors
  0.weight: h in
  0.bias: h
  2.weight: out h
  2.bias: out
"""

MODULES = """\
import torch
from torch import nn

def mlp():
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))

def mlp_with_inputs():
    return mlp(), torch.randn(5, 2)

def ordered():
    # Neuron k is scaled by k + 1: the hidden neurons can be told apart.
    class Ordered(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({"0": nn.Linear(2, 4), "2": nn.Linear(4, 1)})
        def forward(self, x):
            return self.layers["2"](torch.tanh(self.layers["0"](x)) * torch.arange(1.0, 5.0, dtype=x.dtype))
        def state_dict(self, *args, **kwargs):
            return super().state_dict(*args, **kwargs)
    return Ordered()

def total():
    return lambda x: sum(t.flatten(1).sum(1) for t in x.values())

def first_neuron():
    return lambda x: x["0.bias"][:, 0]

def scaling():
    return lambda x: {name: 2 * value for name, value in x.items()}

number = 3

def text():
    return "no module"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an architecture file and a Python module, as the current one."""
    (tmp_path / "small.symnet").write_text(TEXT)
    (tmp_path / "cli_example_modules.py").write_text(MODULES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cli_example_modules", raising=False)
    return tmp_path


def run(*arguments: str) -> int:
    """The exit code of one command."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0)


# ---- derive ---------------------------------------------------------------------------------------------------------
def test_derive_says_what_the_library_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert run("derive", "small.symnet", "--from", "0.bias=h", "--to", "score=h", "--to", "z=", "--json") == 0
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

    monkeypatch.setattr(EquivariantMaps, "dimension_by_burnside", property(lambda self: self.dimension + 1))
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
    assert run("verify", "small.symnet", "--module", "cli_example_modules:mlp", "--input", "3,2") == 0
    assert run("verify", "small.symnet", "--module", "cli_example_modules:mlp_with_inputs") == 0


def test_a_wrong_declaration_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network whose neurons can be told apart, declared as if they could not."""
    text = TEXT.replace("0.", "layers.0.").replace("2.weight", "layers.2.weight").replace("2.bias", "layers.2.bias")
    Path("ordered.symnet").write_text(text)
    arguments = ("verify", "ordered.symnet", "--module", "cli_example_modules:ordered", "--input", "3,2")
    assert run(*arguments) == 1
    capsys.readouterr()
    assert run(*arguments, "--json") == 1
    assert json.loads(capsys.readouterr().out)["passed"] is False


def test_verify_a_layer_of_ones_own(folder: Path) -> None:
    assert run("verify", "small.symnet", "--layer", "cli_example_modules:total") == 0
    assert run("verify", "small.symnet", "--layer", "cli_example_modules:first_neuron") == 1


def test_certify_the_derived_layer_and_an_incomplete_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The derived layer has every map once; one that only scales has the identities, and misses the rest."""
    assert run("verify", "small.symnet", "--certify", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] and found["minimal"] and found["rank"] == found["dimension"] == 41
    assert run("verify", "small.symnet", "--certify", "--layer", "cli_example_modules:scaling") == 1


# ---- trace ----------------------------------------------------------------------------------------------------------
def test_trace_finds_and_verifies(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("symnet.tracing", reason="tracing is not there yet")
    assert run("trace", "cli_example_modules:mlp", "--input", "5,2", "--json", "-o", "traced.symnet") == 0
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
    assert run("show", "small.symnet", "-o", "o.svg", "--what", "orbit", "--entry", "0.bias[1] 0.weight[1, 0]") == 0
    assert b"<svg" in Path("o.svg").read_bytes()
    Path("tiny.symnet").write_text("neurons\n  h: Symmetric(2)\ntensors\n  b: h\n")
    assert run("show", "tiny.symnet", "-o", "s.gif", "--what", "square") == 0
    assert Path("s.gif").read_bytes().startswith(b"GIF89a")


def test_show_writes_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "small.symnet", "-o", "page.html", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"written": "page.html", "bytes": Path("page.html").stat().st_size}


def test_show_narrows_when_asked_and_says_so_when_needed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert found["moved"] == ["h"] and found["same_function"] is None and found["written"] == "moved.pt"
    assert found["distance_after"] < 0.1 < found["distance_before"]
    moved = sn.data.read_state_file("moved.pt")
    assert all(torch.equal(moved[name], tensor) for name, tensor in two_networks.items())


def test_align_traces_verifies_and_mixes(
    two_networks: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("align", "a.pt", "b.pt", "--module", "cli_example_modules:mlp_with_inputs")
    assert run(*arguments, "-o", "mixed.pt", "--mix", "0.5") == 0
    output = capsys.readouterr().out
    assert "PASSED" in output and "No neuron set can be improved alone" in output and "mixed.pt" in output
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
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not (Path(place or ".") / "derivations").is_dir()])
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
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moved: list[MovedRow], code: int
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


def test_a_check_that_fails_inside_the_demo_ends_with_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from symnet.tasks import digits_inr

    def fail(*arguments: object, **options: object) -> None:
        raise sn.VerificationError("the layer is not equivariant")

    monkeypatch.setattr(digits_inr, "run", fail)
    assert run("demo", "-o", "out") == 1


# ---- errors, help, completion ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["derive", "nothing"], "'nothing' is neither a file nor a call of the catalogue"),
        (["derive", "mlp:2-x-1"], "expected widths such as 2-32-32-1"),
        (["derive", "mlp:2-3-1:depth=4"], "does not fit the catalogue's mlp"),
        (["derive", "small.symnet", "--fixed", "g"], "no neuron set 'g'"),
        (["derive", "small.symnet", "--to", "score"], "'score' is not a space"),
        (["derive", "broken.symnet"], "broken.symnet, line 2, column"),
        (["verify", "small.symnet", "--module", "cli_example_modules"], "names no Python object"),
        (["verify", "small.symnet", "--module", "no_such_module:f"], "no module 'no_such_module'"),
        (["verify", "small.symnet", "--module", "cli_example_modules:nobody"], "has no 'nobody'"),
        (["verify", "small.symnet", "--module", "cli_example_modules:number"], "is a int"),
        (["verify", "small.symnet", "--module", "cli_example_modules:text"], "returned a str"),
        (["verify", "small.symnet", "--module", "cli_example_modules:mlp"], "Add --input SHAPE"),
        (["verify", "small.symnet", "--module", "cli_example_modules:mlp", "--input", "3,x"], "'3,x' is not an input"),
        (["verify", "small.symnet", "--module", "a:b", "--layer", "a:b"], "two checks"),
        (["show", "small.symnet", "-o", "picture.bmp"], "cannot be written as 'bmp'"),
        (["show", "small.symnet", "-o", "s.gif"], "add --what square"),
        (["show", "small.symnet", "-o", "o.png", "--what", "orbit", "--entry", "b"], "does not name two weights"),
        (["show", "small.symnet", "-o", "o.png", "--what", "orbit", "--entry", "b c[1]"], "There is no tensor 'b'"),
        (["align", "a.pt", "b.pt"], "Say what the weights belong to"),
        (["align", "a.pt", "b.pt", "--arch", "small.symnet"], "There is no file a.pt"),
        (["align", "small.symnet", "b.pt", "--arch", "small.symnet"], "not '.symnet'"),
        (["align", "a.pt", "b.pt", "--arch", "small.symnet", "--mix", "0.5"], "--mix needs -o"),
        (["derivations", "nobody"], "no derivation nobody"),
        (["trace", "cli_example_modules:mlp_with_inputs", "-o", "."], ". cannot be read or written: Is a directory"),
    ],
)
def test_errors_are_one_line_and_exit_with_two(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    Path("broken.symnet").write_text("neurons\n  h Symmetric(3)\n")
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert problem in captured.err
    assert captured.err.startswith("symnet: ") and captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_folder_or_binary_file_is_no_architecture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("binary.symnet").write_bytes(b"\xff\xfe\x00")
    assert run("derive", "binary.symnet") == 2
    assert run("derive", str(folder)) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize("command", ["derive", "verify", "trace", "show", "demo", "align", "derivations"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    output = capsys.readouterr().out
    assert "--json" in output and "Usage" in output


def test_a_pipe_that_is_closed_early_is_no_crash() -> None:
    """``symnet derive ... | head -1``."""
    command = f"{sys.executable} -m symnet derive mlp:2-3-1 --json | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert result.stdout == "{\n" and "Traceback" not in result.stderr


def test_tables_are_plain_text_where_nothing_else_is_understood(folder: Path) -> None:
    """An ASCII terminal, no colours, forty columns."""
    settings = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1", "COLUMNS": "40"}
    command = [sys.executable, "-m", "symnet", "derive", str(folder / "small.symnet")]
    result = subprocess.run(command, capture_output=True, env=settings, cwd=Path(__file__).parents[1])
    assert result.returncode == 0 and b"counts 41" in b" ".join(result.stdout.split()) and b"\x1b" not in result.stdout


def test_completion_scripts_are_written() -> None:
    for shell in ("bash", "zsh", "fish"):
        settings = {**os.environ, "_SYMNET_COMPLETE": f"source_{shell}"}
        result = subprocess.run([sys.executable, "-m", "symnet"], capture_output=True, text=True, env=settings)
        assert "symnet" in result.stdout and "complete" in result.stdout, shell


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"symnet {sn.__version__}\n"


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("divine") == 2
    assert "divine" in capsys.readouterr().err


def test_completion_knows_the_catalogue_and_files(folder: Path) -> None:
    (folder / "more").mkdir()
    assert "mlp:" in complete_architecture("")
    assert complete_architecture("sm") == ["small.symnet"]
    assert complete_architecture("mo") == ["more/"]


def test_a_missing_extra_is_named() -> None:
    """Without typer the command says in one line what to install."""
    code = "import sys; sys.modules['typer'] = None; from symnet.cli import main; main(['derive', 'mlp:2-3-1'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert (
        result.stderr == "symnet: this command needs 'typer', which is not installed. Run: pip install 'symnet[cli]'\n"
    )


def test_help_needs_no_torch_and_no_pictures() -> None:
    """Completion and help answer at once."""
    code = (
        "import sys\nfrom symnet.cli import main\n"
        "try:\n    main(['show', '--help'])\nfinally:\n    print({'torch', 'matplotlib', 'sklearn', 'sympy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.endswith("set()\n")


# ---- what is typed --------------------------------------------------------------------------------------------------
def test_architectures_are_calls_or_files(folder: Path) -> None:
    assert read_architecture("mlp:2-4-1") == sn.catalogue.mlp([2, 4, 1])
    assert read_architecture("mlp:2-4-1:io=permuted") == sn.catalogue.mlp([2, 4, 1], io="permuted")
    assert read_architecture("cnn:1-8-8-10") == sn.catalogue.cnn([1, 8, 8], classes=10)
    assert read_architecture("cnn:1-8-8,classes=3,kernel_size=5") == sn.catalogue.cnn(
        [1, 8, 8], kernel_size=5, classes=3
    )
    assert read_architecture("attention:8-2:bias=false") == sn.catalogue.attention(8, 2, bias=False)
    assert read_architecture("resnet:3-4-8:blocks=1-2:classes=5") == sn.catalogue.resnet((3, 4, 8), (1, 2), classes=5)
    assert read_architecture("rnn:3-8:io=permuted") == sn.catalogue.rnn(3, 8, io="permuted")
    assert read_architecture("small.symnet") == sn.parse(TEXT)


def test_no_options_change_nothing(folder: Path) -> None:
    graph = sn.load("small.symnet")
    assert change_groups(graph, (), ()) is graph
    assert read_spaces(()) is None


def test_inputs_are_what_their_text_says() -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    assert read_input("2,3", generator).shape == (2, 3)
    tokens = read_input("4,5:int7", generator)
    assert tokens.shape == (4, 5) and tokens.dtype == torch.int64 and int(tokens.max()) < 7


def test_inputs_on_the_command_line_replace_the_factorys(folder: Path) -> None:
    _, (inputs,) = make_module("cli_example_modules:mlp_with_inputs", ["7,2"], seed=0)
    assert inputs.shape == (7, 2)


def test_a_module_that_lacks_a_module_of_its_own_says_so(folder: Path) -> None:
    """Not 'there is no such module': the file is there, and its author needs the real cause."""
    Path("cli_example_broken.py").write_text("import surely_not_installed")
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        import_object("cli_example_broken:f")
