"use strict";
// The text form of a graph, read into plain values and printed back: the same grammar as symnet/graph/text_form.py and
// symnet/graph/notation.py. What this page does not take is refused with its line and column, never guessed.

const KINDS = ["Symmetric", "SignedSymmetric", "Scaled", "Orthogonal", "GeneralLinear", "Fixed", "Cyclic", "Dihedral", "Generated"];
const MARKS = { 1: "", "-1": "*", 0: "." }; // of strands: h, its dual h*, and h. of degree 0
const SECTIONS = ["neurons", "tensors", "aliases"];
const NAME = /^[^\s()+&|:#,"']+$/;

class NotationError extends Error {
  constructor(line, column, problem) {
    super(`${line ? `line ${line}, column ${column}: ` : ""}${problem}.`);
    this.line = line;
    this.column = column;
  }
}

// ---- axes: name | name* | name. | integer | "(" join ")", a join by one of + & | ----------------------------------------------------------------------------
function parseAxes(text, fail) {
  const tokens = [...text.matchAll(/[()+&|]|[^\s()+&|:#,"']+|[:#,"']/g)].map((m) => ({ text: m[0], at: m.index }));
  let next = 0;
  const at = () => (next < tokens.length ? tokens[next].at : text.length);
  const problem = (what, where) => fail(where, `axis notation '${text}': ${what}`);

  function axis() {
    const { text: token, at: where } = tokens[next];
    if (")+&|".includes(token)) problem(`'${token}' without an open parenthesis before it`, where);
    if (!"(".includes(token) && !NAME.test(token)) problem(`'${token}' may not stand in axis notation`, where);
    next += 1;
    if (token === "(") return join(where);
    if (/^-?\d+$/.test(token)) {
      if (!(Number(token) >= 1)) problem(`an axis of size ${token}`, where);
      return { type: "number", size: Number(token) };
    }
    const [name, degree] = splitMark(token);
    if (!name || /[*.]$/.test(name)) {
      problem(`'${token}' must be a name and one mark at most: 'h', its dual 'h*', or 'h.' of degree 0`, where);
    }
    if (/^-?\d+$/.test(name)) problem(`'${token}' marks a whole number, whose positions nothing moves`, where);
    return { type: "symbol", name, degree };
  }

  function join(opened) {
    const parts = [];
    let factors = [];
    let kind = "+";
    for (;;) {
      if (next >= tokens.length) problem("this parenthesis is never closed", opened);
      const token = tokens[next].text;
      if (!")+&|".includes(token)) {
        factors.push(axis());
        continue;
      }
      if (parts.length && token !== ")" && token !== kind) {
        problem(`'${kind}' and '${token}' in one pair of parentheses; put the inner join into its own`, at());
      }
      if (token !== ")") kind = token;
      const empty = token === ")" && parts.length === 0; // "()" is a single position
      if (!factors.length && !empty) problem(`nothing stands before '${token}'`, at());
      parts.push(product(factors));
      factors = [];
      next += 1;
      if (token === ")") return joined(kind, parts);
    }
  }

  const found = [];
  while (next < tokens.length) found.push(axis());
  return found;
}

function splitMark(word) {
  if (word.endsWith("*")) return [word.slice(0, -1), -1];
  return word.endsWith(".") ? [word.slice(0, -1), 0] : [word, 1];
}

function product(given) {
  const factors = given.flatMap((axis) => (axis.type === "product" ? axis.factors : [axis]));
  if (!factors.length) return { type: "number", size: 1 };
  return factors.length === 1 ? factors[0] : { type: "product", factors };
}

const JOINS = { "+": "sum", "&": "shuffle", "|": "choice" };

function joined(kind, given) {
  const parts = kind === "+" ? given.flatMap((axis) => (axis.type === "sum" ? axis.parts : [axis])) : given;
  return parts.length === 1 ? parts[0] : { type: JOINS[kind], parts };
}

function printAxis(axis) {
  if (axis.type === "symbol") return axis.name + MARKS[axis.degree];
  if (axis.type === "number") return String(axis.size);
  if (axis.type === "product") return `(${axis.factors.map(printAxis).join(" ")})`;
  const sign = Object.keys(JOINS).find((one) => JOINS[one] === axis.type);
  return `(${axis.parts.map(printAxis).join(` ${sign} `)})`;
}

const printAxes = (axes) => axes.map(printAxis).join(" ");

function symbolsIn(axis) {
  if (axis.type === "symbol") return [axis.name];
  return (axis.factors || axis.parts || []).flatMap(symbolsIn);
}

// ---- neuron sets: Kind(n) over parents -----------------------------------------------------------------------------
function parseNeuronSet(text, fail) {
  const match = /^(\w+)\s*\(([^]*?)\)\s*(?:over\s+([^()]*))?$/.exec(text);
  if (!match || !KINDS.includes(match[1])) {
    fail(0, `'${text}' is not a group; write ${KINDS.join("(n), ")}(n, [[...]]), and 'over parent' after it`);
  }
  const [, kind, inside, over] = match;
  const option = kind === "Orthogonal" ? /,\s*(?:fixes_mean\s*=\s*)?(True|False)\s*,?\s*$/.exec(inside) : null;
  const fixesMean = option !== null && option[1] === "True";
  const numbers = (option ? inside.slice(0, option.index) : inside).replace(/\(/g, "[").replace(/\)/g, "]").replace(/,\s*(?=\]|$)/g, "");
  let given = null;
  try {
    given = /^[\d\s,[\]]*$/.test(numbers) ? JSON.parse(`[${numbers}]`) : null;
  } catch {
    given = null;
  }
  const most = kind === "Generated" ? 2 : 1;
  if (!given || given.length < 1 || given.length > most || !Number.isInteger(given[0]) || given[0] < 1) {
    fail(0, `the arguments of ${kind} in '${text}' cannot be read; expected the number of neurons, at least 1`);
  }
  const [size, generators = []] = given;
  const parents = (over || "").split(",").map((name) => name.trim()).filter(Boolean);
  return { kind, size, fixesMean, generators: checkGenerators(size, generators, fail), over: parents };
}

function checkGenerators(size, generators, fail) {
  const kept = new Map();
  for (const one of Array.isArray(generators) ? generators : [null]) {
    const sorted = Array.isArray(one) ? [...one].sort((a, b) => a - b) : [];
    if (sorted.length !== size || sorted.some((value, k) => value !== k)) {
      fail(0, `${JSON.stringify(one)} is not a permutation of 0..${size - 1}`);
    }
    if (one.some((value, k) => value !== k)) kept.set(one.join(), one);
  }
  return [...kept.values()];
}

function printGroup({ kind, size, fixesMean, generators }) {
  if (fixesMean) return `${kind}(${size}, fixes_mean=True)`;
  if (kind !== "Generated") return `${kind}(${size})`;
  return `Generated(${size}, [${generators.map((one) => `[${one.join(", ")}]`).join(", ")}])`;
}

// ---- whole graphs --------------------------------------------------------------------------------------------------
function parseGraph(text) {
  const graph = { neurons: new Map(), tensors: new Map(), aliases: new Map() };
  const places = []; // of the values, in the order of the text
  let section = null;
  const seen = new Set();
  const lines = text.split(/\r\n|[\n\r]/);
  lines.forEach((raw, index) => {
    const line = raw.split("#")[0].trimEnd();
    if (!line) return;
    if (!/^\s/.test(line)) {
      section = line.replace(/:+$/, "");
      seen.add(section);
      if (!SECTIONS.includes(section)) {
        throw new NotationError(index + 1, 1, `'${section}' is not a section; the sections are ${SECTIONS.join(", ")}, their lines indented`);
      }
      return;
    }
    places.push(readLine(graph, section, line, index + 1));
  });
  const missing = ["neurons", "tensors"].find((name) => !seen.has(name));
  if (missing) {
    const last = lines.length + (lines[lines.length - 1] === "" ? 0 : 1);
    throw new NotationError(last, 1, `the text ends without a section '${missing}' (an empty section will do): has it been cut off?`);
  }
  for (const place of places) checkNames(graph, place);
  checkGraph(graph);
  return graph;
}

function readLine(graph, section, line, number) {
  const column = line.length - line.trimStart().length + 1;
  const cut = line.lastIndexOf(":");
  if (section === null) throw new NotationError(number, column, "this line stands before any section; begin with a line 'neurons'");
  if (cut < 0) throw new NotationError(number, column, "expected 'name: ...'");
  const name = line.slice(0, cut).trim();
  const value = line.slice(cut + 1).trim();
  if (graph[section].has(name)) throw new NotationError(number, column, `'${name}' is declared twice`);
  const wrong = section === "neurons" ? !NAME.test(name) || /^-?\d+$|[*.]$/.test(name) : !name || name.includes(":");
  if (wrong) throw new NotationError(number, column, `'${name}' cannot be a name here`);
  const start = line.length - value.length + 1;
  const fail = (at, problem) => {
    throw new NotationError(number, start + at, problem);
  };
  const read = { neurons: parseNeuronSet, tensors: parseAxes, aliases: (kept) => kept }[section];
  graph[section].set(name, read(value, fail));
  return { section, name, value, fail };
}

// A name that is used and not declared is refused where it stands; sections come in any order, so after all are read.
function checkNames(graph, { section, name, value, fail }) {
  if (section === "aliases") {
    if (!graph.tensors.has(value)) fail(0, `'${name}' is an alias of '${value}', which is not declared as a tensor`);
    return;
  }
  const used = section === "neurons" ? graph.neurons.get(name).over : graph.tensors.get(name).flatMap(symbolsIn);
  for (const { 0: written, index } of value.matchAll(/[^\s()+&|:#,"']+/g)) {
    const [word, degree] = section === "tensors" ? splitMark(written) : [written, 1];
    if (!used.includes(word)) continue;
    if (graph.neurons.has(word)) checkMixed(graph.neurons.get(word), word, degree, section, (problem) => fail(index, problem));
    else {
      fail(index, `no neuron set '${word}' is declared; the neuron sets are ${[...graph.neurons.keys()].join(", ") || "none"}`);
    }
  }
}

// Where neurons are mixed, none has a place in an order or a copy of its own.
function checkMixed(set, name, degree, section, fail) {
  if (!mixes(set)) return;
  if (section === "neurons") fail(`${printGroup(set)} mixes the neurons of '${name}', so that none keeps a copy of its own; leave out 'over ${name}'`);
  if (degree === 0) fail(`${printGroup(set)} leaves no order of the neurons of '${name}' that a strand '${name}.' could show; write '${name}' or '${name}*'`);
}

function checkGraph(graph) {
  const fail = (problem) => {
    throw new NotationError(0, 0, problem);
  };
  for (const [name, { over }] of graph.neurons) {
    if (new Set(over).size !== over.length) fail(`Neuron set '${name}' names a parent twice`);
  }
  for (const name of graph.aliases.keys()) {
    if (graph.tensors.has(name)) fail(`Alias '${name}' is declared as a tensor as well`);
  }
}

// The same text as Python's str(graph), so that a graph can be found among those that symnet solved beforehand.
function printGraph(graph) {
  const lines = ["neurons"];
  for (const [name, set] of graph.neurons) lines.push(`  ${name}: ${printGroup(set)}${set.over.length ? ` over ${set.over.join(", ")}` : ""}`);
  lines.push("tensors");
  for (const [name, axes] of graph.tensors) lines.push(`  ${name}: ${printAxes(axes)}`.trimEnd());
  if (graph.aliases.size) lines.push("aliases");
  for (const [name, kept] of graph.aliases) lines.push(`  ${name}: ${kept}`);
  return lines.join("\n");
}
