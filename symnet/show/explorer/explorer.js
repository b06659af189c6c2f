"use strict";
// The page: reads the architecture, solves it, and keeps matrix, network, words, counts and equations at the same entry.

const known = JSON.parse(document.getElementById("data").textContent);
const part = (id) => document.getElementById(id);
const SPELLED_OUT = 10n ** 15n; // orders from here on are told as products alone
const FIXES_MEAN = "Orthogonal, fixes mean"; // a choice of its own among the groups
const here = { solution: null, colours: [], chosen: null, at: null, drawn: [] };

// ---- the architecture ----------------------------------------------------------------------------------------------
function read(text) {
  try {
    const solution = solve(parseGraph(text));
    Object.assign(here, { solution, chosen: null, colours: colourOrbits(solution) });
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
  part("mixed").hidden = !solution || !solution.mixed;
  part("copy").disabled = !solution;
  part("code").hidden = true;
  part("copied").textContent = "";
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
    kinds.splice(kinds.indexOf("Orthogonal") + 1, 0, FIXES_MEAN);
    const change = (value) => rewrite(graph, name, { kind: value === FIXES_MEAN ? "Orthogonal" : value, fixesMean: value === FIXES_MEAN });
    const kind = chooser(`group of ${name}`, kinds, set.fixesMean ? FIXES_MEAN : set.kind, change);
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
function choose(row, column, diagram) {
  const { solution, colours, drawn } = here;
  here.chosen = row === null ? null : { row, column };
  if (here.chosen && solution.mixed) here.chosen.diagram = diagramAt(solution, row, column, diagram);
  const { chosen } = here;
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
  if (label < 0) return [line(`${names}: must be zero, because ${solution.mixed ? "no diagram fills it" : "the group multiplies it"}.`)];
  const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
  swatch.style.background = CHOSEN;
  const tied = tiedEntries(solution, chosen);
  const { size } = solution.orbits[solution.mixed ? chosen.diagram : label];
  const entering = tied.subarray(row * count, (row + 1) * count).reduce((sum, one) => sum + one, 0);
  const minus = solution.signs[row * count + column] < 0 ? " Here it enters with a minus." : "";
  const words = describeEntry(solution, row, column, chosen.diagram);
  const number = solution.mixed ? `Diagram ${chosen.diagram + 1}` : `Orbit ${label + 1}`;
  return [
    swatch,
    line(`${names}: ${words}. ${number} of ${solution.dimension}: ${size === 1 ? "this entry alone" : `${size} entries share one coefficient`}; `),
    line(`${entering} of them ${entering === 1 ? "is" : "are"} in this row.${minus}${otherDiagrams(solution, chosen)}`),
  ];
}

// The diagram that is shown at an entry: the one that was asked for if it fills the entry, else the first that does.
function diagramAt({ labels, fills, weights }, row, column, diagram) {
  const filling = fills[labels[row * weights.length + column]] || [];
  return filling.includes(diagram) ? diagram : filling[0];
}

function otherDiagrams({ mixed, labels, fills, weights }, { row, column, diagram }) {
  if (!mixed) return "";
  const others = fills[labels[row * weights.length + column]].filter((one) => one !== diagram).map((one) => one + 1);
  return others.length ? ` The entry is filled by diagram${others.length > 1 ? "s" : ""} ${others.join(", ")} as well.` : "";
}

function nextDiagram({ labels, fills, weights }, { row, column, diagram }) {
  const filling = fills[labels[row * weights.length + column]] || [];
  choose(row, column, filling[(filling.indexOf(diagram) + 1) % filling.length]);
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
  const { row, column, diagram } = chosen || { row: 0, column: 0 };
  if (event.key in steps) {
    const [down, right] = chosen ? steps[event.key] : [0, 0];
    choose((row + down + count) % count, (column + right + count) % count, diagram);
  } else if (event.key === "Home") choose(row, 0, diagram);
  else if (event.key === "End") choose(row, count - 1, diagram);
  else if (event.key === "Escape") choose(null);
  else if (event.key === "n") choose(...nextOfOrbit(tiedEntries(solution, { row, column, diagram }), row * count + column, count), diagram);
  else if (event.key === "d" && chosen && solution.mixed) nextDiagram(solution, chosen);
  else return;
  event.preventDefault();
}

function nextOfOrbit(tied, place, count) {
  const next = tied.indexOf(1, place + 1);
  const entry = next < 0 ? tied.indexOf(1) : next;
  return [Math.floor(entry / count), entry % count];
}

// ---- counts and equations ------------------------------------------------------------------------------------------
function showCounts(solution) {
  const { graph, tensors, weights, dimension } = solution;
  const told = known.architectures.find(({ text }) => text === printGraph(graph));
  const burnside = countByBurnside(solution);
  const lines = [
    `${dimension} free parameters for each pair of channels, where a dense layer has ${weights.length ** 2}.`,
    tellOrder(graph),
    burnside !== null
      ? `Burnside's lemma, element by element: ${burnside}${burnside === dimension ? ", the same." : ", which does not agree!"}`
      : told
        ? `Burnside's lemma, as symnet counted it: ${told.burnside}${told.burnside === dimension ? ", the same." : ", which does not agree!"}`
        : `The elements cannot be listed for Burnside's lemma here; symnet derive counts without.`,
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

function tellOrder(graph) {
  const order = orderOf(graph);
  if (order === null) return "The group is too large to be listed here.";
  if (order !== Infinity) {
    const product = orderAsProduct(graph);
    if (order >= SPELLED_OUT) return `The group has ${product} elements, a number of ${String(order).length} digits.`;
    return `The group has ${order.toLocaleString("en")} elements${product.includes("!") ? `: ${product}` : ""}.`;
  }
  const dimensions = [...graph.neurons].map(([name, set]) => copiesOf(graph, name) * lieDimension(set));
  return `The group has infinitely many elements: its Lie dimension is ${dimensions.reduce((sum, one) => sum + one, 0)}.`;
}

function showEquations({ graph }) {
  const told = known.architectures.find(({ text }) => text === printGraph(graph));
  if (told) part("equations").innerHTML = told.equations; // written by symnet, not by whoever types
  else {
    part("equations").textContent =
      "Equations are set for the architectures of the list. For this one: save its text as mine.symnet and run symnet derive mine.symnet --latex.";
  }
}

// ---- taking the architecture along ---------------------------------------------------------------------------------
function asPython(graph) {
  return `import symnet as sn\n\ngraph = sn.parse("""\n${printGraph(graph)}\n""")\nmaps = sn.derive(graph)\nprint(maps.summary())\n`;
}

async function copyAsPython() {
  if (!here.solution) return;
  const code = asPython(here.solution.graph);
  try {
    await navigator.clipboard.writeText(code);
    part("copied").textContent = "Copied.";
  } catch {
    part("copied").textContent = "The browser lets nothing be copied from here; take it from below.";
  }
  Object.assign(part("code"), { hidden: false, textContent: code });
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
  part("copy").addEventListener("click", copyAsPython);
  part("numbered").addEventListener("change", () => redraw());
  matrix.addEventListener("pointermove", (event) => {
    const found = entryAt(event);
    const same = found && here.chosen && found.row === here.chosen.row && found.column === here.chosen.column;
    if (found && !same && event.pointerType === "mouse") choose(found.row, found.column);
  });
  matrix.addEventListener("click", (event) => {
    const found = entryAt(event);
    if (!found) return;
    const { solution, chosen } = here;
    const again = chosen && chosen.row === found.row && chosen.column === found.column;
    if (again && solution.mixed) nextDiagram(solution, chosen);
    else choose(found.row, found.column);
  });
  matrix.addEventListener("keydown", move);
  const redraw = () => {
    const { row, column, diagram } = here.chosen || { row: null, column: null };
    if (here.solution) choose(row, column, diagram);
  };
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
