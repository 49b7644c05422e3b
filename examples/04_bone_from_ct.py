"""Bone from a CT scan by threshold, no model needed.

python examples/04_bone_from_ct.py [OUTPUT] [SCAN] [THRESHOLD_HU]

OUTPUT is a folder; without it, a new temporary one. Without SCAN, one is made.
"""

import sys
import tempfile
from pathlib import Path

import volseg
from volseg.phantoms import make_ct_phantom


def main(output: Path, scan: volseg.Volume, threshold_hu: float) -> None:
    bone = volseg.extract_isosurface(scan, threshold_hu)
    low, high = bone.bounds
    print(f"{len(bone.faces)} triangles between {low.round(1)} and {high.round(1)} mm (RAS)")
    print("wrote", volseg.write_mesh(bone, output / "bone.stl"))


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="volseg-"))
    source = volseg.read(Path(sys.argv[2])) if len(sys.argv) > 2 else make_ct_phantom(seed=1).volume
    main(target, source, float(sys.argv[3]) if len(sys.argv) > 3 else 200.0)
