"use strict";
// Orbits of index pairs under a graph's group, from its generators alone: every generator is a permutation (with signs) of the
// weights, and union-find joins each pair of weights with its images (Ravanbakhsh et al. 2017; with parity for signs).
// Scales make every orbit vanish that they would multiply. Groups that mix neurons: diagrams.js.
// This is slow and plain on purpose: it shares no idea with symnet's closed form, against which the tests hold it.

const MOST_WEIGHTS = 400; // rows and columns of a matrix that can be seen, and solved while one types
const MOST_COPIES = 400; // images of the weights under one generator each
const MOST_ELEMENTS = 2500; // of a group that is counted element by element

class TooLarge extends Error {}

// ---- groups --------------------------------------------------------------------------------------------------------
const isSigned = (set) => set.kind === "SignedSymmetric";
const isTrivial = (set) => !generatorsOf(set).length && !isSigned(set) && set.kind !== "Scaled" && !(mixes(set) && rotated(set));
const rotated = ({ size, fixesMean }) => size - Number(fixesMean); // directions that are mixed: not the mean, if that is fixed
const isContinuous = (set) => lieDimension(set) > 0;

function lieDimension(set) {
  if (set.kind === "Scaled") return set.size;
  if (set.kind === "GeneralLinear") return set.size ** 2;
  return set.kind === "Orthogonal" ? (rotated(set) * (rotated(set) - 1)) / 2 : 0;
}

function generatorsOf({ kind, size, generators }) {
  const points = [...Array(size).keys()];
  const rotation = points.map((i) => (i + 1) % size);
  const swap = points.map((i) => (i < 2 ? 1 - i : i));
  if (kind === "Generated") return generators;
  if (kind === "Fixed" || mixes({ kind }) || size === 1) return [];
  if (size === 2) return [swap];
  if (kind === "Cyclic") return [rotation];
  return [kind === "Dihedral" ? [...points].reverse() : swap, rotation];
}

// All products of some generators, as arrays of numbers; null if there are more than `most`.
function closeGroup(generators, degree, multiply, most) {
  const identity = [...Array(degree).keys()];
  const seen = new Map([[identity.join(), identity]]);
  for (const element of seen.values()) {
    for (const generator of generators) {
      const next = multiply(generator, element);
      const key = next.join();
      if (!seen.has(key)) seen.set(key, next);
    }
    if (seen.size > most) return null;
  }
  return [...seen.values()];
}

function groupOrder(set) {
  if (set.kind === "Orthogonal") return 2n ** BigInt(rotated(set));
  const factorial = (n) => (n < 2 ? 1n : BigInt(n) * factorial(n - 1));
  if (set.kind === "Symmetric") return factorial(set.size);
  if (isSigned(set)) return factorial(set.size) << BigInt(set.size);
  const all = closeGroup(generatorsOf(set), set.size, (g, h) => h.map((i) => g[i]), MOST_ELEMENTS);
  return all && BigInt(all.length);
}

// ---- neuron sets ---------------------------------------------------------------------------------------------------
function ancestorsOf(graph, name, path = []) {
  if (path.includes(name)) throw new NotationError(0, 0, `Neuron sets are over one another in a circle: ${[...path, name].join(" over ")}`);
  const found = graph.neurons.get(name).over.flatMap((parent) => [...ancestorsOf(graph, parent, [...path, name]), parent]);
  return [...new Set(found)];
}

const copiesOf = (graph, name) => ancestorsOf(graph, name).reduce((count, one) => count * graph.neurons.get(one).size, 1);

// Exact; Infinity for continuous groups, null for those that are too large to be listed.
function orderOf(graph) {
  if ([...graph.neurons.values()].some(isContinuous)) return Infinity;
  let order = 1n;
  for (const [name, set] of graph.neurons) {
    const own = groupOrder(set);
    if (own === null) return null;
    order *= own ** BigInt(copiesOf(graph, name));
  }
  return order;
}

// The order as a product over the neuron sets, such as "(32!)^2 × 2^4 × 4!".
function orderAsProduct(graph) {
  const factors = [...graph.neurons].map(([name, set]) => {
    const copies = copiesOf(graph, name);
    const order = groupOrder(set);
    if (order === 1n) return "";
    if (set.kind === "Symmetric") return powerOf(`${set.size}!`, copies);
    if (isSigned(set) && set.size > 1) return `${powerOf("2", set.size * copies)} × ${powerOf(`${set.size}!`, copies)}`;
    return powerOf(String(order), copies);
  });
  return factors.filter(Boolean).join(" × ") || "1";
}

