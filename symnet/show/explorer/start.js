"use strict";
// The first chapter: neurons change places, the curve stays, the list of weights does not. No notation, no group.

const FIRST = { x: 150, y: 36, step: 46 }; // of the hidden neurons
const startHere = { order: [0, 1, 2, 3, 4], out: [0, 1, 2, 3, 4], held: null, dragged: null, shapes: null };

// ---- what is done --------------------------------------------------------------------------------------------------
// Neuron `letter` moves to a place; those that it crosses move up or down by one.
function moveNeuron(letter, place) {
  const { order } = startHere;
  const target = Math.max(0, Math.min(order.length - 1, place));
  if (order.indexOf(letter) === target) return;
  order.splice(order.indexOf(letter), 1);
  order.splice(target, 0, letter);
  if (!part("behind").checked) startHere.out = [...order];
  showStart(true);
}

function swapNeurons() {
  const { order } = startHere;
  const [a, b] = [Math.floor(Math.random() * 5), 1 + Math.floor(Math.random() * 4)];
  const c = (a + b) % 5;
  [order[a], order[c]] = [order[c], order[a]];
  if (!part("behind").checked) startHere.out = [...order];
  showStart(true);
}

function setOrder(order, out) {
  Object.assign(startHere, { order: [...order], out: [...out], held: null });
  part("behind").checked = order.join() !== out.join();
  startHere.shapes.heights = LETTERS.map((_, letter) => placeOf(letter));
  showStart(false);
}

function keyOnNeuron(event, letter) {
  const { order, held, shapes } = startHere;
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step && held === letter) moveNeuron(letter, order.indexOf(letter) + step);
  else if (step) shapes.neurons[order[(order.indexOf(letter) + step + 5) % 5]].focus();
  else if (event.key === "Enter" || event.key === " ") holdNeuron(held === letter ? null : letter);
  else if (event.key === "Escape") holdNeuron(null);
  else return;
  event.preventDefault();
}

function holdNeuron(letter) {
  startHere.held = letter;
  showStart(true);
}

