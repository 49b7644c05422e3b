"""Slice-wise inference against MONAI's SliceInferer, in turns in one process, and its memory on a large scan.

    python benchmarks/inference.py [ROUNDS]

The network has random weights: time and memory do not depend on them. Labels must be the same up to rounding.
"""

import statistics
import sys
import time

import numpy as np
import torch

import volseg
from volseg.config import parse_config
from volseg.core.labelmap import Label
from volseg.network.file import Model, make_generator
from volseg.prediction.prepare import prepare

try:
    import resource
except ImportError:  # Windows
    resource = None

LABELS = tuple(Label(n, f"label_{n}", (200, 100, 50)) for n in range(1, 5))


def make_model(*, width: int) -> Model:
    torch.manual_seed(0)
    axial = {"planes": ["axial"], "spacing_mm": [1, 1, 1], "normalisation": [{"kind": "zscore"}], "neighbours": 0}
    config = parse_config({"preparation": axial, "network": {"width": width, "levels": 5}})
    network = make_generator(config, channels=1, labels=len(LABELS)).eval()
    return Model(config, LABELS, ("CT",), {"axial.0": network})


def make_scan(shape: tuple[int, int, int]) -> volseg.Volume:
    array = np.random.default_rng(0).integers(-500, 500, size=shape, dtype=np.int16)
    return volseg.Volume(array, volseg.Grid.from_spacing(shape))


@torch.inference_mode()
def run_monai(model: Model, scan: volseg.Volume) -> np.ndarray:
    from monai.inferers import SliceInferer

    stack = prepare([scan], model.config.preparation, "axial")
    image = torch.from_numpy(stack.plain(0, len(stack)))[None].permute(0, 1, 3, 4, 2)
    inferer = SliceInferer(roi_size=stack.size, sw_batch_size=8, spatial_dim=2, progress=False)
    return inferer(image, model.networks["axial.0"]).argmax(dim=1)[0].numpy()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_memory() -> None:
    model, scan = make_model(width=8), make_scan((512, 512, 300))
    volseg.predict(model, make_scan((512, 512, 16)))
    before = peak_mib()
    volseg.predict(model, scan)
    size = scan.array.nbytes / 2**20
    print(f"512x512x300 int16 ({size:.0f} MiB, labels {size / 2:.0f} MiB): peak grew by {peak_mib() - before:.0f} MiB")


def main(rounds: int) -> None:
    if resource:
        measure_memory()
    else:
        print("memory is not measured: this system's Python has no resource module")
    model, scan = make_model(width=32), make_scan((256, 256, 48))
    ours, theirs = [], []
    for _ in range(rounds + 1):  # the first round warms up
        start = time.perf_counter()
        labels = volseg.predict(model, scan).labels.array
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        peer = run_monai(model, scan)
        theirs.append(time.perf_counter() - start)
    a, b = statistics.median(ours[1:]), statistics.median(theirs[1:])
    print(f"256x256x48: volseg {a:.2f} s, MONAI SliceInferer {b:.2f} s, ratio {b / a:.2f}")
    print(f"same label in {100 * np.mean(labels == peer):.2f} % of the voxels ({rounds} rounds)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
