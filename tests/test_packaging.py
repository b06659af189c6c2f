"""What is declared is what is installed: versions, pins, extras, and the files a user gets."""

from __future__ import annotations

import importlib.metadata
import re
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
    texts = [*PROJECT["dependencies"], *(text for name, texts in EXTRAS.items() if name != "all" for text in texts)]
    return [Requirement(text) for text in texts]


def test_the_core_is_small() -> None:
    """Pictures, data, command line and tests are extras."""
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert names == {"numpy", "scipy", "torch", "networkx", "sympy"}


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
