"use strict";
// Groups that mix neurons (rotations, invertible maps) leave an entry no orbit of its own: their maps are diagrams, partitions of the
// strands into blocks that the group allows (Weyl 1939, Brauer 1937). All are listed; those that depend on earlier ones are found by
// the rank of their inner products. symnet keeps diagrams by subsequences instead: the tests hold one against the other.

const MOST_DIAGRAMS = 800; // of the strands of one copy of a set
const MOST_FILLS = 20000000; // entries that are asked whether diagrams fill them
const PRIME = 67108859; // below 2 ** 26, so that products are exact; far above the factors of these determinants

const mixes = (set) => set.kind === "Orthogonal" || set.kind === "GeneralLinear";

function allowsBlock(set, degrees) {
  if (set.kind === "GeneralLinear") return degrees.length === 2 && degrees[0] + degrees[1] === 0;
  return degrees.length === 2 || (degrees.length === 1 && set.fixesMean);
}

// All partitions of the strands into allowed blocks of one or two: the first strand alone, or with each of the others.
function listDiagrams(set, degrees) {
  const diagrams = [];
  const place = (left, blocks) => {
    if (diagrams.length > MOST_DIAGRAMS) return;
    if (!left.length) diagrams.push(blocks);
    const [first, ...others] = left;
    if (left.length && allowsBlock(set, [degrees[first]])) place(others, [...blocks, [first]]);
    for (const other of others) {
      if (!allowsBlock(set, [degrees[first], degrees[other]])) continue;
      place(others.filter((one) => one !== other), [...blocks, [first, other]]);
    }
  };
  place([...degrees.keys()], []);
  if (diagrams.length > MOST_DIAGRAMS) {
    throw new TooLarge(`${printGroup(set)} has more than ${MOST_DIAGRAMS} diagrams of ${degrees.length} strands; use fewer axes, and symnet derive`);
  }
  return diagrams;
}

// The inner product of two diagrams: n for every block of the finest partition that is coarser than both.
function innerProduct(size, strands, first, second) {
  const block = [...Array(strands).keys()];
  const root = (k) => (block[k] === k ? k : root(block[k]));
  for (const [a, b] of [...first, ...second]) if (b !== undefined) block[root(a)] = root(b);
  return block.reduce((product, parent, k) => (parent === k ? (product * size) % PRIME : product), 1);
}

function invert(value) {
  let [result, base] = [1, value];
  for (let power = PRIME - 2; power > 0; power = Math.floor(power / 2)) {
    if (power % 2) result = (result * base) % PRIME;
    base = (base * base) % PRIME;
  }
  return result;
}

// Numbers of the rows that do not depend on rows before them.
function independentRows(rows) {
  const pivots = []; // reduced rows, one at their first entry
  return [...rows.keys()].filter((number) => {
    const row = rows[number];
    for (const { place, values } of pivots) {
      const factor = PRIME - row[place];
      if (factor < PRIME) for (let k = place; k < row.length; k++) row[k] = (row[k] + factor * values[k]) % PRIME;
    }
    const place = row.findIndex(Boolean);
    if (place < 0) return false;
    const scale = invert(row[place]);
    pivots.push({ place, values: row.map((value) => (value * scale) % PRIME) });
    return true;
  });
}

const basisByStrands = new Map();

function basisOfDiagrams(set, degrees) {
  const key = `${printGroup(set)}: ${degrees.join()}`;
  if (!basisByStrands.has(key)) {
    const all = listDiagrams(set, degrees);
    const products = all.map((one) => Float64Array.from(all, (other) => innerProduct(set.size, degrees.length, one, other)));
    basisByStrands.set(key, independentRows(products).map((number) => all[number]));
  }
  return basisByStrands.get(key);
}

// ---- diagrams of a whole layer --------------------------------------------------------------------------------------
// Neurons that keep their names tie entries as everywhere; what is left of an entry, once mixed neurons are set to 0, names its orbit.
function diagramsOfLayer({ graph, tensors, weights }, { find, sign, zero }) {
  const count = weights.length;
  const plain = weights.map((weight, position) => withoutMixed(graph, tensors, weight, position));
  const groups = new Map(); // entries by the orbit of what is left
  for (const ours of tensors) {
    for (const theirs of tensors) {
      for (let i = ours.start; i < ours.start + ours.size; i++) {
        for (let j = theirs.start; j < theirs.start + theirs.size; j++) {
          const key = find(plain[i] * count + plain[j]);
          if (zero[key]) continue;
          if (!groups.has(key)) groups.set(key, []);
          groups.get(key).push(i * count + j);
        }
      }
    }
  }
  const solution = { labels: new Int32Array(count * count).fill(-1), signs: new Int8Array(count * count).fill(1), orbits: [], shades: [], fills: [] };
  for (const [key, entries] of groups) {
    const signOf = (k) => {
      const left = plain[Math.floor(k / count)] * count + plain[k % count];
      return left === key ? 1 : sign[left];
    };
    fillEntries(solution, { graph, tensors, weights }, entries, signOf);
  }
  return solution;
}

