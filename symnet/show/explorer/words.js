"use strict";
// The orbit of one matrix entry in words: the same sentences as symnet/sharing/orbit_words.py.

// Of an entry that diagrams fill, one of them is told as well.
function describeEntry(solution, row, column, diagram) {
  const { graph, tensors, weights } = solution;
  const [ours, theirs] = [weights[row], weights[column]];
  const [output, input] = [tensors[ours.tensor], tensors[theirs.tensor]];
  const first = solverDims(graph, output.blocks[ours.block].dims, 0);
  const split = first.length;
  const dims = [...first, ...solverDims(graph, input.blocks[theirs.block].dims, split)];
  const values = [...ours.values, ...theirs.values];
  const names = [...dimNames(output, ours.block), ...dimNames(input, theirs.block)];
  const words = [];
  for (const [symbol, places] of inOrder(dims)) {
    // Only neurons of one copy can be compared: their parents' neurons have to be equal.
    const copies = classes(places, (k) => [...dims[k].parents.values()].map((p) => values[p]).join());
    for (const copy of copies) words.push(...compare(graph, symbol, dims, copy, split, values, names, copy.length === places.length));
  }
  if (diagram !== undefined) words.push(...describeDiagram(solution, solution.orbits[diagram]));
  const parts = [];
  if (input.blocks.length > 1) parts.push(`input part ${theirs.block + 1}`);
  if (output.blocks.length > 1) parts.push(`output part ${ours.block + 1}`);
  const sentence = words.length ? words.join(", ") : "no neuron set in common";
  return [parts.join(", "), sentence, positions(dims, split, values)].filter(Boolean).join("; ");
}

// Dims as symnet's solver sees them: groups that move nothing are fixed, ancestors of one neuron make no copies.
function solverDims(graph, dims, shift) {
  return dims.map(({ symbol, size, parents }) => {
    const set = symbol === null ? null : graph.neurons.get(symbol);
    if (set === null || isTrivial(set)) return { symbol, size, kind: "fixed", parents: new Map() };
    const kept = [...parents].filter(([name]) => graph.neurons.get(name).size > 1).map(([name, k]) => [name, k + shift]);
    if (mixes(set)) return { symbol, size, kind: "mixed", parents: new Map() };
    const kind = ["Symmetric", "SignedSymmetric", "Scaled"].includes(set.kind) ? "sym" : "generic";
    return { symbol, size, kind, parents: new Map(kept) };
  });
}

function dimNames({ blocks, shape }, block) {
  const count = blocks[block].dims.length;
  if (count === shape.length && count <= 2) return [[], ["neuron"], ["row", "column"]][count];
  return Array.from({ length: count }, (_, k) => `dim ${k + 1}`);
}

// Symbols whose neurons are moved with their dims: fewer ancestors first, then by place.
function inOrder(dims) {
  const places = new Map();
  dims.forEach(({ symbol, kind }, k) => {
    if (kind !== "fixed" && kind !== "mixed") places.set(symbol, [...(places.get(symbol) || []), k]);
  });
  const depth = (entry) => dims[entry[1][0]].parents.size;
  return [...places].sort((a, b) => depth(a) - depth(b) || a[1][0] - b[1][0]);
}

function classes(things, key) {
  const found = new Map();
  for (const thing of things) found.set(key(thing), [...(found.get(key(thing)) || []), thing]);
  return [...found.values()];
}

function compare(graph, symbol, dims, copy, split, values, names, alone) {
  const full = (k) => `${k < split ? "output" : "input"} ${names[k]}`;
  if (dims[copy[0]].kind === "generic") {
    const set = graph.neurons.get(symbol);
    const { number, count } = tupleOrbit(set, copy.map((k) => values[k]));
    const of = alone ? "" : ` of ${copy.map(full).join(", ")}`;
    return count > 1 ? [`${symbol}${of}: orbit ${number + 1} of ${count} under ${printGroup(set)}`] : [];
  }
  if (copy.length === 1) return [];
  const equal = classes(copy, (k) => values[k]);
  if (alone && copy.length === 2 && copy[0] < split && split <= copy[1]) {
    return [compareTwo(symbol, names[copy[0]], names[copy[1]], equal.length === 1)];
  }
  return [`${symbol}: ${equal.map((part) => part.map(full).join(" = ")).join(" \u2260 ")}`];
}

function compareTwo(symbol, ours, theirs, same) {
  const word = same ? "same" : "different";
  if (ours.startsWith("dim") || theirs.startsWith("dim")) return `${word} ${symbol}`;
  if (ours === theirs) return `${word} ${ours} (${symbol})`;
  return `the input's ${theirs} is ${same ? "" : "not "}the output's ${ours} (${symbol})`;
}

// Positions of fixed sets, each of which is an orbit of its own.
function positions(dims, split, values) {
  const told = (from, to) => {
    const found = [];
    for (let k = from; k < to; k++) if (dims[k].kind === "fixed") found.push(`${dims[k].symbol || "position"} ${values[k]}`);
    return found.join(", ");
  };
  const [from, to] = [told(split, dims.length), told(0, split)];
  return [from && `from ${from}`, to && `to ${to}`].filter(Boolean).join(" ");
}

// The number of a tuple's orbit, orbits of tuples numbered by their first tuple in reading order.
function tupleOrbit(set, tuple) {
  const generators = generatorsOf(set);
  const sizes = tuple.map(() => set.size);
  const total = set.size ** tuple.length;
  const flat = (values) => values.reduce((sum, value) => sum * set.size + value, 0);
  const label = new Int32Array(total).fill(-1);
  let count = 0;
  for (let start = 0; start < total; start++) {
    if (label[start] >= 0) continue;
    const todo = [start];
    label[start] = count;
    while (todo.length) {
      const values = unravel(todo.pop(), sizes);
      for (const generator of generators) {
        const image = flat(values.map((value) => generator[value]));
        if (label[image] < 0) {
          label[image] = count;
          todo.push(image);
        }
      }
    }
    count += 1;
  }
  return { number: label[flat(tuple)], count };
}
