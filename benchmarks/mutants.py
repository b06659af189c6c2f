"""Small mistakes for a source file: one operator, one number, one condition, one statement at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.MatMult: ast.Mult,
}
_NAMES = {"min": "max", "max": "min", "all": "any", "any": "all"}


@dataclass(frozen=True)
class Mutant:
    """One change: where, what in words, and the whole changed source."""

    place: str  # line:column
    change: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a file.

    Left alone: texts, annotations, decorators, limits (UPPER_CASE), what only errors, reprs and type checkers see.
    """
    tree = ast.parse(source)
    for number, node in enumerate(_places(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            twin = list(_places(changed))[number]
            words = change(twin)
            if words is not None:
                place = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}"
                yield Mutant(place, words, ast.unparse(ast.fix_missing_locations(changed)))


def _places(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes in which a mistake would be one of computation, in a fixed order."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_left_alone(child):
                continue
            yield child
            yield from _places(child)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef(name=name):
            return (
                name in ("__repr__", "__str__", "extra_repr")
                or "words" in name
                or "describe" in name
                or "too_large" in name
            )
        case ast.Assign(targets=[ast.Name(id=name)]):
            return (
                name.isupper() or (name.startswith("_") and name[1:].isupper()) or name == "__all__"
            )
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _changes(node: ast.AST) -> list:
    match node:
        case ast.Compare():
            return [_swap_comparison]
        case ast.BinOp():
            return [_swap_operator]
        case ast.Constant(value=bool()) | ast.Constant(value=int()):
            return [_change_number]
        case ast.BoolOp():
            return [_swap_boolean]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return [_drop_unary]
        case ast.If() | ast.IfExp() | ast.While():
            return [_negate_test]
        case ast.Expr(value=ast.Call()) | ast.AugAssign():
            return [_drop_statement]
        case ast.Name(id=name) if name in _NAMES:
            return [_swap_name]
        case ast.comprehension(ifs=[_, *_]):
            return [_drop_condition]
        case ast.Continue() | ast.Break():
            return [_swap_jump]
    return []


def _swap_comparison(node: ast.Compare) -> str | None:
    other = _COMPARISONS[type(node.ops[0])]
    before = type(node.ops[0]).__name__
    node.ops[0] = other()
    return f"{before} to {other.__name__}"


def _swap_operator(node: ast.BinOp) -> str | None:
    if type(node.op) not in _OPERATORS or any(
        isinstance(part, ast.Constant | ast.JoinedStr)
        and not isinstance(getattr(part, "value", ""), int | float)
        for part in (node.left, node.right)
    ):
        return None
    before, other = type(node.op).__name__, _OPERATORS[type(node.op)]
    node.op = other()
    return f"{before} to {other.__name__}"


def _change_number(node: ast.Constant) -> str:
    before = node.value
    node.value = (not before) if isinstance(before, bool) else before + 1  # type: ignore[operator]
    return f"{before} to {node.value}"


def _swap_boolean(node: ast.BoolOp) -> str:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"to {type(node.op).__name__}"


def _drop_unary(node: ast.UnaryOp) -> str:
    before = type(node.op).__name__
    node.op = ast.UAdd() if isinstance(node.op, ast.USub) else node.op
    if before == "Not":
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    return f"{before} dropped"


def _negate_test(node: ast.If | ast.IfExp | ast.While) -> str:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return "condition negated"


def _drop_statement(node: ast.Expr | ast.AugAssign) -> str:
    words = f"dropped: {ast.unparse(node)[:50]}"
    if isinstance(node, ast.Expr):
        node.value = ast.Constant(None)
    else:
        node.op, node.value = ast.Add(), ast.Constant(0)
    return words


def _swap_name(node: ast.Name) -> str:
    before, node.id = node.id, _NAMES[node.id]
    return f"{before} to {node.id}"


def _drop_condition(node: ast.comprehension) -> str:
    words = f"dropped: if {ast.unparse(node.ifs[0])[:50]}"
    node.ifs = node.ifs[1:]
    return words


def _swap_jump(node: ast.Continue | ast.Break) -> str:
    before = type(node).__name__
    node.__class__ = ast.Break if before == "Continue" else ast.Continue  # type: ignore[assignment]
    return f"{before} swapped"
