// The index: ratings out of the browser, sorting, filtering, downloads.

const body = document.querySelector("#cases tbody"), heads = [...document.querySelectorAll("#cases th[data-column]")];
const entries = content.rows.map((row, n) => ({ ...row, n, element: body.rows[n], rating: recallRating(row) }));
const RANK = { bad: 0, minor: 1, good: 2 };
const filter = document.getElementById("filter"), flagged = document.getElementById("flagged");
const unrated = document.getElementById("unrated"), sorting = document.getElementById("sorting");

for (const entry of entries) {
  const cell = entry.element.querySelector(".rating");
  cell.replaceChildren();
  if (entry.rating?.rating) {
    const word = document.createElement("span"), said = document.createElement("small");
    [word.className, word.textContent, said.textContent] = ["rated", entry.rating.rating, ` ${entry.rating.comment}`];
    word.dataset.rating = entry.rating.rating;
    cell.append(word, said);
  }
  entry.text = entry.element.textContent.toLowerCase();
}
const count = (word) => entries.filter((entry) => entry.rating?.rating === word).length;
const words = Object.keys(RANK).reverse().map((word) => `${count(word)} ${word}`);
document.getElementById("rated").textContent = entries.filter((entry) => entry.rating?.rating).length;
document.getElementById("words").textContent = words.join(", ");

function value(entry, column) {
  return column === "rating" ? RANK[entry.rating?.rating] ?? null : entry.sort[Number(column)];
}

// Missing values come last, whichever way is up. Without a column it is the order of the file: the worst first.
function sort(column, down) {
  const sign = down ? -1 : 1;
  entries.sort((one, other) => {
    const [a, b] = [value(one, column) ?? null, value(other, column) ?? null];
    if (column === "" || a === b) return one.n - other.n;
    if (a === null || b === null) return a === null ? 1 : -1;
    return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  });
  body.append(...entries.map((entry) => entry.element));
  for (const head of heads) {
    head.removeAttribute("aria-sort");
    if (head.dataset.column === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  sorting.value = `${column} ${down ? "down" : "up"}`;
}

function choose() {
  const wanted = filter.value.trim().toLowerCase();
  for (const entry of entries) {
    const fits = entry.text.includes(wanted) && (!flagged.checked || entry.flagged);
    entry.element.hidden = !fits || (unrated.checked && Boolean(entry.rating?.rating));
  }
  const shown = entries.filter((entry) => !entry.element.hidden).length;
  document.getElementById("count").textContent = `${shown} of ${entries.length}`;
}

for (const head of heads) {
  head.querySelector("button").onclick = () => {
    const { column, first } = head.dataset, now = head.getAttribute("aria-sort");
    sort(column, now ? now === "ascending" : first === "down");
  };
}
sorting.onchange = () => sort(...((text) => [text[0], text[1] === "down"])(sorting.value.split(" ")));
for (const box of [flagged, unrated]) box.onchange = choose;
filter.oninput = choose;

// The page of a case leads on in the order and choice that the index has at this moment.
body.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  const shown = entries.filter((entry) => !entry.element.hidden && entry.element.querySelector("a"));
  const address = link.getAttribute("href").split("#")[0];
  link.href = `${address}#${shown.map((entry) => encodeURIComponent(entry.case)).join("/")}`;
});

function cell(text) {
  // What people type must not become a formula in a spreadsheet program either.
  const safe = /^'*\s*[=+\-@＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function asCsv() {
  const { columns, cells } = content.table, quote = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [[...columns, "rating", "comment", "rated"].map(quote).join(",")];
  for (const { n, rating } of [...entries].sort((one, other) => one.n - other.n)) {
    const rated = [rating?.rating, rating?.comment, rating?.date].map((text) => cell(text ?? ""));
    lines.push([...cells[n].map((each) => quote(String(each ?? ""))), ...rated].join(","));
  }
  return lines.join("\n") + "\n";
}

function asJson() {
  const cases = content.cases.map((each, n) => ({ ...each, rating: entries.find((entry) => entry.n === n).rating ?? null }));
  return JSON.stringify(cases, null, 2) + "\n";
}

function ratings() {
  const rated = entries.filter((entry) => entry.rating?.rating);
  return rated.map((entry) => ({ case: entry.case, ...entry.rating, labels: entry.labels, volseg: content.version }));
}

document.getElementById("csv").onclick = () => download("cases.csv", asCsv(), "text/csv");
document.getElementById("json").onclick = () => download("cases.json", asJson(), "application/json");
document.getElementById("ratings").onclick = () =>
  download("ratings.json", JSON.stringify(ratings(), null, 2) + "\n", "application/json");
// Ratings that were given on pages of cases are seen when the reader comes back.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
sort("", false);
choose();
document.body.dataset.ready = "all";
