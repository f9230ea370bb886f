"use strict";
const form = document.getElementById("filter");
const wanted = document.getElementById("wanted");
const shown = document.getElementById("shown");
const groups = [...document.querySelectorAll("details.operator")].map((element) => ({
  element,
  rows: [...element.querySelectorAll("tbody tr")].map((row) => ({
    row,
    text: [
      element.dataset.operator,
      row.textContent,
      ...[...row.querySelectorAll("td")].map((cell) => cell.dataset.said),
    ].join(" ").toLowerCase(),
  })),
}));
function apply() {
  const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
  let cases = 0;
  for (const { element, rows } of groups) {
    let mine = 0;
    for (const { row, text } of rows) {
      const fits = words.every((word) => text.includes(word));
      row.hidden = !fits;
      mine += fits;
    }
    element.hidden = mine === 0;
    cases += mine;
  }
  const total = groups.reduce((sum, group) => sum + group.rows.length, 0);
  shown.textContent = words.length ? `${cases} of ${total} cases` : "";
}
form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
wanted.addEventListener("input", apply);
apply();
