"use strict";
// What is seen, kept in the page's address: a link opens the same view. What an address says wrongly is left at its default.

const addressHere = { waiting: 0, chapter: "" };

function addressOf() {
  const kept = new URLSearchParams();
  const { order, out } = startHere;
  if (addressHere.chapter) kept.set("at", addressHere.chapter);
  if (order.join() !== "0,1,2,3,4" || out.join() !== order.join()) kept.set("order", order.map((k) => LETTERS[k]).join(""));
  if (out.join() !== order.join()) kept.set("out", out.map((k) => LETTERS[k]).join(""));
  const changed = squareHere.painted.flatMap((label, k) => (label === squareHere.solution.labels[k] ? [] : [`${k}.${label}`]));
  if (changed.length) kept.set("painted", changed.join());
  if (part("square-order").value !== "turn") kept.set("square", part("square-order").value);
  if (sweepHere.solution.weights.length !== 2 * FIRST_WIDTH) kept.set("width", sweepHere.solution.weights.length / 2);
  if (sweepHere.entry !== 1) kept.set("sweep", sweepHere.entry);
  if (part("text").value.trim() !== known.architectures[0].text.trim()) kept.set("text", part("text").value);
  if (here.chosen) kept.set("entry", `${here.chosen.row},${here.chosen.column}`);
  return kept.toString();
}

// Inside a notebook the page has no address of its own; browsers also limit how often it may change.
function keepAddress() {
  if (location.protocol === "about:") return;
  clearTimeout(addressHere.waiting);
  addressHere.waiting = setTimeout(() => {
    const address = `#${addressOf()}`;
    if (address !== (location.hash || "#")) history.replaceState(null, "", address);
  }, 300);
}

function goTo(chapter) {
  addressHere.chapter = chapter;
  part(chapter).scrollIntoView();
  keepAddress();
}

function readAddress() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const order = lettersIn(kept.get("order")) || [0, 1, 2, 3, 4];
  setOrder(order, lettersIn(kept.get("out")) || order);
  part("square-order").value = Object.hasOwn(ORDERS, kept.get("square")) ? kept.get("square") : "turn";
  repaint(kept.get("painted") || "");
  const [width] = numbersIn(kept.get("width"), 1) || [FIRST_WIDTH];
  setWidth(width >= 1 && width <= MOST_NEURONS ? width : FIRST_WIDTH);
  const [start] = numbersIn(kept.get("sweep"), 1) || [-1];
  const count = sweepHere.solution.weights.length;
  if (start >= 0 && start < count ** 2) chooseStart(Math.floor(start / count), start % count);
  const text = kept.get("text") || known.architectures[0].text;
  if (text !== part("text").value) {
    part("text").value = text;
    read(text);
  }
  const entry = numbersIn(kept.get("entry"), 2);
  if (here.solution) choose(...(entry && entry.every((k) => k < here.solution.weights.length) ? entry : [null]));
  addressHere.chapter = "";
  if (["start", "square", "orbits", "widths", "own"].includes(kept.get("at"))) goTo(kept.get("at"));
}

// "7.3,8.0": entry 7 has the colour of orbit 3, entry 8 that of orbit 0.
function repaint(text) {
  squareHere.painted = [...squareHere.solution.labels];
  for (const one of text.split(",")) {
    const [, entry, label] = /^(\d{1,2})\.([0-7])$/.exec(one) || [];
    if (entry < squareHere.painted.length) squareHere.painted[entry] = Number(label);
  }
  showSquare();
}

function lettersIn(text) {
  const found = [...(text || "")].map((letter) => LETTERS.indexOf(letter));
  return [...found].sort().join() === "0,1,2,3,4" ? found : null;
}

function numbersIn(text, count) {
  return /^\d{1,4}(,\d{1,4})*$/.test(text || "") && text.split(",").length === count ? text.split(",").map(Number) : null;
}
