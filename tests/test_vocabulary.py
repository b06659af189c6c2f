"""One name, one meaning: class names are unique, and made of words that are explained.

Words are explained in docs/glossary.md, or as names of the public listing, which docs/api shows.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "symnet"
GLOSSARY = ROOT / "docs" / "glossary.md"
# Rooms whose words are all explained.
ROOMS = ["groups", "graph", "sharing", "plan", "nn", "tracing", "verify", "matching", "surgery"]
# One name in two public rooms, one meaning on two kinds of things: of features, of weights.
SHARED = {
    "Dropout": {"nn", "data"},
}
# Checks of arguments in either room; the residual networks of the catalogue, and the layer that adds.
SAME_TASK = {"arguments.py", "residual.py"}
# Glue that says nothing of what a collection holds.
GLUE = {"found", "given", "ours", "theirs", "felt", "kin", "wild", "doubtful", "handover"}


def classes_in(source: str) -> list[str]:
    """The names of all classes of a file, those inside others as well."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def repeated(sources: dict[str, str]) -> dict[str, set[str]]:
    """Class names of several files, with the rooms of these."""
    files: dict[str, list[str]] = defaultdict(list)
    for path, source in sources.items():
        for name in classes_in(source):
            files[name].append(path.split("/")[0])
    return {name: set(rooms) for name, rooms in files.items() if len(rooms) > 1}


def words_of(name: str) -> list[str]:
    """``MemberFamily`` as ``["member", "family"]``."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", name)]


def explained(glossary: str) -> set[str]:
    """The words that the glossary explains: its bold entries, in the singular or the plural."""
    entries = re.findall(r"\*\*(.+?)\*\*", glossary, re.DOTALL)
    words = {word.lower() for entry in entries for word in re.findall(r"[A-Za-z]+", entry)}
    return words | {word.removesuffix("s") for word in words}


def exported(sources: dict[str, str]) -> set[str]:
    """Names in the ``__all__`` of a room."""
    names: set[str] = set()
    for path, source in sources.items():
        for node in ast.parse(source).body if path.endswith("/__init__.py") else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names |= set(ast.literal_eval(node.value))
    return names


def unexplained(sources: dict[str, str], glossary: str) -> list[str]:
    """Class names, for use beyond their file, that no room exports and no word explains."""
    listed, words = exported(sources), explained(glossary)
    names = {name for source in sources.values() for name in classes_in(source)} - listed
    last = {name: words_of(name)[-1] for name in names if name[0] != "_"}
    return sorted(n for n, word in last.items() if not {word, word.removesuffix("s")} & words)


def glue_in(source: str) -> set[str]:
    """Such names among the variables and arguments of functions."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    nodes = [node for function in functions for node in ast.walk(function)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return (names | {node.arg for node in nodes if isinstance(node, ast.arg)}) & GLUE


SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}


def test_a_class_name_means_one_thing() -> None:
    assert {n: rooms for n, rooms in repeated(SOURCES).items() if rooms != SHARED.get(n)} == {}


def test_a_file_name_means_one_thing() -> None:
    """Files of one name do the same thing for different rooms."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        rooms[path.split("/")[-1]].add(path.split("/")[0])
    del rooms["__init__.py"]
    repeats = {name for name, places in rooms.items() if len(places & set(ROOMS)) > 1}
    assert repeats <= SAME_TASK


def test_class_names_end_in_words_that_are_explained() -> None:
    rooms = {path: source for path, source in SOURCES.items() if path.split("/")[0] in ROOMS}
    assert unexplained(rooms, GLOSSARY.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_collection_is_named_by_what_it_holds(room: str) -> None:
    glue = {p: glue_in(s) for p, s in SOURCES.items() if p.split("/")[0] == room}
    assert {path: names for path, names in glue.items() if names} == {}


def test_the_checks_reject_what_they_should() -> None:
    """The testers are tested."""
    twice = {"graph/a.py": "class Part: ...", "nn/b.py": "class Part: ..."}
    assert repeated(twice) == {"Part": {"graph", "nn"}}
    sources = {"graph/a.py": "class MemberFamily: ...\nclass Thing: ..."}
    assert unexplained(sources, "**Family.** Members along an axis.") == ["Thing"]
    assert glue_in("def f(given):\n    found = given") == {"found", "given"}
