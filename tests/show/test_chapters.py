"""The explorer's chapters for readers who know no group: what they show is computed, and answers pointer and keyboard."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

import symnet as sn
from symnet.show import explore
from tests.show.test_explorer import GRAPH, browse, needs_browser

pytestmark = needs_browser
TOLD = "const told = (id) => document.getElementById(id).textContent, press = (id) => document.getElementById(id).click();"
KEY = """
const key = (name) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
"""


def written(net: dict[str, Any], order: list[int]) -> np.ndarray:
    """The curve of the page's network by numpy, its hidden neurons in an order."""
    grid = np.arange(121) / 20 - 3
    into, bias, out = (np.array(net[name])[order] for name in ("into", "bias", "out"))
    return np.tanh(np.outer(grid, into) + bias) @ out


def test_neurons_change_places_and_only_the_list_changes(tmp_path: Path) -> None:
    """By keyboard: the curve and the reader by neurons stay, the list and its reader do not."""
    script = f"""{TOLD}{KEY}
    const first = told("start-told");
    document.querySelector("#start-network .movable").focus();
    key("Enter"); key("ArrowDown"); key("ArrowDown"); key("Enter"); key("ArrowDown");
    const net = netOf(startHere.order, startHere.out);
    return {{first, now: told("start-told"), order: startHere.order, NET, FLAT, curve: curveOf(net), flat: flatReader(net),
             reader: [neuronReader(NET), neuronReader(net)], focused: document.activeElement.getAttribute("aria-label"),
             readers: [...document.querySelectorAll("#start-readers .right")].map((one) => one.textContent)}};
    """
    found = browse(tmp_path, script)
    order = [1, 2, 0, 3, 4]
    assert found["order"] == order and found["focused"] == "neuron D, place 4 of 5"
    np.testing.assert_allclose(found["curve"], written(found["NET"], list(range(5))), atol=1e-12)
    flat = np.concatenate([np.array(found["NET"][name])[order] for name in ("into", "bias", "out")])
    assert abs(found["flat"] - np.tanh(flat @ found["FLAT"] / 2)) < 1e-12
    assert abs(found["reader"][0] - found["reader"][1]) < 1e-12
    assert "The curve is the same" in found["now"] and "9 of 15 numbers" in found["now"]
    assert found["first"].startswith("Order A B C D E.") and "0 of 15" in found["first"]
    assert found["readers"][0].replace("\u2212", "-") == f"{found['flat']:.2f}"


def test_a_neuron_is_dragged_past_another(tmp_path: Path) -> None:
    """By pointer, with the weights out left behind too: then the curve is another one, and the box brings it back."""
    script = f"""{TOLD}
    const neuron = document.querySelector("#start-network .movable"), svg = document.querySelector("#start-network svg");
    neuron.setPointerCapture = () => {{}};
    const point = (type, y) => {{
      const at = new DOMPoint(150, y).matrixTransform(svg.getScreenCTM());
      neuron.dispatchEvent(new PointerEvent(type, {{bubbles: true, pointerId: 7, clientX: at.x, clientY: at.y}}));
    }};
    const drag = (y) => {{ point("pointerdown", 36); point("pointermove", y); point("pointerup", y); return told("start-told"); }};
    const crossed = drag(90), order = [...startHere.order];
    press("back"); press("behind");
    return [order, crossed, drag(90), [...startHere.out], (press("behind"), told("start-told"))];
    """
    order, crossed, torn, out, mended = browse(tmp_path, script)
    assert order == [1, 0, 2, 3, 4] and "The curve is the same" in crossed
    assert (
        "The curve is another one" in torn
        and out == [0, 1, 2, 3, 4]
        and "The curve is the same" in mended
    )


def test_swap_reorders_and_back_undoes(tmp_path: Path) -> None:
    script = f"""{TOLD}
    const found = [];
    for (let k = 0; k < 8; k++) {{ press("back"); press("swap"); found.push(startHere.order.filter((one, at) => one !== at).length); }}
    return [found, told("start-told"), (press("back"), told("start-told"))];
    """
    found, told, back = browse(tmp_path, script)
    assert found == [2] * 8 and "The curve is the same" in told and "0 of 15" in back


