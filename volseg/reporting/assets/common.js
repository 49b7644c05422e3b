// What the index and the page of a case have in common: the theme, and ratings, which the browser may not keep.

const content = JSON.parse(document.getElementById("content").textContent);

function recall(name) {
  try {
    return localStorage.getItem(`volseg ${name}`) ?? "";
  } catch {
    return "";
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`volseg ${name}`, value);
    return true;
  } catch {
    return false;
  }
}

// A rating is of labels: those that are predicted anew have none. The later one of browser and report counts.
function recallRating({ case: name, labels, rating }) {
  let kept = null;
  try {
    kept = JSON.parse(recall(`rating ${labels} ${name}`) || "null");
  } catch {}
  return kept && kept.date >= (rating?.date ?? "") ? kept : rating;
}

function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function chooseTheme() {
  const root = document.documentElement;
  const dark = recall("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.classList.toggle("dark", dark === "dark");
  document.getElementById("theme").onclick = () => keep("theme", root.classList.toggle("dark") ? "dark" : "light");
}

chooseTheme();
