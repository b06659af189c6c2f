"""README and docs are executed: every Python block, every session with its output, every symnet command.

The blocks of one file share their variables and run in their order, in a folder of their own.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
# At least so many blocks in each language, all pages together: none may be lost without anyone noticing.
LEAST = {"python": 12, "pycon": 100, "console": 13}
SHOWN_ONLY = {"text", "latex"}
# Commands in console blocks that a reader runs and this test does not: they install, or take minutes.
NOT_RUN = ("make ", "pip ", "symnet demo", "symnet --install-completion", "chromium ")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"")
FIGURE = re.compile(r"^\$ (symnet show .*-o (docs/images/\S+).*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, the line of its fence, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}, line {self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks_of(page)]
# Figures are made by commands that stand on the pages: file -> command.
FIGURES = {
    path: command
    for block in ALL
    if block.language == "console"
    for command, path in FIGURE.findall(block.text)
}


def run_python(block: Block, variables: dict[str, Any]) -> None:
    """Runs a plain block; a traceback names the page and the line."""
    padding = "\n" * block.line
    exec(compile(padding + block.text, str(block.page), "exec"), variables)


def run_session(block: Block, variables: dict[str, Any]) -> None:
    """Runs a session of ``>>>`` lines and compares every output."""
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(
        block.text, {}, block.place, str(block.page), block.line
    )
    assert test.examples, f"{block.place}: a pycon block without any '>>>'"
    test.globs = variables
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(
        test, out=report.append, clear_globs=False
    )
    assert result.failed == 0, "".join(report)


def run_commands(block: Block) -> None:
    """Runs every ``$ symnet ...`` and ``$ python -m derivations`` line and asks for exit code 0."""
    from derivations.__main__ import main as derive_all
    from symnet.cli import main

    commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert commands, f"{block.place}: a console block without any '$ ' line"
    for command in commands:
        if command.startswith(NOT_RUN):
            continue
        with pytest.raises(SystemExit) as stop:
            match shlex.split(command):
                case ["symnet", *arguments]:
                    main(arguments)
                case ["python", "-m", "derivations", *arguments]:
                    sys.exit(derive_all(arguments))
                case _:
                    raise AssertionError(
                        f"{block.place}: {command!r} is not among the commands that are run, or not run"
                    )
        assert stop.value.code == 0, f"{block.place}: {command!r} exited with {stop.value.code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """Code in the documentation does what it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "images").mkdir(
        parents=True
    )  # every checkout has it, and pictures make no folder
    monkeypatch.setattr(sys, "path", [*sys.path])  # commands look for modules in the current folder
    record_property("blocks", sum(block.language not in SHOWN_ONLY for block in blocks_of(page)))
    variables: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page):
        match block.language:
            case "python":
                run_python(block, variables)
            case "pycon":
                run_session(block, variables)
            case "console":
                run_commands(block)
            case language:
                assert language in SHOWN_ONLY, (
                    f"{block.place}: language {language!r}; use python, pycon, console, text or latex"
                )


def test_few_commands_are_not_run() -> None:
    """What a reader runs and this test does not is counted, and is one of the few that install or take minutes."""
    commands = [
        line
        for block in ALL
        if block.language == "console"
        for line in block.text.splitlines()
        if line[:2] == "$ "
    ]
    skipped = [line for line in commands if line[2:].startswith(NOT_RUN)]
    assert len(skipped) <= 6 and len(commands) - len(skipped) >= 22, skipped


