"""From a label map to surfaces that other programs open in the right place.

    python examples/03_surfaces.py [OUTPUT] [LABELS]

OUTPUT is a folder; without it, a new temporary one.
LABELS is a label map (NIfTI or .seg.nrrd); without it, one is made.
"""

import sys
import tempfile
from pathlib import Path

import volseg
from volseg.phantoms import make_ct_phantom


def main(output: Path, labels: volseg.LabelMap) -> None:
    meshes = volseg.extract_surfaces(labels)
    for mesh in meshes:
        print(
            f"{mesh.name}: {mesh.volume_mm3 / 1000:.1f} ml, {mesh.area_mm2 / 100:.0f} cm2, {len(mesh.faces)} triangles"
        )
        volseg.write_mesh(mesh, output / f"{mesh.name}.stl")
    print("wrote", volseg.write_mesh(meshes, output / "all.glb"))


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="volseg-"))
    source = volseg.read_labels(Path(sys.argv[2])) if len(sys.argv) > 2 else make_ct_phantom(seed=1).labels
    main(target, source)
