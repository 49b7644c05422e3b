// One plane of the scan on a canvas: grey values, fill and outlines of the labels, crosshair, letters of the sides.
// The arrays grow to the patient's right, front and head.

const PLANES = {
  axial: { normal: 2, across: 0, down: 1 },
  coronal: { normal: 1, across: 0, down: 2 },
  sagittal: { normal: 0, across: 1, down: 2 },
};
const SIDES = [["L", "R"], ["P", "A"], ["I", "S"]];

// The ends of the outline in a cell of four voxels (bits: 1 upper left, 2 upper right, 4 lower right, 8 lower left),
// as edges of the cell: 0 top, 1 right, 2 bottom, 3 left.
const CELL_LINES = [
  [], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2],
  [2, 3], [2, 0], [0, 1, 2, 3], [2, 1], [1, 3], [1, 0], [0, 3], [],
];
const EDGE_MIDDLE = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];

class SliceView {
  constructor(scene, plane) {
    this.scene = scene;
    Object.assign(this, PLANES[plane]);
    this.plane = plane;
    this.canvas = make("canvas", { tabIndex: 0, ariaLabel: `${plane} slice` });
    this.title = make("span", { className: "title" });
    this.letters = ["left", "right", "top", "bottom"].map((edge) => make("span", { className: `letter ${edge}` }));
    this.slider = make("input", { type: "range", min: 0, max: this.size(this.normal) - 1, ariaLabel: `${plane} slice number` });
    // The upper end of the slider is the head, the front or the right.
    this.slider.style.direction = "rtl";
    this.slider.oninput = () => this.goTo(Number(this.slider.value));
    this.tile = make("div", { className: "tile" }, this.canvas, this.title, ...this.letters, this.slider);
    this.tile.dataset.plane = plane;
    this.small = document.createElement("canvas");
    this.listen();
  }

  size(axis) {
    return this.scene.grid.shape[axis];
  }

  // Whether the axis runs against the picture: right or front on the left, front or head at the top.
  get flipAcross() {
    return this.plane === "sagittal" || this.scene.radiological;
  }

  goTo(slice) {
    const voxel = [...this.scene.at];
    voxel[this.normal] = slice;
    this.scene.moveTo(voxel);
  }

  // Pixels of the canvas: place = origin + step * voxel coordinate, across and down.
  frame() {
    const { scene, canvas } = this;
    const fit = Math.min(
      canvas.width / (this.size(this.across) * scene.spacing[this.across]),
      canvas.height / (this.size(this.down) * scene.spacing[this.down]),
    );
    const scale = 0.96 * fit * scene.zoom;
    const stepX = scale * scene.spacing[this.across] * (this.flipAcross ? -1 : 1);
    const stepY = -scale * scene.spacing[this.down];
    return {
      stepX, stepY,
      x: canvas.width / 2 - stepX * scene.centre[this.across],
      y: canvas.height / 2 - stepY * scene.centre[this.down],
    };
  }

  draw() {
    const { scene, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    if (!canvas.width || !canvas.height) return;
    const context = canvas.getContext("2d");
    const frame = this.frame();
    if (scene.scan) this.drawScan(context, frame);
    const structures = scene.layerVoxels.map((_, layer) => this.structuresOf(layer));
    // Colours of labels would change those of the doubt.
    if (scene.unsure) this.drawDoubt(context, frame);
    else if (scene.fill > 0) structures.forEach((values) => this.drawFill(context, frame, values));
    if (scene.outline > 0) structures.forEach((values) => this.drawOutlines(context, frame, values, ratio));
    if (scene.crosshair) this.drawCrosshair(context, frame, ratio);
    this.write();
  }

  // Call with the place in the array and in the slice of each voxel, row by row of the array.
  eachVoxel(visit) {
    const strides = [1, this.size(0), this.size(0) * this.size(1)];
    const columns = this.size(this.across), rows = this.size(this.down);
    const first = strides[this.normal] * this.scene.at[this.normal];
    for (let row = 0, n = 0; row < rows; row++)
      for (let column = 0; column < columns; column++, n++)
        visit(first + strides[this.down] * row + strides[this.across] * column, n);
  }

  paint(context, frame, pixels, smooth) {
    const columns = this.size(this.across), rows = this.size(this.down);
    this.small.width = columns;
    this.small.height = rows;
    this.small.getContext("2d").putImageData(new ImageData(pixels, columns, rows), 0, 0);
    context.setTransform(frame.stepX, 0, 0, frame.stepY, frame.x - frame.stepX / 2, frame.y - frame.stepY / 2);
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.small, 0, 0);
    context.resetTransform();
  }