function dragNeuron(event, letter) {
  const frame = part("start-network").querySelector("svg");
  const { y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(frame.getScreenCTM().inverse());
  startHere.dragged = { letter, y: Math.max(FIRST.y, Math.min(FIRST.y + 4 * FIRST.step, y)) };
  moveNeuron(letter, Math.round((y - FIRST.y) / FIRST.step));
  placeAll();
}

function letGo() {
  startHere.shapes.heights[startHere.dragged.letter] = startHere.dragged.y; // it glides from where it is
  startHere.dragged = null;
  showStart(true);
}

// ---- what is drawn -------------------------------------------------------------------------------------------------
function drawStart() {
  const svg = element("svg", { viewBox: "0 0 300 262", role: "group", "aria-label": "the network: one input, five hidden neurons, one output" });
  const middle = FIRST.y + 2 * FIRST.step;
  const line = (k) => element("line", { class: "strand" }, svg);
  const [entering, leaving] = [LETTERS.map((_, k) => line(k)), LETTERS.map((_, k) => line(k))];
  for (const [x, name] of [[28, "x"], [272, "y"]]) {
    element("circle", { cx: x, cy: middle, r: 16, class: "end" }, svg);
    element("text", { x, y: middle + 5 }, svg).textContent = name;
  }
  const neurons = LETTERS.map((name, letter) => {
    const group = element("g", { class: "movable", tabindex: 0, role: "button" }, svg);
    element("circle", { r: 17, fill: HUES[letter] }, group);
    element("text", { y: 5 }, group).textContent = name;
    group.addEventListener("keydown", (event) => keyOnNeuron(event, letter));
    group.addEventListener("pointerdown", (event) => {
      group.setPointerCapture(event.pointerId);
      startHere.dragged = { letter, y: placeOf(letter) };
    });
    group.addEventListener("pointermove", (event) => startHere.dragged && startHere.dragged.letter === letter && dragNeuron(event, letter));
    for (const end of ["pointerup", "pointercancel"]) group.addEventListener(end, () => startHere.dragged && letGo());
    return group;
  });
  part("start-network").replaceChildren(svg);
  startHere.shapes = { neurons, entering, leaving, middle, heights: LETTERS.map((_, letter) => placeOf(letter)) };
}

const placeOf = (letter) => FIRST.y + FIRST.step * startHere.order.indexOf(letter);

// Neurons glide to their places; who asks for less motion sees them there at once.
function glide() {
  const { shapes } = startHere;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let moving = false;
  shapes.heights.forEach((height, letter) => {
    const left = placeOf(letter) - height;
    shapes.heights[letter] = still || Math.abs(left) < 0.5 ? placeOf(letter) : height + 0.22 * left;
    moving ||= shapes.heights[letter] !== placeOf(letter);
  });
  placeAll();
  shapes.waiting = moving ? requestAnimationFrame(glide) : 0;
}

function placeAll() {
  const { shapes, dragged, out, order } = startHere;
  const at = (letter) => (dragged && dragged.letter === letter ? dragged.y : shapes.heights[letter]);
  LETTERS.forEach((_, letter) => {
    shapes.neurons[letter].setAttribute("transform", `translate(${FIRST.x} ${at(letter)})`);
    setStrand(shapes.entering[letter], [28, shapes.middle, FIRST.x, at(letter)], letter, NET.into[letter]);
    setStrand(shapes.leaving[letter], [FIRST.x, at(order[out.indexOf(letter)]), 272, shapes.middle], letter, 2 * NET.out[letter]);
  });
}

function setStrand(line, ends, letter, weight) {
  ["x1", "y1", "x2", "y2"].forEach((name, k) => line.setAttribute(name, ends[k]));
  line.style.stroke = HUES[letter];
  line.style.strokeWidth = 1 + 1.6 * Math.abs(weight);
  line.style.strokeDasharray = weight < 0 ? "7 4" : "";
}

function drawCurves(before, after) {
  const svg = element("svg", { viewBox: "0 0 300 200", role: "img", "aria-label": "the output for every input: before, broad; now, thin" });
  const path = (values) => values.map((value, k) => `${k ? "L" : "M"}${(10 + 280 * (k / 120)).toFixed(1)} ${(100 - 24 * value).toFixed(1)}`).join("");
  element("path", { d: "M10 100H290M150 10V190", class: "cross" }, svg);
  element("path", { d: path(before), class: "before" }, svg);
  element("path", { d: path(after), class: "after" }, svg);
  part("start-curve").replaceChildren(svg);
}

function drawList(before, after) {
  const svg = element("svg", { viewBox: "0 0 300 170", role: "img", "aria-label": "the weights in one list: before, outlined; now, filled" });
  const { order, out } = startHere;
  const owner = [...order, ...order, ...out];
  const bar = (value, k) => ({ x: 4 + 19 * k + 5 * Math.floor(k / 5), width: 15, y: value < 0 ? 72 : 72 - 20 * value, height: Math.abs(20 * value) });
  after.forEach((value, k) => {
    const { x } = bar(value, k);
    element("rect", { ...bar(value, k), fill: HUES[owner[k]] }, svg);
    element("rect", { ...bar(before[k], k), class: "was" }, svg);
    element("text", { x: x + 7.5, y: 134 }, svg).textContent = LETTERS[owner[k]];
  });
  ["in", "bias", "out"].forEach((name, k) => (element("text", { x: 50 + 100 * k, y: 158, class: "quiet" }, svg).textContent = name));
  part("start-list").replaceChildren(svg);
}

function drawNeedle(frame, name, before, after) {
  const svg = element("svg", { viewBox: "0 0 300 62", role: "img", "aria-label": `${name}: before ${shown(before)}, now ${shown(after)}` });
  const x = (value) => 150 + 135 * value;
  element("text", { x: 10, y: 16, class: "left" }, svg).textContent = name;
  element("text", { x: 290, y: 16, class: "right" }, svg).textContent = shown(after);
  element("path", { d: "M15 40H285M15 34V46M150 34V46M285 34V46", class: "cross" }, svg);
  element("circle", { cx: x(before), cy: 40, r: 9, class: "was" }, svg);
  element("circle", { cx: x(after), cy: 40, r: 5.5, class: "now" }, svg);
  frame.append(svg);
}

// What is seen goes into the address when a reader has changed it.
function showStart(changed) {
  const [before, after] = [netOf([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), netOf(startHere.order, startHere.out)];
  const curves = [before, after].map(curveOf);
  const lists = [before, after].map(listOf);
  drawCurves(...curves);
  drawList(...lists);
  part("start-readers").replaceChildren();
  drawNeedle(part("start-readers"), "reads the list as it comes", flatReader(before), flatReader(after));
  drawNeedle(part("start-readers"), "asks every neuron alike, and adds", neuronReader(before), neuronReader(after));
  startHere.shapes.neurons.forEach((group, letter) => {
    group.setAttribute("aria-label", `neuron ${LETTERS[letter]}, place ${startHere.order.indexOf(letter) + 1} of 5`);
    group.setAttribute("aria-pressed", startHere.held === letter);
  });
  if (!startHere.shapes.waiting) glide();
  const apart = Math.max(...curves[0].map((value, k) => Math.abs(value - curves[1][k])));
  const moved = lists[0].filter((value, k) => value !== lists[1][k]).length;
  part("start-told").textContent = tellStart(apart, moved, before, after);
  if (changed) keepAddress();
}

function tellStart(apart, moved, before, after) {
  const held = startHere.held === null ? "" : `Neuron ${LETTERS[startHere.held]} is held: move it with the arrow keys, Enter lets go. `;
  const order = `Order ${startHere.order.map((k) => LETTERS[k]).join(" ")}. `;
  const curve = apart < 1e-9 ? "The curve is the same" : "The curve is another one";
  const reader = (read) => `${shown(read(before))} to ${shown(read(after))}`;
  return `${held}${order}${curve} (largest difference ${shown(apart, 3)}). ${moved} of 15 numbers in the list changed. ` +
    `The first reader's answer went from ${reader(flatReader)}, the second reader's from ${reader(neuronReader)}.`;
}

function startChapter() {
  drawStart();
  part("swap").addEventListener("click", swapNeurons);
  part("back").addEventListener("click", () => {
    setOrder([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]);
    keepAddress();
  });
  part("behind").addEventListener("change", () => {
    if (!part("behind").checked) startHere.out = [...startHere.order];
    showStart(true);
  });
  showStart(false);
}
