// Parallel coordinates: lines on a canvas, axes and brushes above it. A brush keeps the trials that pass through it.
"use strict";

const MISSING = -0.09; // where a line passes an axis on which its trial has no value
const TALL = 400, TOP = 52, BOTTOM = 42, SIDE = 46, LEAST_GAP = 96; // pixels
const BRUSH = 13; // half the width in which an axis is caught
const LEAST_DRAG = 4;

// Where the values of an axis lie, from 0 (bottom) to 1, and its ticks as [place, text].
function scaleOf(column, axis) {
  const values = column.values.filter((value) => value !== null);
  if (axis.choices) {
    const choices = [...new Set(values)].map((value) => [value, column.words ? column.words[value] : value]);
    choices.sort(([, a], [, b]) => (isNaN(a) || isNaN(b) ? String(a).localeCompare(b) : a - b));
    const places = new Map(choices.map(([value], place) => [value, choices.length > 1 ? place / (choices.length - 1) : 0.5]));
    const ticks = choices.map(([value, text]) => [places.get(value), typeof text === "number" ? shown(text) : text]);
    return { ticks: ticks.length > 14 ? [] : ticks, place: (value) => places.get(value) };
  }
  let low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const log = low > 0 && (axis.log || (axis.score && high / low > 30));
  const at = log ? Math.log : (value) => value;
  const back = log ? Math.exp : (value) => value;
  const span = at(high) - at(low);
  const place = (value) => (span ? (at(value) - at(low)) / span : 0.5);
  const whole = values.every(Number.isInteger);
  const distinct = [...new Set(values)].sort((a, b) => a - b);
  let marks = distinct;
  if (distinct.length > 6) {
    marks = [0, 0.25, 0.5, 0.75, 1].map((share) => back(at(low) + share * span));
    marks = marks.map((value) => (whole ? Math.round(value) : value));
  }
  return { ticks: marks.map((value) => [place(value), shown(Number(value.toPrecision(3)))]), place };
}