  drawScan(context, frame) {
    const greys = this.scene.greys(), voxels = this.scene.voxels;
    const pixels = new Uint8ClampedArray(4 * this.size(this.across) * this.size(this.down));
    this.eachVoxel((place, n) => {
      pixels[4 * n] = pixels[4 * n + 1] = pixels[4 * n + 2] = greys[voxels[place]];
      pixels[4 * n + 3] = 255;
    });
    this.paint(context, frame, pixels, true);
  }

  drawDoubt(context, frame) {
    const { doubtVoxels, doubt } = this.scene;
    const pixels = new Uint8ClampedArray(4 * this.size(this.across) * this.size(this.down));
    this.eachVoxel((place, n) => pixels.set(doubt.colours[doubtVoxels[place]], 4 * n));
    this.paint(context, frame, pixels, true);
  }

  // The number of the structure at each voxel, from 1 on; 0 where there is none that is switched on.
  structuresOf(layer) {
    const { scene } = this, voxels = scene.layerVoxels[layer], structureOf = scene.structureOf[layer];
    const values = new Int32Array(this.size(this.across) * this.size(this.down));
    this.eachVoxel((place, n) => {
      const structure = structureOf[voxels[place]];
      if (structure >= 0 && scene.shown[structure]) values[n] = structure + 1;
    });
    return values;
  }

  drawFill(context, frame, values) {
    const { scene } = this, pixels = new Uint8ClampedArray(4 * values.length);
    values.forEach((value, n) => {
      if (!value) return;
      pixels.set(scene.structures[value - 1].colour, 4 * n);
      pixels[4 * n + 3] = 255 * scene.fill;
    });
    this.paint(context, frame, pixels, false);
  }

  drawOutlines(context, frame, values, ratio) {
    const columns = this.size(this.across), rows = this.size(this.down), paths = new Map();
    const value = (row, column) =>
      row < 0 || column < 0 || row >= rows || column >= columns ? 0 : values[row * columns + column];
    for (let row = -1; row < rows; row++)
      for (let column = -1; column < columns; column++) {
        const a = value(row, column), b = value(row, column + 1);
        const c = value(row + 1, column + 1), d = value(row + 1, column);
        if (a === b && b === c && c === d) continue; // nearly all cells
        const corners = [a, b, c, d];
        for (const structure of new Set(corners)) {
          if (!structure) continue;
          if (!paths.has(structure)) paths.set(structure, new Path2D());
          const path = paths.get(structure);
          const code = corners.reduce((sum, corner, bit) => sum + (corner === structure) * 2 ** bit, 0);
          CELL_LINES[code].forEach((edge, n) => {
            const x = frame.x + frame.stepX * (column + EDGE_MIDDLE[edge][0]);
            const y = frame.y + frame.stepY * (row + EDGE_MIDDLE[edge][1]);
            if (n % 2) path.lineTo(x, y);
            else path.moveTo(x, y);
          });
        }
      }
    context.globalAlpha = this.scene.outline;
    context.lineCap = "round";
    if (this.scene.unsure) {
      // On a dark ground, as labels may have colours of the doubt.
      context.lineWidth = 3.4 * ratio;
      context.strokeStyle = "#000";
      for (const path of paths.values()) context.stroke(path);
    }
    context.lineWidth = 1.6 * ratio;
    for (const [structure, path] of paths) {
      context.strokeStyle = `rgb(${this.scene.structures[structure - 1].colour})`;
      context.stroke(path);
    }
    context.globalAlpha = 1;
  }

