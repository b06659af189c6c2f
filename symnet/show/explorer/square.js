"use strict";
// The second chapter: reorder and then map, or map and then reorder; a matrix that breaks the tie of one orbit parts the two ways.

const SQUARE = { size: 3, values: [0.9, -0.4, 0.5, 1.1, -0.8, 0.6] }; // the weights that are mapped
const COEFFICIENTS = [1.0, -0.5, 0.7, 0.3, -0.6, 0.4, 1.2, -0.2]; // one for each of the eight orbits
const ORDERS = { turn: [1, 2, 0], swap: [1, 0, 2] }; // where neurons 1, 2, 3 go
const squareHere = { solution: null, painted: [], colours: [], grid: null };

const isTied = () => squareHere.painted.every((label, k) => label === squareHere.solution.labels[k]);
const matrixOf = () => squareHere.painted.map((label) => COEFFICIENTS[label]);

// The images of the weights when neuron k goes to place order[k].
const imagesOf = (order) => [...order, ...order.map((place) => place + order.length)];

function reorderVector(values, images) {
  const moved = Array(values.length);
  values.forEach((value, k) => (moved[images[k]] = value));
  return moved;
}

function mapVector(matrix, values) {
  return values.map((_, i) => values.reduce((sum, value, j) => sum + matrix[i * values.length + j] * value, 0));
}

// Both ways round the square, and how far they end apart.
function bothWays(matrix, values, images) {
  const reordered = reorderVector(values, images);
  const mapped = mapVector(matrix, values);
  const ends = [reorderVector(mapped, images), mapVector(matrix, reordered)];
  return { reordered, mapped, ends, apart: Math.max(...ends[0].map((value, k) => Math.abs(value - ends[1][k]))) };
}

// An entry takes the next orbit's colour and coefficient.
function recolour(row, column) {
  const k = row * squareHere.solution.weights.length + column;
  squareHere.painted[k] = (squareHere.painted[k] + 1) % COEFFICIENTS.length;
  showSquare();
  keepAddress();
}

function repair() {
  squareHere.painted = [...squareHere.solution.labels];
  showSquare();
}

function showSquare() {
  const { solution, painted, grid } = squareHere;
  paintGrid(grid);
  const images = imagesOf(ORDERS[part("square-order").value]);
  const ways = bothWays(matrixOf(), SQUARE.values, images);
  const corners = [
    ["weights", SQUARE.values, 40, 30],
    ["mapped", ways.mapped, 225, 30],
    ["reordered", ways.reordered, 40, 205],
    ["first mapped, then reordered", ways.ends[0], 200, 205],
    ["first reordered, then mapped", ways.ends[1], 272, 205],
  ];
  const svg = element("svg", { viewBox: "0 0 340 345", role: "img", "aria-label": "the square: right is map, down is reorder" });
  corners.forEach(([name, values, x, y], corner) => drawColumn(svg, name, values, x, y, corner < 2 ? [0, 1, 2] : inverseOf(ORDERS[part("square-order").value])));
  const arrow = (d, text, x, y) => {
    element("path", { d, class: "arrow" }, svg);
    element("text", { x, y, class: "quiet" }, svg).textContent = text;
  };
  arrow("M85 90H210M203 85L210 90L203 95", "map", 148, 84);
  arrow("M85 265H187M180 260L187 265L180 270", "map", 138, 259);
  arrow("M56 158V196M51 189L56 196L61 189", "reorder", 92, 180);
  arrow("M241 158V196M236 189L241 196L246 189", "reorder", 278, 180);
  element("text", { x: 253, y: 272, class: "relation" }, svg).textContent = ways.apart < 1e-9 ? "=" : "\u2260";
  element("text", { x: 250, y: 338, class: ways.apart < 1e-9 ? "" : "wrong" }, svg).textContent = `error ${shown(ways.apart, 3)}`;
  part("square-ways").replaceChildren(svg);
  part("square-told").textContent = tellSquare(ways.apart, painted.filter((label, k) => label !== solution.labels[k]).length);
}

function inverseOf(order) {
  return order.map((_, place) => order.indexOf(place));
}

// Six values as a column, a shade and a number each; a letter's hue says which neuron it belongs to.
function drawColumn(svg, name, values, x, y, owners) {
  const group = element("g", { transform: `translate(${x} ${y})` }, svg);
  element("title", {}, group).textContent = `${name}: ${values.map((value) => shown(value)).join(", ")}`;
  values.forEach((value, k) => {
    element("rect", { x: -5, y: 20 * k, width: 44, height: 19, fill: HUES[owners[k % 3]], "fill-opacity": 0.3, class: "entry" }, group);
    element("text", { x: 17, y: 20 * k + 14 }, group).textContent = shown(value);
  });
}

function tellSquare(apart, recoloured) {
  const orders = [[0, 1, 2], [1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]].map(imagesOf);
  const worst = Math.max(...orders.map((images) => bothWays(matrixOf(), SQUARE.values, images).apart));
  const ends = apart < 1e-9 ? "Both ways end at the same six numbers" : `The two ways end apart, by ${shown(apart, 3)}`;
  const rest = `over all six orders the largest error is ${shown(worst, 3)}.`;
  if (!recoloured) return `Equal colours hold equal numbers. ${ends}: error ${shown(apart, 3)}; ${rest}`;
  const entries = recoloured === 1 ? "One entry has" : `${recoloured} entries have`;
  return `${entries} left the orbit. ${ends}; ${rest}`;
}

function squareChapter() {
  const solution = solve(pairGraph(SQUARE.size));
  Object.assign(squareHere, { solution, painted: [...solution.labels], colours: pairColours(solution) });
  const cellOf = (k) => {
    const label = squareHere.painted[k];
    return { colour: squareHere.colours[label], text: shown(COEFFICIENTS[label], 1), marked: label !== solution.labels[k] };
  };
  squareHere.grid = drawGrid(part("square-matrix"), solution, { label: "the matrix", cellOf, act: recolour });
  part("square-order").addEventListener("change", () => {
    showSquare();
    keepAddress();
  });
  part("repair").addEventListener("click", () => {
    repair();
    keepAddress();
  });
  showSquare();
}
