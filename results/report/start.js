// What the parts of the script share: data that lie compressed in the page, the colours of the style, small elements.
"use strict";

async function inflated(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// A colour of the style, as it is now: light or dark.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// An element with attributes and children. Texts become text nodes, never markup.
function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "rect", "text", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// A number as a person reads it: four digits, powers of ten where they are shorter.
function shown(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return Math.abs(value) < 1e4 ? String(value) : value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return size >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4)));
}

// The value of a column for a trial, which has its words apart.
function valueOf(column, place) {
  const value = column.values[place];
  return value === null || !column.words ? value : column.words[value];
}

function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
