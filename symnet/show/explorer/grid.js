"use strict";
// A small matrix as a grid of cells for the chapters: hue for the pair of tensors, dark for one neuron with itself, light for two.

const PAIR_HUES = [["#0072b2", "#a6cee3"], ["#b35900", "#fdbf6f"], ["#7b3294", "#d9b8e6"], ["#00734f", "#9adbbf"]];
const CELL = 30; // pixels of the drawing
const EDGE = 48; // for the names of rows and columns

// Two weights for every neuron, one in and one out: the smallest network that has something to reorder.
const pairGraph = (count) => parseGraph(`neurons\n  h: Symmetric(${count})\ntensors\n  in: h\n  out: h\n`);

function pairColours({ orbits, tensors, weights, labels }) {
  const inside = (k) => tensors.findIndex(({ start, size }) => k >= start && k < start + size);
  return orbits.map(({ row, column }) => {
    const same = row - tensors[inside(row)].start === column - tensors[inside(column)].start;
    return PAIR_HUES[2 * inside(row) + inside(column)][same ? 0 : 1];
  });
}

const weightTitle = (solution, k) => `${solution.tensors[solution.weights[k].tensor].name} ${solution.weights[k].index[0] + 1}`;

// Draws the cells; `act(row, column)` is called by a tap, and by Enter on the cell that the arrow keys have reached.
function drawGrid(frame, solution, { label, cellOf, act }) {
  const count = solution.weights.length;
  const edge = EDGE + count * CELL;
  const svg = element("svg", { viewBox: `0 0 ${edge + 2} ${edge + 2}`, class: "grid", tabindex: 0, role: "application", "aria-label": label });
  const cells = [];
  for (let row = 0; row < count; row++) {
    const middle = EDGE + (row + 0.5) * CELL;
    element("text", { x: EDGE - 5, y: middle + 4, class: "name right" }, svg).textContent = weightTitle(solution, row);
    element("text", { transform: `translate(${middle + 4} ${EDGE - 5}) rotate(-90)`, class: "name left" }, svg).textContent = weightTitle(solution, row);
    for (let column = 0; column < count; column++) {
      const place = { x: EDGE + column * CELL, y: EDGE + row * CELL };
      const cell = element("g", { class: "cell", transform: `translate(${place.x} ${place.y})` }, svg);
      const shape = element("rect", { width: CELL, height: CELL }, cell);
      const sign = element("text", { x: CELL / 2, y: CELL / 2 + 4 }, cell);
      cell.addEventListener("click", () => moveGrid(grid, row, column) || act(row, column));
      cells.push({ cell, shape, sign });
    }
  }
  const cursor = element("rect", { width: CELL, height: CELL, class: "cursor" }, svg);
  const grid = { svg, cells, cursor, count, cellOf, at: [0, 0], label };
  svg.addEventListener("keydown", (event) => keyOnGrid(event, grid, act));
  frame.replaceChildren(svg);
  paintGrid(grid);
  moveGrid(grid, 0, 0);
  return grid;
}

// `cellOf(k)` says a cell's colour, what is written in it, and whether it is marked.
function paintGrid({ svg, cells, cursor, cellOf }) {
  cells.forEach(({ cell, shape, sign }, k) => {
    const { colour, text = "", marked = false, faint = false } = cellOf(k);
    shape.setAttribute("fill", colour);
    sign.textContent = text;
    sign.style.fill = readableOn(colour);
    cell.classList.toggle("marked", marked);
    cell.classList.toggle("faint", faint);
    if (marked) svg.insertBefore(cell, cursor); // its frame lies over its neighbours
  });
}

function moveGrid(grid, row, column) {
  grid.at = [row, column];
  grid.cursor.setAttribute("x", EDGE + column * CELL);
  grid.cursor.setAttribute("y", EDGE + row * CELL);
  grid.svg.setAttribute("aria-label", `${grid.label}: row ${row + 1}, column ${column + 1}`);
}

function keyOnGrid(event, grid, act) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const [row, column] = grid.at;
  if (step) moveGrid(grid, (row + step[0] + grid.count) % grid.count, (column + step[1] + grid.count) % grid.count);
  else if (event.key === "Enter" || event.key === " ") act(row, column);
  else return;
  event.preventDefault();
}
