// The page comes to life: its data are unpacked, its table and its figures drawn; one of a run that goes on renews itself.
"use strict";

const KEPT = `gan-sweep ${location.pathname}`;

function begin(run, glance) {
  const selection = new Selection(run);
  const table = new Table(document.querySelector(`[data-table="${run.index}"]`), run, selection, glance);
  const box = document.querySelector(`[data-parallel="${run.index}"]`);
  if (box) new Parallel(box, run, selection);
  const buttons = document.querySelectorAll(`[data-clear="${run.index}"]`);
  buttons.forEach((button) => button.addEventListener("click", () => selection.clear()));
  const say = () => {
    const whole = selection.count === selection.order.length;
    const text = whole ? counted(selection.count, "trial") : `${selection.count.toLocaleString("en")} of ${counted(selection.order.length, "trial")}`;
    document.querySelectorAll(`[data-said="${run.index}"]`).forEach((output) => { output.value = text; });
    buttons.forEach((button) => { button.hidden = whole; });
  };
  selection.watch(say);
  say();
  return table;
}

// What a reader had typed, and how far down they were, before the page loaded itself again.
function before() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) || "{}");
    sessionStorage.removeItem(KEPT);
    return kept;
  } catch {
    return {}; // where a browser keeps nothing for files, the page begins at its top
  }
}

// Loads the page again, from where it lies.
function renew(tables, seconds) {
  setTimeout(() => {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ scroll: scrollY, typed: tables.map((table) => table.find.value) }));
    } catch { /* as above */ }
    location.reload();
  }, 1000 * seconds);
}

(async () => {
  const trouble = document.getElementById("trouble"), seconds = Number(document.body.dataset.renewedSeconds);
  let tables = [];
  try {
    const { runs, figures } = JSON.parse(await inflated("data"));
    const glance = new Glance(document.getElementById("glance"));
    tables = runs.filter((run) => run.columns).map((run) => begin(run, glance));
    const { scroll, typed = [] } = before();
    tables.forEach((table, number) => { if (typed[number]) { table.find.value = typed[number]; table.filter(); } });
    if (Object.keys(figures).length) {
      document.head.append(element("script", {}, await inflated("plotly"))); // whose digest the policy names
      await drawFigures(figures);
    }
    if (scroll) scrollTo({ top: scroll, behavior: "instant" });
  } catch (error) {
    trouble.textContent = `Figures and the table cannot be drawn here (${error.message}): they need Chrome 98, Firefox 113, Safari 16.4 or later.`;
    trouble.hidden = false;
    throw error;
  } finally {
    document.documentElement.dataset.drawn = "";
    if (seconds) renew(tables, seconds);
  }
})();
