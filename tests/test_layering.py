"""Data flows one way: every file imports lower levels and earlier files of its own folder only.

The imports are read from the syntax tree, so that one inside a function counts as well.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "symnet"

# From low to high; names on one level are siblings that do not see each other.
LEVELS = (
    {"errors", "display"},
    {"files"},
    {"groups"},
    {"graph"},
    {"sharing", "tracing"},
    {"plan"},
    {"nn"},
    {"verify"},
    {"surgery"},
    {"matching", "testing"},
    {"show", "data"},
    {"learn"},
    {"tasks"},
    {"notebooks"},
    {"cli"},
    {"__main__"},
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
NO_TORCH = {"groups", "sharing", "plan"}
LAZY_TORCH = {"files", "graph"}
SEES_SHOW = {"show", "tasks", "notebooks", "cli"}
FRONT_DOOR = {"tasks", "cli"}  # these are written as a user would, with ``import symnet``
HEAVY = {
    "torch",
    "sympy",
    "sklearn",
    "matplotlib",
    "networkx",
    "scipy",
    "jinja2",
    "typer",
    "rich",
    "hypothesis",
    "triton",
    "safetensors",
}


@dataclass(frozen=True)
class Import:
    """One imported module, the file that imports it, and when: on loading, inside a function, or for type checkers only."""

    importer: str
    line: int
    imported: str
    inside_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.imported}"


def read_package() -> dict[str, str]:
    """Source text by dotted module name; a folder's ``__init__`` has the folder's name plus ``.__init__``."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path.read_text(
            encoding="utf-8"
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def find_imports(sources: Mapping[str, str]) -> list[Import]:
    """Every import of every module; ``from a import b`` imports ``a.b`` where that is a module of the package."""
    return [
        found
        for name, source in sources.items()
        for found in _imports_of(name, ast.parse(source), sources)
    ]


def _imports_of(importer: str, tree: ast.AST, sources: Mapping[str, str]) -> Iterator[Import]:
    modules = {name.removesuffix(".__init__") for name in sources}
    lazy = _nodes_inside(
        tree, lambda node: isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    typing = _nodes_inside(
        tree, lambda node: isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # "from . import x" in a.b names a; level 1 drops the file's own name.
            base = ".".join(importer.split(".")[: -node.level]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            names = [
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
                for alias in node.names
            ]
        else:
            continue
        for name in dict.fromkeys(names):
            yield Import(importer, node.lineno, name, id(node) in lazy, id(node) in typing)


def _nodes_inside(tree: ast.AST, wanted: Callable[[ast.AST], bool]) -> set[int]:
    return {id(node) for outer in ast.walk(tree) if wanted(outer) for node in ast.walk(outer)}


def part_of(module: str) -> str | None:
    """The level's name of a module of the package: 'graph' for 'symnet.graph.space'; ``None`` for the front door."""
    parts = module.split(".")
    return parts[1] if parts[0] == "symnet" and len(parts) > 1 and parts[1] != "__init__" else None


def upward_imports(imports: list[Import]) -> list[str]:
    """Imports that do not go to a lower level or stay in their own folder."""
    found = []
    for item in imports:
        importer, imported = part_of(item.importer), part_of(item.imported)
        if importer is None or item.imported.split(".")[0] != "symnet" or importer == imported:
            continue
        if imported is None and importer in FRONT_DOOR:
            continue
        if imported is None or LEVEL[imported] >= LEVEL[importer]:
            found.append(str(item))
    return found


def torch_imports(imports: list[Import]) -> list[str]:
    """Imports of torch where the stage has to do without it."""
    return [
        str(item)
        for item in imports
        if item.imported.split(".")[0] == "torch"
        and (
            part_of(item.importer) in NO_TORCH
            or (
                part_of(item.importer) in LAZY_TORCH
                and not (item.inside_function or item.for_types)
            )
        )
    ]


def folder_cycle(imports: list[Import], folder: str) -> list[str]:
    """A cycle among the files of a folder; empty if there is an order in which each sees only earlier files.

    A name that only annotations need does not count: a value's method may hand the value itself to a file that
    comes before its class.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for item in imports:
        if part_of(item.importer) == part_of(item.imported) == folder and not item.for_types:
            # The folder's own name is its __init__, which comes last: no file of the folder may ask for it.
            imported = (
                f"{item.imported}.__init__"
                if item.imported == f"symnet.{folder}"
                else item.imported
            )
            if imported != item.importer:
                sorter.add(item.importer, imported)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


IMPORTS = find_imports(read_package())


def test_every_file_belongs_to_a_level() -> None:
    """A new folder has to say where in the line of stages it stands."""
    assert {part for name in read_package() if (part := part_of(name))} <= set(LEVEL)


def test_imports_go_to_lower_levels_only() -> None:
    assert IMPORTS
    assert upward_imports(IMPORTS) == []


@pytest.mark.parametrize("folder", sorted(LEVEL))
def test_files_of_a_folder_have_an_order(folder: str) -> None:
    """Each file imports only earlier files of its own folder, and never the folder's front door."""
    assert folder_cycle(IMPORTS, folder) == []


def test_groups_sharing_and_plan_do_without_torch() -> None:
    """Also the graph, but for the one place where it acts on torch tensors."""
    assert torch_imports(IMPORTS) == []


def test_pictures_are_seen_by_the_command_line_and_the_tasks_only() -> None:
    assert [
        str(i)
        for i in IMPORTS
        if part_of(i.imported) == "show" and part_of(i.importer) not in SEES_SHOW | {None}
    ] == []


@pytest.mark.parametrize(
    ("name", "source", "check"),
    [
        ("symnet.graph.a", "from symnet.plan import LayerPlan", upward_imports),
        ("symnet.graph.a", "def f():\n    import symnet.nn.linear", upward_imports),
        ("symnet.sharing.a", "from symnet import tracing", upward_imports),
        ("symnet.nn.a", "import symnet as sn", upward_imports),
        ("symnet.plan.a", "def f():\n    from torch.nn import Linear", torch_imports),
        ("symnet.graph.a", "import torch", torch_imports),
        ("symnet.graph.a", "from . import b", lambda imports: folder_cycle(imports, "graph")),
        (
            "symnet.graph.a",
            "from symnet.graph import Space",
            lambda imports: folder_cycle(imports, "graph"),
        ),
    ],
)
def test_the_checks_reject_what_they_should(name: str, source: str, check) -> None:
    """The testers are tested: each of these files breaks one rule."""
    package = {
        "symnet.graph.b": "from symnet.graph.a import x",
        "symnet.graph.__init__": "from symnet.graph.a import x",
        "symnet.plan.__init__": "",
        "symnet.tracing.__init__": "",
        "symnet.nn.linear": "",
    }
    assert check(find_imports(package | {name: source}))


def test_a_lazy_torch_import_in_the_graph_is_allowed() -> None:
    assert torch_imports(find_imports({"symnet.graph.a": "def f():\n    import torch"})) == []


def test_importing_symnet_loads_nothing_heavy() -> None:
    """``import symnet`` is quick: what takes long to load is loaded when it is first asked for."""
    code = "import sys, json, symnet; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert HEAVY & set(json.loads(output)) == set()