def test_no_block_is_lost() -> None:
    """The blocks that run are counted, and every fence is a block that was found."""
    counts = {language: sum(block.language == language for block in ALL) for language in LEAST}
    assert all(counts[language] >= least for language, least in LEAST.items()), counts
    for page in PAGES:
        fences = re.findall(r"^\s*```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), (
            f"{page}: a fence that is indented or not closed"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for found in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target = found[1] or found[2]
        if not re.match(r"https?:", target):
            path = (page.parent / target).resolve()
            made = path.is_relative_to(ROOT) and path.relative_to(ROOT).as_posix() in FIGURES
            assert made or path.exists(), (
                f"{page.relative_to(ROOT)} links to {target}, which is not there"
            )


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/contributing.md"])
def test_files_that_are_named_exist(page: str) -> None:
    """Every file or folder that a page for contributors names; ``NAME`` stands for any."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:symnet|tests|docs|benchmarks|derivations)/[^`\s]*)`", text)
    assert len(named) >= 8
    patterns = [
        name.replace("NAME", "") if "NAME*" in name else name.replace("NAME", "*") for name in named
    ]
    assert [name for name in patterns if not any(ROOT.glob(name.rstrip("/")))] == []


def test_the_targets_that_are_named_are_those_of_the_makefile() -> None:
    """Every ``make TARGET`` of README.md and CONTRIBUTING.md is a target."""
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        target
        for page in ("README.md", "CONTRIBUTING.md")
        for target in re.findall(r"make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8"))
    }
    assert {"demo", "test", "test-all"} <= named - {"an"} <= targets


def test_every_figure_has_one_command() -> None:
    """A figure that is made twice is made the same way."""
    found = [(path, command) for block in ALL for command, path in FIGURE.findall(block.text)]
    assert len(set(found)) == len(FIGURES)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_runs_the_figures_commands_as_they_stand(tmp_path: Path) -> None:
    """Quotes and spaces included: a stand-in for ``symnet`` writes down what it was given."""
    stub = tmp_path / "symnet"
    stub.write_text(
        f"#!{sys.executable}\nimport json, sys\nopen({str(tmp_path / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    stub.chmod(0o755)
    subprocess.run(
        ["make", "pictures", f"BIN={tmp_path}", "READY="], cwd=ROOT, check=True, capture_output=True
    )
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert sorted(calls) == sorted(
        shlex.split(command, comments=True)[1:] for command in FIGURES.values()
    )


def test_every_derivation_is_cited_and_every_citation_exists() -> None:
    """Theory pages and derivations refer to each other: the table names all, and each is named on a page of its own."""
    from derivations import ORDER

    theory = {
        page.name: page.read_text(encoding="utf-8")
        for page in PAGES
        if page.parent.name == "theory"
    }
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| .* \| \[[^]]*\]\((\w+[\w-]*\.md)\) \|$",
            theory["derivations.md"],
            re.MULTILINE,
        )
    )
    assert set(rows) == set(ORDER)
    assert [name for name, page in rows.items() if name not in theory[page]] == []


# ---- the site -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, figures included; a warning stops the build."""
    pytest.importorskip("material", reason="the site needs the extra 'docs'")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(
        ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("images", "__pycache__")
    )
    for name in ("mkdocs.yml", "symnet"):
        (folder / name).symlink_to(ROOT / name)
    for path in FIGURES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"")  # the commands themselves are run with their pages
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    # With --quiet, warnings would not count.
    assert result.returncode == 0 and "WARNING" not in result.stderr, result.stderr
    return folder / "site"


def test_the_site_fetches_nothing(site: Path) -> None:
    """Pages load no script, style, font or picture from elsewhere; links that a reader clicks may lead out."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert (
            re.findall(r"<(?:script|img|iframe|link)[^>]*(?:src|href)=\"https?:[^\"]*\"", text)
            == []
        ), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?https?:", style.read_text(encoding="utf-8")), style


def test_every_formula_is_set(site: Path) -> None:
    """Formulas are MathML that can be read, and no dollar sign of one is left over."""
    count = 0
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        formulas = re.findall(r"<math.*?</math>", text, re.DOTALL)
        assert all(ElementTree.fromstring(formula) is not None for formula in formulas)
        count += len(formulas)
        prose = re.sub(r"<(pre|code|script|math)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert "$" not in prose, f"{page}: {prose[prose.index('$') - 60 : prose.index('$') + 60]}"
    assert count > 100


def test_the_reference_is_complete(site: Path) -> None:
    """Everything that a package exports stands on a page of the reference."""
    import symnet as sn

    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    anchors = set(re.findall(r'id="(symnet[\w.]*)"', text))
    names = {anchor.rpartition(".")[2] for anchor in anchors}
    documented = re.findall(
        r"^::: (symnet\.\w+)$",
        "".join(p.read_text() for p in (ROOT / "docs/api").glob("*.md")),
        re.MULTILINE,
    )
    folders = {
        f"symnet.{p.parent.name}"
        for p in (ROOT / "symnet").glob("*/__init__.py")
        if "__all__" in p.read_text()
    }
    new = folders - set(documented)
    assert not new, f"without a page: {new}; add docs/api/NAME.md with '::: symnet.NAME'"
    for package in documented:
        module = importlib.import_module(package)
        exported = [
            name for name in getattr(module, "__all__", []) if describable(getattr(module, name))
        ]
        missing = [n for n in exported if not {f"{package}.{n}", f"{package}.{n}.{n}"} & anchors]
        # A function in a module of its own name hides it from the package's page.
        assert missing == [], (
            f"not in the reference: {missing}; add '::: {package}.NAME.NAME' to its page in docs/api"
        )
    modules = {name for name in sn.__all__ if isinstance(getattr(sn, name), ModuleType)}
    assert set(sn.__all__) - modules - names == set()


def describable(value: object) -> bool:
    """Whether it has a docstring of its own; names for types have none."""
    return inspect.isclass(value) or inspect.isfunction(value)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "1 / 0"),
        ("pycon", ">>> 1 + 1\n3\n"),
        ("console", "$ symnet derive nothing"),
        ("console", "$ ls"),
    ],
)
def test_wrong_documentation_is_noticed(language: str, text: str) -> None:
    """The tester is tested: each of these blocks must fail."""
    block = Block(ROOT / "README.md", 1, language, text)
    run = {
        "python": lambda: run_python(block, {}),
        "pycon": lambda: run_session(block, {}),
        "console": lambda: run_commands(block),
    }
    with pytest.raises((AssertionError, ZeroDivisionError)):
        run[language]()


def test_the_tests_run_in_a_clean_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block's files do not land in the repository."""
    monkeypatch.chdir(tmp_path)
    run_python(Block(ROOT / "README.md", 1, "python", "open('left-over', 'w').close()"), {})
    assert os.listdir(tmp_path) == ["left-over"]
