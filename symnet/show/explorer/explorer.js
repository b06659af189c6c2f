"use strict";
// The page: reads the architecture, solves it, and keeps matrix, network, words, counts and equations at the same entry.

const known = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const here = { solution: null, colours: [], chosen: null, at: null, drawn: [] };

// ---- the architecture ----------------------------------------------------------------------------------------------
function read(text) {
  try {
    const solution = solve(parseGraph(text));
    Object.assign(here, { solution, chosen: null, colours: colourOrbits(solution, known.palette, known.pale) });
    part("problem").textContent = "";
  } catch (error) {
    if (!(error instanceof NotationError || error instanceof TooLarge)) throw error;
    here.solution = null;
    part("problem").textContent = error.message;
  }
  showAll();
}

// Nothing stays on the page that is not of the architecture in the text.
function showAll() {
  const { solution } = here;
  for (const id of ["sets", "counts", "equations", "network", "words"]) part(id).replaceChildren();
  part("matrix").hidden = !solution;
  if (!solution) return;
  showSets(solution.graph);
  showCounts(solution);
  showEquations(solution);
  here.drawn = drawNetwork(part("network"), solution, choose);
  choose(null);
}

function showSets(graph) {
  for (const [name, set] of graph.neurons) {
    const row = document.createElement("div");
    row.className = "set";
    const title = document.createElement("b");
    title.textContent = name;
    const kinds = KINDS.filter((kind) => kind !== "Generated" || set.kind === "Generated");
    const kind = chooser(`group of ${name}`, kinds, set.kind, (value) => rewrite(graph, name, { kind: value }));
    const size = document.createElement("input");
    Object.assign(size, { type: "number", min: 1, max: 40, value: set.size, disabled: set.kind === "Generated" });
    size.setAttribute("aria-label", `neurons of ${name}`);
    size.addEventListener("change", () => rewrite(graph, name, { size: Math.max(1, Math.round(Number(size.value)) || 1) }));
    row.append(title, kind, size);
    if (set.over.length) row.append(`over ${set.over.join(", ")}`);
    part("sets").append(row);
  }
}

function chooser(label, options, value, change) {
  const made = document.createElement("select");
  made.setAttribute("aria-label", label);
  for (const option of options) made.add(new Option(option, option, false, option === value));
  made.addEventListener("change", () => change(made.value));
  return made;
}

function rewrite(graph, name, changes) {
  const generators = changes.kind && changes.kind !== "Generated" ? [] : graph.neurons.get(name).generators;
  graph.neurons.set(name, { ...graph.neurons.get(name), generators, ...changes });
  const kind = "kind" in changes;
  part("text").value = printGraph(graph);
  read(part("text").value);
  const row = [...graph.neurons.keys()].indexOf(name);
  const again = part("sets").children[row]; // the row is new: focus stays where it was
  if (again) again.querySelector(kind ? "select" : "input").focus();
}

// ---- the chosen entry ----------------------------------------------------------------------------------------------
function choose(row, column) {
  here.chosen = row === null ? null : { row, column };
  const { solution, colours, chosen, drawn } = here;
  here.at = drawMatrix(part("matrix"), solution, colours, chosen);
  markNetwork(drawn, solution, chosen);
  part("words").replaceChildren(...tell(solution, chosen));
  keepAddress();
}

function tell(solution, chosen) {
  if (!chosen) return ["No entry is chosen."];
  const count = solution.weights.length;
  const { row, column } = chosen;
  const label = solution.labels[row * count + column];
  const line = (text) => Object.assign(document.createElement("span"), { textContent: text });
  const names = `From ${entryName(solution, column)} to ${entryName(solution, row)}`;
  if (label < 0) return [line(`${names}: must be zero, because a sign flip turns it into its own negative.`)];
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = CHOSEN;
  const { size } = solution.orbits[label];
  const entering = Array.from({ length: count }, (_, k) => solution.labels[row * count + k]).filter((one) => one === label).length;
  const minus = solution.signs[row * count + column] < 0 ? " Here it enters with a minus." : "";
  const words = describeEntry(solution, row, column);
  return [
    swatch,
    line(`${names}: ${words}. Orbit ${label + 1} of ${solution.dimension}: ${size === 1 ? "this entry alone" : `${size} entries share one coefficient`}; `),
    line(`${entering} of them ${entering === 1 ? "is" : "are"} in this row.${minus}`),
  ];
}

