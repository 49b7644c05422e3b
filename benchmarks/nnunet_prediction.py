"""nnU-Net's predictor with random weights on slices of a scan: the peer of `end_to_end.py`, which calls this.

    nnUNet_raw=. nnUNet_preprocessed=. nnUNet_results=. \
        PYTHON benchmarks/nnunet_prediction.py SCAN.npy LABELS THREADS MIRROR

SCAN.npy holds slices (N, H, W) float32. The network is the one that nnU-Net's planner makes for 2D slices of 512 x 512:
eight levels of 32 to 512 channels, two convolutions each. A slice is one tile. MIRROR is 0 or 1. Printed as JSON: what
was measured, CPU seconds, seconds on the clock, peak MiB.
"""

import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from cpu_clock import peak_mib
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import nn

WIDTHS = (32, 64, 128, 256, 512, 512, 512, 512)


def make_network(classes: int) -> nn.Module:
    levels = len(WIDTHS)
    return PlainConvUNet(
        input_channels=1,
        n_stages=levels,
        features_per_stage=WIDTHS,
        conv_op=nn.Conv2d,
        kernel_sizes=[[3, 3]] * levels,
        strides=[[1, 1], *[[2, 2]] * (levels - 1)],
        n_conv_per_stage=[2] * levels,
        n_conv_per_stage_decoder=[2] * (levels - 1),
        num_classes=classes,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def main(path: str, labels: int, threads: int, mirror: bool) -> None:
    torch.set_num_threads(threads)
    scan = np.load(path)
    network = make_network(labels + 1)
    predictor = nnUNetPredictor(use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False)
    heads = SimpleNamespace(num_segmentation_heads=labels + 1)
    predictor.configuration_manager = SimpleNamespace(patch_size=scan.shape[1:])
    predictor.label_manager, predictor.allowed_mirroring_axes = heads, (0, 1)
    predictor.network, predictor.list_of_parameters = network, [network.state_dict()]
    cpu, clock = time.process_time(), time.perf_counter()
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(scan)[None])
    logits.argmax(0)
    took = time.process_time() - cpu, time.perf_counter() - clock
    print(json.dumps([["networks and labels", *took, peak_mib()]]))


if __name__ == "__main__":
    file, *numbers = sys.argv[1:]
    labels, threads, mirror = map(int, numbers)
    main(file, labels, threads, bool(mirror))
