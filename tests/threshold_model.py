"""For tests of a pipeline: a model that is a threshold, so that the right answer is known, and a scan for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from volseg.cases.cohort import process_cases
from volseg.cases.inputs import collect_cases
from volseg.cases.outputs import CaseResult, OutputSettings
from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.volume import Volume
from volseg.network.file import Model

BRIGHT = Label(5, "bright", (200, 50, 50))


class Threshold(nn.Module):
    """Logits that say `bright` where the middle slice is above 0 after normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        value = x[:, x.shape[1] // 2] * 20
        return torch.stack([-value, value], dim=1)


def threshold_model(*, low: float = 0) -> Model:
    """Return a model for which voxels above `low` + 100 are bright."""
    window = {"kind": "window", "low": low, "high": low + 200, "mean": low + 100, "std": 50}
    config = parse_config(
        {"preparation": {"planes": ["axial"], "spacing_mm": [0.8, 0.9, 3], "normalisation": [window], "neighbours": 0}}
    )
    networks = {"axial.0": Threshold()}
    return Model(config, (BRIGHT,), ("CT",), networks, fingerprint="f", sha256=f"s{low:g}", digest=f"d{low:g}")  # type: ignore[arg-type]


def bright_box(grid: Grid) -> Volume:
    """Return a scan of a bright box and a bright speck."""
    index = np.indices(grid.shape)
    array = np.where((index[0] > 4) & (index[0] < 15) & (index[1] > 8) & (index[2] > 2), 180, 20).astype(np.int16)
    array[1, 1, 1] = 180
    return Volume(array, grid)


def run(model: Model, inputs: list[str | Path], output: Path, **settings: object) -> list[CaseResult]:
    """Segment the scans that the command line would segment."""
    cases = collect_cases([str(path) for path in inputs], channels=len(model.channel_names))
    return list(process_cases(model, cases, output, settings=OutputSettings(**settings)))  # type: ignore[arg-type]