// Colours from the worst (0) to the best (1).
function ramp(dark) {
  const stops = dark ? [[58, 64, 72], [47, 127, 181], [170, 222, 255]] : [[205, 209, 214], [86, 160, 214], [8, 70, 128]];
  return (share) => {
    const [from, to, part] = share < 0.5 ? [stops[0], stops[1], 2 * share] : [stops[1], stops[2], 2 * share - 1];
    return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * part)).join(",")})`;
  };
}

class Parallel {
  constructor(box, run, selection) {
    this.box = box;
    this.run = run;
    this.selection = selection;
    this.scales = run.axes.map((axis) => scaleOf(run.columns[axis.column], axis));
    this.places = run.axes.map((axis, number) =>
      run.columns[axis.column].values.map((value) => (value === null ? MISSING : this.scales[number].place(value))),
    );
    this.brushes = new Map();
    this.canvas = element("canvas");
    box.append(this.canvas);
    selection.add((place) => this.passes(place), () => this.clear());
    selection.watch(() => this.paint());
    this.resize();
    addEventListener("resize", () => this.resize());
    addEventListener("beforeprint", () => this.resize(true));
    addEventListener("afterprint", () => this.resize());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
  }

  passes(place) {
    for (const [axis, [low, high]] of this.brushes) {
      const at = this.places[axis][place];
      if (at < low || at > high) return false;
    }
    return true;
  }

  clear() {
    this.brushes.clear();
    this.resize();
  }

  x(axis) {
    return SIDE + (axis * (this.width - 2 * SIDE)) / Math.max(1, this.run.axes.length - 1);
  }

  y(place) {
    return TALL - BOTTOM - place * (TALL - BOTTOM - TOP);
  }

  resize(paper = false) {
    const least = 2 * SIDE + LEAST_GAP * (this.run.axes.length - 1);
    this.paper = paper;
    this.width = paper ? PAPER_PIXELS : Math.max(this.box.clientWidth, least);
    const fine = devicePixelRatio || 1;
    Object.assign(this.canvas, { width: this.width * fine, height: TALL * fine });
    Object.assign(this.canvas.style, { width: `${this.width}px`, height: `${TALL}px` });
    this.box.querySelector("svg")?.remove();
    this.svg = element("svg", { width: this.width, height: TALL, "aria-hidden": true });
    this.run.axes.forEach((axis, number) => this.svg.append(this.axis(axis, number)));
    this.box.append(this.svg);
    this.paint();
  }

  axis(axis, number) {
    const x = this.x(number), column = this.run.columns[axis.column];
    const made = element("g", { "data-axis": column.name });
    const anchor = number === 0 ? "start" : number === this.run.axes.length - 1 ? "end" : "middle";
    const side = number === 0 ? x - SIDE + 4 : number === this.run.axes.length - 1 ? x + SIDE - 4 : x;
    made.append(
      element("text", { class: "name", x: side, y: number % 2 ? 32 : 14, "text-anchor": anchor }, column.title, element("title", {}, column.about)),
      element("line", { x1: x, x2: x, y1: this.y(1), y2: this.y(0) }),
    );
    for (const [place, text] of this.scales[number].ticks) {
      const brief = text.length > 12 ? `${text.slice(0, 11)}…` : text;
      made.append(element("text", { x: x + 6, y: this.y(place) + 4 }, brief));
    }
    if (this.places[number].includes(MISSING)) made.append(element("text", { x: x + 6, y: this.y(MISSING) + 4 }, "none"));
    const brush = element("rect", { class: "brush", x: x - BRUSH / 2, width: BRUSH, visibility: "hidden" });
    const area = { class: "catch", x: x - BRUSH, width: 2 * BRUSH, y: this.y(1) - 6, height: this.y(MISSING) - this.y(1) + 18 };
    made.append(brush, element("rect", { ...area, onpointerdown: (event) => this.begin(event, number, brush) }));
    if (this.brushes.has(number)) this.show(brush, this.brushes.get(number));
    return made;
  }

  show(brush, [low, high]) {
    brush.setAttribute("visibility", "visible");
    brush.setAttribute("y", this.y(high));
    brush.setAttribute("height", Math.max(1, this.y(low) - this.y(high)));
  }

  begin(event, number, brush) {
    const area = event.target, top = this.svg.getBoundingClientRect().top, from = event.clientY;
    const at = (y) => (TALL - BOTTOM - (y - top)) / (TALL - BOTTOM - TOP);
    area.setPointerCapture(event.pointerId);
    event.preventDefault();
    const move = (moved) => {
      if (Math.abs(moved.clientY - from) < LEAST_DRAG) return;
      const range = [at(from), at(moved.clientY)].sort((a, b) => a - b);
      this.brushes.set(number, range);
      this.show(brush, range);
      this.selection.renew();
    };
    const end = (ended) => {
      area.removeEventListener("pointermove", move);
      if (Math.abs(ended.clientY - from) >= LEAST_DRAG) return;
      this.brushes.delete(number);
      brush.setAttribute("visibility", "hidden");
      this.selection.renew();
    };
    area.addEventListener("pointermove", move);
    area.addEventListener("pointerup", end, { once: true });
  }

  line(pen, place) {
    pen.beginPath();
    this.places.forEach((axis, number) => pen[number ? "lineTo" : "moveTo"](this.x(number), this.y(axis[place])));
    pen.stroke();
  }

  // The worst are drawn first, and those that are not selected behind all others.
  paint() {
    const pen = this.canvas.getContext("2d"), fine = devicePixelRatio || 1, { order, ranks, kept, pointed } = this.selection;
    const colourOf = ramp(!this.paper && matchMedia("(prefers-color-scheme: dark)").matches);
    pen.setTransform(fine, 0, 0, fine, 0, 0);
    pen.clearRect(0, 0, this.width, TALL);
    pen.lineWidth = order.length > 500 ? 1 : 1.4;
    pen.globalAlpha = order.length > 2000 ? 0.05 : 0.16;
    pen.strokeStyle = colour("other");
    for (const place of order) if (!kept[place]) this.line(pen, place);
    const many = this.selection.count > 2000;
    for (let turn = order.length - 1; turn >= 0; turn--) {
      const place = order[turn];
      if (!kept[place]) continue;
      pen.globalAlpha = many ? (ranks[place] !== null && ranks[place] < 0.03 ? 0.5 : 0.06) : 0.8;
      pen.strokeStyle = ranks[place] === null ? colour("dead") : colourOf(1 - ranks[place]);
      this.line(pen, place);
    }
    pen.globalAlpha = 1;
    for (const [place, name, wide] of [[this.run.baseline, "baseline", 2], [this.run.winner, "best", 2.6], [pointed, "ink", 3]]) {
      if (place === null || place === undefined || !kept[place]) continue;
      Object.assign(pen, { strokeStyle: colour(name), lineWidth: wide });
      this.line(pen, place);
    }
  }
}
