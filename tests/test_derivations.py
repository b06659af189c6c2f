"""Every derivation is run against symnet's public functions, and a changed sign in any of them is noticed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import sympy as sp

from derivations import ORDER
from derivations.__main__ import claim_of, main
from derivations.evidence import Disagreement

FOLDER = Path(__file__).parents[1] / "derivations"
HELPERS = {"__init__", "__main__", "evidence"}


def test_no_derivation_is_left_out() -> None:
    """Every file of the folder is in the order that is run."""
    assert {path.stem for path in FOLDER.glob("*.py")} - HELPERS == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_the_claim_holds(name: str) -> None:
    """What is derived with sympy is what symnet says."""
    module = import_module(f"derivations.{name}")
    assert claim_of(module).endswith("."), "a docstring starts with the claim, in one sentence"
    results = module.derive()
    assert results and all(isinstance(value, sp.Basic) for value in results.values())
    assert module.check()


class _Flip(ast.NodeTransformer):
    """Changes one sign in ``derive()``: the ``wanted``-th plus or minus."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Add | ast.Sub):
            if self.seen == self.wanted:
                node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            self.seen += 1
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        changed: ast.AST = node
        if isinstance(node.op, ast.USub):
            if self.seen == self.wanted:
                changed = node.operand
            self.seen += 1
        return changed


def mutants(name: str) -> Iterator[tuple[int, ModuleType]]:
    """The derivation with one sign changed, for every sign in its ``derive()``."""
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    number = 0
    while True:
        tree, flip = ast.parse(source), _Flip(number)
        (function,) = (
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == "derive"
        )
        flip.visit(function)
        if flip.seen <= number:
            return
        module = ModuleType(f"derivations.{name}")
        exec(
            compile(ast.fix_missing_locations(tree), f"{name} with sign {number} changed", "exec"),
            vars(module),
        )
        yield number, module
        number += 1


@pytest.mark.parametrize("name", ORDER)
def test_a_changed_sign_is_noticed(name: str) -> None:
    """No sign of a formula can be changed without a disagreement."""
    assert [number for number, module in mutants(name) if not notices(module)] == []


def notices(module: ModuleType) -> bool:
    """Whether a wrong derivation fails, by disagreeing or because what it says makes no sense."""
    try:
        module.check()
    except (Disagreement, ArithmeticError, LookupError, ValueError):
        return True
    return False


def test_the_table_lists_every_claim(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints one line a derivation, with and without rich, and its exit code is the verdict."""
    monkeypatch.setattr("derivations.__main__.ORDER", ("np_layer", "circulant_matrices"))
    assert main([]) == 0
    output = capsys.readouterr().out
    assert "np_layer" in output and "2 derivations, 7 facts agree." in output
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    assert main([]) == 0
    assert "np_layer            holds" in capsys.readouterr().out


def test_a_disagreement_is_shown_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def disagree() -> list[str]:
        raise Disagreement("one says 3, the other 4")

    monkeypatch.setattr("derivations.np_layer.check", disagree)
    assert main(["np_layer"]) == 1
    output = capsys.readouterr().out
    assert "DISAGREES: one says 3, the other 4" in output and "4*L" in output.replace("⋅", "*")


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["no_such_claim"])
    assert stop.value.code == 2 and "they are orbits_are_ties" in capsys.readouterr().err
