"""What is declared is what is installed: versions, pins, extras, and the files a user gets."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import symnet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PINS = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].strip()
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
}


def declared() -> list[Requirement]:
    """Every requirement of the core and of the extras, but for the package's own name in ``all``."""
    texts = [
        *PROJECT["dependencies"],
        *(text for name, texts in EXTRAS.items() if name != "all" for text in texts),
    ]
    return [Requirement(text) for text in texts]


def test_the_core_is_small() -> None:
    """Pictures, data, command line and tests are extras."""
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert names == {"numpy", "scipy", "torch", "networkx", "sympy", "safetensors"}


def test_all_is_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(EXTRAS) - {"all"}


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_the_pins_are_complete() -> None:
    """Whatever the declared packages pull in on this machine is pinned too, so that CI runs the same everywhere."""
    environment = {"extra": ""}
    todo, seen = [requirement.name for requirement in declared()], set()
    while todo:
        name = canonicalize_name(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate(environment):
                todo.append(needed.name)
    # A CUDA build of torch brings its own packages, each at the one version that torch asks for.
    unpinned = {name for name in seen - set(PINS) if not re.match(r"nvidia-|cuda-|triton", name)}
    assert unpinned <= {"setuptools"}


def test_the_pins_name_no_place() -> None:
    """Plain names and versions: nothing that only one machine or one index has."""
    for name, version in PINS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert re.fullmatch(r"[0-9.]+", version)


def test_the_version_is_said_once() -> None:
    """The package's version is the module's; the installed metadata agrees where symnet is installed."""
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", symnet.__version__)
    try:
        installed = importlib.metadata.version("symnet")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("symnet runs from its source folder and is not installed")
    assert installed == symnet.__version__


def test_type_information_is_shipped() -> None:
    assert (ROOT / "symnet" / "py.typed").is_file()


def test_the_command_exists() -> None:
    from symnet.cli import main

    assert PROJECT["scripts"] == {"symnet": "symnet.cli:main"}
    assert callable(main)


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "clean"])
def test_make_has_its_targets(target: str) -> None:
    """Every target but ``clean`` first makes the environment, directly or through one that does."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    match = re.search(rf"^{target}:(.*)$", makefile, re.MULTILINE)
    assert match
    assert target == "clean" or {"$(READY)", "lint"} & set(match[1].split())


# The folders that may import more than the core does, and the extra that says what.
EXTRA_OF = {
    "cli": "cli",
    "show": "show",
    "data": "data",
    "learn": "train",
    "tasks": "train",
    "testing": "test",
}


def imported_at_once(path: Path) -> set[str]:
    """Packages that a file imports when it is imported: not inside functions, not for types alone."""
    names: set[str] = set()
    todo: list[ast.stmt] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        match todo.pop():
            case ast.Import(names=aliases):
                names |= {alias.name.split(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.split(".")[0])
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=rest):
                todo += rest
            case ast.If(body=body, orelse=rest) | ast.Try(body=body, orelse=rest):
                todo += [*body, *rest]
    return names - set(sys.stdlib_module_names) - {"symnet"}


@pytest.mark.parametrize(
    "folder", sorted(path.parent.name for path in (ROOT / "symnet").glob("*/__init__.py"))
)
def test_a_folder_imports_what_its_extra_brings(folder: str) -> None:
    """After ``pip install symnet[data]``, ``import symnet.data`` works; all other folders do with the core."""
    extra = EXTRAS[EXTRA_OF[folder]] if folder in EXTRA_OF else []
    brought = {
        canonicalize_name(Requirement(text).name) for text in [*PROJECT["dependencies"], *extra]
    }
    distributions = importlib.metadata.packages_distributions()
    for path in (ROOT / "symnet" / folder).rglob("*.py"):
        for name in imported_at_once(path):
            if not (
                folder == "nn" and name == "triton"
            ):  # nn.kernels is imported once triton is known to be there
                assert {canonicalize_name(found) for found in distributions[name]} & brought, (
                    f"{path}: {name}"
                )


def test_a_module_without_its_packages_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(
        symnet, "testing", raising=False
    )  # looking for it imports it, so this comes first
    for module in [name for name in sys.modules if name.startswith("symnet.testing")]:
        monkeypatch.delitem(sys.modules, module)
    for module in ["hypothesis", *(name for name in sys.modules if name.startswith("hypothesis."))]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        symnet.MissingExtraError, match=r"needs 'hypothesis'.*pip install 'symnet\[test\]'"
    ):
        _ = symnet.testing