def test_the_two_ways_part_when_an_entry_is_recoloured(tmp_path: Path) -> None:
    """By keyboard and by tap: the error is that of numpy's permutation matrix, and nought again after the repair."""
    script = f"""{TOLD}{KEY}
    const found = [told("square-told")];
    document.querySelector("#square-matrix svg").focus();
    key("ArrowDown"); key("ArrowRight"); key("ArrowRight"); key("Enter");
    const at = squareHere.painted.findIndex((label, k) => label !== squareHere.solution.labels[k]);
    const matrix = matrixOf(), apart = bothWays(matrix, SQUARE.values, imagesOf(ORDERS.turn)).apart;
    found.push(told("square-told"));
    squareHere.grid.cells[35].cell.dispatchEvent(new MouseEvent("click", {{bubbles: true}}));
    found.push(told("square-told"));
    press("repair");
    return {{told: [...found, told("square-told")], at, matrix, apart, values: SQUARE.values}};
    """
    found = browse(tmp_path, script)
    matrix, values = np.array(found["matrix"]).reshape(6, 6), np.array(found["values"])
    turn = np.kron(np.eye(2), np.roll(np.eye(3), 1, axis=0))
    error = np.abs(turn @ matrix @ values - matrix @ turn @ values).max()
    assert found["at"] == 8 and error > 0.01 and abs(found["apart"] - error) < 1e-12
    whole, broken, twice, repaired = found["told"]
    assert f"by {error:.3f}" in broken and "One entry" in broken and "2 entries" in twice
    assert whole == repaired and "error 0.000" in whole and "the largest error is 0.000" in whole


def test_generators_sweep_an_orbit_whose_number_does_not_grow_with_the_width(
    tmp_path: Path,
) -> None:
    """Reached are the images of the entry under all 24 orders; the counts are those of symnet."""
    script = f"""{TOLD}{KEY}
    const started = told("sweep-told"), sizes = [];
    for (let k = 0; k < 64; k++) sizes.push(stepsFrom(sweepHere.solution, k).map(({{to}}) => to).concat(k).sort((a, b) => a - b));
    for (let k = 0; k < 11; k++) press("step");
    const ended = told("sweep-told"), marked = document.querySelectorAll("#sweep-matrix .faint").length;
    press("sweep");
    const going = sweepHere.timer > 0 && sweepHere.done === 0;
    const width = document.getElementById("width");
    width.value = 7;
    width.dispatchEvent(new Event("input"));
    return {{started, ended, marked, going, sizes, wide: told("width-told"), counts: sweepHere.counts.map(({{free}}) => free)}};
    """
    found = browse(tmp_path, script)
    orders = [
        np.array([*order, *(4 + one for one in order)])
        for order in itertools.permutations(range(4))
    ]
    for entry, reached in enumerate(found["sizes"]):
        assert reached == sorted(
            {int(8 * order[entry // 8] + order[entry % 8]) for order in orders}
        )
    assert "press Sweep" in found["started"] and found["ended"].startswith("12 entries are reached")
    assert found["marked"] == 64 - 12 and found["going"]
    graphs = [sn.NeuronGraph({"h": sn.Symmetric(n)}, {"in": "h", "out": "h"}) for n in range(1, 9)]
    assert found["counts"] == [sn.derive(graph).dimension for graph in graphs]
    assert found["wide"] == "7 neurons: 196 entries, 8 free parameters."


FIRST = [0, 1, 2, 3, 4]
ADDRESSES = [  # an address, the order and the entry that it opens, and how it is written again
    (
        "order=BADCE&out=ABCDE&entry=3,2",
        [1, 0, 3, 2, 4],
        {"row": 3, "column": 2},
        "order=BADCE&out=ABCDE&entry=3,2",
    ),
    (
        "at=square&painted=7.3,8.0&square=swap&width=2&sweep=9",
        FIRST,
        None,
        "at=square&painted=7.3,8.0&square=swap&width=2&sweep=9",
    ),
    (
        "painted=99.1,8.9&square=__proto__&width=99&sweep=999&order=BADCX&entry=3,999",
        FIRST,
        None,
        "",
    ),
    ("at=text&order=AABCD&entry=%3Cb%3E&width=0", FIRST, None, ""),
]


def test_the_address_keeps_what_is_seen(tmp_path: Path) -> None:
    """An address opens its view, and is written again as it was; a wrong one shows what stands there at first."""
    script = f"""
    return {[kept for kept, *_ in ADDRESSES]}.map((kept) => {{
      choose(null);
      location.hash = kept;
      readAddress();
      return [kept, [...startHere.order], here.chosen, decodeURIComponent(addressOf()), told("problem")];
    }});
    """
    assert browse(tmp_path, TOLD + script) == [[*view, ""] for view in ADDRESSES]


def test_the_page_runs_inside_a_notebook(tmp_path: Path) -> None:
    """In a frame without an address of its own, by its buttons: nothing fails, and the surrounding page stays."""
    inline = json.dumps(explore(GRAPH)._repr_html_()).replace("<", "\\u003c")
    script = f"""
    const cell = document.createElement("div");
    document.body.append(cell);
    cell.innerHTML = {inline};
    const frame = cell.firstChild, before = location.href;
    frame.addEventListener("load", () => {{
      const inside = (id) => frame.contentDocument.getElementById(id);
      frame.contentWindow.onerror = (text) => errors.push(text);
      frame.contentDocument.querySelector("nav button").click();
      inside("swap").click();
      document.title = inside("start-told").textContent;
    }});
    return new Promise((done) => setTimeout(() => done([document.title, location.href === before]), 1500));
    """
    told, stays = browse(tmp_path, script)
    assert "The curve is the same" in told and " 0 of 15" not in told and stays
