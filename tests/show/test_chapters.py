"""The explorer's chapters for readers who know no group: what they show is computed, and answers pointer and keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.show.test_explorer import browse, needs_browser

pytestmark = needs_browser
TOLD = (
    "const told = (id) => document.getElementById(id).textContent, press = (id) => document.getElementById(id).click();"
)
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
    assert "The curve is another one" in torn and out == [0, 1, 2, 3, 4] and "The curve is the same" in mended


def test_swap_reorders_and_back_undoes(tmp_path: Path) -> None:
    script = f"""{TOLD}
    const found = [];
    for (let k = 0; k < 8; k++) {{ press("back"); press("swap"); found.push(startHere.order.filter((one, at) => one !== at).length); }}
    return [found, told("start-told"), (press("back"), told("start-told"))];
    """
    found, told, back = browse(tmp_path, script)
    assert found == [2] * 8 and "The curve is the same" in told and "0 of 15" in back


ADDRESSES = {
    "order=BADCE&out=ABCDE&entry=3,2": ([1, 0, 3, 2, 4], {"row": 3, "column": 2}),
    "order=BADCX&entry=3,999": ([0, 1, 2, 3, 4], None),
    "order=AABCD&entry=%3Cb%3E": ([0, 1, 2, 3, 4], None),
}


def test_the_address_keeps_what_is_seen(tmp_path: Path) -> None:
    """An address opens its view, and is written again as it was; a wrong one changes nothing."""
    script = f"""
    return {list(ADDRESSES)}.map((kept) => {{
      press("back");
      choose(null);
      location.hash = kept;
      readAddress();
      return [[...startHere.order], here.chosen, decodeURIComponent(addressOf()), told("problem")];
    }});
    """
    opened = browse(tmp_path, TOLD + script)
    for (kept, (order, chosen)), view in zip(ADDRESSES.items(), opened, strict=True):
        assert view == [order, chosen, kept if chosen else "", ""]
