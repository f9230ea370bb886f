"use strict";
// The page is whole without this script: it sorts the tables of speed, filters cells, and opens the cell of an address.
const form = document.getElementById("filter");
const query = document.getElementById("query");
const shown = document.getElementById("shown");
const cells = [...document.querySelectorAll("[data-cell]")];
const stories = cells.filter((cell) => cell.matches("details"));

function filter() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const cell of cells) {
    const text = cell.dataset.cell.toLowerCase();
    cell.hidden = !words.every((word) => text.includes(word));
  }
  const left = stories.filter((cell) => !cell.hidden).length;
  shown.textContent = words.length ? `${left} of ${stories.length} cells` : "";
}

function value(row, place) {
  const cell = row.cells[place];
  if (!cell || cell.colSpan > 1) return null;
  if (cell.dataset.value === undefined) return cell.tagName === "TH" ? cell.textContent.trim().toLowerCase() : null;
  return Number(cell.dataset.value);
}

function compare(one, other, sign) {
  // What has no value stays last in both directions.
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (one < other ? -1 : one > other ? 1 : 0);
}

function sort(table, heading) {
  const headings = [...table.tHead.rows[0].cells];
  const place = headings.indexOf(heading);
  const before = heading.getAttribute("aria-sort");
  const after = before === null ? "ascending" : before === "ascending" ? "descending" : null;
  headings.forEach((each) => each.removeAttribute("aria-sort"));
  if (after) heading.setAttribute("aria-sort", after);
  for (const body of table.querySelectorAll("tbody:not(.head)")) {
    const rows = [...body.rows];
    rows.forEach((row, order) => { row.dataset.order ??= order; });
    rows.sort((one, other) => {
      const sign = after === "descending" ? -1 : 1;
      const first = after ? compare(value(one, place), value(other, place), sign) : 0;
      return first || one.dataset.order - other.dataset.order;
    });
    body.append(...rows);
  }
}

function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const story = target && target.closest("details.cell");
  if (!story) return;
  document.querySelectorAll(":popover-open").forEach((popover) => popover.hidePopover());
  if (story.hidden) {
    query.value = "";
    filter();
  }
  story.open = true;
  story.scrollIntoView();
  target.focus({ preventScroll: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading));
  }
}
if (form) {
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  query.addEventListener("input", filter);
}
addEventListener("hashchange", open);
// A second click on the link to a cell changes no address.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#cell-"]');
  if (link && link.hash === location.hash) open();
});
open();
