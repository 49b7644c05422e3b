// Surfaces and the three slices in space, drawn by NiiVue. Its world is ours: mm, to the patient's right, front, head.

const VIEWS = { A: [180, 10], P: [0, 10], R: [270, 10], L: [90, 10], S: [0, 90], I: [180, -90] };

async function loadNiivue() {
  const text = document.getElementById("niivue").textContent.trim();
  if (!text) throw new Error("NiiVue is not in this page; pip install 'volseg[html]' before making it adds it");
  if (!document.createElement("canvas").getContext("webgl2")) throw new Error("this browser has no WebGL2");
  const code = new TextDecoder().decode(await gunzip(text));
  document.head.append(make("script", { textContent: code }));
  return globalThis.niivue;
}

// A NIfTI-1 file of bytes on a grid.
function niftiFile(grid, voxels) {
  const file = new Uint8Array(352 + voxels.length), header = new DataView(file.buffer);
  header.setInt32(0, 348, true);
  [3, ...grid.shape, 1, 1, 1, 1].forEach((size, n) => header.setInt16(40 + 2 * n, size, true));
  header.setInt16(70, 2, true); // unsigned bytes
  header.setInt16(72, 8, true);
  const spacing = [0, 1, 2].map((axis) => Math.hypot(...grid.affine.map((row) => row[axis])));
  [1, ...spacing].forEach((size, n) => header.setFloat32(76 + 4 * n, size, true));
  header.setFloat32(108, 352, true);
  header.setFloat32(112, 1, true);
  header.setUint8(123, 2); // mm
  header.setInt16(254, 1, true); // the affine is in the sform
  grid.affine.flat().forEach((number, n) => header.setFloat32(280 + 4 * n, number, true));
  [..."n+1"].forEach((letter, n) => header.setUint8(344 + n, letter.charCodeAt(0)));
  file.set(voxels, 352);
  return new File([file], "scan.nii");
}

// An MZ3 file: header, triangles, vertices, and a colour for each vertex where there are colours.
function mz3File({ vertices, faces, colours }) {
  const header = new DataView(new ArrayBuffer(16));
  header.setUint16(0, 0x5a4d, true);
  header.setUint16(2, colours ? 7 : 3, true);
  header.setUint32(4, faces.length / 3, true);
  header.setUint32(8, vertices.length / 3, true);
  return new Blob([header, faces, vertices, ...(colours ? [colours] : [])]).arrayBuffer();
}

class SurfaceView {
  static async open(scene) {
    const niivue = await loadNiivue();
    const view = new SurfaceView();
    view.scene = scene;
    view.canvas = make("canvas", { ariaLabel: "surfaces in 3D" });
    const buttons = Object.keys(VIEWS).map((side) =>
      make("button", { type: "button", textContent: side, title: `Seen from ${side}`, onclick: () => view.turnTo(side) }),
    );
    const title = make("span", { className: "title", textContent: "3D" });
    view.tile = make("div", { className: "tile" }, view.canvas, title, make("div", { className: "views" }, ...buttons));
    view.tile.dataset.plane = "3D";
    document.getElementById("stage").append(view.tile);
    await view.start(niivue);
    return view;
  }

  async start({ Niivue, NVImage, NVMesh }) {
    const { scene } = this;
    this.nv = new Niivue({
      backColor: [0.043, 0.051, 0.063, 1], crosshairColor: [1, 0.77, 0.25, 0.7], crosshairWidth: 0, show3Dcrosshair: false,
      isOrientCube: true, dragAndDropEnabled: false, logLevel: "error", sliceType: 4, meshThicknessOn2D: 0,
      clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "", loadingText: "", renderOverlayBlend: 0, isSliceMM: true,
    });
    await this.nv.attachToCanvas(this.canvas);
    if (scene.scan) {
      const file = niftiFile(scene.grid, this.greyVoxels());
      this.volume = await NVImage.loadFromFile({ file, name: "scan.nii", cal_min: 0, cal_max: 255 });
      this.nv.addVolume(this.volume);
      await this.nv.setVolumeRenderIllumination(-1); // slices through the crosshair, not all voxels
    }
    this.meshes = [];
    for (const [n, structure] of scene.structures.entries()) {
      if (structure.mesh === null) continue;
      const file = await mz3File(await unpackMesh(scene.meshes[structure.mesh]));
      const colour = new Uint8Array([...structure.colour, 255]); // where the vertices have none of their own
      this.meshes.push([n, await NVMesh.readMesh(file, `${n}.mz3`, this.nv.gl, 1, colour, scene.shown[n])]);
    }
    // One update for all: addMesh draws anew each time.
    this.nv.meshes.push(...this.meshes.map(([, mesh]) => mesh));
    this.nv.updateGLVolume();
    this.showSlices();
    this.place();
    this.nv.setRenderAzimuthElevation(205, 20);
    scene.listeners.push((what) => this.follow(what));
  }

  greyVoxels() {
    const greys = this.scene.greys();
    return this.scene.voxels.map((level) => greys[level]);
  }

  turnTo(side) {
    this.nv.setRenderAzimuthElevation(...VIEWS[side]);
  }

  place() {
    if (this.scene.grid) this.nv.scene.crosshairPos = this.nv.mm2frac(this.scene.world(this.scene.at));
    this.nv.drawScene();
  }

  showSlices() {
    if (this.volume) this.nv.setClipPlane(this.scene.slicesIn3D ? [2, 0, 0] : [-2, 0, 0]);
  }

  follow(what) {
    const { scene, nv } = this;
    if (what === "place") this.place();
    if (what === "slicesIn3D") this.showSlices();
    if (what === "window" && this.volume) {
      this.volume.img.set(this.greyVoxels());
      nv.updateGLVolume();
    }
    if (what === "shown" || what === "surfaces") {
      for (const [n, mesh] of this.meshes) {
        mesh.visible = scene.shown[n] && scene.surfaces > 0;
        if (mesh.opacity !== scene.surfaces) {
          mesh.opacity = scene.surfaces;
          mesh.updateMesh(nv.gl);
        }
      }
      nv.drawScene();
    }
  }
}
