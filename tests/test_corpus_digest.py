"""The digest of a corpus shows what reads in another way."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import volseg

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "corpus_digest.py"
GRID = volseg.Grid.from_spacing((4, 5, 6), (1.0, 1.0, 2.0), (0, 0, 0))
SCAN = volseg.Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID)


def run(corpus: Path, digest: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(corpus), "--json", str(digest), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_changed_value_and_a_changed_error_show_and_the_place_of_the_corpus_does_not(tmp_path: Path) -> None:
    for name in ("old", "new"):
        volseg.write(SCAN, tmp_path / name / "same" / "scan.nii.gz")
        volseg.write(SCAN, tmp_path / name / "other" / "scan.nii.gz")
        (tmp_path / name / "damaged.nii").write_bytes(b"no header")
    first = run(tmp_path / "old", tmp_path / "old.json")
    again = run(tmp_path / "new", tmp_path / "new.json", "--against", str(tmp_path / "old.json"))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    digest = json.loads((tmp_path / "old.json").read_text(encoding="utf-8"))
    assert digest["damaged.nii"]["read"]["error"].startswith("InputError: damaged.nii")
    assert digest["same/scan.nii.gz"]["read"]["result"]["shape"] == [4, 5, 6]

    volseg.write(replace(SCAN, array=SCAN.array[::-1]), tmp_path / "new" / "other" / "scan.nii.gz")
    (tmp_path / "new" / "damaged.nii").write_bytes(b"")
    changed = run(tmp_path / "new", tmp_path / "new.json", "--against", str(tmp_path / "old.json"))
    places = [line for line in changed.stdout.splitlines() if " > " in line]
    assert changed.returncode == 1
    assert "other/scan.nii.gz > read > result > sha256" in places
    assert "damaged.nii > read > error" in places
    assert not [place for place in places if place.startswith("same")]