const powerOf = (base, exponent) => (exponent === 1 ? base : base.endsWith("!") ? `(${base})^${exponent}` : `${base}^${exponent}`);

// ---- blocks: a tensor as a sum of plain products, position = offset + sum of stride * value -------------------------
function termsOf(axis, graph) {
  if (axis.type === "number") return { size: axis.size, terms: [{ offset: 0, dims: [{ symbol: null, size: axis.size, stride: 1, degree: 0 }] }] };
  if (axis.type === "symbol") {
    const { size } = graph.neurons.get(axis.name);
    return { size, terms: [{ offset: 0, dims: [{ symbol: axis.name, size, stride: 1, degree: axis.degree }] }] };
  }
  if (axis.type === "product") return multiplyTerms(axis.factors.map((factor) => termsOf(factor, graph)));
  const parts = axis.parts.map((one) => termsOf(one, graph));
  if (axis.type === "sum") return sumTerms(parts.map((part, k) => (axis.only === undefined || axis.only === k ? part : { ...part, terms: [] })));
  if (parts.some((part) => part.size !== parts[0].size)) {
    throw new NotationError(0, 0, `Axis '${printAxis(axis)}' has parts of ${parts.map((part) => part.size).join(", ")} positions`);
  }
  if (axis.type === "choice") {
    throw new NotationError(0, 0, `'${printAxis(axis)}' says what ${parts.length} parts have each, but no other axis is joined of so many parts with '+'`);
  }
  const count = parts.length; // position i of part p is position i * count + p
  const terms = parts.flatMap((part, p) => part.terms.map((term) => spread(term, count, p)));
  return { size: count * parts[0].size, terms };
}

function spread(term, count, start) {
  return { offset: term.offset * count + start, dims: term.dims.map((dim) => ({ ...dim, stride: dim.stride * count })) };
}

function sumTerms(parts) {
  let size = 0;
  const terms = [];
  for (const part of parts) {
    for (const term of part.terms) terms.push({ ...term, offset: term.offset + size });
    size += part.size;
  }
  return { size, terms };
}

// "(q + k) (x | y)" is a sum of tensors "q x" and "k y": one list of axes for each part, all others of it left out.
function choices(axes) {
  const parts = axes.flatMap((axis) => (axis.type === "product" ? axis.factors : [axis]));
  const choice = parts.find((one) => one.type === "choice");
  const join = choice && parts.find((one) => one.type === "sum" && one.parts.length === choice.parts.length);
  if (!join) return [axes];
  const chosen = (axis, k) => {
    if (axis === join) return { ...axis, only: k };
    if (axis.type === "choice" && axis.parts.length === join.parts.length) return axis.parts[k];
    return axis.type === "product" ? { ...axis, factors: axis.factors.map((one) => chosen(one, k)) } : axis;
  };
  return join.parts.flatMap((_, k) => choices(axes.map((axis) => chosen(axis, k))));
}

// Row-major: the last factor varies fastest. Terms of the first factor are listed first.
function multiplyTerms(factors) {
  let result = { size: 1, terms: [{ offset: 0, dims: [] }] };
  for (const { size, terms } of factors) {
    const scaled = result.terms.map((term) => ({
      offset: term.offset * size,
      dims: term.dims.map((dim) => ({ ...dim, stride: dim.stride * size })),
    }));
    const joined = scaled.flatMap((a) => terms.map((b) => ({ offset: a.offset + b.offset, dims: [...a.dims, ...b.dims] })));
    result = { size: result.size * size, terms: joined };
  }
  return result;
}

function blocksOf(graph, name, axes) {
  const read = (given) =>
    given.map((axis, origin) => {
      const found = termsOf(axis, graph);
      found.terms.forEach((term) => term.dims.forEach((dim) => Object.assign(dim, { origin })));
      return found;
    });
  const summands = choices(axes).map(read);
  const [factors] = summands;
  const { size } = multiplyTerms(factors);
  const terms = summands.flatMap((one) => multiplyTerms(one).terms);
  if (size > MOST_WEIGHTS) throw new TooLarge(`Tensor '${name}' has ${size} weights; this page shows up to ${MOST_WEIGHTS} in all. Use smaller sets.`);
  return { size, shape: factors.map((factor) => factor.size), blocks: terms.map((term) => ({ ...term, dims: readParents(graph, name, term.dims) })) };
}

