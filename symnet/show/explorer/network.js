"use strict";
// The network as neurons, from left to right: a weight of two neuron sets is a line, one of a single set a dot beside its neuron.

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 11;
const COLUMN = 130; // pixels between columns of neurons
const STEP = 34; // between neurons
const GAP = 14; // between sets, and between copies of a set

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (parent) parent.append(made);
  return made;
}

// The column of every neuron set: a tensor's last axis feeds its first; what would close a circle moves nothing.
function columnsOf(graph) {
  const root = (name) => (graph.neurons.get(name).over.length ? root(graph.neurons.get(name).over[0]) : name);
  const after = new Map([...graph.neurons.keys()].map((name) => [name, new Set()]));
  const reaches = (from, to, seen = new Set()) =>
    from === to || [...after.get(from)].some((next) => !seen.has(next) && seen.add(next) && reaches(next, to, seen));
  for (const axes of graph.tensors.values()) {
    const named = axes.map((axis) => [...new Set(symbolsIn(axis).map(root))]).filter((symbols) => symbols.length);
    if (named.length < 2) continue;
    for (const source of named[named.length - 1]) {
      for (const target of named[0]) if (!reaches(target, source)) after.get(source).add(target);
    }
  }
  const column = new Map();
  const depth = (name) => {
    if (!column.has(name)) {
      const before = [...after.keys()].filter((other) => after.get(other).has(name));
      column.set(name, Math.max(0, ...before.map((other) => depth(other) + 1)));
    }
    return column.get(name);
  };
  return new Map([...graph.neurons.keys()].map((name) => [name, depth(root(name))]));
}

// Places of all neurons, by set, copy and number; sets of one column stand below each other.
function placeNeurons(graph) {
  const columns = columnsOf(graph);
  const heights = [];
  const neurons = new Map();
  const titles = [];
  for (const [name, set] of graph.neurons) {
    const column = columns.get(name);
    const ancestors = ancestorsOf(graph, name);
    const sizes = ancestors.map((one) => graph.neurons.get(one).size);
    let y = (heights[column] || 0) + STEP;
    titles.push({ name, set, column, y: y - STEP / 2 + 4 });
    for (let copy = 0; copy < copiesOf(graph, name); copy++) {
      for (let value = 0; value < set.size; value++) {
        neurons.set([name, ...unravel(copy, sizes), value].join(), { column, y: y + RADIUS, fixed: isTrivial(set) });
        y += STEP;
      }
      y += GAP / 2;
    }
    heights[column] = y + GAP;
  }
  const height = Math.max(STEP * 2, ...heights.filter(Boolean));
  const shift = (column) => (height - (heights[column] || 0)) / 2;
  for (const neuron of neurons.values()) neuron.y += shift(neuron.column);
  for (const title of titles) title.y += shift(title.column);
  return { neurons, titles, height, columns: Math.max(0, ...columns.values()) + 1 };
}

// The neurons that a weight belongs to: those of its dims that no other of its dims is over.
function endsOf(solution, { tensor, block, values }) {
  const { dims } = solution.tensors[tensor].blocks[block];
  const parents = new Set(dims.flatMap((dim) => [...dim.parents.values()]));
  return [...dims.keys()]
    .filter((k) => dims[k].symbol !== null && !parents.has(k))
    .map((k) => [dims[k].symbol, ...ancestorsOf(solution.graph, dims[k].symbol).map((one) => values[dims[k].parents.get(one)]), values[k]].join());
}

const xOf = (column) => 45 + column * COLUMN;

function drawNetwork(frame, solution, choose) {
  const { neurons, titles, height, columns } = placeNeurons(solution.graph);
  const width = Math.max(2, columns) * COLUMN;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height + 40}`, role: "img", "aria-label": "the network, neurons from left to right" });
  const used = new Map();
  const loose = [];
  const drawn = solution.weights.map((weight, k) => {
    const ends = endsOf(solution, weight).map((key) => ({ key, ...neurons.get(key) }));
    const shape = ends.length ? drawWeight(svg, ends, used) : looseDot(svg, loose, height);
    const { name } = solution.tensors[weight.tensor];
    element("title", {}, shape).textContent = entryName(solution, k);
    shape.dataset.tensor = name;
    shape.addEventListener("click", () => choose(k, k));
    return shape;
  });
  for (const { column, y, fixed } of neurons.values()) {
    element("circle", { cx: xOf(column), cy: y, r: RADIUS, class: fixed ? "neuron fixed" : "neuron" }, svg);
  }
  for (const { name, column, y } of titles) element("text", { x: xOf(column), y }, svg).textContent = name;
  frame.replaceChildren(svg);
  return drawn;
}

// A line between two neurons, bent the more there are between them; a loop for a neuron with itself; a dot for one neuron alone.
function drawWeight(svg, ends, used) {
  const [first, last] = [ends[ends.length - 1], ends[0]];
  const pair = ends.length === 1 ? `${first.key}|` : `${first.key}|${last.key}`;
  const number = used.get(pair) || 0;
  used.set(pair, number + 1);
  const [x, y, u, v] = [xOf(first.column), first.y, xOf(last.column), last.y];
  if (ends.length === 1) {
    return element("circle", { cx: x + RADIUS + 5 + 9 * (number % 3), cy: y + RADIUS - 2 + 9 * Math.floor(number / 3), r: 3.4, class: "weight dot" }, svg);
  }
  if (first.key === last.key) {
    const reach = 22 + 8 * number;
    return element("path", { d: `M${x} ${y} C${x + reach} ${y - reach} ${x - reach} ${y - reach} ${x} ${y}`, class: "weight" }, svg);
  }
  const bend = (number % 2 ? 1 : -1) * Math.ceil(number / 2) * 12 + (first.column === last.column ? 26 + 8 * number : 0);
  const length = Math.hypot(u - x, v - y) || 1;
  const [cx, cy] = [(x + u) / 2 - (bend * (v - y)) / length, (y + v) / 2 + (bend * (u - x)) / length];
  return element("path", { d: `M${x} ${y} Q${cx} ${cy} ${u} ${v}`, class: "weight" }, svg);
}

function looseDot(svg, loose, height) {
  loose.push(0);
  return element("circle", { cx: 14 + 12 * loose.length, cy: height + 26, r: 4, class: "weight dot" }, svg);
}

// Marks the output weight of the chosen entry, and the input weights that enter it with the same coefficient.
function markNetwork(drawn, solution, chosen) {
  const count = solution.weights.length;
  const free = chosen && solution.labels[chosen.row * count + chosen.column] >= 0;
  const tiedTo = free ? tiedEntries(solution, chosen) : [];
  drawn.forEach((shape, k) => {
    const tied = Boolean(free && tiedTo[chosen.row * count + k]);
    shape.classList.toggle("input", tied);
    shape.classList.toggle("output", Boolean(chosen) && k === chosen.row && !tied);
    shape.style.stroke = tied ? CHOSEN : "";
    shape.style.fill = tied && shape.classList.contains("dot") ? CHOSEN : "";
    shape.style.strokeWidth = tied && k === chosen.row ? 6.5 : "";
  });
}

function entryName(solution, k) {
  const { tensor, index } = solution.weights[k];
  const { name } = solution.tensors[tensor];
  return index.length ? `${name}[${index.join(", ")}]` : name;
}
