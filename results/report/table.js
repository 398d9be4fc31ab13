// The table of all trials, and which of them are selected: by brushes, by what is typed, or both.
"use strict";

const AT_ONCE = 100; // rows that are drawn; more on request
const COMPARED = /^\s*([\w.]+)\s*(<=|>=|!=|<|>|=)\s*(\S.*?)\s*$/;

// Which trials are kept. Trials are places in the columns, which the best come first in.
class Selection {
  constructor(run) {
    const count = run.columns[0].values.length;
    this.order = Array.from({ length: count }, (_, place) => place);
    this.ranks = this.order.map((place) => (place < run.contenders ? place / Math.max(1, run.contenders - 1) : null));
    this.kept = this.order.map(() => true);
    this.count = count;
    this.pointed = null;
    this.rules = [];
    this.watchers = [];
  }

  add(passes, clear) {
    this.rules.push({ passes, clear });
  }

  watch(see) {
    this.watchers.push(see);
  }

  renew() {
    this.kept = this.order.map((place) => this.rules.every((rule) => rule.passes(place)));
    this.count = this.kept.filter(Boolean).length;
    this.watchers.forEach((see) => see(true));
  }

  clear() {
    this.rules.forEach((rule) => rule.clear());
    this.renew();
  }

  point(place) {
    if (this.pointed === place) return;
    this.pointed = place;
    this.watchers.forEach((see) => see(false));
  }
}

// A filter as it is typed: parts with commas between them, each a comparison with a column or a word in any of them.
function filterOf(typed, columns) {
  const tests = typed.split(",").filter((part) => part.trim()).map((part) => {
    const [, name, sign, text] = COMPARED.exec(part) || [];
    const column = name && (columns.find((c) => c.title === name || c.name === name) || columns.find((c) => c.title.includes(name)));
    if (!column) {
      const word = part.trim().toLowerCase();
      return (place) => columns.some((c) => (c.words || c.name === "trial") && String(valueOf(c, place) ?? "").toLowerCase().includes(word));
    }
    const number = Number(text);
    const compare = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b }[sign];
    return (place) => {
      const value = valueOf(column, place);
      return value !== null && compare(column.words ? String(value) : value, column.words ? text : number);
    };
  });
  return (place) => tests.every((test) => test(place));
}

class Table {
  constructor(box, run, selection, glance) {
    Object.assign(this, { box, run, selection, glance, sorted: null, falling: false, most: AT_ONCE });
    this.passes = () => true;
    this.find = document.querySelector(`[data-find="${run.index}"]`);
    this.find.addEventListener("input", () => this.filter());
    selection.add((place) => this.passes(place), () => { this.find.value = ""; this.passes = () => true; });
    selection.watch((changed) => { if (changed) this.draw(); });
    document.querySelector(`[data-save="${run.index}"]`).addEventListener("click", () => this.save());
    this.draw();
  }

  filter() {
    this.passes = filterOf(this.find.value, this.run.columns);
    this.selection.renew();
  }

  sort(column) {
    this.falling = this.sorted === column ? !this.falling : false;
    this.sorted = column;
    this.draw();
  }

  get places() {
    const found = this.selection.order.filter((place) => this.selection.kept[place]);
    if (this.sorted === null) return found;
    const column = this.run.columns[this.sorted], turn = this.falling ? -1 : 1;
    return found.sort((a, b) => {
      const [first, second] = [valueOf(column, a), valueOf(column, b)];
      if (first === null || second === null) return (first === null) - (second === null) || a - b;
      return (first < second ? -turn : first > second ? turn : 0) || a - b;
    });
  }

