// The controls at the left. Names come from files, so they are set as text, never as HTML.

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function group(title, ...children) {
  return make("fieldset", {}, make("legend", { textContent: title }), ...children);
}

function slider(scene, text, name) {
  const id = `slider-${name}`;
  const input = make("input", { type: "range", id, min: 0, max: 1, step: 0.05, value: scene[name] });
  input.oninput = () => scene.set(name, Number(input.value));
  return [make("label", { htmlFor: id, textContent: text }), input];
}

function check(scene, text, name) {
  const input = make("input", { type: "checkbox", checked: scene[name], id: `check-${name}` });
  input.onchange = () => scene.set(name, input.checked);
  return make("label", { className: "wide" }, input, ` ${text}`);
}

function windowGroup(scene) {
  const numbers = ["level", "width"].map((name) => make("input", { type: "number", step: "any", id: `window-${name}` }));
  const [level, width] = numbers;
  const buttons = scene.scan.presets.map(({ name, low, high }) =>
    make("button", { type: "button", textContent: name, onclick: () => scene.set("window", [low, high]) }),
  );
  const write = () => {
    const [low, high] = scene.window;
    level.value = Number(((low + high) / 2).toPrecision(4));
    width.value = Number((high - low).toPrecision(4));
    scene.scan.presets.forEach((preset, n) => {
      buttons[n].ariaPressed = preset.low === low && preset.high === high;
    });
  };
  for (const input of numbers)
    input.onchange = () => {
      const middle = Number(level.value), half = Math.max(Number(width.value), 1e-6) / 2;
      scene.set("window", [middle - half, middle + half]);
    };
  scene.listeners.push((what) => what === "window" && write());
  write();
  const labels = numbers.map((input, n) => make("label", { htmlFor: input.id, textContent: ["level", "width"][n] }));
  return group("Window", make("div", { className: "row wide" }, ...buttons), labels[0], level, labels[1], width);
}

function viewGroup(scene, tiles) {
  const layout = make("select", { id: "layout" }, make("option", { value: "all", textContent: "all views" }));
  for (const tile of tiles) layout.append(make("option", { value: tile.dataset.plane, textContent: tile.dataset.plane }));
  layout.onchange = () => maximise(tiles, layout.value);
  for (const tile of tiles)
    tile.ondblclick = () => {
      layout.value = layout.value === "all" ? tile.dataset.plane : "all";
      layout.onchange();
    };
  const parts = [make("label", { htmlFor: "layout", textContent: "layout" }), layout];
  if (scene.grid) {
    const sides = make("select", { id: "sides" });
    sides.append(make("option", { value: "radiological", textContent: "radiological", title: "the patient's right is on the left" }));
    sides.append(make("option", { value: "neurological", textContent: "neurological", title: "the patient's right is on the right" }));
    sides.style.width = "100%";
    sides.onchange = () => scene.set("radiological", sides.value === "radiological");
    parts.push(make("label", { htmlFor: "sides", textContent: "sides" }), sides, check(scene, "crosshair", "crosshair"));
    const help = make("details", { className: "wide note" }, make("summary", { textContent: "mouse and keys" }));
    help.append(
      "Click or drag: crosshair. Wheel, arrow keys: slices. Right button: window. Ctrl and wheel: zoom. " +
        "Shift and drag: move the picture. Double click: one view, and back.",
    );
    parts.push(make("button", { type: "button", textContent: "reset zoom and window", className: "wide", onclick: () => scene.reset() }), help);
  }
  return group("View", ...parts);
}

function doubtGroup(scene, tiles) {
  const parts = [];
  if (scene.doubt) {
    const { colours, texts, meaning } = scene.doubt;
    const legend = [gradientBar(colours.filter((_, n) => n % 15 === 0), texts)];
    legend.push(make("div", { className: "wide note", textContent: meaning }));
    const follow = () => legend.forEach((part) => (part.hidden = !scene.unsure));
    scene.listeners.push((what) => what === "unsure" && follow());
    follow();
    parts.push(check(scene, "show in colour, without fill", "unsure"), ...legend);
  }
  if (scene.first.length) {
    const buttons = scene.first.map(({ plane, place, agreement }) => firstButton(scene, tiles, plane, place, agreement));
    parts.push(make("div", { className: "wide", textContent: "Look at first, the least sure first:" }));
    parts.push(make("div", { className: "wide row", id: "first" }, ...buttons));
  }
  return group("Doubt", ...parts);
}