function entryAt(event) {
  const { at, solution } = here;
  if (!solution) return null;
  const box = part("matrix").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left - at.left) / at.entry);
  const row = Math.floor((event.clientY - box.top - at.top) / at.entry);
  const inside = (k) => k >= 0 && k < solution.weights.length;
  return inside(row) && inside(column) ? { row, column } : null;
}

function move(event) {
  const { solution, chosen } = here;
  const count = solution ? solution.weights.length : 0;
  if (!count || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const { row, column } = chosen || { row: 0, column: 0 };
  if (event.key in steps) {
    const [down, right] = chosen ? steps[event.key] : [0, 0];
    choose((row + down + count) % count, (column + right + count) % count);
  } else if (event.key === "Home") choose(row, 0);
  else if (event.key === "End") choose(row, count - 1);
  else if (event.key === "Escape") choose(null);
  else if (event.key === "n") choose(...nextOfOrbit(solution, row * count + column, count));
  else return;
  event.preventDefault();
}

function nextOfOrbit({ labels }, place, count) {
  const next = labels.indexOf(labels[place], place + 1);
  const found = next < 0 ? labels.indexOf(labels[place]) : next;
  return [Math.floor(found / count), found % count];
}

// ---- counts and equations ------------------------------------------------------------------------------------------
function showCounts(solution) {
  const { graph, tensors, weights, dimension } = solution;
  const told = known.architectures.find(({ text }) => text === printGraph(graph));
  const order = orderOf(graph);
  const burnside = countByBurnside(solution);
  const lines = [
    `${dimension} free parameters for each pair of channels, where a dense layer has ${weights.length ** 2}.`,
    order === null ? "The group is too large to be listed here." : `The group has ${order.toLocaleString("en")} elements.`,
    burnside !== null
      ? `Burnside's lemma, element by element: ${burnside}${burnside === dimension ? ", the same." : ", which does not agree!"}`
      : told
        ? `Burnside's lemma, as symnet counted it: ${told.burnside}${told.burnside === dimension ? ", the same." : ", which does not agree!"}`
        : "Too many elements to count by Burnside's lemma here; symnet derive does it.",
  ];
  for (const text of lines) part("counts").append(Object.assign(document.createElement("p"), { textContent: text }));
  const table = document.createElement("table");
  const head = table.insertRow();
  const heading = (row, text) => row.append(Object.assign(document.createElement("th"), { textContent: text }));
  heading(head, "to \\ from");
  tensors.forEach(({ name }) => heading(head, name));
  for (const ours of tensors) {
    const row = table.insertRow();
    heading(row, ours.name);
    for (const theirs of tensors) row.insertCell().textContent = countBetween(solution, ours, theirs);
  }
  const frame = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
  frame.append(table);
  part("counts").append(frame);
}

function showEquations({ graph }) {
  const told = known.architectures.find(({ text }) => text === printGraph(graph));
  if (told) part("equations").innerHTML = told.equations; // written by symnet, not by whoever types
  else {
    part("equations").textContent =
      "Equations are set for the architectures of the list. For this one: save its text as mine.symnet and run symnet derive mine.symnet --latex.";
  }
}

// ---- events --------------------------------------------------------------------------------------------------------
function start() {
  const [examples, text, matrix] = ["examples", "text", "matrix"].map(part);
  for (const [k, { title }] of known.architectures.entries()) examples.add(new Option(title, k));
  examples.addEventListener("change", () => {
    text.value = known.architectures[Number(examples.value)].text;
    read(text.value);
  });
  let waiting = 0;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => read(text.value), 250);
  });
  matrix.addEventListener("pointermove", (event) => {
    const found = entryAt(event);
    const same = found && here.chosen && found.row === here.chosen.row && found.column === here.chosen.column;
    if (found && !same && event.pointerType === "mouse") choose(found.row, found.column);
  });
  matrix.addEventListener("click", (event) => {
    const found = entryAt(event);
    if (found) choose(found.row, found.column);
  });
  matrix.addEventListener("keydown", move);
  const redraw = () => here.solution && choose(here.chosen ? here.chosen.row : null, here.chosen ? here.chosen.column : null);
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  text.value = known.architectures[0].text;
  read(text.value);
  for (const link of document.querySelectorAll("nav button")) link.addEventListener("click", () => goTo(link.dataset.to));
  startChapter();
  squareChapter();
  sweepChapter();
  readAddress();
  window.addEventListener("hashchange", readAddress);
}

start();
