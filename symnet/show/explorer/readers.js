"use strict";
// The network of the first chapter, its curve, and two readers of its weights: one of the flat list, one of neurons.

const LETTERS = ["A", "B", "C", "D", "E"];
const HUES = ["#4aa3df", "#e69f00", "#009e73", "#cc79a7", "#d55e00"]; // after Okabe and Ito: told apart by colour-blind eyes
const NET = { into: [2.6, -1.4, 3.2, -0.9, 1.7], bias: [-1.6, 0.7, 2.3, -0.4, 0.2], out: [1.3, 0.9, -1.1, 0.5, -0.7] };
const FLAT = [0.43, -0.61, 0.22, 0.57, -0.35, -0.48, 0.31, 0.66, -0.27, 0.52, -0.71, 0.38, 0.59, -0.44, 0.25]; // drawn once, at random
const SHARED = [0.8, -0.5, 1.1, 0.3]; // the other reader: the same three numbers and offset for every neuron
const DOMAIN = Array.from({ length: 121 }, (_, k) => k / 20 - 3);

const netOf = (order, out) => ({ into: order.map((k) => NET.into[k]), bias: order.map((k) => NET.bias[k]), out: out.map((k) => NET.out[k]) });

const curveOf = ({ into, bias, out }) =>
  DOMAIN.map((x) => out.reduce((sum, weight, k) => sum + weight * Math.tanh(into[k] * x + bias[k]), 0));

const listOf = ({ into, bias, out }) => [...into, ...bias, ...out];
const flatReader = (net) => Math.tanh(listOf(net).reduce((sum, value, k) => sum + FLAT[k] * value, 0) / 2);

function neuronReader({ into, bias, out }) {
  const [p, q, r, s] = SHARED;
  return Math.tanh(out.reduce((sum, weight, k) => sum + Math.tanh(p * into[k] + q * bias[k] + r * weight + s), 0) / 2);
}

const shown = (value, digits = 2) => (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits).replace("-", "\u2212");