  draw() {
    const places = this.places, more = places.length - this.most;
    const body = element("tbody", {}, ...places.slice(0, this.most).map((place) => this.row(place)));
    const rest = () => { this.most += 10 * AT_ONCE; this.draw(); };
    const left = element("div", { class: "more" }, element("button", { type: "button", onclick: rest }, `Show more of ${counted(Math.max(0, more), "further trial")}`));
    const top = this.box.scrollTop, side = this.box.scrollLeft, focused = this.box.contains(document.activeElement) && document.activeElement.dataset.key;
    this.box.replaceChildren(element("table", {}, this.head(), body), ...(more > 0 ? [left] : []));
    Object.assign(this.box, { scrollTop: top, scrollLeft: side });
    if (focused) this.box.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  head() {
    return element("thead", {}, element("tr", {}, ...this.run.columns.map((column, number) => {
      const sort = this.sorted === number ? (this.falling ? "descending" : "ascending") : null;
      const button = element("button", { type: "button", "data-key": `column-${number}`, onclick: () => this.sort(number) }, column.title);
      return element("th", { scope: "col", class: classOf(column), title: column.about, "aria-sort": sort }, button);
    })));
  }

  row(place) {
    const enter = (event) => { this.selection.point(place); this.glance.show(this.run, place, event); };
    const leave = () => { this.selection.point(null); this.glance.hide(); };
    return element("tr", { "data-trial": this.run.columns[0].values[place], onpointerenter: enter, onpointermove: (event) => this.glance.move(event), onpointerleave: leave },
      ...this.run.columns.map((column, number) => this.cell(column, number, place, enter, leave)));
  }

  cell(column, number, place, enter, leave) {
    const value = valueOf(column, place);
    if (number === 0) {
      const chosen = { type: "button", "data-key": `trial-${value}`, "aria-describedby": "glance", onfocus: enter, onblur: leave, onclick: enter };
      return element("th", { scope: "row", class: "number" }, element("button", chosen, String(value)));
    }
    const text = value === null ? "–" : typeof value === "number" ? shown(value) : String(value);
    const dot = column.name === "outcome" ? [element("i", { class: `dot ${/^\w+$/.test(text) ? text : ""}` })] : [];
    return element("td", { class: classOf(column), title: column.name === "reason" ? text : null }, ...dot, text);
  }

  // The selected trials as CSV, in the order of the table.
  save() {
    const quoted = (value) => (value === null ? "" : /[",\n\r]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    const lines = [this.run.columns.map((column) => quoted(column.name)), ...this.places.map((place) => this.run.columns.map((column) => quoted(valueOf(column, place))))];
    const url = URL.createObjectURL(new Blob([lines.map((line) => line.join(",")).join("\r\n")], { type: "text/csv" }));
    element("a", { href: url, download: "trials.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

function classOf(column) {
  return [column.words ? "" : "number", column.key ? "" : "minor", column.name === "reason" ? "reason" : ""].filter(Boolean).join(" ") || null;
}

// The picture of a trial, beside the pointer or the row.
class Glance {
  constructor(box) {
    this.box = box;
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.hide(); });
    addEventListener("scroll", () => this.hide(), { passive: true });
  }

  show(run, place, event) {
    const trial = run.columns[0].values[place], url = run.pictures[trial];
    const says = url ? `samples of trial ${trial}` : run.pictured.includes(trial) ? `trial ${trial}: see samples/ of the run` : `trial ${trial} has no picture`;
    this.box.replaceChildren(...(url ? [element("img", { src: url, alt: says, width: 200 })] : []), says);
    this.box.hidden = false;
    const row = event.currentTarget.getBoundingClientRect();
    this.move(event.clientX ? event : { clientX: row.right, clientY: row.top });
  }

  move({ clientX, clientY }) {
    if (this.box.hidden) return;
    const { width, height } = this.box.getBoundingClientRect(), beside = clientX + 18;
    const left = beside + width > innerWidth - 8 ? Math.max(8, clientX - width - 18) : beside;
    Object.assign(this.box.style, { left: `${left}px`, top: `${Math.min(Math.max(8, clientY - height / 3), innerHeight - height - 8)}px` });
  }

  hide() {
    this.box.hidden = true;
  }
}