  drawCrosshair(context, frame, ratio) {
    const x = frame.x + frame.stepX * this.scene.at[this.across];
    const y = frame.y + frame.stepY * this.scene.at[this.down];
    const gap = 9 * ratio;
    context.strokeStyle = "rgba(255, 196, 64, 0.75)";
    context.lineWidth = ratio;
    context.beginPath();
    for (const [from, to] of [[0, x - gap], [x + gap, this.canvas.width]]) {
      context.moveTo(from, y);
      context.lineTo(to, y);
    }
    for (const [from, to] of [[0, y - gap], [y + gap, this.canvas.height]]) {
      context.moveTo(x, from);
      context.lineTo(x, to);
    }
    context.stroke();
  }

  write() {
    const { scene } = this;
    const across = SIDES[this.across], down = SIDES[this.down];
    const ends = this.flipAcross ? [across[1], across[0]] : across;
    [...ends, down[1], down[0]].forEach((letter, n) => (this.letters[n].textContent = letter));
    const count = `${scene.at[this.normal] + 1}/${this.size(this.normal)}`;
    this.title.textContent = `${this.plane}  ${scene.position(scene.at, this.normal)}  ${count}`;
    this.slider.value = scene.at[this.normal];
  }

  // The voxel under the mouse, in this slice.
  voxelAt(event) {
    const box = this.canvas.getBoundingClientRect(), frame = this.frame();
    const ratio = this.canvas.width / box.width;
    const voxel = [...this.scene.at];
    voxel[this.across] = ((event.clientX - box.left) * ratio - frame.x) / frame.stepX;
    voxel[this.down] = ((event.clientY - box.top) * ratio - frame.y) / frame.stepY;
    return voxel;
  }

  listen() {
    const { canvas } = this;
    canvas.oncontextmenu = (event) => event.preventDefault();
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.held = event.button === 2 ? "window" : event.shiftKey || event.button === 1 ? "pan" : "place";
      if (this.held === "place") this.scene.moveTo(this.voxelAt(event));
    };
    canvas.onpointerup = () => (this.held = null);
    canvas.onpointermove = (event) => this.drag(event);
    canvas.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    canvas.onkeydown = (event) => {
      const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.goTo(this.scene.at[this.normal] + step);
    };
  }

  drag(event) {
    const { scene } = this;
    if (this.held === "place") scene.moveTo(this.voxelAt(event));
    if (this.held === "pan") {
      const frame = this.frame(), ratio = window.devicePixelRatio || 1;
      scene.centre[this.across] -= (event.movementX * ratio) / frame.stepX;
      scene.centre[this.down] -= (event.movementY * ratio) / frame.stepY;
      scene.changed("centre");
    }
    if (this.held === "window" && scene.scan) {
      const [low, high] = scene.window, width = high - low, unit = (scene.scan.window[1] - scene.scan.window[0]) / 400;
      const level = (low + high) / 2 + event.movementY * unit;
      const half = Math.max(width + event.movementX * unit, unit) / 2;
      scene.set("window", [level - half, level + half]);
    }
  }

  turn(event) {
    event.preventDefault();
    if (!event.ctrlKey) return this.goTo(this.scene.at[this.normal] + (event.deltaY < 0 ? 1 : -1));
    const { scene } = this, under = this.voxelAt(event), factor = event.deltaY < 0 ? 1.2 : 1 / 1.2;
    const zoom = Math.min(Math.max(scene.zoom * factor, 0.5), 20), grown = scene.zoom / zoom;
    // What is under the mouse stays there.
    for (const axis of [this.across, this.down])
      scene.centre[axis] = under[axis] + (scene.centre[axis] - under[axis]) * grown;
    scene.set("zoom", zoom);
  }
}
