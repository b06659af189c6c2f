"use strict";
// What is seen, kept in the page's address: a link opens the same view. What an address says wrongly is left at its default.

let addressWaiting = 0;

function addressOf() {
  const kept = new URLSearchParams();
  const { order, out } = startHere;
  if (order.join() !== "0,1,2,3,4" || out.join() !== order.join()) kept.set("order", order.map((k) => LETTERS[k]).join(""));
  if (out.join() !== order.join()) kept.set("out", out.map((k) => LETTERS[k]).join(""));
  if (part("text").value.trim() !== known.architectures[0].text.trim()) kept.set("text", part("text").value);
  if (here.chosen) kept.set("entry", `${here.chosen.row},${here.chosen.column}`);
  return kept.toString();
}

// Inside a notebook the page has no address of its own; browsers also limit how often it may change.
function keepAddress() {
  if (location.protocol === "about:") return;
  clearTimeout(addressWaiting);
  addressWaiting = setTimeout(() => history.replaceState(null, "", `#${addressOf()}`), 300);
}

function readAddress() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const order = lettersIn(kept.get("order"));
  if (order) setOrder(order, lettersIn(kept.get("out")) || order);
  if (kept.has("text")) {
    part("text").value = kept.get("text");
    read(part("text").value);
  }
  const entry = numbersIn(kept.get("entry"), 2);
  if (entry && here.solution && entry.every((k) => k < here.solution.weights.length)) choose(...entry);
}

function lettersIn(text) {
  const found = [...(text || "")].map((letter) => LETTERS.indexOf(letter));
  return [...found].sort().join() === "0,1,2,3,4" ? found : null;
}

function numbersIn(text, count) {
  return /^\d{1,4}(,\d{1,4})*$/.test(text || "") && text.split(",").length === count ? text.split(",").map(Number) : null;
}