// A child reads its ancestors' values from the same axis; failing that, from their only other occurrence.
function readParents(graph, name, dims) {
  const fail = (problem) => {
    throw new NotationError(0, 0, `Tensor '${name}': ${problem}`);
  };
  const read = dims.map((dim) => {
    const parents = new Map();
    for (const ancestor of dim.symbol === null ? [] : ancestorsOf(graph, dim.symbol)) {
      const all = [...dims.keys()].filter((k) => dims[k].symbol === ancestor);
      const same = all.filter((k) => dims[k].origin === dim.origin);
      const chosen = same.length ? same : all;
      if (chosen.length !== 1) {
        fail(`'${dim.symbol}' is over '${ancestor}', which occurs ${chosen.length} times where its value could be read; write '(${ancestor} ${dim.symbol})'`);
      }
      parents.set(ancestor, chosen[0]);
    }
    return { ...dim, parents };
  });
  for (const { symbol, parents } of read) {
    for (const [ancestor, k] of parents) {
      for (const [further, place] of read[k].parents) {
        if (parents.get(further) !== place) fail(`'${symbol}' reads its '${further}' from another axis than its parent '${ancestor}' does`);
      }
    }
  }
  return read;
}

// ---- weights: every entry of every tensor, in reading order ---------------------------------------------------------
function listWeights(graph) {
  const tensors = [];
  const weights = [];
  for (const [name, axes] of graph.tensors) {
    const { size, shape, blocks } = blocksOf(graph, name, axes);
    const start = weights.length;
    tensors.push({ name, start, size, shape, blocks });
    if (start + size > MOST_WEIGHTS) {
      throw new TooLarge(`The matrix would have more than ${MOST_WEIGHTS} rows; this page shows up to ${MOST_WEIGHTS}. Use smaller sets or fewer tensors.`);
    }
    weights.push(...Array(size));
    blocks.forEach(({ offset, dims }, block) => {
      const count = dims.reduce((total, dim) => total * dim.size, 1);
      for (let number = 0; number < count; number++) {
        const values = unravel(number, dims.map((dim) => dim.size));
        const position = dims.reduce((sum, dim, k) => sum + dim.stride * values[k], start + offset);
        weights[position] = { tensor: tensors.length - 1, block, values, index: unravel(position - start, shape) };
      }
    });
  }
  return { tensors, weights };
}

function unravel(number, sizes) {
  const values = Array(sizes.length);
  for (let k = sizes.length - 1; k >= 0; k--) {
    values[k] = number % sizes[k];
    number = Math.floor(number / sizes[k]);
  }
  return values;
}

// ---- the group on the weights: one signed permutation for every generator of every copy -----------------------------
function actionsOf(graph, { tensors, weights }) {
  const found = [];
  for (const [name, set] of graph.neurons) {
    const ancestors = ancestorsOf(graph, name);
    const sizes = ancestors.map((one) => graph.neurons.get(one).size);
    const moves = generatorsOf(set).map((generator) => ({ generator }));
    if (isSigned(set) || set.kind === "Scaled") moves.push({ generator: [...Array(set.size).keys()], multiplies: set.kind });
    const copies = copiesOf(graph, name);
    if (found.length + copies * moves.length > MOST_COPIES) throw new TooLarge(`'${name}' has ${copies} copies; use smaller sets.`);
    for (const move of moves) {
      for (let copy = 0; copy < copies; copy++) found.push(moveWeights(tensors, weights, name, ancestors, unravel(copy, sizes), move));
    }
  }
  return found;
}

// Images of the weights, their signs, and the powers of a scale by which they are multiplied.
function moveWeights(tensors, weights, name, ancestors, copy, { generator, multiplies }) {
  const images = new Int32Array(weights.length);
  const signs = new Int8Array(weights.length).fill(1);
  const powers = new Int8Array(weights.length);
  weights.forEach(({ tensor, block, values }, position) => {
    images[position] = position;
    tensors[tensor].blocks[block].dims.forEach((dim, k) => {
      if (dim.symbol !== name || ancestors.some((one, a) => values[dim.parents.get(one)] !== copy[a])) return;
      images[position] += dim.stride * (generator[values[k]] - values[k]);
      if (values[k] !== 0) return; // the first neuron is multiplied, the others are its images
      if (multiplies === "Scaled") powers[position] += dim.degree;
      if (multiplies === "SignedSymmetric" && dim.degree !== 0) signs[position] *= -1;
    });
  });
  return { images, signs, powers };
}

