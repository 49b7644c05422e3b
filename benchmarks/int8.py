"""Networks in whole numbers of 8 bits: speed and held-out Dice of a trained model, by OpenVINO beside volseg.

    pip install openvino nncf
    OMP_NUM_THREADS=1 python benchmarks/int8.py DATASET RUN [--fold N] [--cases N]

RUN is the folder of a training of that fold. The same held-out scans are predicted by volseg as it is (in bfloat16
where the processor is quick at it), with OpenVINO in float32 in place of torch, and with OpenVINO in int8, scan by
scan in turns, on one thread. NNCF chooses the scales of int8 from 300 slices of training cases. Printed are the CPU
seconds of the networks alone and of whole predictions in all, what volseg takes as a multiple of each, the class-mean
Dice before clean-up, and its difference to volseg's, paired over cases.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino
import torch
from torch import Tensor, nn

from volseg.core.labelmap import Label, LabelMap
from volseg.core.planes import Plane
from volseg.datasets import Case, read_dataset, read_images, read_reference, split
from volseg.evaluation import summarise
from volseg.evaluation.metrics import dice
from volseg.network.file import Model, load_model
from volseg.network.generator import fold_norms
from volseg.prediction.inference import predict_scan
from volseg.prediction.networks import ReadyModel
from volseg.prediction.prepare import prepare

SLICES = 300  # that int8 is scaled by
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


class Timed(ReadyModel):
    """volseg as it is, with a clock beside its networks."""

    seconds = 0.0

    def logits(self, plane: Plane, batch: Tensor) -> list[Tensor]:
        start = time.process_time()
        found = super().logits(plane, batch)
        self.seconds += time.process_time() - start
        return found


class OpenVino(Timed):
    """The same networks run by OpenVINO, in int8 if there are slices to scale it by."""

    def __init__(self, model: Model, training: Sequence[Case] = ()) -> None:
        super().__init__(model, "cpu")
        self.training = training

    def _make_ready(self, plane: Plane) -> tuple[nn.Module, ...]:
        ready: list[Callable[[Tensor], Tensor]] = []
        for name, network in self.model.networks.items():
            if name.split(".")[0] == plane:
                ready.append(self._compile(network, plane))
        return tuple(ready)

    def _compile(self, network: nn.Module, plane: Plane) -> Callable[[Tensor], Tensor]:
        slices = training_slices(self.model, self.training, plane)
        example = torch.zeros(2, network.in_channels, 64, 64)
        shape = [-1, network.in_channels, -1, -1]
        converted = openvino.convert_model(fold_norms(network), example_input=example, input=shape)
        if slices:
            converted = nncf.quantize(
                converted, nncf.Dataset(slices), preset=nncf.QuantizationPreset.MIXED, subset_size=len(slices)
            )
        compiled = openvino.Core().compile_model(converted, "CPU", ONE_THREAD)
        return lambda batch: torch.from_numpy(compiled(batch.contiguous().numpy())[0])


def training_slices(model: Model, cases: Sequence[Case], plane: Plane) -> list[np.ndarray]:
    """Return slices of (1, C, h, w) from all over the cases, the same number of each."""
    found = []
    chosen = cases[:: max(1, len(cases) // 10)]
    for case in chosen:
        stack = prepare(read_images(case), model.config.preparation, plane)
        for number in np.linspace(0, len(stack) - 1, SLICES // len(chosen), dtype=int):
            found.append(stack.batch(int(number), int(number) + 1))
    return found


def class_mean(prediction: LabelMap, reference: LabelMap, labels: Sequence[Label]) -> float:
    return float(np.nanmean([dice(prediction.mask(label), reference.mask(label)) for label in labels]))


def compare(root: Path, run: Path, fold: int, count: int | None) -> None:
    model = load_model(run)
    training, held_out = split(read_dataset(root), fold)
    engines = {
        "volseg": Timed(model, "cpu"),
        "OpenVINO float32": OpenVino(model),
        "OpenVINO int8": OpenVino(model, training),
    }
    scores: dict[str, list[float]] = {name: [] for name in engines}
    seconds = dict.fromkeys(engines, 0.0)
    first = read_images(held_out[0])
    for engine in engines.values():  # makes the networks ready
        predict_scan(engine, first)
        engine.seconds = 0.0
    for case in held_out[:count]:
        scan, reference = read_images(case), read_reference(case)
        for name, engine in engines.items():
            start = time.process_time()
            found = predict_scan(engine, scan)
            seconds[name] += time.process_time() - start
            scores[name].append(class_mean(found.labels, reference, model.labels))
    print("| networks by | their CPU s | ratio | prediction, CPU s | ratio | class-mean Dice | difference [95 %] |")
    print("|---|---|---|---|---|---|---|")
    usual = engines["volseg"].seconds
    for name, engine in engines.items():
        gain = summarise([mine - theirs for mine, theirs in zip(scores[name], scores["volseg"], strict=True)])
        cells = [name, f"{engine.seconds:.1f}", f"{usual / engine.seconds:.2f}", f"{seconds[name]:.1f}"]
        cells += [f"{seconds['volseg'] / seconds[name]:.2f}", f"{np.nanmean(scores[name]):.4f}"]
        cells += [f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"]
        print(f"| {' | '.join(cells)} |")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dataset", type=Path)
parser.add_argument("run", type=Path)
parser.add_argument("--fold", type=int, default=0)
parser.add_argument("--cases", type=int)
arguments = parser.parse_args()
torch.set_num_threads(1)
compare(arguments.dataset, arguments.run, arguments.fold, arguments.cases)
