"""Train on labelled scans and segment another one.

    python examples/02_train_and_segment.py [OUTPUT] [MINUTES]

OUTPUT is a folder; without it, a new temporary one. MINUTES is 1 by default.
Here the scans are made up; give `volseg.train` a Decathlon or nnU-Net folder for real ones.
"""

import sys
import tempfile
from pathlib import Path

import volseg
from volseg.phantoms import make_mr_phantom


def make_dataset(folder: Path, *, cases: int = 6) -> Path:
    """Write a few made-up MR scans and label maps: two folders, same file names."""
    for seed in range(cases):
        phantom = make_mr_phantom(seed=seed)
        volseg.write(phantom.volume, folder / f"imagesTr/case_{seed}.nii.gz")
        volseg.write(phantom.labels, folder / f"labelsTr/case_{seed}.nii.gz")  # and its names, as .tsv
    return folder


def main(output: Path, minutes: float) -> None:
    config = volseg.load_config(overrides=(f"training.minutes={minutes}", "training.validations=2"))
    model_file = volseg.train(make_dataset(output / "dataset"), output / "run", config=config)
    unseen = make_mr_phantom(seed=99)
    labels = volseg.predict(volseg.load_model(model_file), unseen.volume).labels
    for path in volseg.write(labels, output / "unseen_labels.nii.gz"):
        print("wrote", path)
    result = volseg.evaluate({"unseen": labels}, {"unseen": unseen.labels})
    for row in result.rows:
        print(f"{row.label}: Dice {row.scores.dice:.3f}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="volseg-"))
    main(target, float(sys.argv[2]) if len(sys.argv) > 2 else 1.0)
