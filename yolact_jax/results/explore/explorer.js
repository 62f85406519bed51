"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [height, width] = data.size;
const [rows, columns, count] = data.prototypes.shape;
// How many of them the image covers.
const [shownRows, shownColumns] = data.shown;
const element = id => document.getElementById(id);

// Prototypes as floats: [rows, columns, count].
const prototypes = (() => {
  const text = atob(data.prototypes.bytes);
  const values = new Float32Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const k = i % count;
    values[i] = data.prototypes.low[k] + data.prototypes.step[k] * text.charCodeAt(i);
  }
  return values;
})();

// Matrix product and sigmoid: [rows, columns].
function assemble(coefficients) {
  const soft = new Float32Array(rows * columns);
  for (let cell = 0; cell < soft.length; cell++) {
    let sum = 0;
    for (let k = 0; k < count; k++) sum += prototypes[cell * count + k] * coefficients[k];
    soft[cell] = 1 / (1 + Math.exp(-sum));
  }
  return soft;
}

// Zero outside of a box and a padding of one cell.
function crop(soft, [x1, y1, x2, y2]) {
  const inside = (index, start, end, shown, size) => {
    const low = Math.max(Math.min(start, end) * shown - 1, 0);
    const high = Math.min(Math.max(start, end) * shown + 1, size);
    return index >= low && index < high;
  };
  return soft.map((value, cell) => {
    const row = Math.floor(cell / columns), column = cell % columns;
    return inside(row, y1, y2, shownRows, rows)
      && inside(column, x1, x2, shownColumns, columns) ? value : 0;
  });
}

function taps(size, shown) {
  const last = Math.ceil(shown) - 1;
  return Array.from({length: size}, (_, index) => {
    const at = Math.min(Math.max((index + 0.5) * shown / size - 0.5, 0), last);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, last), at - low];
  });
}
const rowTaps = taps(height, shownRows), columnTaps = taps(width, shownColumns);

// Bilinear, with half-pixel centers: [height, width].
function enlarge(soft) {
  const large = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = rowTaps[y];
    for (let x = 0; x < width; x++) {
      const [left, right, across] = columnTaps[x];
      const mix = row => {
        const a = soft[row * columns + left], b = soft[row * columns + right];
        return a + (b - a) * across;
      };
      const a = mix(top), b = mix(bottom);
      large[y * width + x] = a + (b - a) * down;
    }
  }
  return large;
}

const view = element("view"), context = view.getContext("2d");
view.width = width;
view.height = height;
const photo = new Image();
let current = 0;
let coefficients = [];

function mask() {
  let soft = assemble(coefficients);
  if (element("crop").checked) soft = crop(soft, data.detections[current].box);
  return enlarge(soft);
}

function frame(box, color, dash) {
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.setLineDash(dash);
  const [x1, y1, x2, y2] = box;
  context.strokeRect(x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height);
}

function draw() {
  if (!data.detections.length) {
    context.drawImage(photo, 0, 0, width, height);
    return;
  }
  const large = mask(), bare = document.body.classList.contains("bare");
  const soft = element("soft").checked && !bare;
  if (!bare) context.drawImage(photo, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  let area = 0;
  for (let i = 0; i < large.length; i++) {
    const inside = large[i] > 0.5;
    area += inside;
    const alpha = soft ? 0.8 * large[i] : inside ? 0.5 : 0;
    [0, 255, 160].forEach((color, channel) => {
      const at = 4 * i + channel;
      pixels.data[at] = bare ? (inside ? 255 : 0)
        : pixels.data[at] * (1 - alpha) + color * alpha;
    });
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  element("area").textContent = `${area} pixels`;
  if (bare) return;
  const chosen = data.detections[current];
  if (element("dropped").checked) {
    for (const one of droppedBy(chosen)) frame(one.box, "#d55e00", [5, 4]);
  }
  frame(chosen.box, "#ffffff", []);
}

const droppedBy = chosen => data.suppressed.filter(
  one => one.label === chosen.label && one.by === chosen.anchor);

function pick(index) {
  current = index;
  const chosen = data.detections[index];
  coefficients = [...chosen.coefficients];
  for (const [k, slider] of [...document.querySelectorAll("#sliders input")].entries()) {
    slider.value = coefficients[k];
    slider.nextSibling.textContent = coefficients[k].toFixed(2);
  }
  const body = element("rows");
  body.replaceChildren();
  for (const one of droppedBy(chosen)) {
    const row = body.insertRow();
    for (const text of [one.score.toFixed(2), one.overlap.toFixed(2),
      `${chosen.name} ${chosen.score.toFixed(2)}`]) row.insertCell().textContent = text;
  }
  draw();
}

function makeSliders() {
  for (let k = 0; k < count; k++) {
    const box = document.createElement("div");
    const small = document.createElement("canvas");
    small.width = columns;
    small.height = rows;
    const pixels = new ImageData(columns, rows);
    const {low, step} = data.prototypes;
    for (let cell = 0; cell < rows * columns; cell++) {
      const level = (prototypes[cell * count + k] - low[k]) / step[k];
      pixels.data.set([level, level, level, 255], 4 * cell);
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    const slider = Object.assign(document.createElement("input"), {
      type: "range", min: -1, max: 1, step: 0.01,
    });
    const text = document.createElement("span");
    text.className = "faint";
    slider.addEventListener("input", () => {
      coefficients[k] = Number(slider.value);
      text.textContent = coefficients[k].toFixed(2);
      draw();
    });
    box.append(small, slider, text);
    element("sliders").append(box);
  }
}

for (const [index, one] of data.detections.entries()) {
  const text = `${index + 1}. ${one.name} ${one.score.toFixed(2)}`;
  element("pick").append(new Option(text, index));
}
element("pick").addEventListener("change", event => pick(Number(event.target.value)));
element("reset").addEventListener("click", () => pick(current));
for (const id of ["crop", "soft", "dropped"]) element(id).addEventListener("change", draw);
makeSliders();
// page.html#mask=3 shows the fourth mask alone, white on black.
const wanted = /^#mask=(\d+)$/.exec(location.hash);
if (wanted) document.body.classList.add("bare");
element("none").hidden = data.detections.length > 0;
photo.addEventListener("load", draw);
if (data.detections.length) {
  pick(wanted ? Math.min(Number(wanted[1]), data.detections.length - 1) : 0);
}
photo.src = data.image;