// ---- orbits --------------------------------------------------------------------------------------------------------
// Union-find in which every node knows its sign against its root; a node that meets its own negative, or a multiple, makes its orbit vanish.
function joinPairs(count, actions) {
  const parent = Int32Array.from({ length: count * count }, (_, k) => k);
  const sign = new Int8Array(count * count).fill(1);
  const zero = new Uint8Array(count * count);
  function find(k) {
    let root = k;
    let total = 1;
    while (parent[root] !== root) {
      total *= sign[root];
      root = parent[root];
    }
    while (parent[k] !== root) {
      const [next, own] = [parent[k], sign[k]];
      parent[k] = root;
      sign[k] = total;
      total *= own;
      k = next;
    }
    return root;
  }
  for (const { images, signs, powers } of actions) {
    for (let i = 0; i < count; i++) {
      for (let j = 0; j < count; j++) {
        const [here, there] = [i * count + j, images[i] * count + images[j]];
        const [a, b] = [find(here), find(there)];
        const relative = (here === a ? 1 : sign[here]) * (there === b ? 1 : sign[there]) * signs[i] * signs[j];
        if (powers[i] !== powers[j]) zero[a] = 1; // the entry times s ** (difference) is itself for all scales s
        if (a === b) zero[a] |= relative < 0;
        else {
          parent[b] = a;
          sign[b] = relative;
          zero[a] |= zero[b];
        }
      }
    }
  }
  return { find, sign, zero };
}

// Labels in reading order, block after block; -1 where a weight must vanish; signs against the orbit's first entry.
function labelPairs(tensors, count, { find, sign, zero }) {
  const labels = new Int32Array(count * count).fill(-1);
  const signs = new Int8Array(count * count).fill(1);
  const orbits = [];
  const number = new Map();
  for (const ours of tensors) {
    for (const theirs of tensors) {
      for (let i = ours.start; i < ours.start + ours.size; i++) {
        for (let j = theirs.start; j < theirs.start + theirs.size; j++) {
          const root = find(i * count + j);
          if (zero[root]) continue;
          const own = root === i * count + j ? 1 : sign[i * count + j];
          if (!number.has(root)) {
            number.set(root, orbits.length);
            orbits.push({ row: i, column: j, size: 0, sign: own });
          }
          const label = number.get(root);
          labels[i * count + j] = label;
          signs[i * count + j] = own * orbits[label].sign;
          orbits[label].size += 1;
        }
      }
    }
  }
  return { labels, signs, orbits, shades: orbits };
}

// Burnside's lemma, element by element: the mean of (trace on outputs) * (trace on inputs); null for large and for infinite groups.
function countByBurnside({ graph, actions, weights: { length: count } }) {
  if ([...graph.neurons.values()].some((set) => isContinuous(set) || mixes(set))) return null;
  const codes = actions.map(({ images, signs }) => Array.from(images, (image, k) => image + (signs[k] < 0 ? count : 0)));
  const multiply = (g, h) => h.map((i) => (i < count ? g[i] : (g[i - count] + count) % (2 * count)));
  const all = closeGroup(codes, count, multiply, MOST_ELEMENTS);
  if (!all) return null;
  let sum = 0;
  for (const element of all) {
    let trace = 0;
    for (let k = 0; k < count; k++) trace += (element[k] === k) - (element[k] === k + count);
    sum += trace * trace;
  }
  return sum / all.length;
}

function solve(graph) {
  for (const name of graph.neurons.keys()) ancestorsOf(graph, name);
  const { tensors, weights } = listWeights(graph);
  const actions = actionsOf(graph, { tensors, weights });
  const joins = joinPairs(weights.length, actions);
  const mixed = [...graph.neurons.values()].some(mixes);
  const maps = mixed ? diagramsOfLayer({ graph, tensors, weights }, joins) : labelPairs(tensors, weights.length, joins);
  return { graph, tensors, weights, actions, mixed, ...maps, dimension: maps.orbits.length };
}

// Which entries share the coefficient of a chosen one: its orbit, or the chosen diagram that fills it.
function tiedEntries({ labels, orbits, weights }, { row, column, diagram }) {
  const label = labels[row * weights.length + column];
  if (diagram === undefined) return Uint8Array.from(labels, (other) => other === label);
  const tied = new Uint8Array(labels.length);
  for (const entry of orbits[diagram].entries) tied[entry] = 1;
  return tied;
}

// Free parameters from one tensor to another.
function countBetween({ orbits }, ours, theirs) {
  const inside = (k, { start, size }) => start <= k && k < start + size;
  return orbits.filter(({ row, column }) => inside(row, ours) && inside(column, theirs)).length;
}
