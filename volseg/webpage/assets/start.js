// Put the page together. Whatever the browser lacks, the picture of the scene stays, with the reason.

const page = {}; // for scripts and the console: the scene, and the view of surfaces where there is one

async function start() {
  const scene = new Scene(JSON.parse(document.getElementById("content").textContent));
  page.scene = scene;
  await scene.decode();
  const stage = document.getElementById("stage"), picture = document.getElementById("picture");
  const views = scene.grid ? Object.keys(PLANES).map((plane) => new SliceView(scene, plane)) : [];
  const [axial, coronal, sagittal] = views.map((view) => view.tile);
  if (views.length) stage.prepend(coronal, sagittal, axial);
  let last = picture;
  try {
    page.surfaces = await SurfaceView.open(scene);
    last = page.surfaces.tile;
    picture.hidden = true;
  } catch (error) {
    stage.querySelector(".tile[data-plane='3D']")?.remove();
    document.getElementById("reason").textContent = `No turning in 3D: ${error.message}.`;
    picture.dataset.plane = "3D";
  }
  const tiles = [...stage.querySelectorAll(".tile")].filter((tile) => tile !== last);
  fillPanel(scene, [...tiles, last]);
  maximise([...tiles, last], "all");
  follow(scene, views);
  document.body.dataset.ready = last === picture ? "slices" : "all";
}

function follow(scene, views) {
  const status = document.getElementById("status");
  let asked = false;
  const draw = () => {
    asked = false;
    for (const view of views) if (!view.tile.hidden) view.draw();
    status.textContent = scene.describe();
  };
  const ask = () => {
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  };
  scene.listeners.push(ask);
  new ResizeObserver(ask).observe(document.getElementById("stage"));
  window.addEventListener("resize", ask);
  draw();
}

function chooseTheme() {
  const root = document.documentElement;
  root.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
  document.getElementById("theme").onclick = () => root.classList.toggle("dark");
}

chooseTheme();
start().catch((error) => {
  document.getElementById("reason").textContent = `The views need a newer browser: ${error.message}.`;
  document.body.dataset.ready = "picture";
});
