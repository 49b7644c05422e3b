// The slider over the steps, the marks in the curves, and loading a page again while its training goes on.

const steps = JSON.parse(document.getElementById("content").textContent).steps;
const slider = document.getElementById("step");
const SECONDS = 30, STALE_MINUTES = 15;

function show(number) {
  const { step, planes } = steps[number];
  slider.value = number;
  document.getElementById("at").textContent = `step ${step} (${number + 1} of ${steps.length})`;
  for (const table of document.querySelectorAll("#samples table")) {
    const views = planes[table.dataset.plane] ?? [];
    table.querySelectorAll(".output").forEach((image, n) => place(image, views[n]?.[1]));
    table.querySelectorAll(".differing").forEach((image, n) => place(image, views[n]?.[2]));
    table.querySelectorAll("output").forEach((text, n) => (text.textContent = views[n]?.[0] ?? "not looked at"));
  }
  for (const chart of document.querySelectorAll("svg")) {
    const { lastStep, left, width } = chart.dataset, mark = chart.querySelector(".mark");
    const x = Number(left) + (Math.min(step, lastStep) / lastStep) * width;
    mark.setAttribute("x1", x);
    mark.setAttribute("x2", x);
    mark.setAttribute("visibility", "visible");
  }
}

function place(image, address) {
  if (address) image.src = address;
  else image.removeAttribute("src");
}

function slide() {
  if (!steps.length) return;
  document.getElementById("steps").hidden = false;
  slider.max = steps.length - 1;
  // A reader who looks at an older step stays there when the page loads itself again.
  const kept = steps.findIndex((each) => String(each.step) === recall("step"));
  show(kept < 0 ? steps.length - 1 : kept);
  slider.oninput = () => {
    const number = Number(slider.value);
    keep("step", number === steps.length - 1 ? "" : String(steps[number].step));
    show(number);
  };
  document.getElementById("play").onclick = () => play(0);
}

function play(number) {
  show(number);
  if (number < steps.length - 1) setTimeout(() => play(number + 1), 500);
}

function highlight() {
  const rows = document.querySelectorAll("#scores tbody tr"), groups = document.querySelectorAll("svg .label, svg .mean");
  for (const row of rows) {
    const dim = (on) => groups.forEach((group) => group.classList.toggle("dim", on && group.dataset.name !== row.dataset.name));
    row.onmouseenter = () => dim(true);
    row.onmouseleave = () => dim(false);
  }
}

function loadAgain() {
  if (document.body.dataset.state !== "training") return;
  const minutes = (Date.now() / 1000 - Number(document.body.dataset.written)) / 60;
  if (minutes > STALE_MINUTES) {
    const stale = document.getElementById("stale");
    stale.textContent = `This page was written ${Math.round(minutes)} minutes ago. Does the training still run?`;
    stale.hidden = false;
  }
  const label = document.getElementById("again"), box = label.querySelector("input");
  label.hidden = false;
  box.checked = recall("again") !== "no";
  box.onchange = () => keep("again", box.checked ? "" : "no");
  setInterval(() => box.checked && !document.hidden && location.reload(), 1000 * SECONDS);
}

// Some browsers keep nothing for a page from disk.
function recall(name) {
  try {
    return sessionStorage.getItem(`${location.pathname} ${name}`) ?? "";
  } catch {
    return "";
  }
}

function keep(name, value) {
  try {
    sessionStorage.setItem(`${location.pathname} ${name}`, value);
  } catch {}
}

function chooseTheme() {
  const root = document.documentElement;
  const dark = recall("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.classList.toggle("dark", dark === "dark");
  document.getElementById("theme").onclick = () => keep("theme", root.classList.toggle("dark") ? "dark" : "light");
}

chooseTheme();
slide();
highlight();
loadAgain();
document.body.dataset.ready = "all";