function withoutMixed(graph, tensors, { tensor, block, values }, position) {
  const { dims } = tensors[tensor].blocks[block];
  return dims.reduce((sum, { symbol, stride }, k) => sum - (isMixed(graph, symbol) ? stride * values[k] : 0), position);
}

const isMixed = (graph, symbol) => symbol !== null && mixes(graph.neurons.get(symbol));

// The dims of an entry, output before input; those of the input count with the opposite degree.
function jointDims({ tensors, weights }, entry) {
  const [row, column] = [weights[Math.floor(entry / weights.length)], weights[entry % weights.length]];
  const [output, input] = [row, column].map(({ tensor, block }) => tensors[tensor].blocks[block].dims);
  const shifted = input.map((dim) => ({
    ...dim,
    degree: -dim.degree,
    parents: new Map([...dim.parents].map(([name, k]) => [name, k + output.length])),
  }));
  return { dims: [...output, ...shifted], values: [...row.values, ...column.values], split: output.length };
}

// Diagrams of all copies together, each a list of blocks of dims: every copy of a set has its own group, and its own strands.
function blocksOfDiagrams(graph, { dims, values }) {
  const strands = [...dims.keys()].filter((k) => isMixed(graph, dims[k].symbol));
  const copies = classes(strands, (k) => [dims[k].symbol, ...[...dims[k].parents.values()].map((p) => values[p])].join());
  let products = [[]];
  for (const copy of copies) {
    const basis = basisOfDiagrams(graph.neurons.get(dims[copy[0]].symbol), copy.map((k) => dims[k].degree));
    const placed = basis.map((blocks) => blocks.map((block) => block.map((k) => copy[k])));
    products = products.flatMap((one) => placed.map((blocks) => [...one, ...blocks]));
    if (products.length > MOST_DIAGRAMS) throw new TooLarge(`A map has more than ${MOST_DIAGRAMS} diagrams; use fewer axes, and symnet derive`);
  }
  return products;
}

function fillEntries(solution, listed, entries, signOf) {
  const count = listed.weights.length;
  const diagrams = blocksOfDiagrams(listed.graph, jointDims(listed, entries[0]));
  if (diagrams.length * entries.length > MOST_FILLS) throw new TooLarge("The diagrams fill too many entries to be drawn here. Use smaller sets.");
  const first = solution.orbits.length;
  const reference = signOf(entries[0]);
  const labels = new Map(); // of entries that the same diagrams fill
  for (const blocks of diagrams) solution.orbits.push({ row: 0, column: 0, size: 0, sign: 1, blocks, entries: [] });
  for (const entry of entries) {
    const [row, column] = [Math.floor(entry / count), entry % count];
    const values = [...listed.weights[row].values, ...listed.weights[column].values];
    const filling = [];
    diagrams.forEach((blocks, k) => {
      if (blocks.every(([a, b]) => b === undefined || values[a] === values[b])) filling.push(first + k);
    });
    if (!filling.length) continue;
    for (const number of filling) {
      const orbit = solution.orbits[number];
      if (!orbit.size) Object.assign(orbit, { row, column });
      orbit.entries.push(entry);
      orbit.size += 1;
    }
    const key = filling.join();
    if (!labels.has(key)) {
      labels.set(key, solution.shades.length);
      solution.shades.push({ size: 0 });
      solution.fills.push(filling);
    }
    solution.labels[entry] = labels.get(key);
    solution.signs[entry] = signOf(entry) * reference;
    solution.shades[labels.get(key)].size += 1;
  }
}

// "output row = input row (m)", and "any input column (m)" where the mean alone is seen.
function describeDiagram({ tensors, weights }, { row, column, blocks }) {
  const { dims, split } = jointDims({ tensors, weights }, row * weights.length + column);
  const side = ({ tensor, block }) => dimNames(tensors[tensor], block);
  const names = [...side(weights[row]), ...side(weights[column])];
  const full = (k) => `${k < split ? "output" : "input"} ${names[k]}`;
  return blocks.map(([a, b]) => `${b === undefined ? `any ${full(a)}` : `${full(a)} = ${full(b)}`} (${dims[a].symbol})`);
}
