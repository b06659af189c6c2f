"use strict";
// The tying matrix on a canvas: one colour an orbit (or for all entries that the same diagrams fill), blocks labelled by tensor; while an
// orbit or a diagram is chosen, the others fade.

const LABEL_SIZE = 12; // pixels of the tensors' names
const SMALLEST = 3; // pixels of an entry: below, the frame scrolls
const LARGEST = 30;
const CHOSEN = "#d55e00"; // the chosen orbit, in the matrix and in the network: vermilion, told apart by colour-blind eyes too
const GOLDEN_ANGLE = 137.5; // degrees between the hues of two pairs: no two of a few are near
const NUMBERED = 17; // pixels of an entry from which the orbit's number fits

// A colour for every orbit: the hue says which two tensors, the lightness what is shared, from dark (an entry with itself, a neuron with itself) to light (nothing).
function colourOrbits({ shades, labels, tensors, weights }) {
  const colours = Array(shades.length).fill(null);
  let pairs = 0;
  for (const output of tensors) {
    for (const input of tensors) {
      const orbits = new Set();
      for (let i = output.start; i < output.start + output.size; i++) {
        for (let j = input.start; j < input.start + input.size; j++) orbits.add(labels[i * weights.length + j]);
      }
      orbits.delete(-1);
      // The more entries an orbit has, the less they share.
      const bySize = [...orbits].sort((a, b) => shades[a].size - shades[b].size || a - b);
      const hue = (210 + pairs++ * GOLDEN_ANGLE) % 360;
      bySize.forEach((label, k) => {
        const lightness = bySize.length > 1 ? 30 + (55 * k) / (bySize.length - 1) : 55;
        colours[label] = hexOf((hue + ((k % 3) - 1) * 9 + 360) % 360, 0.62, lightness / 100);
      });
    }
  }
  return colours;
}

function hexOf(hue, saturation, lightness) {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    return lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  return `#${[0, 8, 4].map((n) => Math.round(255 * channel(n)).toString(16).padStart(2, "0")).join("")}`;
}

const parseColour = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

function readableOn(hex) {
  const [red, green, blue] = parseColour(hex).map((value) => (value / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 ? "#000" : "#fff";
}

// Sizes of everything, from the room that there is.
function layOut(solution, room) {
  const longest = Math.max(...solution.tensors.map(({ name }) => name.length), 1);
  const edge = Math.min(150, 14 + longest * LABEL_SIZE * 0.58);
  const count = Math.max(solution.weights.length, 1);
  const entry = Math.max(SMALLEST, Math.min(LARGEST, Math.floor((room - edge) / count)));
  return { left: edge, top: edge, entry, count, width: edge + count * entry + 2, height: edge + count * entry + 2 };
}

function drawMatrix(canvas, solution, colours, chosen) {
  const room = canvas.parentElement.clientWidth - 8;
  const at = layOut(solution, room);
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(at.width * ratio);
  canvas.height = Math.round(at.height * ratio);
  canvas.style.width = `${at.width}px`;
  canvas.style.height = `${at.height}px`;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const [ink, paper] = [style.color, style.backgroundColor];
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(paintEntries(solution, colours, chosen, paper), at.left, at.top, at.count * at.entry, at.count * at.entry);
  if (at.entry >= NUMBERED && !solution.mixed && part("numbered").checked) writeNumbers(pen, solution, colours, at);
  drawBands(pen, solution, at, ink, paper);
  if (chosen) frameEntry(pen, at, chosen, ink, paper);
  return at;
}

// One pixel an entry, enlarged without smoothing: quick for any number of entries.
function paintEntries(solution, colours, chosen, paper) {
  const { weights, labels } = solution;
  const count = Math.max(weights.length, 1);
  const small = document.createElement("canvas");
  small.width = small.height = count;
  const pen = small.getContext("2d");
  const image = pen.createImageData(count, count);
  const background = (paper.match(/[\d.]+/g) || [255, 255, 255]).slice(0, 3).map(Number);
  const parsed = colours.map(parseColour);
  const tied = chosen && tiedEntries(solution, chosen);
  labels.forEach((label, k) => {
    const strength = label < 0 ? 0 : !tied || tied[k] ? 1 : 0.2;
    const own = label < 0 ? background : tied && tied[k] ? parseColour(CHOSEN) : parsed[label];
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = background[c] + strength * (own[c] - background[c]);
    image.data[4 * k + 3] = 255;
  });
  pen.putImageData(image, 0, 0);
  return small;
}

function writeNumbers(pen, { weights, labels }, colours, at) {
  pen.font = `${Math.round(at.entry * 0.45)}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let i = 0; i < weights.length; i++) {
    for (let j = 0; j < weights.length; j++) {
      const label = labels[i * weights.length + j];
      if (label < 0) continue;
      pen.fillStyle = readableOn(colours[label]);
      pen.globalAlpha = 0.75;
      pen.fillText(label + 1, at.left + (j + 0.5) * at.entry, at.top + (i + 0.53) * at.entry);
    }
  }
  pen.globalAlpha = 1;
}

function drawBands(pen, { tensors }, at, ink, paper) {
  pen.font = `${LABEL_SIZE}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  let [lastRow, lastColumn] = [-Infinity, -Infinity];
  for (const { name, start, size } of tensors) {
    const middle = (start + size / 2) * at.entry;
    pen.fillStyle = ink;
    const short = name.length > 22 ? `${name.slice(0, 21)}\u2026` : name;
    const row = Math.max(at.top + middle, lastRow + LABEL_SIZE); // names of thin bands are moved apart
    pen.textAlign = "right";
    pen.fillText(short, at.left - 6, row);
    lastRow = row;
    const column = Math.max(at.left + middle, lastColumn + LABEL_SIZE);
    pen.save();
    pen.translate(column, at.top - 6);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.fillText(short, 0, 0);
    pen.restore();
    lastColumn = column;
    pen.fillStyle = paper;
    if (start > 0) {
      pen.fillRect(at.left, at.top + start * at.entry - 1, at.count * at.entry, 2);
      pen.fillRect(at.left + start * at.entry - 1, at.top, 2, at.count * at.entry);
    }
  }
}

function frameEntry(pen, at, { row, column }, ink, paper) {
  const [x, y] = [at.left + column * at.entry, at.top + row * at.entry];
  for (const [colour, width, out] of [[paper, 5, 1], [ink, 2.5, 1]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.strokeRect(x - out, y - out, at.entry + 2 * out, at.entry + 2 * out);
  }
}
