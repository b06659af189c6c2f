"""Whatever a user gives the command line, it answers: errors in one line, help, completion, any terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import symnet as sn
from symnet.cli.architectures import complete_architecture
from tests.cli.running import TEXT, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["derive", "nothing"], "'nothing' is neither a file nor a call of the catalogue"),
        (["derive", "mlp:2-x-1"], "expected widths such as 2-32-32-1"),
        (["derive", "mlp:2-3-1:depth=4"], "does not fit the catalogue's mlp"),
        (["derive", "small.symnet", "--fixed", "g"], "no neuron set 'g'"),
        (["derive", "small.symnet", "--to", "score"], "'score' is not a space"),
        (["derive", "broken.symnet"], "broken.symnet, line 2, column 3"),
        (
            ["derive", "undeclared.symnet"],
            "undeclared.symnet, line 4, column 8: no neuron set 'hh' is declared",
        ),
        (
            ["derive", "circle.symnet"],
            "circle.symnet, Neuron sets are over one another in a circle",
        ),
        (["derive", "."], ". is a folder"),
        (["derive"], "Missing argument 'ARCH'. See: symnet derive --help"),
        (["derive", "mlp:2-3-1", "--nothing"], "No such option: --nothing"),
        (["divine"], "No such command 'divine'. Did you mean 'derive'? See: symnet --help"),
        (["trace", "cli_example_modules:mlp", "--io", "other"], "'fixed', 'permuted'"),
        (["bench", "--rounds", "0"], "'--rounds'"),
        (["verify", "small.symnet", "--module", "cli_example_modules"], "names no Python object"),
        (["verify", "small.symnet", "--module", "no_such_module:f"], "no module 'no_such_module'"),
        (["verify", "small.symnet", "--module", "cli_example_modules:nobody"], "has no 'nobody'"),
        (["verify", "small.symnet", "--module", "cli_example_modules:number"], "is a int"),
        (["verify", "small.symnet", "--module", "cli_example_modules:text"], "returned a str"),
        (["verify", "small.symnet", "--module", "cli_example_modules:mlp"], "Add --input SHAPE"),
        (
            ["verify", "small.symnet", "--module", "cli_example_modules:mlp", "--input", "3,x"],
            "'3,x' is not an input",
        ),
        (["verify", "small.symnet", "--seed", "-1"], "'--seed'"),
        (
            ["verify", "small.symnet", "--layer", "cli_example_modules:number"],
            "is a int; expected a layer",
        ),
        (
            ["verify", "small.symnet", "--layer", "cli_example_modules:layer_that_raises"],
            "raised ZeroDivisionError",
        ),
        (
            ["trace", "cli_example_modules:raises"],
            "raised ValueError: a fault of two lines (cli_example_modules.py, line",
        ),
        (["trace", "cli_example_modules:exits"], "raised SystemExit: 0"),
        (
            ["trace", "cli_example_modules:needs_more"],
            "missing 1 required positional argument: 'size'",
        ),
        (["trace", "cli_example_modules.py:mlp"], "Write cli_example_modules:mlp."),
        (["trace", "./cli_example_modules:mlp"], "names no Python object"),
        (["trace", "cli_example_syntax:f"], "raised SyntaxError"),
        (
            ["trace", "cli_example_lacking:f"],
            "imports 'surely_not_installed', which is not installed",
        ),
        (["verify", "small.symnet", "--module", "a:b", "--layer", "a:b"], "two checks"),
        (["show", "small.symnet", "-o", "picture.bmp"], "cannot be written as 'bmp'"),
        (["show", "small.symnet", "-o", "s.gif"], "add --what square"),
        (
            ["show", "small.symnet", "-o", "o.png", "--what", "orbit", "--entry", "b"],
            "does not name two weights",
        ),
        (
            ["show", "small.symnet", "-o", "o.png", "--what", "orbit", "--entry", "b c[1]"],
            "There is no tensor 'b'",
        ),
        (["align", "a.pt", "b.pt"], "Say what the weights belong to"),
        (["align", "a.pt", "b.pt", "--arch", "small.symnet"], "There is no file a.pt"),
        (["align", "small.symnet", "b.pt", "--arch", "small.symnet"], "not '.symnet'"),
        (["align", "a.pt", "b.pt", "--arch", "small.symnet", "--mix", "0.5"], "--mix needs -o"),
        (
            ["align", "a.pt", "b.pt", "--arch", "small.symnet", "--mix", "nan", "-o", "c.pt"],
            "--mix nan lies outside",
        ),
        (["derivations", "nobody"], "no derivation nobody"),
        (
            ["trace", "cli_example_modules:mlp_with_inputs", "-o", "."],
            ". cannot be written: it is a folder",
        ),
    ],
)
def test_errors_are_one_line_and_exit_with_two(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    Path("broken.symnet").write_text("neurons\n  h Symmetric(3)\n")
    Path("undeclared.symnet").write_text("neurons\n  h: Symmetric(3)\ntensors\n  w: h hh\n")
    Path("circle.symnet").write_text(
        "neurons\n  a: Fixed(1) over b\n  b: Fixed(1) over a\ntensors\n"
    )
    Path("cli_example_syntax.py").write_text("def f(:\n")
    Path("cli_example_lacking.py").write_text("import surely_not_installed\n")
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert problem in captured.err
    assert captured.err.startswith("symnet: ") and captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_folder_or_binary_file_is_no_architecture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("binary.symnet").write_bytes(b"\xff\xfe\x00")
    assert run("derive", "binary.symnet") == 2
    assert run("derive", str(folder)) == 2
    assert capsys.readouterr().err.count("\n") == 2


@pytest.mark.parametrize(
    "command",
    [
        "derive",
        "verify",
        "trace",
        "show",
        "demo",
        "align",
        "derivations",
        "bench",
        "train",
        "evaluate",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    output = capsys.readouterr().out
    assert "--json" in output and "Usage" in output


def test_a_pipe_that_is_closed_early_is_no_crash() -> None:
    """``symnet derive ... | head -1``."""
    command = f"{sys.executable} -m symnet derive mlp:2-3-1 --json | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "{\n" and "Traceback" not in result.stderr


def test_tables_are_plain_text_where_nothing_else_is_understood(folder: Path) -> None:
    """An ASCII terminal, no colours, forty columns."""
    settings = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "NO_COLOR": "1",
        "COLUMNS": "40",
    }
    command = [sys.executable, "-m", "symnet", "derive", str(folder / "small.symnet")]
    result = subprocess.run(command, capture_output=True, env=settings, cwd=ROOT)
    assert (
        result.returncode == 0
        and b"counts 41" in b" ".join(result.stdout.split())
        and b"\x1b" not in result.stdout
    )
    words = "".join(result.stdout.decode().split())
    assert "..." not in words and all(
        len(line) <= 40 for line in result.stdout.decode().splitlines()
    )


def test_completion_scripts_are_written() -> None:
    for shell in ("bash", "zsh", "fish"):
        settings = {**os.environ, "_SYMNET_COMPLETE": f"source_{shell}"}
        result = subprocess.run(
            [sys.executable, "-m", "symnet"], capture_output=True, text=True, env=settings
        )
        assert "symnet" in result.stdout and "complete" in result.stdout, shell


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"symnet {sn.__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "derivations" in capsys.readouterr().out


def test_an_interrupted_command_ends_as_shells_expect(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is neither success nor a check that failed: 130, and no traceback."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("symnet.cli.commands.read_architecture", interrupt)
    assert run("derive", "small.symnet") == 130


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    Path("marked.symnet").write_text(TEXT, encoding="utf-8-sig")
    assert sn.load("marked.symnet") == sn.parse(TEXT)


def test_an_unfinished_word_is_completed_by_the_shell(folder: Path) -> None:
    """What bash asks for on a tab: files of architectures, also after an option."""
    for words, position in (("symnet derive sm", 2), ("symnet align a.pt b.pt --arch sm", 5)):
        settings = {
            "PYTHONPATH": str(ROOT),
            "_SYMNET_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        result = subprocess.run(
            [sys.executable, "-m", "symnet"],
            capture_output=True,
            text=True,
            env={**os.environ, **settings},
        )
        assert result.stdout.split() == ["small.symnet"]


def test_bench_prints_its_figures_for_machines(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """One JSON object on standard output; the tables go to the other stream."""

    def pretend(arguments: list[str]) -> int:
        print("tables")
        Path("figures/results.json").write_text('{"layers": {}}')
        return 0

    Path("figures").mkdir()
    monkeypatch.setitem(sys.modules, "benchmarks.__main__", SimpleNamespace(main=pretend))
    assert run("bench", "--json", "-o", "figures") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"layers": {}} and captured.err == "tables\n"


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
        result.stderr
        == "symnet: this command needs 'typer', which is not installed. Run: pip install 'symnet[cli]'\n"
    )


def test_help_needs_no_torch_and_no_pictures() -> None:
    """Completion and help answer at once."""
    code = (
        "import sys\nfrom symnet.cli import main\n"
        "try:\n    main(['show', '--help'])\nfinally:\n    print({'torch', 'matplotlib', 'sklearn', 'sympy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.endswith("set()\n")
