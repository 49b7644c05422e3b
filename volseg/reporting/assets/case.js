// The page of a case: its rating, the outlines, and the way to the next case in the order of the index.

const bar = document.getElementById("rating"), comment = bar.querySelector("textarea");
const told = bar.querySelector("output");
let rating = recallRating(content);

function showRating() {
  for (const button of bar.querySelectorAll("[data-rating]")) {
    button.setAttribute("aria-pressed", String(button.dataset.rating === rating?.rating));
  }
  document.getElementById("save").disabled = !rating?.rating;
}

function rate(word) {
  rating = { rating: word, comment: comment.value, date: new Date().toISOString() };
  const kept = keep(`rating ${content.labels} ${content.case}`, JSON.stringify(rating));
  told.textContent = kept ? "kept in this browser" : "this browser keeps nothing: save it as a file";
  showRating();
}

function save() {
  const whole = { case: content.case, ...rating, labels: content.labels, volseg: content.version };
  download(`${content.case}.rating.json`, JSON.stringify(whole, null, 2) + "\n", "application/json");
}

comment.value = rating?.comment ?? "";
comment.oninput = () => rating?.rating && rate(rating.rating);
for (const button of bar.querySelectorAll("[data-rating]")) button.onclick = () => rate(button.dataset.rating);
document.getElementById("save").onclick = save;
showRating();

const outlines = document.getElementById("outlines");
outlines.onchange = () => document.body.classList.toggle("plain", !outlines.checked);
const unsure = document.getElementById("unsure"); // missing where it is not known
if (unsure) unsure.onchange = () => document.body.classList.toggle("unsure", unsure.checked);
for (const figure of document.querySelectorAll(".slices figure")) {
  figure.querySelector(".tile").onclick = () => figure.classList.toggle("big");
}

// The index hands on its order behind the "#".
const order = location.hash.slice(1).split("/").filter(Boolean);
const here = order.indexOf(encodeURIComponent(content.case));
const ways = { before: here > 0 ? order[here - 1] : null, after: here >= 0 ? order[here + 1] : null };
for (const [id, name] of Object.entries(ways)) {
  const link = document.getElementById(id);
  link.hidden = !name;
  if (name) link.href = `./${name}.html${location.hash}`;
}
if (here >= 0) document.getElementById("place").textContent = `${here + 1} of ${order.length}`;

const KEYS = { ArrowLeft: "before", ArrowRight: "after" }, WORDS = { 1: "good", 2: "minor", 3: "bad" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(textarea|input|select)$/i.test(event.target.tagName)) return;
  const link = document.getElementById(KEYS[event.key] ?? "");
  if (link && !link.hidden) link.click();
  else if (WORDS[event.key]) rate(WORDS[event.key]);
  else if (event.key === "o") outlines.click();
  else if (event.key === "d") unsure?.click();
});
window.addEventListener("hashchange", () => location.reload());
document.body.dataset.ready = "all";
