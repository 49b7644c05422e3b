// What is looked at, and how: one object that all views read, and that tells them of changes.

class Scene {
  constructor(content) {
    Object.assign(this, content);
    this.shown = this.structures.map((structure) => structure.shown);
    this.window = this.scan ? [...this.scan.window] : [0, 1];
    this.fill = 0.35;
    this.outline = 0.9;
    this.surfaces = 1;
    this.slicesIn3D = Boolean(this.scan) && !this.legend; // slices would hide the colours of surfaces
    this.unsure = false; // whether the doubt is seen
    this.radiological = true;
    this.crosshair = true;
    this.zoom = 1;
    this.listeners = [];
    if (this.grid) {
      this.middle = this.grid.shape.map((n) => (n - 1) / 2);
      this.centre = [...this.middle];
      this.at = this.start ?? this.middle.map(Math.round);
      this.spacing = [0, 1, 2].map((axis) => Math.hypot(...this.grid.affine.map((row) => row[axis])));
    }
  }

  async decode() {
    if (this.scan) this.voxels = await unpack(this.scan.block);
    if (this.doubt) this.doubtVoxels = await unpack(this.doubt.block);
    this.layerVoxels = await Promise.all(this.layers.map(unpack));
    // The structure of each value of each layer; value 0 is background.
    this.structureOf = this.layers.map(() => [-1]);
    this.structures.forEach((structure, n) => {
      if (structure.layer !== null) this.structureOf[structure.layer][structure.index] = n;
    });
  }

  // The grey value of each of the 256 levels of the scan.
  greys() {
    const [low, high] = this.window;
    return Uint8ClampedArray.from(this.scan.levels, (value) => (255 * (value - low)) / (high - low));
  }

  offset([i, j, k]) {
    const [I, J] = this.grid.shape;
    return i + I * (j + J * k);
  }

  world(voxel) {
    return this.grid.affine.map((row) => row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]);
  }

  // Position, value and names at the crosshair.
  describe() {
    if (!this.grid) return "";
    const place = this.world(this.at).map((mm, axis) => `${(mm < 0 ? "LPI" : "RAS")[axis]} ${Math.abs(mm).toFixed(1)}`);
    const parts = [`${place.join("  ")} mm`];
    const offset = this.offset(this.at);
    if (this.scan) {
      const value = this.scan.levels[this.voxels[offset]];
      parts.push(`${Number(value.toPrecision(3))} ${this.scan.unit ?? ""}`.trim());
    }
    this.layerVoxels.forEach((voxels, layer) => {
      const structure = this.structures[this.structureOf[layer][voxels[offset]]];
      if (structure) parts.push(structure.name);
    });
    if (this.doubt) parts.push(`doubt ${((this.doubt.limit * this.doubtVoxels[offset]) / 255).toFixed(2)}`);
    return parts.join("  ·  ");
  }

  // Side and distance from the origin along the axis of a plane, as in "S 43.5 mm".
  position(voxel, normal) {
    const mm = this.world(voxel)[normal];
    return `${SIDES[normal][mm < 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)} mm`;
  }

  moveTo(voxel) {
    this.at = voxel.map((place, axis) => Math.min(Math.max(Math.round(place), 0), this.grid.shape[axis] - 1));
    this.changed("place");
  }

  set(name, value) {
    this[name] = value;
    this.changed(name);
  }

  show(which) {
    this.shown = this.structures.map((_, n) => which(n));
    this.changed("shown");
  }

  reset() {
    this.zoom = 1;
    if (this.grid) this.centre = [...this.middle];
    if (this.scan) this.window = [...this.scan.window];
    this.changed("window");
  }

  changed(what) {
    for (const listener of this.listeners) listener(what);
  }
}