function firstButton(scene, tiles, plane, place, agreement) {
  const { normal } = PLANES[plane], middle = [...scene.middle];
  middle[normal] = place;
  const textContent = `${plane} ${scene.position(middle, normal)}`;
  const button = make("button", { type: "button", textContent, title: `agreement ${agreement.toFixed(2)}: 1 is full` });
  button.onclick = () => {
    const voxel = [...scene.at];
    voxel[normal] = place;
    scene.moveTo(voxel);
    showTile(tiles, plane);
  };
  return button;
}

// Let a plane be seen, if another one alone is.
function showTile(tiles, plane) {
  const layout = document.getElementById("layout");
  if (layout.value === "all") return;
  layout.value = plane;
  maximise(tiles, plane);
}

function maximise(tiles, wanted) {
  for (const tile of tiles) tile.hidden = wanted !== "all" && tile.dataset.plane !== wanted;
  document.getElementById("stage").classList.toggle("one", wanted !== "all" || tiles.length === 1);
  window.dispatchEvent(new Event("resize"));
}

function structureList(scene) {
  const rows = scene.structures.map((structure, n) => {
    const box = make("input", { type: "checkbox", checked: scene.shown[n], ariaLabel: structure.name });
    box.onchange = () => scene.show((other) => (other === n ? box.checked : scene.shown[other]));
    scene.listeners.push((what) => what === "shown" && (box.checked = scene.shown[n]));
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = `rgb(${structure.colour})`;
    const name = make("button", { type: "button", className: "name", textContent: structure.name, title: "Go there" });
    name.onclick = () => structure.at && scene.moveTo(structure.at);
    return make("div", {}, box, swatch, name, make("span", { className: "volume", textContent: structure.volume }));
  });
  const filter = make("input", { type: "search", placeholder: "filter", ariaLabel: "Filter the structures" });
  filter.style.flex = "1";
  filter.style.minWidth = "60px";
  const wanted = (n) => scene.structures[n].name.toLowerCase().includes(filter.value.toLowerCase());
  filter.oninput = () => rows.forEach((row, n) => (row.hidden = !wanted(n)));
  const switchAll = (on) => scene.show((n) => (wanted(n) ? on : scene.shown[n]));
  const all = make("button", { type: "button", textContent: "all", id: "all", onclick: () => switchAll(true) });
  const none = make("button", { type: "button", textContent: "none", id: "none", onclick: () => switchAll(false) });
  const head = group(`${rows.length} structures`, make("div", { className: "row wide" }, all, none, filter));
  return [head, make("div", { id: "structures" }, ...rows)];
}

function scoreTable({ headings, rows }) {
  const row = (tag, texts) => make("tr", {}, ...texts.map((text) => make(tag, { textContent: text })));
  const body = rows.map((texts) => row("td", texts));
  return make("table", {}, make("thead", {}, row("th", headings)), make("tbody", {}, ...body));
}

// Colours beside each other, and below them what they mean. A colour may have an opacity, up to 255.
function gradientBar(colours, texts) {
  const bar = make("div", { className: "bar" });
  const css = colours.map(([red, green, blue, opacity]) => `rgb(${red} ${green} ${blue} / ${(opacity ?? 255) / 255})`);
  bar.style.background = `linear-gradient(to right, ${css}), #000`;
  return make("div", { className: "gradient wide" }, bar, ...texts.map((text) => make("span", { textContent: text })));
}

function legendOf({ colours, texts }) {
  const legend = gradientBar(colours, texts);
  legend.classList.add("legend");
  return legend;
}

function fillPanel(scene, tiles) {
  const panel = document.getElementById("panel");
  if (scene.scan) panel.append(windowGroup(scene));
  const looks = [];
  if (scene.layers.length) looks.push(...slider(scene, "fill", "fill"), ...slider(scene, "outline", "outline"));
  if (scene.meshes.length) looks.push(...slider(scene, "surfaces", "surfaces"));
  if (scene.scan) looks.push(check(scene, "slices in 3D", "slicesIn3D"));
  if (looks.length) panel.append(group("Opacity", ...looks));
  panel.append(viewGroup(scene, tiles));
  if (scene.doubt || scene.first.length) panel.append(doubtGroup(scene, tiles));
  if (scene.notes.length) panel.append(group("About", ...scene.notes.map((note) => make("div", { className: "wide note", textContent: note }))));
  if (scene.structures.length) panel.append(...structureList(scene));
  if (scene.legend) tiles.at(-1).append(legendOf(scene.legend));
  if (scene.table) {
    const scores = document.getElementById("scores");
    scores.append(scoreTable(scene.table));
    scores.hidden = false;
  }
}
