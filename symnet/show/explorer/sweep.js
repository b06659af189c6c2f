"use strict";
// The third and fourth chapters: generators carry one entry through its orbit; the number of orbits does not depend on the width.

const MOST_NEURONS = 8;
const FIRST_WIDTH = 4;
const SWEEP_TIME = 6000; // milliseconds for a whole orbit
const LONGEST_STEP = 700;
const sweepHere = { solution: null, colours: [], grid: null, entry: 0, steps: [], done: 0, timer: 0, counts: [] };

// Every entry of an orbit once, with the entry and the generator that led there: breadth first.
function stepsFrom({ actions, weights }, entry) {
  const count = weights.length;
  const reached = new Set([entry]);
  const steps = [];
  for (const from of reached) {
    actions.forEach(({ images }, generator) => {
      const to = images[Math.floor(from / count)] * count + images[from % count];
      if (!reached.has(to)) steps.push({ from, to, generator });
      reached.add(to);
    });
  }
  return steps;
}

const generatorName = (number) => ["swap neurons 1 and 2", "move every neuron on by one, the last one to the front"][number];

function entryTitle(solution, entry) {
  const count = solution.weights.length;
  return `from ${weightTitle(solution, entry % count)} to ${weightTitle(solution, Math.floor(entry / count))}`;
}

function chooseStart(row, column) {
  stopSweep();
  const { solution } = sweepHere;
  Object.assign(sweepHere, { entry: row * solution.weights.length + column, done: 0 });
  sweepHere.steps = stepsFrom(solution, sweepHere.entry);
  showSweep(`The entry ${entryTitle(solution, sweepHere.entry)} is chosen: press Sweep, or take one step at a time.`);
  keepAddress();
}

function stepSweep() {
  const { solution, steps, done } = sweepHere;
  if (done === steps.length) return showSweep(tellOrbit());
  sweepHere.done += 1;
  const { from, to, generator } = steps[done];
  const step = `${generatorName(generator)}: ${entryTitle(solution, from)} goes ${entryTitle(solution, to)}.`;
  showSweep(sweepHere.done === steps.length ? tellOrbit() : `Step ${sweepHere.done}: ${step}`);
}

function sweep() {
  stopSweep();
  sweepHere.done = 0;
  const { steps } = sweepHere;
  if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) sweepHere.done = steps.length;
  if (sweepHere.done === steps.length) return showSweep(tellOrbit());
  part("sweep-told").setAttribute("aria-live", "off"); // only the end is spoken
  sweepHere.timer = setInterval(() => {
    if (sweepHere.done + 1 >= steps.length) stopSweep();
    stepSweep();
  }, Math.min(LONGEST_STEP, SWEEP_TIME / steps.length));
}

function stopSweep() {
  clearInterval(sweepHere.timer);
  part("sweep-told").setAttribute("aria-live", "polite");
}

function tellOrbit() {
  const count = sweepHere.steps.length + 1;
  const entries = count === 1 ? "This entry stays where it is: it is an orbit alone" : `${count} entries are reached, and nothing leads out of them: that is the orbit`;
  return `${entries}. If the layer is to respect the reordering, all of them hold the same number, one free parameter.`;
}

function showSweep(words) {
  paintGrid(sweepHere.grid);
  part("sweep-told").textContent = words;
}

// The cell's own colour; reached entries in vermilion with the number of their step, the others pale as long as a sweep is on.
function sweepCell(k) {
  const { solution, colours, entry, steps, done } = sweepHere;
  const step = k === entry ? 0 : steps.findIndex(({ to }) => to === k) + 1;
  const reached = k === entry || (step > 0 && step <= done);
  return { colour: reached ? CHOSEN : colours[solution.labels[k]], text: reached ? step : "", marked: k === entry, faint: done > 0 && !reached };
}

function setWidth(count) {
  stopSweep();
  const solution = solve(pairGraph(count));
  Object.assign(sweepHere, { solution, colours: pairColours(solution), entry: 0, steps: [], done: 0 });
  sweepHere.grid = drawGrid(part("sweep-matrix"), solution, { label: "the matrix", cellOf: sweepCell, act: chooseStart });
  part("width").value = count;
  const neurons = count === 1 ? "1 neuron" : `${count} neurons`;
  const why = count === 1 ? " With one neuron there is no other one, so half of the orbits are empty." : "";
  part("width-told").textContent = `${neurons}: ${(4 * count * count).toLocaleString("en")} entries, ${solution.dimension} free parameters.${why}`;
  drawWidths(count);
  chooseStart(0, count > 1 ? 1 : 0);
}

// For every width the entries of a dense layer and the free parameters of ours, both counted by the solver.
function drawWidths(chosen) {
  const svg = element("svg", { viewBox: "0 0 300 210", role: "img", "aria-label": "entries and free parameters for every width" });
  sweepHere.counts.forEach(({ entries, free }, k) => {
    const x = 14 + 35 * k;
    const bar = (value, width, name) => element("rect", { x: x + 12 - width / 2, y: 150 - value / 2, width, height: value / 2, class: name }, svg);
    bar(entries, 24, "dense");
    bar(free, 12, "free");
    element("text", { x: x + 12, y: 145 - entries / 2, class: "quiet" }, svg).textContent = entries;
    element("text", { x: x + 12, y: 170, class: k + 1 === chosen ? "chosen" : "quiet" }, svg).textContent = k + 1;
    element("text", { x: x + 12, y: 190, class: "chosen" }, svg).textContent = free;
  });
  element("text", { x: 150, y: 207, class: "quiet" }, svg).textContent = "width, and free parameters below it";
  part("width-counts").replaceChildren(svg);
}

function sweepChapter() {
  sweepHere.counts = Array.from({ length: MOST_NEURONS }, (_, k) => {
    const { weights, dimension } = solve(pairGraph(k + 1));
    return { entries: weights.length ** 2, free: dimension };
  });
  part("width").addEventListener("input", () => setWidth(Number(part("width").value)));
  part("sweep").addEventListener("click", sweep);
  part("step").addEventListener("click", () => {
    stopSweep();
    stepSweep();
  });
  setWidth(FIRST_WIDTH);
}
