"""The explorer page: what symnet writes into it is right, and in a browser it answers pointer and keyboard."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import symnet as sn
from symnet.show import explorer_page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no browser: Chromium is not installed")
GRAPH = sn.catalogue.mlp([2, 3, 2])
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=4000",
    "--allow-file-access-from-files",
]


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_what_is_written_into_the_page_is_what_the_library_says() -> None:
    """Every architecture of the list: its text is its graph, its counts are derived, its equations are set."""
    pytest.importorskip("latex2mathml", reason="equations are set by latex2mathml")
    found = embedded(explorer_page("mlp", GRAPH))["architectures"]
    assert found[0]["title"] == "mlp" and sn.parse(found[0]["text"]) == GRAPH and len(found) >= 8
    for one in found:
        maps = sn.derive(sn.parse(one["text"]))
        assert one["dimension"] == one["burnside"] == maps.dimension
        assert one["equations"].startswith("<math")
        assert "\\" not in re.sub(r"<[^>]*>", "", one["equations"])


def test_nothing_in_an_architecture_can_end_the_script() -> None:
    graph = sn.NeuronGraph({"h": sn.Symmetric(2)}, {"</script><b>": "h"})
    page = explorer_page("</title><script>", graph)
    assert "</script><b>" not in page and "</title><script>" not in page
    assert sn.parse(embedded(page)["architectures"][0]["text"]) == graph


def test_an_architecture_that_is_too_wide_is_refused() -> None:
    with pytest.raises(sn.TooLargeError, match="--narrow 3"):
        explorer_page("wide", sn.catalogue.mlp([2, 32, 32, 1]))


# ---- in a browser ---------------------------------------------------------------------------------------------------
def browse(folder: Path, script: str, *, width: int = 1200, graph: sn.NeuronGraph = GRAPH) -> Any:
    """What a script in the page returns, the page standing in a frame of that width."""
    report = "parent.postMessage(JSON.stringify({found, errors}), '*')"
    listen = "<script>const errors = []; window.onerror = (text) => errors.push(text); console.error = window.onerror;</script>"
    act = f"<script>setTimeout(async () => {{ let found; try {{ found = await (() => {{ {script} }})(); }} catch (e) {{ errors.push(String(e)); }} {report}; }}, 200);</script>"
    page = (
        explorer_page("mlp", graph)
        .replace("<head>", f"<head>{listen}", 1)
        .replace("</body>", f"{act}</body>", 1)
    )
    (folder / "page.html").write_text(page, encoding="utf-8")
    frame = f'<iframe src="page.html" width="{width}" height="800" style="border:0"></iframe>'
    take = "window.onmessage = (event) => { document.getElementById('answer').textContent = event.data; };"
    (folder / "frame.html").write_text(
        f'<pre id="answer"></pre><script>{take}</script>{frame}', encoding="utf-8"
    )
    command = [
        str(CHROMIUM),
        *QUIET,
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,900",
        "--dump-dom",
    ]
    result = subprocess.run(
        [*command, (folder / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    answer = re.search(r'<pre id="answer">(.*?)</pre>', result.stdout, re.DOTALL)
    assert answer and answer[1], result.stderr[-2000:]
    found = json.loads(html.unescape(answer[1]))
    assert found["errors"] == []
    return found.get("found")


KEYS = """
const matrix = document.getElementById("matrix"), words = document.getElementById("words"), heard = [];
matrix.focus();
for (const key of ["ArrowDown", "ArrowRight", "n", "End", "Escape"]) {
  matrix.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
  heard.push(words.textContent);
}
return {heard, live: words.getAttribute("aria-live"), focused: document.activeElement === matrix,
        counts: document.getElementById("counts").textContent,
        marked: document.querySelectorAll("#network .input").length, equations: document.querySelectorAll("#equations math").length};
