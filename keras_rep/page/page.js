"use strict";

// Sorting: the heads of the columns are buttons.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  const body = table.tBodies[0];
  const original = [...body.rows];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = { none: "ascending", ascending: "descending", descending: "none" }[now];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      body.append(...sorted(original, column, next));
    });
  });
}

function sorted(rows, column, order) {
  if (order === "none") {
    return rows;
  }
  const sign = order === "ascending" ? 1 : -1;
  const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
  return [...rows].sort((a, b) => {
    const [x, y] = [keys.get(a), keys.get(b)];
    // What is unknown stays at the end.
    if (x === null || y === null) {
      return (x === null) - (y === null);
    }
    return sign * (typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true }));
  });
}

function keyOf(cell) {
  if (!("value" in cell.dataset)) {
    return cell.textContent;
  }
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

// Highlighting: whatever bears the number of a row goes together.
const items = [...document.querySelectorAll("[data-rows]")];
const rowsOf = (item) => item.dataset.rows.split(" ").filter((n) => n !== "");
const byRow = new Map();
for (const item of items) {
  for (const row of rowsOf(item)) {
    byRow.set(row, [...(byRow.get(row) || []), item]);
  }
}
let held = null;

function mark(item) {
  document.querySelectorAll(".marked").forEach((each) => each.classList.remove("marked"));
  if (item !== null) {
    const rows = rowsOf(item);
    const others = rows.flatMap((row) => byRow.get(row));
    [item, ...others].forEach((each) => each.classList.add("marked"));
  }
}

function hold(item) {
  held = held === item ? null : item;
  mark(held);
  if (held === null) {
    return;
  }
  const from = item.closest(".view");
  for (const view of document.querySelectorAll(".view")) {
    const found = view.querySelector(".box.marked");
    if (view !== from && found !== null) {
      show(view, found);
    }
  }
}

// Scrolls the view alone, never the page.
function show(view, box) {
  const [inner, outer] = [box.getBoundingClientRect(), view.getBoundingClientRect()];
  view.scrollTop += inner.top - outer.top - (outer.height - inner.height) / 2;
  view.scrollLeft += inner.left - outer.left - (outer.width - inner.width) / 2;
}

for (const item of items) {
  item.addEventListener("mouseenter", () => held === null && mark(item));
  item.addEventListener("mouseleave", () => held === null && mark(null));
  const target = item.querySelector("button") || item;
  target.addEventListener("click", () => hold(item));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && held !== null) {
    hold(held);
  }
});

// Zooming: the pictures grow inside of their boxes.
for (const graph of document.querySelectorAll(".graph")) {
  const view = graph.querySelector(".view");
  const svg = view.querySelector("svg");
  const [width, height] = [svg.width.baseVal.value, svg.height.baseVal.value];
  let scale = 1;
  const zoom = (next) => {
    const middle = (view.scrollTop + view.clientHeight / 2) / view.scrollHeight;
    scale = Math.min(Math.max(next, 0.05), 4);
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
    view.scrollTop = middle * view.scrollHeight - view.clientHeight / 2;
  };
  const actions = {
    in: () => zoom(scale * 1.25),
    out: () => zoom(scale / 1.25),
    width: () => zoom(Math.min(1, (view.clientWidth - 20) / width)),
    whole: () => zoom(Math.min(1, (view.clientWidth - 20) / width, (view.clientHeight - 20) / height)),
  };
  for (const button of graph.querySelectorAll("button")) {
    button.addEventListener("click", actions[button.dataset.zoom]);
  }
  view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
}
