// Figures: Plotly draws them, in the colours of the page.
"use strict";

const ON_PAPER = { ink: "#1b1e23", muted: "#5b6470", line: "#d9dde2", paper: "#ffffff" };
const LEAST_GROUPED_PIXELS = 600; // the width of bars with long names; a phone scrolls them
const MOST_PIXELS = 1500; // the height of a figure
const PAPER_PIXELS = 640; // the width of a figure on paper

function template(narrow, paper) {
  const of = (name) => (paper ? ON_PAPER[name] : colour(name));
  const axis = {
    gridcolor: of("line"), linecolor: of("muted"), zerolinecolor: of("line"), tickcolor: of("muted"), automargin: true,
    tickfont: { color: of("muted") }, title: { font: { size: narrow ? 12 : 13 }, standoff: 8 },
  };
  return {
    layout: {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", separators: ".,",
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 12.5, color: of("ink") },
      xaxis: axis, yaxis: axis, colorway: ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"],
      hoverlabel: { bgcolor: of("paper"), bordercolor: of("muted"), font: { color: of("ink") }, align: "left" },
      coloraxis: { colorbar: { outlinewidth: 0 } },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    },
  };
}

// The traces as they are seen in the dark too: what is black has the colour of the text, and scales are turned round.
function inked(traces, paper) {
  const dark = !paper && matchMedia("(prefers-color-scheme: dark)").matches;
  const made = JSON.parse(JSON.stringify(traces).replaceAll(/"(#000000|black)"/g, JSON.stringify(paper ? ON_PAPER.ink : colour("ink"))));
  for (const { marker } of made) if (dark && marker?.colorscale) marker.reversescale = !marker.reversescale;
  return made;
}

function layoutOf(box, figure, paper) {
  const abreast = box.closest(".several, .pair") ? 2 : 1;
  const grouped = figure.data.some((trace) => Array.isArray(trace.y?.[0])); // two names for each bar
  const width = paper ? PAPER_PIXELS / abreast : Math.max(box.clientWidth, grouped ? LEAST_GROUPED_PIXELS : 0);
  const narrow = width < 560;
  const tall = Math.max(box.closest(".several") ? 300 : narrow ? 330 : 380, Math.min(figure.layout.height || 0, MOST_PIXELS));
  const margin = { l: narrow ? 44 : 56, r: narrow ? 10 : 16, t: 28, b: 44, ...(narrow ? {} : { pad: 0 }) };
  const layout = { ...structuredClone(figure.layout), updatemenus: [], margin, height: tall, width, template: template(narrow, paper) };
  if (narrow && layout.legend) delete layout.legend.orientation;
  return { ...layout, legend: { ...(layout.legend || {}), ...(narrow ? template(true, paper).layout.legend : {}) } };
}

async function draw(box, figure, paper = false) {
  const pointer = matchMedia("(hover: hover)").matches; // to others the bar would always be shown, over the legend
  const config = {
    displaylogo: false, displayModeBar: pointer ? "hover" : false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  await Plotly.react(box, inked(figure.data, paper), layoutOf(box, figure, paper), config);
  box.parentElement.querySelector(".switches [aria-pressed=true]:not(:first-child)")?.click();
}

// The buttons of a figure as buttons of the page: Plotly's own cannot be read in the dark, and hide the legend.
function switches(box, figure) {
  const buttons = (figure.layout.updatemenus || []).flatMap((menu) => menu.buttons);
  const made = buttons.map((button, number) => element("button", {
    type: "button",
    "aria-pressed": String(number === 0),
    onclick: () => {
      made.forEach((other) => other.setAttribute("aria-pressed", String(other === made[number])));
      Plotly[button.method](box, ...structuredClone(button.args));
    },
  }, button.label));
  if (made.length) box.before(element("div", { class: "switches" }, ...made));
}

// Draws all figures, one after another, and again when the width, the colours or the paper change.
async function drawFigures(figures) {
  const boxes = [...document.querySelectorAll("[data-figure]")].filter((box) => figures[box.dataset.figure]);
  const all = (paper) => boxes.forEach((box) => draw(box, figures[box.dataset.figure], paper));
  for (const box of boxes) {
    switches(box, figures[box.dataset.figure]);
    await draw(box, figures[box.dataset.figure]);
    await new Promise((done) => setTimeout(done)); // the page stays alive in between
  }
  let width = document.body.clientWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    clearTimeout(waiting);
    waiting = setTimeout(all, 150, false);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all(false));
  addEventListener("beforeprint", () => all(true));
  addEventListener("afterprint", () => all(false));
}
