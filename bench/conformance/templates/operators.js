"use strict";
const form = document.getElementById("filter");
const query = document.getElementById("query");
const shown = document.getElementById("shown");
const groups = [...document.querySelectorAll("details.operator")].map((element) => ({
  element,
  rows: [...element.querySelectorAll("tbody tr")].map((row) => ({
    row,
    text: [
      element.dataset.operator,
      row.textContent,
      ...[...row.querySelectorAll("td")].map((cell) => cell.dataset.verdict),
    ].join(" ").toLowerCase(),
  })),
}));
function apply() {
  const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
  let cases = 0;
  for (const { element, rows } of groups) {
    let matching = 0;
    for (const { row, text } of rows) {
      const matches = words.every((word) => text.includes(word));
      row.hidden = !matches;
      matching += matches;
    }
    element.hidden = matching === 0;
    cases += matching;
  }
  const total = groups.reduce((sum, group) => sum + group.rows.length, 0);
  shown.textContent = words.length ? `${cases} of ${total} cases` : "";
}
form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
query.addEventListener("input", apply);
apply();
