"""Formulas that stand in texts are read, and compared with what the derivations derive.

Each row names a file, a formula exactly as it is written there (LaTeX on the pages, plain in the docstrings), and the result that it states. Change a
sign in the text, and the row is not found; change it in both, and the comparison fails.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest
import sympy as sp
from sympy.functions.combinatorial.numbers import stirling
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_multiplication_application,
    parse_expr,
    standard_transformations,
)

ROOT = Path(__file__).parents[1]
RULES = (*standard_transformations, convert_xor, implicit_multiplication_application)

# file, formula, derivation, name of its result (and number of the entry, where it is a tuple)
FORMULAS: list[tuple[str, str, str, str, int | None]] = [
    (
        "docs/theory/counting.md",
        "4L + 4(L-1) + (L^2 - L - 2(L-1))",
        "np_layer",
        "weights to weights",
        None,
    ),
    (
        "docs/theory/counting.md",
        "(2L + 2(L-1) + L^2 - L - (L-1))",
        "np_layer",
        "biases to weights, and weights to biases",
        None,
    ),
    ("docs/theory/counting.md", "2L + L^2 - L", "np_layer", "biases to biases", None),
    ("docs/theory/counting.md", "4L^2 + 10L - 4", "np_layer", "all", None),
    ("docs/theory/derivations.md", "4L^2 + 10L - 4", "np_layer", "all", None),
    ("derivations/np_layer.py", "4 L^2 + 10 L - 4", "np_layer", "all", None),
    (
        "docs/theory/fixed-sets.md",
        "(p + 2q + 2L - 3)^2 + (p + 2)^2 + (q + 2)^2 + 9(L - 3) + (L - 2)",
        "hnp_layer",
        "3 layers or more",
        None,
    ),
    (
        "derivations/hnp_layer.py",
        "(p + 2 q + 2 L - 3)^2 + (p + 2)^2 + (q + 2)^2 + 9 (L - 3) + (L - 2)",
        "hnp_layer",
        "3 layers or more",
        None,
    ),
    ("docs/theory/depth.md", "p + 2q + 2L - 3", "invariant_pooling", "of an MLP", None),
    ("docs/theory/depth.md", r"\operatorname{Var} a = \frac1c", "initial_variance", "Var a", None),
    ("docs/theory/depth.md", r"\operatorname{Var} b = \frac2c", "initial_variance", "Var b", None),
    (
        "docs/theory/depth.md",
        r"\operatorname{Cov}(a, b) = -\frac1c",
        "initial_variance",
        "Cov(a, b)",
        None,
    ),
    ("derivations/initial_variance.py", "Var a = 1/c", "initial_variance", "Var a", None),
    ("derivations/initial_variance.py", "Var b = 2/c", "initial_variance", "Var b", None),
    ("derivations/initial_variance.py", "Cov(a, b) = -1/c", "initial_variance", "Cov(a, b)", None),
    ("docs/theory/special-cases.md", r"40\,m^2", "attention_heads", "q, k, v and o", None),
    ("derivations/attention_heads.py", "40 m^2", "attention_heads", "q, k, v and o", None),
    ("derivations/attention_heads.py", "h d (d-1)", "attention_heads", "sizes of the orbits", 1),
    ("derivations/attention_heads.py", "h (h-1) d^2", "attention_heads", "sizes of the orbits", 2),
    ("derivations/grouped_convolution.py", "g o i (i-1)", "grouped_convolution", "sizes", 1),
    ("derivations/grouped_convolution.py", "g o (o-1) i", "grouped_convolution", "sizes", 2),
    ("derivations/grouped_convolution.py", "g o (o-1) i (i-1)", "grouped_convolution", "sizes", 3),
    ("derivations/grouped_convolution.py", "g (g-1) o^2 i^2", "grouped_convolution", "sizes", 4),
    (
        "derivations/recurrent_layer.py",
        "g^2 (2 (p + 2)^2 + 10 (p + 2) + 15)",
        "recurrent_layer",
        "all",
        None,
    ),
    (
        "derivations/signed_groups.py",
        "(p + 1)^2 + (L - 2) + (L - 3) + (q + 1)^2 + q^2",
        "signed_groups",
        "maps of an MLP",
        None,
    ),
]


# Displayed formulas that are no number of maps: how they begin, and the derivation that rests on them or proves them.
STEPS = {
    r"W_2 P^\top\,\sigma": "pointwise_nonlinearities",
    r"M = \begin{pmatrix}": "orbits_are_ties",
    r"\text{number of orbits of }": "burnside_counts",
    r"\dim = \frac{1}{|G|}": "burnside_counts",
    r"D_\pi[i, j] = 1": "diagrams_and_orbits",
    r"D_\pi = \sum_{\sigma": "diagrams_and_orbits",
    r"y_i = \alpha": "initial_variance",
    r"(W_2 W_1)[o, j] =": "path_products",
}


def read_formula(text: str, symbols: set[str]) -> sp.Expr:
    """The right side of a formula, LaTeX or plain, in these letters."""
    text = text.split("=")[-1].replace(r"\,", " ").replace(r"\cdot", "*")
    text = re.sub(r"\\frac(\w)(\w)", r"(\1/\2)", text)
    assert "\\" not in text, text
    # Letters side by side are a product, and a letter before a bracket is no function.
    text = re.sub(r"([a-zA-Z])(?= *\()", r"\1*", text)
    return parse_expr(text, {name: sp.Symbol(name) for name in symbols}, transformations=RULES)


def derived(module: str, name: str, entry: int | None) -> sp.Expr:
    """What a derivation says, its letters without assumptions, so that they compare by name."""
    result = import_module(f"derivations.{module}").derive()[name]
    result = result if entry is None else result.args[entry]
    return result.subs({symbol: sp.Symbol(symbol.name) for symbol in result.free_symbols})


@pytest.mark.parametrize(("file", "text", "module", "name", "entry"), FORMULAS)
def test_the_formula_is_what_is_derived(
    file: str, text: str, module: str, name: str, entry: int | None
) -> None:
    """A formula in a text is the result of its derivation."""
    assert text in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not say {text!r}"
    expected = derived(module, name, entry)
    found = read_formula(text, {symbol.name for symbol in expected.free_symbols})
    assert sp.expand(found - expected) == 0


@pytest.mark.parametrize(
    ("file", "text", "module", "name", "entry"),
    [row for row in FORMULAS if re.search(r"[-+]", row[1])],
)
def test_a_changed_sign_is_noticed(
    file: str, text: str, module: str, name: str, entry: int | None
) -> None:
    """Each sign of each formula matters to the comparison."""
    expected = derived(module, name, entry)
    symbols = {symbol.name for symbol in expected.free_symbols}
    for found in re.finditer(r"[-+]", text):
        changed = text[: found.start()] + ("-" if found[0] == "+" else "+") + text[found.end() :]
        assert sp.expand(read_formula(changed, symbols) - expected) != 0, changed


def test_no_displayed_formula_is_left_out() -> None:
    """Every displayed formula of the theory is read above, or is a step that a derivation rests on."""
    from derivations import ORDER

    assert set(STEPS.values()) <= set(ORDER)
    displayed = [
        formula
        for page in sorted((ROOT / "docs/theory").glob("*.md"))
        for formula in re.findall(r"\$\$(.*?)\$\$", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    known = [row[1] for row in FORMULAS if row[0].startswith("docs/theory")]
    unknown = [
        f
        for f in displayed
        if not any(text in f for text in known) and not f.strip().startswith(tuple(STEPS))
    ]
    assert len(displayed) >= 10 and unknown == []


def test_two_neurons_by_hand() -> None:
    """The matrices of the first example are what they are said to be."""
    page = (ROOT / "docs/theory/orbits.md").read_text(encoding="utf-8")
    found = {
        name.replace(" ", ""): sp.Matrix([row.split("&") for row in body.split(r"\\")])
        for name, body in re.findall(
            r"(\b[PM](?: [PM])?) = \\begin\{pmatrix\} (.*?) \\end\{pmatrix\}", page
        )
    }
    assert set(found) == {"P", "M", "PM", "MP"}
    assert found["PM"] == found["P"] * found["M"] and found["MP"] == found["M"] * found["P"]


def test_burnside_by_hand() -> None:
    """The sum over the six permutations of three neurons."""
    from derivations.burnside_counts import mean_fixed

    text = r"(1 \cdot 9 + 3 \cdot 1 + 2 \cdot 0)/6 = 2"
    assert text in (ROOT / "docs/theory/counting.md").read_text(encoding="utf-8")
    left, right = (read_formula(side, set()) for side in text.split("="))
    assert left == right == mean_fixed(3, 2)


def test_centred_coefficients_by_hand() -> None:
    """The layer of centred means, written for plain ones: the two displayed forms are the same function."""
    page = (ROOT / "docs/theory/depth.md").read_text(encoding="utf-8")
    for old, new in (
        (r"\alpha", "A"),
        (r"\beta", "B"),
        (r"\bar{x}", "m"),
        (r"\bar x", "m"),
        ("x_i", "x"),
        (r"\,", " "),
    ):
        page = page.replace(old, new)
    found = [re.search(rf"[$ ]{name} = ([^$,]*)[$,]", page) for name in ("y_i", "a", "b")]
    assert all(found), "the page gives y_i, a and b as formulas"
    centred, own, mean = (read_formula(match[1], set("ABxm")) for match in found if match)
    plain = re.search(r"In terms of \$y_i = ([^$]*)\$", page)
    assert (
        plain
        and sp.expand(read_formula(plain[1], set("abxm")).subs({"a": own, "b": mean}) - centred)
        == 0
    )


def test_falling_factorials_by_hand() -> None:
    """Partitions with j blocks, each with its n (n-1) ... tuples, make up all n^k tuples."""
    page = (ROOT / "docs/theory/counting.md").read_text(encoding="utf-8")
    written = re.findall(r"n\(([^()]*)\)\\cdots\(([^()]*)\)", page)
    assert len(written) == 2 and len(set(written)) == 1, (
        "the product stands twice on the page, alike"
    )
    second, last = (read_formula(factor, {"n", "j"}) for factor in written[0])
    j, n = sp.symbols("j n")
    assert last.subs(j, 1) == n and sp.expand(last.subs(j, 2) - second) == 0
    for k in range(1, 5):
        blocks = range(1, k + 1)
        tuples = sum(
            stirling(k, b) * sp.prod([last.subs(j, place) for place in range(1, b + 1)])
            for b in blocks
        )
        assert sp.expand(tuples - n**k) == 0


def test_the_moebius_function_by_hand() -> None:
    """The number in the sentence is the inverse's entry."""
    page = (ROOT / "docs/theory/bases.md").read_text(encoding="utf-8")
    found = re.search(r"\$(.*?)\$ from the finest to the coarsest of four indices", page)
    assert found and int(found[1]) == derived(
        "diagrams_and_orbits", "from the finest to the coarsest", None
    )