"""


@needs_browser
def test_the_keyboard_moves_through_the_matrix_and_words_follow(tmp_path: Path) -> None:
    """The sentences are those of ``describe``; the next entry of an orbit is one of the same orbit."""
    found = browse(tmp_path, KEYS)
    maps = sn.derive(GRAPH)
    first = maps.between("0.weight", "0.weight").describe((0, 0), (0, 0))
    second = maps.between("0.weight", "0.weight").describe((0, 0), (0, 1))
    heard = found["heard"]
    assert first in heard[0] and second in heard[1] and second in heard[2] and heard[2] != heard[1]
    assert (
        "to 0.weight" in heard[3]
        and "From 2.bias[1]" in heard[3]
        and heard[4] == "No entry is chosen."
    )
    assert found["live"] == "polite" and found["focused"] and found["marked"] == 0
    assert f"{maps.dimension} free parameters" in found["counts"] and "the same" in found["counts"]
    assert found["equations"] >= 1


@needs_browser
def test_the_pattern_changes_with_the_group_of_a_set(tmp_path: Path) -> None:
    """Holding the hidden neurons fixed unties everything; other sizes leave the count as it is."""
    script = """
    const count = () => document.querySelector("#counts p").textContent.split(" ")[0];
    const found = [count()];
    const set = (tag, value) => { const field = document.querySelectorAll("#sets .set")[1].querySelector(tag);
      field.value = value; field.dispatchEvent(new Event("change")); found.push(count()); };
    set("input", "4"); set("select", "Cyclic"); set("select", "Fixed");
    return [...found, document.getElementById("text").value, document.activeElement.getAttribute("aria-label")];
    """
    *counts, text, focused = browse(tmp_path, script)
    wide = sn.catalogue.mlp([2, 4, 2])
    groups = (sn.Symmetric(4), sn.Cyclic(4), sn.Fixed(4))
    expected = [sn.derive(wide.with_groups({"h1": group})).dimension for group in groups]
    assert [int(count) for count in counts] == [sn.derive(GRAPH).dimension, *expected]
    assert sn.parse(text) == wide.with_groups({"h1": sn.Fixed(4)}) and focused == "group of h1"


@needs_browser
def test_a_wrong_text_draws_nothing(tmp_path: Path) -> None:
    script = """
    const text = document.getElementById("text");
    text.value = "neurons\\n  h Symmetric(3)\\n";
    read(text.value);
    const gone = [document.getElementById("problem").textContent, document.getElementById("matrix").hidden,
                  document.getElementById("network").textContent, document.getElementById("counts").textContent];
    text.value = "neurons\\n  h: Symmetric(4)\\ntensors\\n  w: h h\\n";
    read(text.value);
    return [...gone, document.getElementById("matrix").hidden, document.querySelector("#counts p").textContent];
    """
    problem, hidden, network, counts, back, again = browse(tmp_path, script)
    assert problem.startswith("line 2, column 3: ") and hidden is True and network == counts == ""
    assert back is False and again.startswith("15 free parameters")


@needs_browser
@pytest.mark.parametrize("width", [375, 1200])
def test_the_page_fits_a_phone(tmp_path: Path, width: int) -> None:
    """Nothing but tables and equations scrolls sideways, each within its own frame."""
    script = "return [document.documentElement.scrollWidth, innerWidth, document.getElementById('matrix').getBoundingClientRect().width];"
    scroll, inner, matrix = browse(tmp_path, script, width=width)
    assert inner == width and scroll <= width and 150 < matrix <= width


@needs_browser
def test_a_tap_on_a_weight_chooses_it(tmp_path: Path) -> None:
    """The tapped weight is output and input: the coefficient of a weight with itself."""
    script = """
    document.querySelectorAll("#network .weight")[3].dispatchEvent(new MouseEvent("click", {bubbles: true}));
    return [document.getElementById("words").textContent, document.querySelectorAll("#network .input").length];
    """
    words, marked = browse(tmp_path, script)
    assert "From 0.weight[1, 1] to 0.weight[1, 1]: same row (h1)" in words and marked == 1


@needs_browser
def test_diagrams_of_an_entry_take_turns(tmp_path: Path) -> None:
    """A corner is filled by all three matchings of a rotated matrix; Python's diagrams fill as many entries."""
    graph = sn.NeuronGraph({"m": sn.Orthogonal(3)}, {"w": "m m"})
    script = """
    const words = () => document.getElementById("words").textContent;
    const key = (key) => document.getElementById("matrix").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    const heard = [];
    for (const one of ["Home", "d", "d", "d", "ArrowRight", "n"]) { key(one); heard.push(words()); }
    return {heard, told: !document.getElementById("mixed").hidden, counts: document.getElementById("counts").textContent};
    """
    found = browse(tmp_path, script, graph=graph)
    heard = found["heard"]
    assert found["told"] and heard[0] == heard[3] and len(set(heard[:3])) == 3
    pattern = sn.derive(graph).between("w", "w")
    sizes = sorted(int((pattern.entries(diagram) >= 0).sum()) for diagram in pattern.diagrams)
    assert (
        sorted(int(re.search(r"(\d+) entries share", text)[1]) for text in heard[:3])
        == sizes
        == [9, 9, 9]
    )  # type: ignore[index]
    assert "output row = output column (m), input row = input column (m)" in "".join(heard[:3])
    assert "must be zero, because no diagram fills it" in heard[4]
    assert (
        found["counts"].startswith("3 free parameters")
        and "its Lie dimension is 3" in found["counts"]
    )


@needs_browser
def test_the_architecture_is_copied_as_python_that_declares_it(tmp_path: Path) -> None:
    script = """
        const code = document.getElementById("code");
        const before = code.hidden;
        document.getElementById("copy").click();
        return new Promise((done) => setTimeout(() => done([before, code.hidden, code.textContent]), 100));
    """
    before, after, code = browse(tmp_path, script)
    assert (before, after) == (True, False)
    names: dict[str, Any] = {}
    exec(code.replace("print(maps.summary())", ""), names)
    assert names["graph"] == GRAPH and names["maps"].dimension == sn.derive(GRAPH).dimension


@needs_browser
def test_orders_are_products_of_factorials(tmp_path: Path) -> None:
    graphs = [
        sn.NeuronGraph(
            {"a": sn.Symmetric(40), "b": sn.Fixed(3), "c": sn.Cyclic(5)}, {"w": "a b c"}
        ),
        sn.NeuronGraph(
            {"h": sn.Symmetric(4), "d": sn.NeuronSet(sn.Symmetric(16), over="h")}, {"w": "(h d)"}
        ),
        sn.NeuronGraph(
            {"h": sn.Cyclic(2), "s": sn.NeuronSet(sn.SignedSymmetric(3), over="h")}, {"w": "h s"}
        ),
        sn.NeuronGraph({"s": sn.SignedSymmetric(1), "f": sn.Fixed(4)}, {"w": "s f"}),
        sn.NeuronGraph({"f": sn.Fixed(4)}, {"w": "f"}),
    ]
    script = f"return {json.dumps([str(graph) for graph in graphs])}.map((text) => orderAsProduct(parseGraph(text)));"
    products = browse(tmp_path, script)
    assert products[1] == "4! × (16!)^4"
    for graph, product in zip(graphs, products, strict=True):
        numbers = re.sub(r"(\d+)!", r"factorial(\1)", product).replace("^", "**").replace("×", "*")
        assert eval(numbers, {"factorial": math.factorial}) == graph.order
